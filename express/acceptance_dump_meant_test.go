//go:build acceptance && unix

package express_test

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// use is one option of a command line, with its values.
type use struct {
	option string
	values []string
}

// meant is a command line as its author means it, and the directives expected for it.
type meant struct {
	env  *place
	dir  string // working directory of the launcher
	app  string // the argument, "" for none
	uses []use

	slots           map[string][]want // section by section; "" is the top level
	params          []string          // of the application's WSGIDaemonProcess
	loaded, defined []string
	logged          [][]want            // bodies of the virtual hosts of services with a log
	absent          map[string][]string // by the target of an alias: the missing part of its path
}

// place is an installation of a launcher.
type place struct {
	launcher, home, module, version string // version: of mod_wsgi
	library                         string // the shared libpython; "" for none
	httpd, modules, rotatelogs      string
	mime, user                      string
	vars                            map[string]string // environment of launcher and httpd
	opens                           map[string]bool   // streams that can be opened by name
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

// parks reports whether mod_handover is beside the module: each httpd of the tests is new
// enough to wait for slow clients without a thread.
func (p *place) parks() bool { return isFile(filepath.Join(filepath.Dir(p.module), "mod_handover.so")) }

func (p *place) atLeast(version string) bool {
	parts := func(v string) (n []int) {
		for s := range strings.SplitSeq(v, ".") {
			k, _ := strconv.Atoi(s)
			n = append(n, k)
		}
		return n
	}
	return slices.Compare(parts(p.version), parts(version)) >= 0
}

// row is what an option puts into httpd.conf, and the name that it defines for included
// files, if any.
type row struct {
	option string
	says   func(m *meant, option string)
	define string
}

// The kinds of rows.

// inert is an option that does not appear in httpd.conf; the argument is the reason.
func inert(string) func(*meant, string) { return func(*meant, string) {} }

// elsewhere is an option that works together with others; the argument names the part
// that handles it.
func elsewhere(string) func(*meant, string) { return func(*meant, string) {} }

// setting is a directive that is always present.
func setting(directive, def string) func(*meant, string) {
	return func(m *meant, o string) { m.add("", d(directive, m.text(o, def))) }
}

func numeric(directive string, def int) func(*meant, string) {
	return func(m *meant, o string) { m.add("", d(directive, m.number(o, def))) }
}

// param is a parameter of the process group, available since a version of the module.
func param(name string, def int, since string) func(*meant, string) {
	return func(m *meant, o string) {
		if since == "" || m.env.atLeast(since) {
			m.param(name, strconv.Itoa(m.number(o, def)))
		}
	}
}

// flag is present only if the option is given.
func flag(slot string, wants ...want) func(*meant, string) {
	return func(m *meant, o string) {
		if m.given(o) {
			m.add(slot, wants...)
		}
	}
}

// loads is another kind, with the modules that it needs if it is given.
func loads(says func(*meant, string), modules ...string) func(*meant, string) {
	return func(m *meant, o string) {
		says(m, o)
		if m.given(o) {
			m.load(modules...)
		}
	}
}

// when is called with the value, if the option is given.
func when(f func(m *meant, v string)) func(*meant, string) {
	return func(m *meant, o string) {
		if m.given(o) {
			f(m, m.text(o, ""))
		}
	}
}

// file is a directive with a path, unless another option sets it already.
func file(slot, directive, unless string) func(*meant, string) {
	return func(m *meant, o string) {
		if m.given(o) && !m.given(unless) {
			m.add(slot, d(directive, m.path(o, "")))
		}
	}
}

// each is one directive per use of the option.
func each(directive string) func(*meant, string) {
	return func(m *meant, o string) {
		for _, v := range m.all(o) {
			m.add("", d(directive, anys(v)...))
		}
	}
}

func (m *meant) add(slot string, wants ...want) { m.slots[slot] = append(m.slots[slot], wants...) }

func (m *meant) once(slot string, w want) {
	if !slices.ContainsFunc(m.slots[slot], func(x want) bool { return x.name == w.name }) {
		m.add(slot, w)
	}
}
func (m *meant) param(name, v string)     { m.params = append(m.params, name+"="+v) }
func (m *meant) load(names ...string)     { m.loaded = append(m.loaded, names...) }
func (m *meant) define(names ...string)   { m.defined = append(m.defined, names...) }
func (m *meant) given(option string) bool { return len(m.all(option)) > 0 }
func (m *meant) port() int                { return m.number("port", 8000) }

// all returns the values of an option, use by use.
func (m *meant) all(option string) (all [][]string) {
	for _, u := range m.uses {
		if u.option == option {
			all = append(all, u.values)
		}
	}
	return all
}

// text returns the value of an option: the last one wins.
func (m *meant) text(option, def string) string {
	if all := m.all(option); len(all) > 0 && len(all[len(all)-1]) > 0 {
		return all[len(all)-1][0]
	}
	return def
}

func (m *meant) number(option string, def int) int {
	n, err := strconv.Atoi(m.text(option, strconv.Itoa(def)))
	if err != nil {
		panic(err) // accepted, but not a number
	}
	return n
}

func (m *meant) fraction(option string, def float64) float64 {
	f, err := strconv.ParseFloat(m.text(option, strconv.FormatFloat(def, 'g', -1, 64)), 64)
	if err != nil {
		panic(err)
	}
	return f
}

// abs is a path of the command line.
func (m *meant) abs(name string) string {
	if !filepath.IsAbs(name) {
		name = m.dir + "/" + name
	}
	return filepath.Clean(name)
}

func (m *meant) path(option, def string) string {
	if m.given(option) {
		return m.abs(m.text(option, ""))
	}
	return def
}

// named is a path of the command line, not cleaned.
func (m *meant) named(option, def string) string {
	name := m.text(option, def)
	if !filepath.IsAbs(name) {
		name = filepath.Join(m.dir, name)
	}
	return name
}

func (m *meant) root() string {
	return m.path("server-root", os.TempDir()+"/mod_wsgi-"+m.address()+":"+strconv.Itoa(os.Geteuid()))
}

func (m *meant) entry() string { return m.text("entry-point", m.app) }

func (m *meant) docs() string {
	switch {
	case m.given("document-root") || m.text("application-type", "script") != "static":
		return m.path("document-root", m.root()+"/htdocs")
	case m.entry() != "":
		return m.abs(m.entry())
	}
	return m.dir
}

func (m *meant) debug() bool {
	return slices.ContainsFunc([]string{"debug-mode", "enable-debugger", "enable-coverage", "enable-profiler", "enable-recorder", "enable-gdb"}, m.given)
}

func (m *meant) daemon() bool { return !m.debug() && !m.given("embedded-mode") }

// mpm is the first of event, worker and prefork that the options allow. event is
// excluded if httpd's own processes run the application, unless it is requested.
func (m *meant) mpm() string {
	order := []string{"event", "worker", "prefork"}
	switch {
	case m.given("enable-gdb"):
		order = []string{"prefork", "worker"}
	case m.debug(), m.given("embedded-mode") && !m.given("server-mpm"):
		order = order[1:]
	}
	for _, name := range order {
		if !m.given("server-mpm") || slices.ContainsFunc(m.all("server-mpm"), func(v []string) bool { return v[0] == name }) {
			return name
		}
	}
	return ""
}

// locale is a locale of this machine; if another one was requested, the launcher uses
// C.UTF-8.
func (m *meant) locale() string {
	v := m.text("locale", m.text("lang", "C.UTF-8"))
	if slices.Contains([]string{"C", "POSIX", "C.UTF-8", "C.utf8"}, v) {
		return v
	}
	return "C.UTF-8"
}

// readTimeout is a clause of RequestReadTimeout: the time, its maximum, and the bytes
// that extend it.
func (m *meant) readTimeout(part string, most int) string {
	first, most, rate := m.number(part+"-timeout", 15), m.number(part+"-max-timeout", most), m.number(part+"-min-rate", 500)
	clause := strconv.Itoa(first)
	if first == 0 || rate == 0 || most != 0 && most <= first {
		return clause
	}
	if most != 0 {
		clause += "-" + strconv.Itoa(most)
	}
	return clause + ",MinRate=" + strconv.Itoa(rate)
}

// document is the content of an error document: a URL path, in which a blank is written
// as %20, or a text. %{NAME} is a variable unless a backslash precedes it.
func (m *meant) document(v string) arg {
	if strings.HasPrefix(v, "/") {
		v = strings.ReplaceAll(v, " ", "%20")
	}
	var b strings.Builder
	for k := 0; k < len(v); k++ {
		if strings.HasPrefix(v[k:], `\%{`) {
			b.WriteString("%{")
			k += 2
		} else if end := strings.IndexByte(v[k:], '}'); strings.HasPrefix(v[k:], "%{") && end > 0 {
			b.WriteString(marked(v[k+2 : k+end]))
			k += end
		} else {
			b.WriteByte(v[k])
		}
	}
	return message(b.String())
}

// groupOf is the group of an account, given as a name or as # and a number.
func groupOf(account string) string {
	u, err := user.Lookup(account)
	if id, ok := strings.CutPrefix(account, "#"); ok {
		u, err = user.LookupId(id)
	}
	if err != nil {
		panic(err) // accepted, but the account does not exist
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "#" + u.Gid
	}
	return g.Name
}

func itoa(n int) string { return strconv.Itoa(n) }

func decimals(v string) string {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil {
		panic(err)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func onOrOff(on bool) string { return map[bool]string{true: "On", false: "Off"}[on] }

func firstUpper(s string) string { return strings.ToUpper(s[:1]) + strings.ToLower(s[1:]) }

func rooted(url string) string { return "/" + strings.TrimPrefix(url, "/") }

// ending is the trailing slash, if any.
func ending(s string) string { return map[bool]string{true: "/"}[strings.HasSuffix(s, "/")] }

// literals are the words of a value that contains several.
func literals(v string) (all []arg) {
	for _, w := range strings.Fields(v) {
		all = append(all, is(w))
	}
	return all
}

func anys(words []string) (all []any) {
	for _, w := range words {
		all = append(all, w)
	}
	return all
}
