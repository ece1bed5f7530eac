//go:build acceptance && unix

package express_test

import (
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/logwriter"
)

// The combined effects of several options; the rows of single options are in oracle.

// assembled is everything that httpd must read for a command line.
func (m *meant) assembled() []want {
	for _, r := range oracle {
		r.says(m, r.option)
		if r.define != "" && m.given(r.option) {
			m.define(r.define)
		}
	}
	m.fixed()
	m.sizes()
	m.application()
	m.logs()
	m.documentRoot()
	m.manual()
	m.aliases()
	m.proxies()
	m.services()
	m.virtualHosts()
	m.modules()
	m.defines()
	return slices.Concat(m.slots[""], m.slots["handler"], m.slots["locations"], m.slots["status"], m.slots["locations 2"], m.slots["redirects"], m.slots["proxies"], m.slots["hosts"])
}

// fixed is part of every configuration.
func (m *meant) fixed() {
	m.add("", d("ServerTokens", "ProductOnly"), d("ServerSignature", "Off"), d("WSGIPythonHome", m.env.home),
		d("HostnameLookups", "Off"), d("MaxMemFree", 64), d("AccessFileName", ".htaccess"), d("WSGIPassAuthorization", "On"),
		section("Directory", "/", d("AllowOverride", "None"), d("Require", "all", "denied")))
	if m.given("server-metrics") || m.given("server-status") {
		m.add("", d("ExtendedStatus", "On"))
		m.define("MOD_WSGI_SERVER_METRICS")
	}
	if m.given("server-metrics") {
		m.param("server-metrics", "On")
	}
}

func (m *meant) python() string { // the directories of --python-path
	var dirs []string
	for _, v := range m.all("python-path") {
		dir := v[0]
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(m.dir, dir)
		}
		dirs = append(dirs, dir)
	}
	return strings.Join(dirs, ":")
}

// application is the process group that runs the application, and the handler.
func (m *meant) application() {
	group, inside := m.text("process-group", m.address()), "%{GLOBAL}"
	if m.daemon() {
		if inside = group; group == "%{GLOBAL}" {
			panic("not a separate group")
		}
		m.add("", d("WSGIRestrictEmbedded", onOrOff(!m.given("host-access-script") && !m.given("auth-user-script"))))
		m.param("display-name", "%{GROUP}")
		if path := m.python(); path != "" {
			m.param("python-path", path)
		}
		slices.Sort(m.params)
		w := d("WSGIDaemonProcess", group)
		for _, p := range m.params {
			w.args = append(w.args, is(p))
		}
		m.add("", w)
		if m.mpm() != "prefork" && !m.given("host-access-script") && !m.given("auth-user-script") {
			m.add("", d("ThreadStackSize", 262144))
		}
	} else {
		m.add("", d("WSGIPythonPath", strings.TrimSuffix(m.path("working-directory", m.dir)+":"+m.python(), ":")))
	}
	script, interpreter := m.root()+"/handler.wsgi", m.text("application-group", "%{GLOBAL}")
	m.add("", d("WSGIHandlerScript", "wsgi-handler", script, fixedGroup(inside), "application-group="+interpreter))
	if interpreter == "%{GLOBAL}" || !strings.Contains(interpreter, "%{") {
		m.add("handler", d("WSGIImportScript", script, fixedGroup(inside), "application-group="+interpreter))
		m.define("MOD_WSGI_IMPORT_HANDLER_SCRIPT")
	}
	seen := map[string]bool{}
	for k, v := range m.all("add-handler") {
		if k == 0 {
			m.add("", d("WSGIHandlerScript", "wsgi-resource", m.root()+"/resource.wsgi", fixedGroup(inside), "application-group=%{GLOBAL}"))
		}
		if extension := "." + strings.TrimPrefix(strings.ToLower(v[0]), "."); !seen[extension] {
			seen[extension] = true
			m.add("", section("FilesMatch", exactly("(?i)", extension, "$"), d("SetHandler", "wsgi-resource")))
		}
	}
}

// sizes are the numbers of the MPM.
func (m *meant) sizes() {
	p, t := max(1, m.number("processes", 1)), m.number("threads", 5)
	keep := map[bool]int{false: 500, true: 100}[m.given("embedded-mode")]
	if m.mpm() == "event" {
		keep = 0
	}
	m.add("", d("MaxKeepAliveRequests", keep))
	names := []string{"ServerLimit", "StartServers", "MinSpareServers", "MaxSpareServers", "MaxRequestWorkers"}
	if m.mpm() != "prefork" {
		names = []string{"ServerLimit", "StartServers", "MinSpareThreads", "MaxSpareThreads", "MaxRequestWorkers", "ThreadLimit", "ThreadsPerChild"}
	}
	all := m.numbers(p, t)
	for k, name := range names {
		m.add("", d(name, all[k]))
	}
	if m.mpm() == "event" && !m.debug() {
		m.add("", d("AsyncRequestWorkerFactor", m.idlePerThread(all[4], all[6])))
	}
}

// dumpMachine is what the launcher takes for this machine. Half of its memory suffices for
// 34952 connections of 60 KiB.
var dumpMachine = config.Machine{Memory: 4 << 30, OpenFiles: 1 << 20}

// idlePerThread is the number of idle connections for each idle thread.
func (m *meant) idlePerThread(threads, perProcess int) int {
	if m.given("max-connections") {
		return max(1, m.number("max-connections", 0)/threads-1)
	}
	if threads == 2400 && perProcess == 600 {
		threads = 1200 // that are idle
	}
	return max(2, min(40*max(1, 2400/threads), 34952/threads-1, (1048576-64)/perProcess-2))
}

func (m *meant) numbers(p, t int) []int {
	prefork := m.mpm() == "prefork"
	switch {
	case m.debug():
		return []int{1, 1, 1, 1, 1, 1, 1}
	case m.given("embedded-mode") && prefork:
		return []int{p * t, p * t, p * t, p * t, p * t}
	case m.given("embedded-mode"):
		return []int{p, p, p * t, p*t + t, p * t, t, t}
	}
	clients := 10 + max(10, int(math.Floor(1.5*float64(p*t))))
	if m.given("max-clients") {
		clients = max(p*t, m.number("max-clients", 0))
	}
	first := m.fraction("initial-workers", map[bool]float64{true: 0.05, false: 0.2}[prefork])
	low := m.fraction("minimum-spare-workers", first)
	high := m.fraction("maximum-spare-workers", map[bool]float64{true: 0.1, false: 0.6}[prefork])
	part := func(f float64, n int) int { return int(math.Floor(f * float64(n))) }
	if prefork {
		return []int{clients, max(1, part(first, clients)), max(1, part(low, clients)), max(1, part(high, clients)), clients}
	}
	chosen := m.given("max-clients") || m.given("initial-workers") || m.given("minimum-spare-workers") || m.given("maximum-spare-workers")
	switch {
	case chosen || clients >= 2400:
	case m.mpm() != "event" || !m.env.parks():
		return []int{2, 2, 1200, 3600, 2400, 1200, 1200}
	case m.given("max-connections"):
		return []int{2, 2, 600, 3000, 1200, 600, 600}
	default:
		return []int{4, 2, 600, 3000, 2400, 600, 600}
	}
	per := 10
	if clients > 20 {
		per = clients / (clients/20 + 1)
	}
	servers := int(math.Ceil(float64(clients) / float64(per)))
	least := max(per, part(low, servers)*per)
	return []int{servers, max(1, part(first, servers)), least, max(per, part(high, servers)*per, least+per), servers * per, per, per}
}

// logs are the error log and the access log.
func (m *meant) logs() {
	m.add("", d("ErrorLog", m.log(m.text("error-log-name", "error_log"), "stderr", m.errorForm())))
	if !m.given("access-log") {
		return
	}
	format, form := m.text("access-log-format", "common"), ""
	common := `%h %l %u %t "%r" %>s %b`
	switch format {
	case "common":
		format = common
	case "combined":
		format = common + ` "%{Referer}i" "%{User-agent}i"`
	case "json":
		format, form = logwriter.AccessFormat, "access-json"
		m.load("unique_id")
	case "terminal":
		format, form = logwriter.AccessFormat, "access-terminal"
	}
	terminal := m.given("log-to-terminal") && !m.given("log-directory")
	if form == "" && (terminal && !m.env.opens["/dev/stdout"] || !terminal && m.given("rotate-logs") && !m.given("rotatelogs-executable")) {
		format, form = "\t!%{pid}P.%{tid}P\t"+format+"\t$%{pid}P.%{tid}P", "access-text"
	}
	m.add("", d("CustomLog", m.log(m.text("access-log-name", "access_log"), "stdout", form), format))
	m.load("log_config")
}

// errorForm is what the launcher makes of the lines of error logs.
func (m *meant) errorForm() string {
	switch {
	case m.text("error-log-format", "") == "json":
		return "error-json"
	case m.text("error-log-format", "") == "terminal":
		return "error-terminal"
	case m.given("error-log-utf8"):
		return "utf-8"
	}
	return ""
}

// log returns the target of a log; stream is "" for a log that never goes to the
// terminal, which is an error log.
func (m *meant) log(name, stream, form string) arg {
	terminal := m.given("log-to-terminal") && !m.given("log-directory")
	file := filepath.Join(m.path("log-directory", m.root()), name)
	rotates := m.given("rotate-logs") && !terminal
	program := []string{m.env.launcher, "write-log"}
	with := func(when bool, name, value string) {
		if when {
			program = append(program, name+"="+value)
		}
	}
	to := file
	if terminal && stream != "" {
		if to = stream; form == "" && m.env.opens["/dev/"+stream] {
			return is("/dev/" + stream)
		}
	} else if !rotates && form == "" {
		return is(file)
	}
	size, every := m.number("max-log-size", 5), m.text("rotate-interval", "")
	if every != "" && !m.given("max-log-size") {
		size = 0
	}
	if rotates && m.given("rotatelogs-executable") {
		argv := []string{m.named("rotatelogs-executable", "")}
		pattern := strings.ReplaceAll(file, "%", "%%") + ".%Y-%m-%d-%H_%M_%S"
		if seconds := map[string]string{"daily": "86400", "hourly": "3600", "90": "90"}[every]; seconds != "" {
			argv = append(argv, "-l", pattern, seconds)
		} else {
			argv = append(argv, pattern)
		}
		if size > 0 {
			argv = append(argv, strconv.Itoa(size)+"M")
		}
		return pipe(argv...)
	}
	with(true, "to", to)
	with(form != "", "form", form)
	with(stream != "stdout", "log", "error")
	with(rotates && size > 0, "size", strconv.Itoa(size<<20))
	with(rotates && every != "", "every", every)
	with(rotates && m.number("max-log-files", 0) > 0, "keep", m.text("max-log-files", ""))
	with(true, "root", m.root())
	return pipe(program...)
}

func (m *meant) overrides() want {
	var words []arg
	for _, v := range m.all("allow-override") {
		words = append(words, is(v[0]))
	}
	if words == nil {
		words = []arg{is("None")}
	}
	return d("AllowOverride", words)
}

// links are the options for following symbolic links below a directory.
func (m *meant) links() []want {
	switch strings.ToLower(m.text("follow-symlinks", "none")) {
	case "all":
		return nil
	case "owner":
		return []want{d("Options", "-FollowSymLinks", "+SymLinksIfOwnerMatch")}
	}
	return []want{d("Options", "-FollowSymLinks")}
}

// documentRoot is the section for the document root: files first, then the application.
func (m *meant) documentRoot() {
	m.add("docs", m.overrides())
	if m.given("directory-index") {
		m.add("docs", d("DirectoryIndex", literals(m.text("directory-index", ""))))
	}
	m.add("docs", d("RewriteEngine", "On"), d("RewriteOptions", "InheritDownBefore"))
	if m.given("rewrite-rules") {
		m.add("docs", d("Include", included(m.named("rewrite-rules", ""))), d("SetEnv", "INCLUDED", "yes"))
	}
	mount := filepath.Clean("/" + m.text("mount-point", "/"))
	if m.text("application-type", "script") != "static" {
		if mount != "/" {
			m.add("docs", d("RewriteCond", "%{REQUEST_URI}", exactly("^", mount, "$")), d("RewriteRule", "^", "%{REQUEST_URI}/", "[R=301,L]"))
		}
		m.add("docs", d("RewriteCond", "%{REQUEST_FILENAME}", "!-f"))
		if m.given("directory-index") {
			m.add("docs", d("RewriteCond", "%{REQUEST_FILENAME}", "!-d"))
		}
		if m.given("server-status") {
			m.add("docs", d("RewriteCond", "%{REQUEST_URI}", "!=/server-status"))
		}
		if mount != "/" {
			m.add("docs", d("RewriteCond", "%{REQUEST_URI}", exactly("^", mount+"/", "")))
		}
		m.add("docs", d("RewriteRule", "^", "-", "[H=wsgi-handler]"))
	}
	m.add("docs", d("Require", "all", "granted"))
	// The order of Options counts: the additions of --directory-listing and --with-cgi
	// come last.
	m.add("", m.sending(m.docs(), append(m.links(), m.slots["docs"]...)...))
	if strings.EqualFold(m.text("follow-symlinks", "none"), "none") {
		// mod_rewrite needs it; links were checked before.
		m.add("", section("Location", "/", d("Options", "+FollowSymLinks")))
	}
}

// manual is the launcher's own documentation, which the welcome page links to.
func (m *meant) manual() {
	welcome := m.entry() == "" && m.text("application-type", "script") != "static"
	if m.given("enable-docs") || welcome {
		m.add("", d("Alias", "/__wsgi__/docs", m.root()+"/docs"),
			section("Directory", oneFile(m.root()+"/docs"), d("DirectoryIndex", "index.html"), d("Require", "all", "granted")))
	}
}

// aliases are files and directories elsewhere, the longest of URLs with the same
// beginning first.
func (m *meant) aliases() {
	list := m.all("url-alias")
	slices.SortStableFunc(list, func(a, b []string) int { return strings.Compare(rooted(b[0]), rooted(a[0])) })
	for _, v := range list {
		url, target := rooted(v[0]), m.abs(v[1])
		if isFile(target) {
			access := map[bool]string{false: "granted", true: "denied"}[holds(m.private().files, target)]
			target = m.unlinked(target)
			m.add("", d("Alias", url, target+ending(v[1])),
				section("Directory", oneFile(filepath.Dir(target)), section("Files", oneFile(filepath.Base(target)), d("Require", "all", access))))
			continue
		}
		shown := strings.TrimSuffix(target, "/") + ending(v[1]+ending(url))
		if shown == "" {
			shown = "/"
		}
		body := append(m.links(), m.overrides(), d("RewriteEngine", "On"), d("Require", "all", "granted"))
		m.add("", d("Alias", url, shown))
		if parts := m.absent[target]; len(parts) > 0 { // 404, not 403, until it is created
			m.add("", section("DirectoryMatch", "^(?:"+strings.Join(parts, "|")+")/?$", d("Require", "all", "granted")))
		}
		m.add("", m.sending(target, body...))
	}
}

// look notes which targets of aliases do not exist while the launcher runs, with the
// patterns of the missing part of each path: other command lines create directories at
// any time.
func (m *meant) look() {
	m.absent = map[string][]string{}
	for _, v := range m.all("url-alias") {
		target := m.abs(v[1])
		m.absent[target] = nil
		for up := target; ; up = filepath.Dir(up) {
			if _, err := os.Stat(up); err == nil {
				break
			}
			m.absent[target] = append(m.absent[target], strings.ReplaceAll(regexp.QuoteMeta(up), `"`, `\x22`))
		}
	}
}

// address is the address that the server listens on, as in the name of its group.
func (m *meant) address() string {
	host := strings.Trim(m.text("host", "localhost"), "[]")
	return host + ":" + strconv.Itoa(m.port())
}

func (m *meant) listen(port int) string {
	host := strings.Trim(m.text("host", ""), "[]")
	if host == "" {
		return strconv.Itoa(port)
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// globalName is the name of the server itself, never an IPv6 address.
func (m *meant) globalName() string {
	host := strings.Trim(m.text("host", "localhost"), "[]")
	if strings.Contains(host, ":") {
		return "localhost"
	}
	return host
}
