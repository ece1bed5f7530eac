//go:build acceptance && unix

package express_test

import "modwsgi/express/logwriter"

// oracle defines, option by option and in the order of the table, what httpd must read
// when an option is given and when it is not, from the documentation of the launcher,
// of mod_wsgi and of httpd. For a new option, add a row: what it puts into httpd.conf,
// or why it puts nothing there. The combined effects of several options are in
// sections_test.
var oracle = []row{
	{"application-type", elsewhere("the document root"), ""},
	{"entry-point", elsewhere("the manual"), ""},
	{"callable-object", setting("WSGICallableObject", "application"), ""},
	{"mount-point", elsewhere("the document root"), ""},
	{"application-group", elsewhere("the handler"), ""},
	{"process-group", elsewhere("the handler and the group"), ""},
	{"map-head-to-get", func(m *meant, o string) { m.add("", d("WSGIMapHEADToGET", firstUpper(m.text(o, "Auto")))) }, ""},
	{"working-directory", func(m *meant, o string) { m.param("home", m.path(o, m.dir)) }, ""},
	{"reload-on-changes", inert("a setting of the glue"), ""},
	{"disable-reloading", func(m *meant, o string) {
		if m.given(o) || m.given("embedded-mode") {
			m.add("", d("WSGIScriptReloading", "Off"))
		}
	}, "MOD_WSGI_DISABLE_RELOADING"},
	{"chunked-request", flag("", d("WSGIChunkedRequest", "On")), "MOD_WSGI_CHUNKED_REQUEST"},
	{"orphan-interpreter", flag("", d("WSGIDestroyInterpreter", "Off")), "ORPHAN_INTERPRETER"},

	{"host", func(m *meant, o string) { m.add("", d("ServerName", m.globalName())) }, "MOD_WSGI_WITH_LISTENER_HOST"},
	{"port", func(m *meant, o string) { m.add("", d("Listen", m.listen(m.port()))) }, ""},
	{"http2", loads(flag("", d("Protocols", "h2", "h2c", "http/1.1")), "http2"), "MOD_WSGI_WITH_HTTP2"},
	{"server-name", elsewhere("the virtual hosts"), "MOD_WSGI_VIRTUAL_HOST"},
	{"server-alias", elsewhere("the virtual hosts"), "MOD_WSGI_SERVER_ALIAS"},
	{"allow-localhost", loads(elsewhere("the virtual hosts"), "authz_host"), "MOD_WSGI_ALLOW_LOCALHOST"},

	{"https-port", func(m *meant, o string) {
		if m.given(o) {
			m.add("", d("Listen", m.listen(m.number(o, 0)), "https"))
			m.load("ssl")
			m.add("tls", d("SSLEngine", "On"))
		}
	}, "MOD_WSGI_WITH_HTTPS"},
	{"ssl-certificate-file", file("tls", "SSLCertificateFile", "ssl-certificate"), ""},
	{"ssl-certificate-key-file", file("tls", "SSLCertificateKeyFile", "ssl-certificate"), ""},
	{"ssl-certificate", func(m *meant, o string) {
		if m.given(o) {
			m.add("tls", d("SSLCertificateFile", m.abs(m.text(o, "")+".crt")), d("SSLCertificateKeyFile", m.abs(m.text(o, "")+".key")))
		}
	}, ""},
	{"ssl-ca-certificate-file", file("tls", "SSLCACertificateFile", ""), "MOD_WSGI_VERIFY_CLIENT"},
	{"ssl-verify-client", elsewhere("the virtual hosts"), ""},
	{"ssl-certificate-chain-file", file("tls", "SSLCertificateChainFile", ""), "MOD_WSGI_CERTIFICATE_CHAIN"},
	{"ssl-environment", flag("own https", d("SSLOptions", "+StdEnvVars")), "MOD_WSGI_SSL_ENVIRONMENT"},
	{"https-only", elsewhere("the virtual hosts"), "MOD_WSGI_HTTPS_ONLY"},
	{"hsts-policy", func(m *meant, o string) {
		if m.given(o) {
			m.add("own https", d("Header", "always", "set", "Strict-Transport-Security", header(m.text(o, ""))))
			m.load("headers")
		}
	}, "MOD_WSGI_HSTS_POLICY"},

	{"https-auto", inert("it writes the virtual hosts twice: acceptance_acme_linux_test.go"), ""},
	{"acme-email", inert("the launcher asks the authority"), ""},
	{"acme-directory", inert("the launcher asks the authority"), ""},
	{"acme-staging", inert("the launcher asks the authority"), ""},
	{"acme-ca", inert("the launcher asks the authority"), ""},
	{"acme-external-account", inert("the launcher asks the authority"), ""},
	{"acme-challenge", inert("only with --https-auto"), ""},
	{"acme-dns-command", inert("the launcher runs it"), ""},
	{"acme-state-directory", inert("only with --https-auto"), ""},

	{"processes", func(m *meant, o string) {
		if m.given(o) {
			m.param("processes", itoa(max(1, m.number(o, 0))))
		}
	}, "MOD_WSGI_MULTIPROCESS"},
	{"threads", param("threads", 5, ""), ""},
	{"max-clients", elsewhere("the sizes"), ""},
	{"max-connections", elsewhere("the sizes"), ""},
	{"initial-workers", elsewhere("the sizes"), ""},
	{"minimum-spare-workers", elsewhere("the sizes"), ""},
	{"maximum-spare-workers", elsewhere("the sizes"), ""},
	{"server-mpm", func(m *meant, o string) { m.load("mpm_" + m.mpm()) }, ""},
	{"maximum-requests", func(m *meant, o string) {
		m.param(o, itoa(m.number(o, 0)))
		perChild := 0
		if m.given("embedded-mode") {
			perChild = m.number(o, 0)
		}
		m.add("", d("MaxConnectionsPerChild", perChild))
	}, ""},
	{"embedded-mode", elsewhere("the sizes and the group"), "EMBEDDED_MODE"},
	{"debug-mode", func(m *meant, _ string) {
		if m.debug() {
			m.add("", d("WSGIRestrictStdin", "Off"))
		}
	}, ""},

	{"startup-timeout", param("startup-timeout", 15, ""), ""},
	{"shutdown-timeout", func(m *meant, o string) {
		m.param(o, itoa(m.number(o, max(5, m.number("graceful-timeout", 15)))))
	}, ""},
	{"restart-interval", param("restart-interval", 0, ""), ""},
	{"cpu-time-limit", param("cpu-time-limit", 0, ""), ""},
	{"graceful-timeout", param("graceful-timeout", 15, ""), ""},
	{"eviction-timeout", param("eviction-timeout", 0, ""), ""},
	{"deadlock-timeout", param("deadlock-timeout", 60, ""), ""},
	{"inactivity-timeout", param("inactivity-timeout", 0, ""), ""},
	{"ignore-activity", func(m *meant, o string) {
		for _, v := range m.all(o) {
			m.add("locations 2", below(v[0], d("WSGIIgnoreActivity", "On")))
		}
	}, ""},
	{"request-timeout", param("request-timeout", 60, ""), ""},
	{"interrupt-timeout", param("interrupt-timeout", 0, "6.0.0"), ""},
	{"connect-timeout", param("connect-timeout", 15, ""), ""},
	{"socket-timeout", func(m *meant, o string) {
		m.param(o, itoa(m.number(o, 60)))
		m.add("", d("Timeout", m.number(o, 60)))
	}, ""},
	{"proxy-timeout", func(m *meant, o string) {
		if m.given(o) && m.proxied() {
			m.add("", d("ProxyTimeout", m.number(o, 0)))
		}
	}, ""},
	{"queue-timeout", param("queue-timeout", 45, ""), ""},
	{"header-timeout", func(m *meant, _ string) {
		m.add("", d("RequestReadTimeout", "header="+m.readTimeout("header", 30), "body="+m.readTimeout("body", 0)))
	}, ""},
	{"header-max-timeout", elsewhere("--header-timeout"), ""},
	{"header-min-rate", elsewhere("--header-timeout"), ""},
	{"body-timeout", elsewhere("--header-timeout"), ""},
	{"body-max-timeout", elsewhere("--header-timeout"), ""},
	{"body-min-rate", elsewhere("--header-timeout"), ""},
	{"response-socket-timeout", param("response-socket-timeout", 0, ""), ""},
	{"response-flush-delay", param("response-flush-delay", 5, "6.0.2"), ""},
	{"keep-alive-timeout", func(m *meant, o string) {
		if n := m.number(o, 2); n > 0 {
			m.add("", d("KeepAlive", "On"), d("KeepAliveTimeout", n))
			m.define("MOD_WSGI_KEEP_ALIVE")
		} else {
			m.add("", d("KeepAlive", "Off"))
		}
	}, ""},

	{"limit-request-body", numeric("LimitRequestBody", 10485760), ""},
	{"server-backlog", numeric("ListenBacklog", 500), ""},
	{"daemon-backlog", param("listen-backlog", 100, ""), ""},
	{"send-buffer-size", param("send-buffer-size", 0, ""), ""},
	{"receive-buffer-size", param("receive-buffer-size", 0, ""), ""},
	{"header-buffer-size", param("header-buffer-size", 0, ""), ""},
	{"response-buffer-size", param("response-buffer-size", 0, ""), ""},

	{"compress-responses", loads(flag("", d("AddOutputFilterByType", "DEFLATE", "text/plain", "text/html", "text/xml", "text/css", "text/javascript",
		"application/xhtml+xml", "application/javascript", "application/json")), "filter", "deflate"), "MOD_WSGI_COMPRESS_RESPONSES"},
	{"enable-sendfile", func(m *meant, o string) {
		m.add("", d("EnableMMAP", "Off"))
		if m.given(o) {
			m.add("", d("EnableSendfile", "On"), d("WSGIEnableSendfile", "On"))
		}
	}, "MOD_WSGI_ENABLE_SENDFILE"},
	{"trace-enable", func(m *meant, o string) { m.add("", d("TraceEnable", firstUpper(m.text(o, "off")))) }, ""},
	{"allow-connect", func(m *meant, o string) {
		if !m.given(o) { // whatever else lets a request in
			m.add("", section("If", "%{REQUEST_METHOD} == 'CONNECT'", nobody))
		}
	}, ""},

	{"document-root", func(m *meant, _ string) { m.add("", d("DocumentRoot", m.docs())) }, ""},
	{"follow-symlinks", elsewhere("the document root and aliases"), ""},
	{"directory-index", elsewhere("the document root"), "MOD_WSGI_DIRECTORY_INDEX"},
	{"directory-listing", loads(flag("docs", d("Options", "+Indexes"), d("IndexIgnore", ".??*")), "autoindex"), "MOD_WSGI_DIRECTORY_LISTING"},
	{"allow-override", elsewhere("the document root and aliases"), ""},
	{"url-alias", elsewhere("the aliases"), ""},
	{"error-document", func(m *meant, o string) {
		for _, v := range m.all(o) {
			m.add("", d("ErrorDocument", v[0], m.document(v[1])))
		}
	}, ""},
	{"error-override", flag("", d("WSGIErrorOverride", "On")), "MOD_WSGI_ERROR_OVERRIDE"},
	{"mime-types", func(m *meant, o string) { m.add("", d("TypesConfig", m.named(o, m.env.mime))) }, ""},
	{"rewrite-rules", elsewhere("the document root"), ""},
	{"add-handler", elsewhere("the handler"), ""},
	{"with-cgi", func(m *meant, o string) {
		if !m.given(o) {
			return
		}
		m.add("docs", d("Options", "+ExecCGI"), d("AddHandler", "cgi-script", ".cgi"))
		module := map[bool]string{true: "cgi", false: "cgid"}[m.mpm() == "prefork"]
		m.load(module)
		m.define("MOD_WSGI_" + map[string]string{"cgi": "CGI", "cgid": "CGID"}[module] + "_SCRIPT")
	}, ""},
	{"enable-docs", elsewhere("the manual"), ""},

	{"proxy-mount-point", elsewhere("the proxies"), "MOD_WSGI_WITH_PROXY"},
	{"proxy-virtual-host", elsewhere("the proxies"), "MOD_WSGI_WITH_PROXY"},
	{"trust-proxy-header", each("WSGITrustedProxyHeaders"), "MOD_WSGI_WITH_PROXY_HEADERS"},
	{"trust-proxy", func(m *meant, o string) {
		for _, v := range m.all(o) {
			m.add("", networks(v[0])...)
		}
	}, "MOD_WSGI_WITH_TRUSTED_PROXIES"},

	{"server-status", loads(when(func(m *meant, _ string) {
		m.add("status", section("Location", "/server-status", d("SetHandler", "server-status")), m.statusAccess())
	}), "authz_host", "status"), "MOD_WSGI_SERVER_STATUS"},
	{"host-access-script", func(m *meant, o string) {
		if m.given(o) {
			m.add("locations", section("Location", "/", d("WSGIAccessScript", m.path(o, ""))))
		}
	}, "MOD_WSGI_HOST_ACCESS"},
	{"auth-user-script", func(m *meant, o string) { m.add("locations", m.authentication(o)...) }, "MOD_WSGI_AUTH_USER"},
	{"auth-type", elsewhere("--auth-user-script"), ""},
	{"auth-group-script", elsewhere("--auth-user-script"), "MOD_WSGI_AUTH_GROUP"},
	{"auth-group", elsewhere("--auth-user-script"), ""},
	{"server-metrics", loads(flag("", d("WSGIServerMetrics", "On")), "status"), ""},

	{"log-directory", elsewhere("the logs"), ""},
	{"log-level", func(m *meant, o string) { m.add("", d("LogLevel", literals(m.text(o, "warn")))) }, ""},
	{"log-to-terminal", elsewhere("the logs"), ""},
	{"access-log", elsewhere("the logs"), "MOD_WSGI_ACCESS_LOG"},
	{"access-log-format", elsewhere("the logs"), ""},
	{"error-log-format", when(func(m *meant, v string) {
		if v == "json" {
			v = logwriter.ErrorFormat
			m.load("unique_id")
		}
		if v == "terminal" {
			v = logwriter.ErrorFormat
		}
		m.add("", d("ErrorLogFormat", v))
	}), "MOD_WSGI_ERROR_LOG_FORMAT"},
	{"error-log-utf8", elsewhere("the logs"), ""},
	{"error-log-name", elsewhere("the logs"), ""},
	{"access-log-name", elsewhere("the logs"), ""},
	{"startup-log", inert("an argument of httpd"), ""},
	{"startup-log-name", inert("an argument of httpd"), ""},
	{"rotate-logs", elsewhere("the logs"), ""},
	{"max-log-size", elsewhere("the logs"), ""},
	{"rotate-interval", elsewhere("the logs"), ""},
	{"max-log-files", elsewhere("the logs"), ""},
	{"rotatelogs-executable", elsewhere("the logs"), ""},
	{"health-path", inert("mod_handover answers"), ""},
	{"metrics-listen", inert("the launcher answers"), ""},
	{"dashboard", inert("the launcher answers"), ""},
	{"dashboard-path", elsewhere("the proxies"), ""},
	{"verbose-debugging", func(m *meant, o string) {
		if m.given(o) && !m.env.atLeast("6.0.0") {
			m.add("", d("WSGIVerboseDebugging", "On"))
		}
	}, ""},

	{"python-path", elsewhere("the group"), "MOD_WSGI_WITH_PYTHON_PATH"},
	{"python-eggs", func(m *meant, o string) { m.param("python-eggs", m.path(o, m.root()+"/python-eggs")) }, ""},
	{"python-warnings", each("WSGIPythonWarnings"), ""},
	{"switch-interval", func(m *meant, o string) {
		if m.given(o) {
			m.param("switch-interval", decimals(m.text(o, "")))
			m.add("", d("WSGISwitchInterval", decimals(m.text(o, ""))))
		}
	}, "MOD_WSGI_SWITCH_INTERVAL"},
	{"free-threading", flag("", d("WSGIFreeThreading", "On")), "MOD_WSGI_FREE_THREADING"},

	{"server-root", func(m *meant, _ string) { m.add("", d("ServerRoot", m.root()), d("DefaultRuntimeDir", m.root())) }, ""},
	{"user", func(m *meant, o string) { m.add("", d("User", m.text(o, m.env.user))) }, ""},
	{"group", func(m *meant, o string) { m.add("", d("Group", m.text(o, groupOf(m.text("user", m.env.user))))) }, ""},
	{"setenv", each("SetEnv"), ""},
	{"passenv", func(m *meant, o string) {
		for _, v := range m.all(o) {
			if _, set := m.env.vars[v[0]]; set {
				m.add("", d("PassEnv", v[0]))
			}
		}
	}, ""},
	{"include-file", func(m *meant, o string) {
		for _, v := range m.all(o) {
			m.add("", d("Include", included(m.abs(v[0]))), d("SetEnv", "INCLUDED", "yes"))
		}
	}, ""},
	{"locale", func(m *meant, _ string) { m.param("lang", m.locale()); m.param("locale", m.locale()) }, ""},
	{"lang", elsewhere("--locale"), ""},
	{"pid-file", func(m *meant, o string) { m.add("", d("PidFile", m.path(o, m.root()+"/httpd.pid"))) }, ""},
	{"process-name", inert("httpd's own name"), ""},
	{"httpd-executable", inert("the program that reads it"), ""},
	{"modules-directory", elsewhere("the modules"), ""},
	{"socket-prefix", func(m *meant, o string) {
		m.add("", d("WSGISocketPrefix", m.path(o, m.root())+"/wsgi"), d("WSGISocketRotation", "Off"))
	}, "MOD_WSGI_WITH_SOCKET_PREFIX"},
	{"setup-only", inert("handled by the launcher"), ""},
	{"envvars-script", inert("it sets variables of httpd's environment"), ""},
	{"shell-executable", inert("it runs --envvars-script"), ""},
	{"json", inert("handled by the launcher"), ""},
	{"wait-ready", inert("handled by the launcher"), ""},
	{"config", inert("handled by the launcher"), ""},
	{"help", inert("handled by the launcher"), ""},

	{"service-script", elsewhere("the services"), ""},
	{"service-user", elsewhere("the services"), ""},
	{"service-group", elsewhere("the services"), ""},
	{"service-log-file", elsewhere("the services"), ""},

	{"telemetry-service", when(func(m *meant, v string) { m.telemetry(v) }), "MOD_WSGI_TELEMETRY_SERVICE"},
	{"enable-telemetry", when(func(m *meant, _ string) { m.telemetry("unix:" + m.root() + "/telemetry/collector") }), "MOD_WSGI_TELEMETRY_SERVICE"},
	{"telemetry-ui-port", inert("a setting of the service"), ""},
	{"telemetry-interval", elsewhere("--telemetry-service"), ""},
	{"slow-requests", when(func(m *meant, v string) { m.add("", d("WSGISlowRequests", decimals(v))) }), "MOD_WSGI_SLOW_REQUESTS"},
	{"telemetry-options", func(m *meant, o string) {
		for _, v := range m.all(o) {
			m.add("", d("WSGITelemetryOptions", literals(v[0])))
		}
	}, "MOD_WSGI_TELEMETRY_OPTIONS"},

	{"enable-debugger", elsewhere("--debug-mode"), ""},
	{"debugger-startup", inert("a setting of the glue"), ""},
	{"enable-coverage", elsewhere("--debug-mode"), ""},
	{"coverage-directory", inert("a setting of the glue"), ""},
	{"enable-profiler", elsewhere("--debug-mode"), ""},
	{"profiler-directory", inert("a setting of the glue"), ""},
	{"enable-recorder", elsewhere("--debug-mode"), ""},
	{"recorder-directory", inert("a setting of the glue"), ""},
	{"enable-gdb", elsewhere("--debug-mode"), ""},
	{"gdb-executable", inert("the program that httpd runs under"), ""},
}
