//go:build acceptance && unix

package express_test

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Virtual hosts, proxies and services, for the oracle.

// originOf is a URL without a path.
func originOf(scheme, name string, port int) string {
	if port == map[string]int{"http": 80, "https": 443}[scheme] {
		return scheme + "://" + name
	}
	return scheme + "://" + name + ":" + strconv.Itoa(port)
}

func virtualHost(port int, body ...want) want {
	return section("VirtualHost", "*:"+strconv.Itoa(port), body...)
}

// nobody is the content of a section that refuses all requests.
var nobody = d("Require", "all", "denied")

// hostName is a name without its trailing dot, as httpd compares names.
func hostName(name string) string { return strings.TrimSuffix(name, ".") }

// parent is the server's name without a leading www., or "".
func (m *meant) parent() string {
	if name := hostName(m.text("server-name", "")); len(name) > 4 && strings.EqualFold(name[:4], "www.") {
		return name[4:]
	}
	return ""
}

// virtualHosts are listed by scheme and in this order, because httpd uses the first one
// that has a name: one for names that no other has; those of services with a log, which
// no request may reach; names that are passed on; the server's own; and for www.NAME
// one that redirects from NAME.
func (m *meant) virtualHosts() {
	if m.parent() != "" {
		m.define("MOD_WSGI_REDIRECT_WWW")
	}
	if !m.given("server-name") && !m.given("proxy-virtual-host") && !m.given("service-log-file") {
		return
	}
	for _, scheme := range []string{"http", "https"} {
		if scheme == "http" || m.given("https-port") {
			m.hostsOf(scheme)
		}
	}
}

func (m *meant) hostsOf(scheme string) {
	add := func(does string, body ...want) {
		port := m.port()
		if scheme == "https" {
			port, body = m.number("https-port", 0), append(body, m.encrypted()...)
		}
		body = append(body, m.ofIncluded(does)...)
		m.add("hosts", virtualHost(port, body...))
	}
	name := hostName(m.text("server-name", ""))
	if name == "" {
		add("serves") // the main server answers every name
	} else {
		does := "refuses"
		if m.given("allow-localhost") {
			does = "serves this machine"
		}
		add(does, m.unknown(scheme, name)...)
	}
	if scheme == "http" {
		for _, body := range m.logged {
			add("refuses", body...)
		}
	}
	named := "serves"
	if scheme == "http" && m.given("https-only") {
		named = "redirects"
	}
	for _, v := range m.all("proxy-virtual-host") {
		add(named, m.passedOn(scheme, hostName(v[0]), strings.TrimRight(v[1], "/")+"/")...)
	}
	if name == "" {
		return
	}
	add(named, m.own(scheme, name)...)
	if parent := m.parent(); parent != "" {
		to, port := scheme, m.port()
		if scheme == "https" || m.given("https-only") {
			to, port = "https", m.number("https-port", 0)
		}
		add("redirects", append([]want{d("ServerName", parent)}, m.leads(to, name, port)...)...)
	}
}

// ofIncluded is the part of a virtual host that comes from included files: lines that
// httpd does not inherit and, if the host serves, their rules. Otherwise the refusal
// comes before anything they could answer.
func (m *meant) ofIncluded(does string) []want {
	if !m.given("include-file") {
		return nil
	}
	all := []want{d("IncludeOptional", included(filepath.Join(m.root(), "hosts.conf")))}
	if strings.HasPrefix(does, "serves this") || does == "refuses" {
		all = append(all, d("RewriteEngine", "On"))
		if does != "refuses" {
			all = append(all, d("RewriteCond", "expr", "-R '127.0.0.0/8' || -R '::1/128'", "[OR]"), d("RewriteCond", "%{REMOTE_ADDR}#%{SERVER_ADDR}", `^([^#]*)#\1$`),
				d("RewriteCond", "expr", unforwarded()), d("RewriteRule", "^", "-", "[S=1]"))
		}
		if m.given("server-status") {
			all = append(all, d("RewriteCond", "%{REQUEST_URI}", "!^/server-status(?:/|$)"))
		}
		all = append(all, d("RewriteRule", "^", "-", "[F]"))
	}
	if strings.HasPrefix(does, "serves") {
		all = append(all, d("RewriteOptions", "Inherit"))
	}
	return all
}

// leads redirects everything, including what is passed on elsewhere.
func (m *meant) leads(scheme, name string, port int) []want {
	return append(m.kept(), d("Redirect", "permanent", "/", originOf(scheme, name, port)+"/"))
}

// kept keeps --proxy-mount-point from passing requests on.
func (m *meant) kept() []want {
	if !m.given("proxy-mount-point") && !m.passesDashboard() {
		return nil
	}
	return []want{section("Location", "/", d("ProxyPass", "!"))}
}

// unknown answers names that no other virtual host has: it refuses them, or gives this
// machine what the server's own name answers.
func (m *meant) unknown(scheme, name string) []want {
	body := []want{d("ServerName", "_wsgi_")}
	if !m.given("allow-localhost") {
		body = append(body, section("Location", "/", nobody))
	} else {
		reserved := d("Require", "expr", "! (%{HTTP_HOST} =~ m#^_wsgi_#i)")
		body = append(body, section("Location", "/", d("AuthMerging", "And"), want{name: "<RequireAll", body: append(thisMachine(), reserved)}))
		if scheme == "http" && m.given("https-only") {
			urls := map[bool]string{false: "^/", true: "^/(?!server-status(?:/|$))"}[m.given("server-status")]
			body = append(append(body, m.kept()...),
				section("LocationMatch", urls, d("Redirect", "permanent", "/", originOf("https", name, m.number("https-port", 0))+"/")))
		}
	}
	if m.given("server-status") {
		body = append(body, m.statusAccess())
	}
	if scheme == "https" && !strings.Contains(m.text("log-level", ""), "ssl:") { // a missing certificate for this name is intended
		body = append(body, d("LogLevel", "ssl:error"))
	}
	return body
}

func (m *meant) own(scheme, name string) []want {
	body := []want{d("ServerName", name)}
	if m.given("server-alias") {
		var aliases []arg
		for _, v := range m.all("server-alias") {
			aliases = append(aliases, is(hostName(v[0])))
		}
		body = append(body, d("ServerAlias", aliases))
	}
	switch {
	case scheme == "https":
		body = append(body, m.slots["own https"]...)
	case m.given("https-only"):
		body = append(body, m.leads("https", name, m.number("https-port", 0))...)
	}
	return body
}

// passedOn is a name answered by another server.
func (m *meant) passedOn(scheme, name, target string) []want {
	body := []want{d("ServerName", name)}
	if scheme == "http" && m.given("https-only") {
		return append(body, m.leads("https", name, m.number("https-port", 0))...)
	}
	body = append(body, section("Location", "/", d("ProxyPass", target, "upgrade=websocket"), d("ProxyPassReverse", target)))
	body = append(body, m.forwarded()...)
	if scheme == "https" && m.given("hsts-policy") { // replaces the header of the server behind
		body = append(body, d("Header", "onsuccess", "unset", "Strict-Transport-Security"),
			d("Header", "always", "set", "Strict-Transport-Security", header(m.text("hsts-policy", ""))))
	}
	return body
}

// encrypted is the same for all names: a connection for one name can ask for another.
func (m *meant) encrypted() []want {
	tls := slices.Clone(m.slots["tls"])
	if !m.given("ssl-ca-certificate-file") {
		return tls
	}
	if !m.given("ssl-verify-client") {
		return append(tls, d("SSLVerifyClient", "require"), d("SSLVerifyDepth", 1))
	}
	tls = append(tls, d("SSLVerifyClient", "optional"), d("SSLVerifyDepth", 1))
	for _, v := range m.all("ssl-verify-client") {
		tls = append(tls, below(v[0], section("If", "%{SSL_CLIENT_VERIFY} != 'SUCCESS'", nobody)))
	}
	return tls
}

// below is the section for a URL path and everything below it.
func below(url string, body ...want) want {
	url = rooted(url)
	if !strings.ContainsAny(url, "*?[") {
		return section("Location", url, body...)
	}
	end := "(/|$)"
	if strings.HasSuffix(url, "/") {
		end = ""
	}
	return section("LocationMatch", exactly("^", url, end), body...)
}

func (m *meant) proxied() bool { return m.given("proxy-mount-point") || m.given("proxy-virtual-host") }

// passesDashboard is whether requests for --dashboard-path are passed on to the launcher.
func (m *meant) passesDashboard() bool { return m.given("dashboard-path") && !m.debug() }

// forwarded are the headers by which a server behind learns how it was reached.
func (m *meant) forwarded() []want {
	if !m.given("https-port") {
		return []want{d("RequestHeader", "set", "X-Forwarded-Port", strconv.Itoa(m.port()))}
	}
	encrypted := "expr=%{HTTPS} == 'on'"
	return []want{
		d("RequestHeader", "set", "X-Forwarded-Port", strconv.Itoa(m.port()), "expr=%{HTTPS} != 'on'"),
		d("RequestHeader", "set", "X-Forwarded-Port", strconv.Itoa(m.number("https-port", 0)), encrypted),
		d("RequestHeader", "set", "X-Forwarded-Scheme", "https", encrypted),
	}
}

// proxies are the paths that are passed on. httpd uses the last section that matches,
// so the longest of paths with the same beginning comes last.
func (m *meant) proxies() {
	if !m.proxied() && !m.passesDashboard() {
		return
	}
	m.load("proxy", "proxy_http", "headers")
	for _, v := range append(m.all("proxy-mount-point"), m.all("proxy-virtual-host")...) {
		if strings.HasPrefix(v[1], "https:") || strings.Contains(v[1], "|https:") {
			m.load("ssl")
			m.once("", d("SSLProxyEngine", "On"))
		}
	}
	list := slices.Clone(m.all("proxy-mount-point"))
	if m.passesDashboard() {
		address := m.text("dashboard", "")
		if !strings.Contains(address, ":") {
			address = "127.0.0.1:" + address
		}
		list = append(list, []string{m.text("dashboard-path", ""), "http://" + address + "/"})
	}
	slices.SortStableFunc(list, func(a, b []string) int { return strings.Compare(rooted(b[0]), rooted(a[0])) })
	for _, v := range list {
		at, target := rooted(v[0]), v[1]
		if !strings.HasSuffix(at, "/") {
			m.add("redirects", section("LocationMatch", exactly("^", at, "$"), d("RedirectMatch", "302", exactly("^", at, "$"), substitution(at+"/"))))
			at, target = at+"/", strings.TrimRight(target, "/")+"/"
		} else if _, server, _ := strings.Cut(target, "://"); !strings.Contains(server, "/") {
			target += "/"
		}
		m.add("", d("ProxyPass", at, target, "upgrade=websocket"), d("ProxyPassReverse", at, target))
		body := m.forwarded()
		if at != "/" {
			body = append(body, d("RequestHeader", "set", "X-Forwarded-Prefix", header(strings.TrimSuffix(at, "/"))))
		}
		m.slots["proxies"] = slices.Insert(m.slots["proxies"], 0, below(at, body...))
	}
}

// services are scripts in separate processes; one with a log is in a virtual host that
// holds the log.
func (m *meant) services() {
	scripts := m.all("service-script")
	if m.given("enable-telemetry") {
		scripts = append(scripts, []string{"telemetry", m.root() + "/telemetry-service.py"})
	}
	last := func(option, name string) (value string) {
		for _, v := range m.all(option) {
			if v[0] == name {
				value = v[1]
			}
		}
		return value
	}
	for _, s := range scripts {
		group := "service:" + s[0]
		options := map[string]string{
			"display-name": "%{GROUP}", "user": last("service-user", s[0]), "group": last("service-group", s[0]), "threads": "0",
			"home": m.path("working-directory", m.dir), "python-path": m.python(), "python-eggs": m.path("python-eggs", m.root()+"/python-eggs"),
			"lang": m.locale(), "locale": m.locale(),
		}
		if m.given("server-metrics") {
			options["server-metrics"] = "On"
		}
		var words []string
		for name, v := range options {
			if v != "" {
				words = append(words, name+"="+v)
			}
		}
		slices.Sort(words)
		nodes := []want{
			d("WSGIDaemonProcess", append([]any{group}, anys(words)...)...),
			d("WSGIImportScript", filepath.Join(filepath.Dir(filepath.Dir(m.env.module)), "express", "service.py"), "process-group="+group, "application-group=%{GLOBAL}"),
		}
		if log := last("service-log-file", s[0]); log != "" {
			m.logged = append(m.logged, append(nodes, d("ServerName", "_wsgi_service_"+s[0]+"_"), d("ErrorLog", m.log(log, "", m.errorForm())), section("Location", "/", nobody)))
			continue
		}
		m.add("", nodes...)
	}
}

// authentication decides who gets access, by the scripts of --auth-*.
func (m *meant) authentication(user string) []want {
	if !m.given(user) {
		return nil
	}
	kind := firstUpper(m.text("auth-type", "Basic"))
	m.load("auth_"+strings.ToLower(kind), "authz_user")
	all := []want{d("Require", "valid-user")}
	body := []want{
		d("AuthType", kind), d("AuthName", m.address()), d("Auth"+kind+"Provider", "wsgi"), d("WSGIAuthUserScript", m.path(user, "")),
	}
	if m.given("auth-group-script") {
		body = append(body, d("WSGIAuthGroupScript", m.path("auth-group-script", "")))
		all = append(all, d("Require", "wsgi-group", m.text("auth-group", "wsgi")))
	}
	return []want{section("Location", "/", append(body, want{name: "<RequireAll", body: all})...)}
}

func (m *meant) telemetry(target string) {
	m.add("", d("WSGITelemetryService", target, "interval="+decimals(m.text("telemetry-interval", "1.0"))))
}

// modules loads the modules that were asked for.
func (m *meant) modules() {
	m.load("authn_core", "authz_core", "mime", "rewrite", "alias", "dir", "env", "reqtimeout", "unixd")
	dir := m.path("modules-directory", m.env.modules)
	if m.tested() {
		m.load("authz_host", "access_compat", "headers", "filter", "setenvif", "log_config")
	}
	slices.Sort(m.loaded)
	for _, name := range slices.Compact(slices.Clone(m.loaded)) {
		m.add("", d("LoadModule", name+"_module", filepath.Join(dir, "mod_"+name+".so")))
	}
	if m.env.library != "" { // independent of the caller's library path
		m.add("", d("LoadFile", m.env.library))
	}
	m.add("", d("LoadModule", "wsgi_module", m.env.module))
}

// tested reports whether there are included files, which may test names and expect
// modules.
func (m *meant) tested() bool {
	return m.given("include-file") || m.given("rewrite-rules") || m.given("allow-override")
}

// defines are the names that included files may test.
func (m *meant) defines() {
	m.add("", d("Define", "MOD_WSGI_DOLLAR", "$"))
	if !m.tested() {
		return
	}
	m.define("MOD_WSGI_MPM_ENABLE_"+strings.ToUpper(m.mpm())+"_MODULE", "MOD_WSGI_MPM_EXISTS_EVENT_MODULE",
		"MOD_WSGI_MPM_EXISTS_WORKER_MODULE", "MOD_WSGI_MPM_EXISTS_PREFORK_MODULE")
	if m.text("application-type", "") == "static" {
		m.define("MOD_WSGI_STATIC_ONLY")
	}
	if m.given("rotate-logs") && (!m.given("log-to-terminal") || m.given("log-directory")) {
		m.define("MOD_WSGI_ROTATE_LOGS")
	}
	slices.Sort(m.defined)
	for _, name := range slices.Compact(slices.Clone(m.defined)) {
		m.add("", d("Define", name))
	}
}
