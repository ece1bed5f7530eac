// Package matrix reads the file that describes a release: which Pythons, httpds,
// platforms and formats, and which combinations of them to make. It reports every
// mistake in the file with its line, and lists the cells. It does not build. It knows
// formats only by their names and platforms.
package matrix

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/platform"
)

// Matrix is the content of a release.toml.
type Matrix struct {
	Schema    int                       `toml:"schema"`  // 1
	Pythons   []string                  `toml:"pythons"` // "3.12" (python3.12 on PATH), or a path, relative to the file
	Platforms []string                  `toml:"platforms"`
	Formats   []string                  `toml:"formats"`
	HTTPDs    []HTTPD                   `toml:"httpd"`
	ModWSGI   ModWSGI                   `toml:"mod_wsgi"`
	Exclude   []Exclude                 `toml:"exclude"`
	Windows   *Windows                  `toml:"windows"` // nil if the file has none
	Python    []Python                  `toml:"python"`  // more about some of the pythons
	Target    []Target                  `toml:"target"`  // more about some of the platforms
	Options   map[string]map[string]any `toml:"options"` // of formats, by their names

	name  string // of the file
	lines map[string]int
}

// HTTPD is one recipe of the server.
type HTTPD struct {
	Name    string   `toml:"name"`    // for messages, and for names of artifacts if there are several
	Version string   `toml:"version"` // or a constraint; "" for the newest
	With    []string `toml:"with"`
	Without []string `toml:"without"`
	// Libraries is where the libraries of features come from; "" is "auto".
	Libraries string `toml:"libraries"`
	// Hardening is whether to compile with flags against exploitation; "" is "auto". It
	// also applies to the modules for this httpd.
	Hardening string `toml:"hardening"`
}

// ModWSGI describes the mod_wsgi to build.
type ModWSGI struct {
	Version string `toml:"version"` // or a constraint; "" for the newest that supports the Python
}

// Python names the headers and the library of a Python for other systems.
type Python struct {
	Version  string `toml:"version"`  // one of the pythons of the file
	Platform string `toml:"platform"` // one of the platforms of the file; "" for all but Windows that no other entry names
	SDK      string `toml:"sdk"`      // tree or archive; relative to the file
}

// Target has the settings for builds for another Linux system. Paths are relative to the
// file.
type Target struct {
	Platform string   `toml:"platform"` // one of the platforms of the file
	Sysroot  string   `toml:"sysroot"`  // directory; "" to make one from Debian's packages
	Programs string   `toml:"programs"` // directory with mod_wsgi-express and mod_wsgi-apxs
	Packages []string `toml:"packages"` // further packages of Debian in a sysroot that is made
}

// Windows has the settings for builds for Windows. Paths are relative to the file.
type Windows struct {
	HTTPDSDK       string            `toml:"httpd_sdk"`
	PythonSDK      map[string]string `toml:"python_sdk"` // by Pythons of the file
	Launcher       string            `toml:"launcher"`   // mod_wsgi-express.exe
	SignCert       string            `toml:"sign_cert"`
	SignKey        string            `toml:"sign_key"`
	SignPassphrase string            `toml:"sign_cert_passphrase_file"`
	SignTimestamp  string            `toml:"sign_timestamp_url"`
}

// Exclude leaves out the cells that match all of its fields.
type Exclude struct {
	Python   string `toml:"python"`
	HTTPD    string `toml:"httpd"`
	Platform string `toml:"platform"`
	Format   string `toml:"format"`
}

// Format describes a format to this package.
type Format struct {
	Name      string
	Platforms []string                    // platforms that this machine can make it for
	Other     func(platform string) error // refuses all others; nil refuses every one
	Options   map[string]Kind             // keys of its table
	Check     map[string]func(any) error  // checks of their values beyond the kind
}

// makes reports whether a format can be made for a platform.
func (f Format) makes(platform string) bool {
	return slices.Contains(f.Platforms, platform) || f.Other != nil && f.Other(platform) == nil
}

// why lists why a format is not made for platforms.
func (f Format) why(platforms []string) string {
	var reasons []string
	for _, name := range platforms {
		if f.Other != nil {
			if err := f.Other(name); err != nil && !slices.Contains(reasons, err.Error()) {
				reasons = append(reasons, err.Error())
			}
		}
	}
	if len(reasons) == 0 {
		return ""
	}
	return " (" + strings.Join(reasons, "; ") + ")"
}

// Kind is the kind of a value.
type Kind string

// The kinds.
const (
	Text    Kind = "a string"
	Number  Kind = "a number"
	Flag    Kind = "true or false"
	Strings Kind = "a list of strings"
)

// Cell is one combination.
type Cell struct {
	Python   string
	HTTPD    *HTTPD
	Platform string
	Format   string
}

// String describes a cell for messages.
func (c Cell) String() string {
	return fmt.Sprintf("%s for Python %s, httpd %s, %s", c.Format, c.Python, c.HTTPD.Name, c.Platform)
}

const maxFile = 1 << 20

// Parse reads a release.toml. Its error is of class Usage and names every mistake,
// with its line.
func Parse(name string, data []byte, formats []Format) (*Matrix, error) {
	if len(data) > maxFile {
		return nil, fault.New(fault.Usage, "name a release.toml with --matrix", "%s is too long for a release description", name)
	}
	m := &Matrix{name: name, lines: locate(string(data))}
	p := &problems{m: m}
	if md, ok := p.decode(string(data)); ok {
		for _, key := range md.Undecoded() {
			p.unknown(key)
		}
		m.check(p, formats)
	}
	if len(p.all) > 0 {
		return nil, p.err()
	}
	m.defaults()
	return m, nil
}

// check checks every value.
func (m *Matrix) check(p *problems, formats []Format) {
	if m.Schema != 1 {
		p.add("schema", "schema must be 1")
	}
	p.names("pythons", m.Pythons, true)
	p.names("platforms", m.Platforms, false)
	p.names("formats", m.Formats, true)
	known := map[string]Format{}
	for _, f := range formats {
		known[f.Name] = f
	}
	for _, f := range m.Formats {
		if k, ok := known[f]; !ok {
			p.add("formats", "unknown format %q, use one of %s", f, strings.Join(names(formats), ", "))
		} else if len(k.Platforms) == 0 {
			made := slices.DeleteFunc(slices.Clone(formats), func(f Format) bool { return len(f.Platforms) == 0 })
			p.add("formats", "%s cannot be made on this system, use one of %s", f, strings.Join(names(made), ", "))
		}
	}
	for _, name := range m.Platforms {
		if slices.ContainsFunc(formats, func(f Format) bool { return f.makes(name) }) {
			continue
		}
		if system, un := platform.Unsupported(name); un {
			p.add("platforms", "%q: nothing can be made for %s, on any machine; this one makes artifacts for %s", name, system, strings.Join(platforms(formats), ", "))
			continue
		}
		why := ""
		for _, f := range formats {
			if f.Other != nil && why == "" {
				why = " (" + f.Other(name).Error() + ")"
			}
		}
		p.add("platforms", "this machine cannot make artifacts for %q, only for %s%s", name, strings.Join(platforms(formats), ", "), why)
	}
	m.checkUnused(p, known)
	m.checkWindows(p)
	m.checkTargets(p)
	m.checkHTTPDs(p)
	m.checkExcludes(p)
	for name, table := range m.Options {
		f, ok := known[name]
		if !ok {
			p.add("options."+name, "unknown format %q, use one of %s", name, strings.Join(names(formats), ", "))
			continue
		}
		for key, value := range table {
			p.option(f, key, value)
		}
	}
}

// checkUnused finds settings that nothing would be made from. Without platforms, Cells
// checks this with the host's platform.
func (m *Matrix) checkUnused(p *problems, known map[string]Format) {
	if len(m.Platforms) == 0 {
		return
	}
	made := map[string]bool{}
	for _, name := range m.Formats {
		f, ok := known[name]
		for _, platform := range m.Platforms {
			if f.makes(platform) {
				made[name], made["for "+platform] = true, true
			}
		}
		if ok && len(f.Platforms) == 0 {
			continue // refused by check
		}
		if ok && !made[name] {
			p.add("formats", "%s is made only for %s, which is not among the platforms%s", name, strings.Join(f.Platforms, ", "), f.why(m.Platforms))
		}
	}
	for _, platform := range m.Platforms {
		if !made["for "+platform] && slices.ContainsFunc(slices.Collect(maps.Values(known)), func(f Format) bool { return f.makes(platform) }) {
			p.add("platforms", "none of the formats is made for %s", platform)
		}
	}
}

func (m *Matrix) checkWindows(p *problems) {
	if m.Windows == nil {
		return
	}
	if !slices.ContainsFunc(m.Platforms, IsWindows) {
		p.add("windows", "windows: nothing is made for Windows; platforms lacks windows/amd64")
	}
	for _, python := range slices.Sorted(maps.Keys(m.Windows.PythonSDK)) {
		if !slices.Contains(m.Pythons, python) {
			p.add("windows.python_sdk", "windows.python_sdk: %q is not among the pythons", python)
		}
	}
}

func (m *Matrix) checkTargets(p *problems) {
	for k, t := range m.Target {
		at := fmt.Sprintf("target[%d]", k)
		if !slices.Contains(m.Platforms, t.Platform) {
			p.add(at+".platform", "target: %q is not among the platforms", t.Platform)
		}
		if t.Sysroot != "" && len(t.Packages) > 0 {
			p.add(at+".packages", "target: packages are added only to a sysroot that is made, not to the directory %q", t.Sysroot)
		}
		if IsWindows(t.Platform) {
			p.add(at+".platform", "target: settings for %s are in the table windows", t.Platform)
		}
		if slices.ContainsFunc(m.Target[:k], func(o Target) bool { return o.Platform == t.Platform }) {
			p.add(at+".platform", "target: duplicate %q", t.Platform)
		}
	}
	for k, py := range m.Python {
		at := fmt.Sprintf("python[%d]", k)
		if !slices.Contains(m.Pythons, py.Version) {
			p.add(at+".version", "python: %q is not among the pythons", py.Version)
		}
		if py.SDK == "" {
			p.add(at, "python: sdk is missing, which names the headers and the library of Python %s", py.Version)
		}
		if py.Platform != "" && !slices.Contains(m.Platforms, py.Platform) {
			p.add(at+".platform", "python: %q is not among the platforms", py.Platform)
		}
		if IsWindows(py.Platform) {
			p.add(at+".platform", "python: SDKs for %s are in the table windows", py.Platform)
		}
		if slices.ContainsFunc(m.Python[:k], func(o Python) bool { return o.Version == py.Version && o.Platform == py.Platform }) {
			p.add(at+".version", "python: duplicate %q", strings.TrimSpace(py.Version+" "+py.Platform))
		}
	}
}

// IsWindows reports whether a platform is a Windows platform.
func IsWindows(platform string) bool { return strings.HasPrefix(platform, "windows/") }

// names checks a list of names.
func (p *problems) names(key string, list []string, needed bool) {
	if len(list) == 0 && needed {
		p.add(key, "%s is missing or empty", key)
	}
	for k, v := range list {
		if strings.TrimSpace(v) != v || v == "" || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			p.add(key, "%s: %q is not a value", key, v)
		}
		if slices.Contains(list[:k], v) {
			p.add(key, "%s: duplicate %q", key, v)
		}
	}
}

var label = regexp.MustCompile(`^[a-z0-9]+(\.[a-z0-9]+)*$`)

func (m *Matrix) checkHTTPDs(p *problems) {
	seen := map[string]bool{}
	for k, h := range m.HTTPDs {
		at := fmt.Sprintf("httpd[%d]", k)
		switch {
		case h.Name == "" && len(m.HTTPDs) > 1:
			p.add(at, "each of several httpds needs a name, which becomes part of artifact names")
		case h.Name != "" && !label.MatchString(h.Name):
			p.add(at+".name", "httpd: name %q must consist of lowercase letters and digits separated by dots", h.Name)
		case seen[h.Name]:
			p.add(at+".name", "httpd: duplicate name %q", h.Name)
		}
		seen[h.Name] = true
		if !slices.Contains([]string{"", "auto", "host", "bundled"}, h.Libraries) {
			p.add(at+".libraries", "httpd: libraries is %q, not auto, host or bundled", h.Libraries)
		}
		if !slices.Contains([]string{"", "auto", "none"}, h.Hardening) {
			p.add(at+".hardening", "httpd: hardening is %q, not auto or none", h.Hardening)
		}
		for _, f := range h.With {
			if slices.Contains(h.Without, f) {
				p.add(at+".without", "httpd: %q is both in with and in without", f)
			}
		}
	}
}

func (m *Matrix) checkExcludes(p *problems) {
	httpds := []string{}
	for _, h := range m.HTTPDs {
		httpds = append(httpds, h.Name)
	}
	for k, e := range m.Exclude {
		at := fmt.Sprintf("exclude[%d]", k)
		if e == (Exclude{}) {
			p.add(at, "exclude names nothing, which would leave everything out")
		}
		for _, c := range []struct {
			key, value string
			all        []string
		}{{"python", e.Python, m.Pythons}, {"httpd", e.HTTPD, httpds}, {"format", e.Format, m.Formats}, {"platform", e.Platform, m.Platforms}} {
			if c.value != "" && !slices.Contains(c.all, c.value) && !(c.key == "platform" && len(m.Platforms) == 0) {
				p.add(at+"."+c.key, "exclude: this file has no %s %q", c.key, c.value)
			}
		}
	}
}

// option checks one key of a format's table.
func (p *problems) option(f Format, key string, value any) {
	at := "options." + f.Name + "." + key
	kind, ok := f.Options[key]
	if !ok {
		known := make([]string, 0, len(f.Options))
		for k := range f.Options {
			known = append(known, k)
		}
		slices.Sort(known)
		p.add(at, "options.%s: unknown key %s, use one of %s", f.Name, key, orNone(known))
		return
	}
	good := false
	switch v := value.(type) {
	case string:
		good = kind == Text
	case int64:
		good = kind == Number
	case bool:
		good = kind == Flag
	case []any:
		good = kind == Strings && !slices.ContainsFunc(v, func(e any) bool { _, is := e.(string); return !is })
	}
	if !good {
		p.add(at, "options.%s: %s must be %s", f.Name, key, kind)
	} else if check := f.Check[key]; check != nil {
		if err := check(value); err != nil {
			p.add(at, "options.%s: %s: %v", f.Name, key, err)
		}
	}
}

func orNone(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

func names(formats []Format) []string {
	var all []string
	for _, f := range formats {
		all = append(all, f.Name)
	}
	return all
}

// platforms are all platforms that any format can be made for.
func platforms(formats []Format) []string {
	var all []string
	for _, f := range formats {
		for _, p := range f.Platforms {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

func (m *Matrix) defaults() {
	if len(m.HTTPDs) == 0 {
		m.HTTPDs = []HTTPD{{}}
	}
	for k := range m.HTTPDs {
		if m.HTTPDs[k].Name == "" {
			m.HTTPDs[k].Name = "default"
		}
	}
}

// Several reports whether names of artifacts must include the httpd.
func (m *Matrix) Several() bool { return len(m.HTTPDs) > 1 }

// Cells lists what to make, in the order of the file. A missing platform is the host.
// The error, of class Usage, means that nothing is left.
func (m *Matrix) Cells(host string, formats []Format) ([]Cell, error) {
	wanted := m.Platforms
	if len(wanted) == 0 {
		wanted = []string{host}
		for _, f := range formats {
			if slices.Contains(m.Formats, f.Name) && !slices.Contains(f.Platforms, host) {
				also := slices.DeleteFunc(wanted, func(p string) bool { return !slices.Contains(platforms(formats), p) })
				return nil, fault.New(fault.Usage, "write platforms = [\""+strings.Join(append(also, f.Platforms...), "\", \"")+"\"]",
					"%s:%d: %s is made only for %s, but platforms is missing, which means %s", m.name, max(m.line("formats"), 1), f.Name, strings.Join(f.Platforms, ", "), host)
			}
		}
	}
	var cells []Cell
	for k := range m.HTTPDs {
		for _, python := range m.Pythons {
			for _, platform := range wanted {
				for _, f := range formats {
					c := Cell{python, &m.HTTPDs[k], platform, f.Name}
					if slices.Contains(m.Formats, f.Name) && f.makes(platform) && !m.excluded(c) {
						cells = append(cells, c)
					}
				}
			}
		}
	}
	if len(cells) == 0 {
		return nil, fault.New(fault.Usage, "see its platforms, formats and exclude", "%s leaves nothing to make", m.name)
	}
	return cells, nil
}

func (m *Matrix) excluded(c Cell) bool {
	return slices.ContainsFunc(m.Exclude, func(e Exclude) bool { return e.matches(c) })
}

func (e Exclude) matches(c Cell) bool {
	return (e.Python == "" || e.Python == c.Python) && (e.HTTPD == "" || e.HTTPD == c.HTTPD.Name) &&
		(e.Platform == "" || e.Platform == c.Platform) && (e.Format == "" || e.Format == c.Format)
}

// line finds the line of a key, or of the table that it would be in.
func (m *Matrix) line(key string) int {
	for key != "" {
		if n, ok := m.lines[key]; ok {
			return n
		}
		cut := strings.LastIndexByte(key, '.')
		if cut < 0 {
			return 0
		}
		key = key[:cut]
	}
	return 0
}

var (
	header = regexp.MustCompile(`^\s*(\[\[?)\s*([^\]]+?)\s*\]`)
	assign = regexp.MustCompile(`^\s*([A-Za-z0-9_."'-]+)\s*=`)
)

// locate finds the line of each key; the library does not report it for keys that it
// decoded successfully. Tables of an array have an index: "httpd[0].name".
func locate(text string) map[string]int {
	lines := map[string]int{}
	table := ""
	count := map[string]int{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if h := header.FindStringSubmatch(line); h != nil {
			table = strings.ReplaceAll(h[2], `"`, "")
			if h[1] == "[[" {
				name := table
				table = fmt.Sprintf("%s[%d]", name, count[name])
				count[name]++
			}
			lines[table] = n
			table += "."
			continue
		}
		if a := assign.FindStringSubmatch(line); a != nil {
			if key := table + strings.Trim(a[1], `"'`); lines[key] == 0 {
				lines[key] = n
			}
		}
	}
	return lines
}
