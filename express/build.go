package express

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// Shorthands for the arguments of directives.

func word(s string) conf.Word       { return conf.Word(slashed(s)) }
func integer(n int) conf.Key        { return conf.Key(strconv.Itoa(n)) }
func args(a ...conf.Arg) []conf.Arg { return a }

func onOff(on bool) conf.Key {
	if on {
		return "On"
	}
	return "Off"
}

// builder puts a configuration together, part by part, in the order in which
// httpd reads it.
type builder struct {
	i    *instance
	file conf.File
	err  error
}

func (b *builder) add(nodes ...conf.Node) { b.file.Add(nodes...) }

// knows reports whether the installed module has a directive.
func (b *builder) knows(directive string) bool {
	since := directiveSince[directive]
	return since == "" || atLeastVersion(b.i.moduleVersion, since)
}

// configuration returns the text of the instance's httpd.conf.
func (p *Program) configuration(ctx context.Context, i *instance) (*conf.File, string, error) {
	b := &builder{i: i}
	b.identity()
	b.defines()
	if err := p.modules(ctx, b); err != nil {
		return nil, "", err
	}
	for _, part := range []func(){
		b.connections, b.python, b.daemonProcess, b.embedded, b.features, b.telemetry,
		b.logging, b.processSizes, b.services, b.virtualHosts, b.documents, b.access, b.status, b.handler, b.resources, b.proxies, b.docs, b.aliases, b.environment, b.includes,
	} {
		part()
		if b.err != nil {
			return nil, "", b.err
		}
	}
	text, err := b.file.Text()
	if err != nil {
		return nil, "", fault.Wrap(fault.Usage, "", err)
	}
	return &b.file, text, nil
}

func (b *builder) identity() {
	i := b.i
	name := unbracket(i.Host)
	if name == "" || strings.Contains(name, ":") { // an IPv6 address is no ServerName
		name = "localhost"
	}
	b.add(
		conf.D("ServerName", word(name)).From("--host"),
		conf.D("ServerRoot", word(i.root)).From("--server-root"),
		conf.D("PidFile", word(i.pidFile)).From("--pid-file"),
		conf.D("DefaultRuntimeDir", word(i.root)).From("--server-root"),
		conf.D("ServerTokens", conf.Key("ProductOnly")),
		conf.D("ServerSignature", conf.Key("Off")),
	)
	if runtime.GOOS != "windows" {
		b.add(conf.D("User", word(i.account.user)).From("--user"), conf.D("Group", word(i.account.group)).From("--group"))
	}
	b.add(conf.D("Listen", word(listenAddress(i.Host, i.Port))).From("--port"))
}

// defines sets the names that an included file may test; upstream's launcher
// gives them on httpd's command line.
func (b *builder) defines() {
	i := b.i
	if len(i.IncludeFiles) == 0 && i.RewriteRules == "" && len(i.AllowOverride) == 0 {
		return
	}
	for _, d := range []struct {
		on   bool
		name string
	}{
		{i.EmbeddedMode, "EMBEDDED_MODE"},
		{i.Host != "", "MOD_WSGI_WITH_LISTENER_HOST"},
		{i.ServerName != "", "MOD_WSGI_VIRTUAL_HOST"},
		{len(i.ServerAliases) > 0, "MOD_WSGI_SERVER_ALIAS"},
		{i.proxied(), "MOD_WSGI_WITH_PROXY"},
		{i.Given("https-port"), "MOD_WSGI_WITH_HTTPS"},
		{i.HTTPSOnly, "MOD_WSGI_HTTPS_ONLY"},
		{i.AllowLocalhost, "MOD_WSGI_ALLOW_LOCALHOST"},
		{i.Given("processes"), "MOD_WSGI_MULTIPROCESS"},
		{i.AccessLog, "MOD_WSGI_ACCESS_LOG"},
		{i.KeepAliveTimeout != 0, "MOD_WSGI_KEEP_ALIVE"},
		{i.CompressResponses, "MOD_WSGI_COMPRESS_RESPONSES"},
		{i.ServerStatus, "MOD_WSGI_SERVER_STATUS"},
		{i.ServerMetrics || i.ServerStatus, "MOD_WSGI_SERVER_METRICS"},
		{i.DirectoryIndex != "", "MOD_WSGI_DIRECTORY_INDEX"},
		{i.DirectoryListing, "MOD_WSGI_DIRECTORY_LISTING"},
		{i.ErrorOverride, "MOD_WSGI_ERROR_OVERRIDE"},
		{i.RotateLogs, "MOD_WSGI_ROTATE_LOGS"},
		{i.HTTP2, "MOD_WSGI_WITH_HTTP2"},
		{i.ApplicationType == "static", "MOD_WSGI_STATIC_ONLY"},
		{i.DisableReloading, "MOD_WSGI_DISABLE_RELOADING"},
		{true, "MOD_WSGI_MPM_ENABLE_" + strings.ToUpper(i.mpm) + "_MODULE"},
		{i.OrphanInterpreter, "ORPHAN_INTERPRETER"},
		{i.ChunkedRequest, "MOD_WSGI_CHUNKED_REQUEST"},
		{i.EnableSendfile, "MOD_WSGI_ENABLE_SENDFILE"},
		{i.ErrorLogFormat != "", "MOD_WSGI_ERROR_LOG_FORMAT"},
		{i.HostAccessScript != "", "MOD_WSGI_HOST_ACCESS"},
		{i.AuthUserScript != "", "MOD_WSGI_AUTH_USER"},
		{i.AuthGroupScript != "", "MOD_WSGI_AUTH_GROUP"},
		{i.CertificateChainFile != "", "MOD_WSGI_CERTIFICATE_CHAIN"},
		{i.CACertificateFile != "", "MOD_WSGI_VERIFY_CLIENT"},
		{i.SSLEnvironment, "MOD_WSGI_SSL_ENVIRONMENT"},
		{i.HSTSPolicy != "", "MOD_WSGI_HSTS_POLICY"},
		{parentDomain(i.ServerName) != "", "MOD_WSGI_REDIRECT_WWW"},
		{len(i.TrustProxyHeaders) > 0, "MOD_WSGI_WITH_PROXY_HEADERS"},
		{len(i.TrustProxies) > 0, "MOD_WSGI_WITH_TRUSTED_PROXIES"},
		{len(i.PythonPath) > 0, "MOD_WSGI_WITH_PYTHON_PATH"},
		{i.SocketPrefix != "", "MOD_WSGI_WITH_SOCKET_PREFIX"},
		{!dynamic(i.ApplicationGroup), "MOD_WSGI_IMPORT_HANDLER_SCRIPT"},
		{i.WithCGI && i.cgiModule() == "cgid", "MOD_WSGI_CGID_SCRIPT"},
		{i.WithCGI && i.cgiModule() == "cgi", "MOD_WSGI_CGI_SCRIPT"},
		{i.EnableTelemetry || i.TelemetryService != "", "MOD_WSGI_TELEMETRY_SERVICE"},
		{len(i.TelemetryOptions) > 0, "MOD_WSGI_TELEMETRY_OPTIONS"},
		{i.Given("slow-requests"), "MOD_WSGI_SLOW_REQUESTS"},
		{i.Given("switch-interval"), "MOD_WSGI_SWITCH_INTERVAL"},
		{i.FreeThreading, "MOD_WSGI_FREE_THREADING"},
		{i.hasMPM("event"), "MOD_WSGI_MPM_EXISTS_EVENT_MODULE"},
		{i.hasMPM("worker"), "MOD_WSGI_MPM_EXISTS_WORKER_MODULE"},
		{i.hasMPM("prefork"), "MOD_WSGI_MPM_EXISTS_PREFORK_MODULE"},
	} {
		if d.on {
			b.add(conf.D("Define", conf.Key(d.name)))
		}
	}
}

// hasMPM reports whether a multi-processing module can be loaded.
func (i *instance) hasMPM(name string) bool {
	return !i.mpmBuiltIn && exists(i.moduleFile("mpm_"+name))
}

// cgiModule is the module that runs CGI scripts.
func (i *instance) cgiModule() string {
	if i.mpm == "prefork" && exists(i.moduleFile("cgi")) {
		return "cgi"
	}
	return "cgid" // works with every MPM
}

// module is one of httpd's modules and the option that needs it ("": always).
type module struct {
	name, option string
}

// neededModules lists the modules of the configuration, without the MPM.
func (i *instance) neededModules() (needed, welcome []module) {
	all := []module{{"authn_core", ""}, {"authz_core", ""}, {"mime", ""}, {"rewrite", ""}, {"alias", ""}, {"dir", ""}, {"env", ""}, {"reqtimeout", ""}}
	if runtime.GOOS != "windows" {
		all = append(all, module{"unixd", ""})
	}
	for _, m := range []struct {
		on bool
		module
	}{
		{true, module{"log_config", ""}},
		{i.AllowLocalhost, module{"authz_host", "--allow-localhost"}},
		{i.ServerStatus, module{"authz_host", "--server-status"}},
		{i.ServerStatus, module{"status", "--server-status"}},
		{i.ServerMetrics, module{"status", "--server-metrics"}},
		{i.CompressResponses, module{"filter", "--compress-responses"}},
		{i.CompressResponses, module{"deflate", "--compress-responses"}},
		{i.DirectoryListing, module{"autoindex", "--directory-listing"}},
		{i.HTTP2, module{"http2", "--http2"}},
		{i.Given("https-port"), module{"ssl", "--https-port"}},
		{i.HSTSPolicy != "", module{"headers", "--hsts-policy"}},
		{i.proxied(), module{"proxy", "--proxy-mount-point"}},
		{i.proxied(), module{"proxy_http", "--proxy-mount-point"}},
		{i.proxied(), module{"headers", "--proxy-mount-point"}},
		{i.proxiedTLS(), module{"ssl", "--proxy-mount-point"}},
		{i.AuthUserScript != "", module{"auth_" + strings.ToLower(i.AuthType), "--auth-user-script"}},
		{i.AuthUserScript != "", module{"authz_user", "--auth-user-script"}},
	} {
		if m.on && (m.name != "log_config" || i.AccessLog) {
			all = append(all, m.module)
		}
	}
	if i.WithCGI {
		all = append(all, module{i.cgiModule(), "--with-cgi"})
	}
	if len(i.IncludeFiles) > 0 || i.RewriteRules != "" || len(i.AllowOverride) > 0 {
		// What upstream's launcher always loads, files written for it rely on.
		for _, name := range []string{"authz_host", "access_compat", "headers", "filter", "setenvif", "log_config"} {
			welcome = append(welcome, module{name, ""})
		}
	}
	return all, welcome
}

func (i *instance) proxied() bool { return len(i.ProxyMountPoints)+len(i.ProxyVirtualHosts) > 0 }

// modules adds what loads httpd's modules: those that are needed, are there and
// are not built in.
func (p *Program) modules(ctx context.Context, b *builder) error {
	i := b.i
	if !i.mpmBuiltIn {
		b.add(conf.D("LoadModule", conf.Key("mpm_"+i.mpm+"_module"), word(i.moduleFile("mpm_"+i.mpm))).From("--server-mpm"))
	}
	needed, welcome := i.neededModules()
	loaded := map[string]bool{}
	for k, m := range slices.Concat(needed, welcome) {
		if loaded[m.name] {
			continue
		}
		loaded[m.name] = true
		if _, err := os.Stat(i.moduleFile(m.name)); err == nil {
			b.add(conf.D("LoadModule", conf.Key(m.name+"_module"), word(i.moduleFile(m.name))).From(m.option))
			continue
		}
		if err := p.askBuiltIn(ctx, i); err != nil {
			return err
		}
		if !i.builtIn[m.name] && k < len(needed) {
			by := "every configuration"
			if m.option != "" {
				by = "option " + m.option
			}
			hint := "use an httpd that has it, or see --modules-directory"
			if feature := map[string]string{"ssl": "tls", "http2": "http2", "deflate": "deflate"}[m.name]; feature != "" && runtime.GOOS != "windows" {
				hint = "modwsgi install --httpd bundled --with " + feature + " --python " + run.Quote(i.in.home) + " builds one that has it, or see --modules-directory"
			}
			return fault.New(fault.Environment, hint,
				"%s needs the httpd module mod_%s, which is neither in %s nor built in", by, m.name, i.modulesDir)
		}
	}
	for _, d := range loadModule(i.in, i.in.module) {
		b.add(d)
	}
	return nil
}

func (b *builder) connections() {
	i := b.i
	if i.mime != "" {
		b.add(conf.D("TypesConfig", word(i.mime)).From("--mime-types"))
	} else {
		b.add(conf.D("TypesConfig", conf.Key(os.DevNull)))
	}
	b.add(
		conf.D("HostnameLookups", conf.Key("Off")),
		conf.D("MaxMemFree", integer(64)),
		conf.D("Timeout", integer(i.SocketTimeout)).From("--socket-timeout"),
		conf.D("ListenBackLog", integer(i.ServerBacklog)).From("--server-backlog"),
	)
	if i.HTTP2 {
		b.add(conf.D("Protocols", conf.Key("h2"), conf.Key("h2c"), conf.Key("http/1.1")).From("--http2"))
	}
	// Both are always said: mod_reqtimeout has defaults of its own.
	b.add(conf.D("RequestReadTimeout",
		conf.Key("header="+readTimeout(i.HeaderTimeout, i.HeaderMaxTimeout, i.HeaderMinRate)),
		conf.Key("body="+readTimeout(i.BodyTimeout, i.BodyMaxTimeout, i.BodyMinRate))).From("--header-timeout"))
	b.add(conf.D("LimitRequestBody", integer(i.LimitRequestBody)).From("--limit-request-body"))
	if i.KeepAliveTimeout > 0 {
		b.add(conf.D("KeepAlive", conf.Key("On")), conf.D("KeepAliveTimeout", integer(i.KeepAliveTimeout)).From("--keep-alive-timeout"))
	} else {
		b.add(conf.D("KeepAlive", conf.Key("Off")).From("--keep-alive-timeout"))
	}
	b.add(conf.S("Directory", args(word("/")),
		conf.D("AllowOverride", conf.Key("None")), conf.D("Require", conf.Key("all"), conf.Key("denied"))))
	b.add(conf.D("TraceEnable", conf.Key(titled(i.TraceEnable))).From("--trace-enable"))
	if !i.AllowConnect {
		// In a section that httpd applies last, so that no Require replaces it; it is
		// in force in all virtual hosts, and also for requests that are passed on.
		b.add(conf.S("If", args(word("%{REQUEST_METHOD} == 'CONNECT'")), conf.D("Require", conf.Key("all"), conf.Key("denied"))).From("--allow-connect"))
	}
}

// readTimeout is a clause of RequestReadTimeout.
func readTimeout(first, most, rate int) string {
	if first == 0 {
		return "0"
	}
	s := strconv.Itoa(first)
	if rate == 0 || most > 0 && most <= first {
		return s // nothing extends it
	}
	if most > 0 {
		s += "-" + strconv.Itoa(most)
	}
	return s + ",MinRate=" + strconv.Itoa(rate)
}

// processSizes adds the numbers of the MPM.
func (b *builder) processSizes() {
	i, z := b.i, b.i.size
	if i.mpm == "winnt" {
		b.add(conf.D("ThreadLimit", integer(max(1920, z.threadsPerChild))), conf.D("ThreadsPerChild", integer(z.threadsPerChild)))
	} else if i.mpm == "prefork" {
		b.add(conf.D("ServerLimit", integer(z.serverLimit)),
			conf.D("StartServers", integer(z.startServers)),
			conf.D("MinSpareServers", integer(z.minSpare)),
			conf.D("MaxSpareServers", integer(z.maxSpare)),
			conf.D("MaxRequestWorkers", integer(z.maxWorkers)))
	} else {
		b.add(conf.D("ServerLimit", integer(z.serverLimit)),
			conf.D("ThreadLimit", integer(z.threadLimit)),
			conf.D("ThreadsPerChild", integer(z.threadsPerChild)),
			conf.D("StartServers", integer(z.startServers)),
			conf.D("MinSpareThreads", integer(z.minSpare)),
			conf.D("MaxSpareThreads", integer(z.maxSpare)),
			conf.D("MaxRequestWorkers", integer(z.maxWorkers)))
	}
	perChild, keep := 0, 500
	if i.EmbeddedMode {
		perChild, keep = i.MaximumRequests, 100
	}
	if i.mpm == "event" {
		keep = 0
	}
	if i.daemon() && i.mpm != "prefork" && i.HostAccessScript == "" && i.AuthUserScript == "" {
		// Threads that only pass data on need little; Python needs more.
		b.add(conf.D("ThreadStackSize", integer(262144)))
	}
	b.add(conf.D("MaxConnectionsPerChild", integer(perChild)).From("--maximum-requests"),
		conf.D("MaxKeepAliveRequests", integer(keep)))
}

// environment passes variables to the application, request by request.
func (b *builder) environment() {
	for _, kv := range b.i.SetEnv {
		b.add(conf.D("SetEnv", conf.Word(kv[0]), conf.Word(kv[1])).From("--setenv"))
	}
	for _, name := range b.i.PassEnv {
		if !hasVariable(b.i.env, name) {
			continue // httpd would warn at each start
		}
		b.add(conf.D("PassEnv", word(name)).From("--passenv"))
	}
}

func hasVariable(env []string, name string) bool {
	return slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

func (b *builder) includes() {
	for _, name := range b.i.IncludeFiles {
		path := b.i.fromLaunch(name)
		file := conf.GlobEach(slashed(path))
		if !exists(path) { // a pattern of several; the working directory is none
			if !filepath.IsAbs(name) {
				path = filepath.Join(string(conf.GlobEach(slashed(b.i.launchDir))), name)
			}
			file = word(path)
		}
		b.add(conf.D("Include", file).From("--include-file"))
	}
}
