//go:build acceptance && unix

package express_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The oracle for files that are not sent, as described in the section of that name in
// docs/reference/mod_wsgi-express.md. The launcher is free in the number of sections
// and in their expressions; the comparison is about their effect. Each expression is
// parsed here, in the form for httpd's file system paths, and applied to paths that
// must be refused and to others that must not be. TestOwnSources and
// TestServerRootInside show, with requests, that httpd itself refuses them.

// sent is a directory that files are sent from: paths below it that are refused, and
// others that are not.
type sent struct {
	dir              string
	refused, allowed []string
}

// private are the locations of files that are never sent.
type private struct{ code, files, logs, dirs []string }

// private lists the application's files and those of the server, by its options.
func (m *meant) private() (p private) {
	static := m.text("application-type", "script") == "static"
	add := func(list *[]string, options ...string) {
		for _, o := range options {
			for _, v := range m.all(o) {
				*list = append(*list, m.abs(v[len(v)-1]))
			}
		}
	}
	var scripts []string
	if m.entry() != "" && !static {
		scripts = append(scripts, m.abs(m.entry()))
	}
	add(&scripts, "host-access-script", "auth-user-script", "auth-group-script", "service-script", "add-handler")
	p.code, p.files = slices.Clone(scripts), slices.Clone(scripts)
	if !static {
		p.code = append(p.code, m.path("working-directory", m.dir))
		add(&p.code, "python-path")
	}
	add(&p.files, "rewrite-rules", "envvars-script", "ssl-ca-certificate-file", "ssl-certificate-chain-file", "acme-ca", "acme-external-account", "include-file")
	if m.given("ssl-certificate") {
		stem := m.text("ssl-certificate", "")
		p.files = append(p.files, m.abs(stem+".crt"), m.abs(stem+".key"))
	} else {
		add(&p.files, "ssl-certificate-file", "ssl-certificate-key-file")
	}
	if m.given("pid-file") {
		p.files = append(p.files, m.path("pid-file", ""))
	}
	if !m.given("log-to-terminal") || m.given("log-directory") {
		logs := m.path("log-directory", m.root())
		p.logs = append(p.logs, filepath.Join(logs, m.text("error-log-name", "error_log")))
		if m.given("access-log") {
			p.logs = append(p.logs, filepath.Join(logs, m.text("access-log-name", "access_log")))
		}
		if m.given("startup-log") {
			p.logs = append(p.logs, filepath.Join(logs, m.text("startup-log-name", "startup_log")))
		}
		for _, v := range m.all("service-log-file") {
			p.logs = append(p.logs, filepath.Join(logs, v[1]))
		}
	}
	p.dirs = []string{m.root(), m.env.home}
	if m.given("python-eggs") {
		p.dirs = append(p.dirs, m.path("python-eggs", ""))
	}
	return p
}

// relative returns a path relative to a directory, "." for the directory itself.
func relative(dir, path string) (string, bool) {
	rel, err := filepath.Rel(dir, path)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// holds reports whether a file is one of several, even under another name.
func holds(files []string, name string) bool {
	return slices.ContainsFunc(files, func(f string) bool { return f == name || real(f) != "" && real(f) == real(name) })
}

// real is the name of a file without links, or "".
func real(name string) string {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return ""
	}
	return name
}

// unlinked is a file with a separate URL as httpd can send it: links below a directory
// that files are sent from are not followed.
func (m *meant) unlinked(file string) string {
	for _, dir := range m.served() {
		if rel, ok := relative(dir, file); ok && rel != "." && real(file) != filepath.Join(real(dir), rel) {
			return real(file)
		}
	}
	return file
}

// served are the directories that files are sent from.
func (m *meant) served() []string {
	all := []string{m.docs()}
	for _, v := range m.all("url-alias") {
		if dir := m.abs(v[1]); !isFile(dir) {
			all = append(all, dir)
		}
	}
	return all
}

// sending is the section of a directory that files are sent from.
func (m *meant) sending(dir string, body ...want) want {
	w := section("Directory", oneFile(dir), body...)
	p := m.private()
	s := &sent{
		dir: dir, refused: []string{".git/config", "sub/.htaccess", ".well-known/.secret", ".wellknown/x"},
		allowed: []string{"index.html", "img/logo.png", "sub/page.html", ".well-known/acme-challenge/x", "requirements.txt", "db.sqlite3", "apply.js"},
	}
	below := func(list []string, names ...string) {
		for _, path := range list {
			if rel, ok := relative(dir, path); ok && rel != "." {
				for _, name := range names {
					if inner := rel + name; !m.elsewhere(dir, filepath.Join(dir, inner)) {
						s.refused = append(s.refused, inner)
					}
				}
			}
		}
	}
	below(p.files, "", "~", ".bak", ".orig")
	below(p.logs, "", ".1", ".2026-01-02-03_04_05")
	below(p.dirs, "", "/httpd.conf", "/a/b.txt")
	sources := []string{"zz.py", "zz/yy.wsgi", "zz.pyc", "zz.py~", "zz.py.bak", "ZZ.PY", "zz/__pycache__/x.bin"}
	if slices.ContainsFunc(p.code, func(path string) bool { _, ok := relative(dir, path); return ok }) {
		for _, name := range sources {
			if m.executed(name) {
				s.allowed = append(s.allowed, name)
			} else {
				s.refused = append(s.refused, name)
			}
		}
	} else {
		s.allowed = append(s.allowed, sources...)
	}
	for _, inner := range m.served() { // has separate rules
		if rel, ok := relative(dir, inner); ok && rel != "." {
			s.allowed = append(s.allowed, rel+"/zz.py", rel+"/.x")
		}
	}
	w.sent = s
	return w
}

// executed reports whether a script of --add-handler handles a file.
func (m *meant) executed(name string) bool {
	return slices.ContainsFunc(m.all("add-handler"), func(v []string) bool {
		return strings.HasSuffix(strings.ToLower(name), "."+strings.TrimPrefix(strings.ToLower(v[0]), "."))
	})
}

// elsewhere reports whether something in a directory that files are sent from has
// separate rules, because an option names it or a directory in between.
func (m *meant) elsewhere(dir, path string) bool {
	inner := []string{m.docs(), m.root() + "/docs"}
	for _, v := range m.all("url-alias") {
		inner = append(inner, m.abs(v[1]))
	}
	files := m.private().files
	return slices.ContainsFunc(inner, func(other string) bool {
		if _, ok := relative(other, path); !ok || holds(files, other) {
			return false
		}
		rel, ok := relative(dir, other)
		return ok && rel != "."
	})
}

// judge removes the sections that refuse files from those of a directory, and returns
// their errors.
func (s *sent) judge(nodes []*node) (rest []*node, complaints []string) {
	var rules []*refusal
	for _, n := range nodes {
		if !strings.EqualFold(n.name, "<If") {
			rest = append(rest, n)
			continue
		}
		complaints = append(complaints, compare(n.name, []want{nobody}, n.body)...)
		words := n.words()
		if len(words) != 1 {
			complaints = append(complaints, fmt.Sprintf("%v has %d words", n, len(words)))
			continue
		}
		r, err := readRefusal(words[0])
		if err != nil {
			complaints = append(complaints, fmt.Sprintf("%v: %v", n, err))
			continue
		}
		rules = append(rules, r)
	}
	dir := strings.TrimSuffix(s.dir, "/") + "/"
	ask := func(rel string) bool {
		return slices.ContainsFunc(rules, func(r *refusal) bool { return r.refuses(dir + rel) })
	}
	for _, rel := range s.refused {
		if !ask(rel) {
			complaints = append(complaints, fmt.Sprintf("%q of %q is not refused by %v", rel, s.dir, nodes))
		}
	}
	for _, rel := range s.allowed {
		if ask(rel) {
			complaints = append(complaints, fmt.Sprintf("%q of %q is refused by %v", rel, s.dir, nodes))
		}
	}
	for _, other := range []string{"/elsewhere/zz.py", strings.TrimSuffix(dir, "/") + "x/.git"} {
		if slices.ContainsFunc(rules, func(r *refusal) bool { return r.refuses(other) }) {
			complaints = append(complaints, fmt.Sprintf("%q is refused by the section of %q", other, s.dir))
		}
	}
	return rest, complaints
}

// refusal is the expression of a section that refuses files: the names that it covers,
// except those that start with one of except or end in one of executed.
type refusal struct {
	names, except, executed *regexp.Regexp
	dots                    bool // names with a leading dot, except .well-known
}

// Go's regular expressions lack (?!...), so the three locations where one may occur are
// parsed here.
const wellKnown = `(?!well-known(?:/|$))`

// readRefusal reads an expression such as
// %{REQUEST_FILENAME} =~ m#^/directory/(?:names)$#i && -e %{REQUEST_FILENAME}
func readRefusal(expression string) (*refusal, error) {
	all, ok1 := strings.CutPrefix(expression, "%{REQUEST_FILENAME} =~ m#^")
	all, ok2 := strings.CutSuffix(all, "$#i && -e %{REQUEST_FILENAME}")
	if !ok1 || !ok2 || strings.ContainsAny(all, "#\n") {
		return nil, errors.New("it does not test the name of an existing file")
	}
	r := &refusal{}
	dotted := `(?:(?:.*/)?\.` + wellKnown + `.*)`
	if r.dots = strings.HasSuffix(all, dotted); r.dots {
		all = strings.TrimSuffix(all, dotted) + `(?P<dotted>.*)`
	}
	for {
		start := strings.Index(all, "(?!")
		if start < 0 {
			break
		}
		end := closing(all, start)
		if end < 0 {
			return nil, errors.New("a parenthesis is not closed")
		}
		inner, err := regexp.Compile("(?i)^(?:" + all[start+3:end] + ")")
		switch {
		case err != nil:
			return nil, err
		case strings.HasPrefix(all[start:], "(?!.*") && r.executed == nil:
			r.executed = inner
		case strings.HasPrefix(all[start:], "(?!(?-i:") && r.except == nil && r.executed == nil:
			r.except = inner
		default:
			return nil, fmt.Errorf("unexpected %s", all[start:end+1])
		}
		all = all[:start] + map[bool]string{true: "(?P<executed>)", false: "(?P<rest>)"}[r.executed != nil] + all[end+1:]
	}
	var err error
	r.names, err = regexp.Compile("(?i)^" + all + "$")
	return r, err
}

// closing returns the end of a group.
func closing(s string, start int) int {
	depth := 0
	for k := start; k < len(s); k++ {
		switch s[k] {
		case '\\':
			k++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return k
			}
		}
	}
	return -1
}

func (r *refusal) refuses(path string) bool {
	found := r.names.FindStringSubmatchIndex(path)
	if found == nil {
		return false
	}
	at := func(group string) string { return path[found[2*r.names.SubexpIndex(group)]:] }
	if r.except != nil && r.except.MatchString(at("rest")) || r.executed != nil && r.executed.MatchString(at("executed")) {
		return false
	}
	if !r.dots {
		return true
	}
	// Any of the dots at the beginning of a name may match.
	return slices.ContainsFunc(strings.Split(at("dotted"), "/"), func(name string) bool {
		return strings.HasPrefix(name, ".") && !strings.EqualFold(name, ".well-known")
	})
}

// networks are the addresses of --trust-proxy as mod_wsgi reads them: in lower case,
// and without a mask of 0 bits.
func networks(v string) []want {
	switch v = strings.ToLower(v); v {
	case "0.0.0.0/0":
		return []want{d("WSGITrustedProxies", "0.0.0.0/1"), d("WSGITrustedProxies", "128.0.0.0/1")}
	case "::/0":
		return []want{d("WSGITrustedProxies", "::/1"), d("WSGITrustedProxies", "8000::/1")}
	}
	return []want{d("WSGITrustedProxies", v)}
}

// fromProxies are headers by which a proxy names its client. Further names may occur.
var fromProxies = strings.Fields("Forwarded Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Forwarded-Server X-Forwarded-Scheme " +
	"X-Forwarded-SSL X-Real-IP X-Client-IP X-Host X-Scheme X-HTTPS X-Script-Name X-Forwarded-Script-Name X-Forwarded-HTTPS CF-Connecting-IP True-Client-IP X-Cluster-Client-IP")

// thisMachine is the condition for a request from this machine itself.
func thisMachine() []want {
	return []want{d("Require", "local"), d("Require", "expr", unforwarded())}
}

// unforwarded is the condition that a request has no header of a proxy.
func unforwarded() arg {
	return arg{"without ", "the headers of proxies", func(w string) (string, error) {
		var names []string
		for clause := range strings.SplitSeq(w, " && ") {
			name, ok1 := strings.CutPrefix(clause, "-z req_novary('")
			name, ok2 := strings.CutSuffix(name, "')")
			if !ok1 || !ok2 || strings.ContainsAny(name, "' ") {
				return "", fmt.Errorf("unexpected %s", clause)
			}
			names = append(names, name)
		}
		for _, name := range fromProxies {
			if !slices.Contains(names, name) {
				return "", fmt.Errorf("a request with %s is not refused", name)
			}
		}
		return "the headers of proxies", nil
	}}
}

// statusAccess is the access to /server-status: from this machine, by a name that only
// this machine has.
func (m *meant) statusAccess() want {
	host := strings.Trim(m.text("host", "localhost"), "[]")
	yes := []string{"localhost", "LOCALHOST:80", "127.0.0.1", "127.1.2.3:8000", "[::1]", "[::1]:8000", host, host + ":8000"}
	if strings.Contains(host, ":") {
		yes = append(yes[:6], "["+host+"]", "["+host+"]:1")
	}
	no := []string{"", "a.example", "localhost.example", "xlocalhost", "127.0.0.1.example", "127-0-0-1", "_wsgi_", "10.0.0.1", "localhost:x", "[::1].example", "[::2]"}
	named := arg{"names ", "of this machine", func(w string) (string, error) {
		core, ok1 := strings.CutPrefix(w, "%{HTTP_HOST} =~ m#")
		core, ok2 := strings.CutSuffix(core, "#i")
		if !ok1 || !ok2 || strings.Contains(core, "#") {
			return "", errors.New("it does not test the requested name")
		}
		r, err := regexp.Compile("(?i)" + core)
		if err != nil {
			return "", err
		}
		for _, name := range yes {
			if !r.MatchString(name) {
				return "", fmt.Errorf("%s is refused", name)
			}
		}
		for _, name := range no {
			if r.MatchString(name) {
				return "", fmt.Errorf("%q is let in", name)
			}
		}
		return "of this machine", nil
	}}
	return section("Location", "/server-status", want{name: "<RequireAll", body: append(thisMachine(), d("Require", "expr", named))})
}

// refused returns the reason why a command line must be refused, or "": these mistakes
// would leave a server open, or lose what was requested.
func (m *meant) refused() string {
	for _, u := range m.uses {
		if holdsUnwritable(u) {
			return "the value of --" + u.option
		}
	}
	if strings.HasPrefix(m.text("process-group", ""), "%{") {
		return "a group that each request chooses"
	}
	if m.given("trust-proxy-header") && !m.given("trust-proxy") {
		return "a header that is trusted from any client"
	}
	if slices.Contains(m.served(), m.root()) {
		return "the server root as a directory for clients"
	}
	passed := map[string]int{}
	for _, v := range m.all("proxy-virtual-host") {
		passed[strings.ToLower(hostName(v[0]))]++
	}
	own := m.all("server-alias")
	if m.given("server-name") {
		own = append(own, []string{m.text("server-name", "")})
	}
	for _, v := range own {
		if name := strings.ToLower(hostName(v[0])); passed[name] > 0 {
			passed[name]++
		}
	}
	for _, v := range slices.Concat(own, m.all("proxy-virtual-host")) {
		name := strings.ToLower(hostName(v[0]))
		switch {
		case strings.HasPrefix(name, "_wsgi_"):
			return "the reserved name " + v[0]
		case strings.Contains(name, ":"):
			return "the name " + v[0] + ", for which httpd has no virtual hosts"
		case passed[name] > 1:
			return "two answers for the name " + name
		}
	}
	return ""
}
