package express

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// Shorthands for the arguments of directives.

func word(s string) conf.Word       { return conf.Word(host.Slashed(s)) }
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
		conf.D("ServerName", word(name)).From(optHost),
		conf.D("ServerRoot", word(i.root)).From(i.rootOrigins()...),
		conf.D("PidFile", word(i.pidFile)).From(i.unless(optPIDFile, i.rootOrigins()...)...),
		conf.D("DefaultRuntimeDir", word(i.root)).From(i.rootOrigins()...),
		conf.D("ServerTokens", conf.Key("ProductOnly")),
		conf.D("ServerSignature", conf.Key("Off")),
	)
	if host.Accounts {
		b.add(conf.D("User", word(i.account.User)).From(optUser), conf.D("Group", word(i.account.Group)).From(optGroup, optUser))
	}
	b.add(conf.D("Listen", word(listenAddress(i.Host, i.Port))).From(optPort, optHost))
}

// unless is an option, and what its default comes from where it is not given.
func (i *instance) unless(o *Option, others ...conf.Origin) []conf.Origin {
	if i.Given(o) {
		return []conf.Origin{o}
	}
	return append([]conf.Origin{o}, others...)
}

// debugOrigins are the options that make it debug mode.
var debugOrigins = []conf.Origin{optDebugMode, optEnableDebugger, optEnableCoverage, optEnableProfiler, optEnableRecorder, optEnableGDB}

// orMode are options and those that choose another mode, in which there is
// something else.
func orMode(options ...conf.Origin) []conf.Origin {
	return append(append(options, optEmbeddedMode), debugOrigins...)
}

// rootOrigins are the options that the server root comes from.
func (i *instance) rootOrigins() []conf.Origin { return i.unless(optServerRoot, optHost, optPort) }

// groupOrigins are those that the name of the process group comes from.
func (i *instance) groupOrigins() []conf.Origin { return i.unless(optProcessGroup, optHost, optPort) }

// eggsOrigins are those that the directory for eggs comes from.
func (i *instance) eggsOrigins() []conf.Origin { return i.unless(optPythonEggs, i.rootOrigins()...) }

// docsOrigins are those that the document root comes from.
func (i *instance) docsOrigins() []conf.Origin {
	return i.unless(optDocumentRoot, append([]conf.Origin{optApplicationType}, i.rootOrigins()...)...)
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
		{i.Given(optHTTPSPort), "MOD_WSGI_WITH_HTTPS"},
		{i.HTTPSOnly, "MOD_WSGI_HTTPS_ONLY"},
		{i.AllowLocalhost, "MOD_WSGI_ALLOW_LOCALHOST"},
		{i.Given(optProcesses), "MOD_WSGI_MULTIPROCESS"},
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
		{i.Given(optSlowRequests), "MOD_WSGI_SLOW_REQUESTS"},
		{i.Given(optSwitchInterval), "MOD_WSGI_SWITCH_INTERVAL"},
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

// module is one of httpd's modules and the options that may need it (none: always).
type module struct {
	name    string
	options []conf.Origin
}

// neededModules lists the modules of the configuration, without the MPM.
func (i *instance) neededModules() (needed, welcome []module) {
	var all []module
	for _, name := range []string{"authn_core", "authz_core", "mime", "rewrite", "alias", "dir", "env", "reqtimeout"} {
		all = append(all, module{name: name})
	}
	if host.Accounts {
		all = append(all, module{name: "unixd"})
	}
	need := func(name string, options ...conf.Origin) module { return module{name, options} }
	for _, m := range []struct {
		on bool
		module
	}{
		{i.AccessLog, need("log_config", optAccessLog)},
		{i.AllowLocalhost, need("authz_host", optAllowLocalhost)},
		{i.ServerStatus, need("authz_host", optServerStatus)},
		{i.ServerStatus, need("status", optServerStatus)},
		{i.ServerMetrics, need("status", optServerMetrics)},
		{i.CompressResponses, need("filter", optCompressResponses)},
		{i.CompressResponses, need("deflate", optCompressResponses)},
		{i.DirectoryListing, need("autoindex", optDirectoryListing)},
		{i.HTTP2, need("http2", optHTTP2)},
		{i.Given(optHTTPSPort), need("ssl", optHTTPSPort)},
		{i.HSTSPolicy != "", need("headers", optHSTSPolicy)},
		{i.proxied(), need("proxy", optProxyMountPoint, optProxyVirtualHost)},
		{i.proxied(), need("proxy_http", optProxyMountPoint, optProxyVirtualHost)},
		{i.proxied(), need("headers", optProxyMountPoint, optProxyVirtualHost)},
		{len(i.proxiedTLS()) > 0, need("ssl", i.proxiedTLS()...)},
		{i.AuthUserScript != "", need("auth_"+strings.ToLower(i.AuthType), optAuthUserScript, optAuthType)},
		{i.AuthUserScript != "", need("authz_user", optAuthUserScript)},
	} {
		if m.on {
			all = append(all, m.module)
		}
	}
	if i.WithCGI {
		all = append(all, need(i.cgiModule(), optWithCGI))
	}
	if len(i.IncludeFiles) > 0 || i.RewriteRules != "" || len(i.AllowOverride) > 0 {
		// What upstream's launcher always loads, files written for it rely on.
		for _, name := range []string{"authz_host", "access_compat", "headers", "filter", "setenvif", "log_config"} {
			welcome = append(welcome, module{name, []conf.Origin{optIncludeFile, optRewriteRules, optAllowOverride}})
		}
		for _, name := range i.hostModules() {
			welcome = append(welcome, module{name, []conf.Origin{optIncludeFile}})
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
		b.add(conf.D("LoadModule", conf.Key("mpm_"+i.mpm+"_module"), word(i.moduleFile("mpm_"+i.mpm))).From(orMode(optServerMPM, optModulesDirectory, optHTTPDExecutable)...))
	}
	needed, welcome := i.neededModules()
	loaded := map[string]bool{}
	for k, m := range slices.Concat(needed, welcome) {
		if loaded[m.name] {
			continue
		}
		loaded[m.name] = true
		if _, err := os.Stat(i.moduleFile(m.name)); err == nil {
			b.add(conf.D("LoadModule", conf.Key(m.name+"_module"), word(i.moduleFile(m.name))).From(m.options...))
			continue
		}
		if err := p.askBuiltIn(ctx, i); err != nil {
			return err
		}
		if !i.builtIn[m.name] && k < len(needed) {
			by := "every configuration"
			if given := i.flags(m.options); len(given) > 0 {
				by = "option " + strings.Join(given, " or ")
			}
			hint := "use an httpd that has it, or see --modules-directory"
			if feature := map[string]string{"ssl": "tls", "http2": "http2", "deflate": "deflate"}[m.name]; feature != "" && host.Builds {
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
		b.add(conf.D("TypesConfig", word(i.mime)).From(optMIMETypes))
	} else {
		b.add(conf.D("TypesConfig", conf.Key(os.DevNull)))
	}
	b.add(
		conf.D("HostnameLookups", conf.Key("Off")),
		conf.D("MaxMemFree", integer(64)),
		conf.D("Timeout", integer(i.SocketTimeout)).From(optSocketTimeout),
		conf.D("ListenBackLog", integer(i.ServerBacklog)).From(optServerBacklog),
	)
	if i.HTTP2 {
		b.add(conf.D("Protocols", conf.Key("h2"), conf.Key("h2c"), conf.Key("http/1.1")).From(optHTTP2))
	}
	// Both are always said: mod_reqtimeout has defaults of its own.
	b.add(conf.D("RequestReadTimeout",
		conf.Key("header="+readTimeout(i.HeaderTimeout, i.HeaderMaxTimeout, i.HeaderMinRate)),
		conf.Key("body="+readTimeout(i.BodyTimeout, i.BodyMaxTimeout, i.BodyMinRate))).From(optHeaderTimeout, optHeaderMaxTimeout, optHeaderMinRate, optBodyTimeout, optBodyMaxTimeout, optBodyMinRate))
	b.add(conf.D("LimitRequestBody", integer(i.LimitRequestBody)).From(optLimitRequestBody))
	if i.KeepAliveTimeout > 0 {
		b.add(conf.D("KeepAlive", conf.Key("On")).From(optKeepAliveTimeout), conf.D("KeepAliveTimeout", integer(i.KeepAliveTimeout)).From(optKeepAliveTimeout))
	} else {
		b.add(conf.D("KeepAlive", conf.Key("Off")).From(optKeepAliveTimeout))
	}
	b.add(conf.S("Directory", args(word("/")),
		conf.D("AllowOverride", conf.Key("None")), conf.D("Require", conf.Key("all"), conf.Key("denied"))))
	b.add(conf.D("TraceEnable", conf.Key(titled(i.TraceEnable))).From(optTraceEnable))
	if !i.AllowConnect {
		// In a section that httpd applies last, so that no Require replaces it; it is
		// in force in all virtual hosts, and also for requests that are passed on.
		b.add(conf.S("If", args(word("%{REQUEST_METHOD} == 'CONNECT'")), conf.D("Require", conf.Key("all"), conf.Key("denied"))).From(optAllowConnect))
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

// sizeOrigins are the options that the numbers of the MPM come from.
var sizeOrigins = orMode(optProcesses, optThreads, optMaxClients, optInitialWorkers, optMinimumSpareWorkers, optMaximumSpareWorkers, optServerMPM)

// processSizes adds the numbers of the MPM.
func (b *builder) processSizes() {
	i, z := b.i, b.i.size
	size := func(name string, n int) { b.add(conf.D(name, integer(n)).From(sizeOrigins...)) }
	switch i.mpm {
	case "winnt":
		size("ThreadLimit", max(1920, z.threadsPerChild))
		size("ThreadsPerChild", z.threadsPerChild)
	case "prefork":
		size("ServerLimit", z.serverLimit)
		size("StartServers", z.startServers)
		size("MinSpareServers", z.minSpare)
		size("MaxSpareServers", z.maxSpare)
		size("MaxRequestWorkers", z.maxWorkers)
	default:
		size("ServerLimit", z.serverLimit)
		size("ThreadLimit", z.threadLimit)
		size("ThreadsPerChild", z.threadsPerChild)
		size("StartServers", z.startServers)
		size("MinSpareThreads", z.minSpare)
		size("MaxSpareThreads", z.maxSpare)
		size("MaxRequestWorkers", z.maxWorkers)
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
	b.add(conf.D("MaxConnectionsPerChild", integer(perChild)).From(optMaximumRequests, optEmbeddedMode),
		conf.D("MaxKeepAliveRequests", integer(keep)).From(orMode(optServerMPM)...))
}

// environment passes variables to the application, request by request.
func (b *builder) environment() {
	for _, kv := range b.i.SetEnv {
		b.add(conf.D("SetEnv", conf.Word(kv[0]), conf.Word(kv[1])).From(optSetenv))
	}
	for _, name := range b.i.PassEnv {
		if !hasVariable(b.i.env, name) {
			continue // httpd would warn at each start
		}
		b.add(conf.D("PassEnv", word(name)).From(optPassenv))
	}
}

func hasVariable(env []string, name string) bool {
	return slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

func (b *builder) includes() {
	for _, name := range b.i.IncludeFiles {
		path := b.i.fromLaunch(name)
		file := conf.GlobEach(host.Slashed(path))
		if !exists(path) { // a pattern of several; the working directory is none
			if !filepath.IsAbs(name) {
				path = filepath.Join(string(conf.GlobEach(host.Slashed(b.i.launchDir))), name)
			}
			file = word(path)
		}
		b.add(conf.D("Include", file).From(optIncludeFile))
	}
}
