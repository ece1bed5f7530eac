package express

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/site"
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
	since := site.DirectiveSince[directive]
	return since == "" || site.AtLeastVersion(b.i.ModuleVersion, since)
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
	name := unbracket(config.Host.In(i))
	if name == "" || strings.Contains(name, ":") { // an IPv6 address is no ServerName
		name = "localhost"
	}
	b.add(
		conf.D("ServerName", word(name)).From(config.Host),
		conf.D("ServerRoot", word(i.root)).From(i.rootOrigins()...),
		conf.D("PidFile", word(i.pidFile)).From(i.unless(config.PIDFile, i.rootOrigins()...)...),
		conf.D("DefaultRuntimeDir", word(i.root)).From(i.rootOrigins()...),
		conf.D("ServerTokens", conf.Key("ProductOnly")),
		conf.D("ServerSignature", conf.Key("Off")),
	)
	if host.Accounts {
		b.add(conf.D("User", word(i.account.User)).From(config.User), conf.D("Group", word(i.account.Group)).From(config.Group, config.User))
	}
	b.add(conf.D("Listen", word(listenAddress(config.Host.In(i), config.Port.In(i)))).From(config.Port, config.Host))
}

// unless is an option, and what its default comes from where it is not given.
func (i *instance) unless(o option.Ref, others ...conf.Origin) []conf.Origin {
	if i.Given(o) {
		return []conf.Origin{o}
	}
	return append([]conf.Origin{o}, others...)
}

// debugOrigins are the options that make it debug mode.
var debugOrigins = []conf.Origin{config.DebugMode, config.EnableDebugger, config.EnableCoverage, config.EnableProfiler, config.EnableRecorder, config.EnableGDB}

// orMode are options and those that choose another mode, in which there is
// something else.
func orMode(options ...conf.Origin) []conf.Origin {
	return append(append(options, config.EmbeddedMode), debugOrigins...)
}

// rootOrigins are the options that the server root comes from.
func (i *instance) rootOrigins() []conf.Origin {
	return i.unless(config.ServerRoot, config.Host, config.Port)
}

// groupOrigins are those that the name of the process group comes from.
func (i *instance) groupOrigins() []conf.Origin {
	return i.unless(config.ProcessGroup, config.Host, config.Port)
}

// eggsOrigins are those that the directory for eggs comes from.
func (i *instance) eggsOrigins() []conf.Origin {
	return i.unless(config.PythonEggs, i.rootOrigins()...)
}

// docsOrigins are those that the document root comes from.
func (i *instance) docsOrigins() []conf.Origin {
	return i.unless(config.DocumentRoot, append([]conf.Origin{config.ApplicationType}, i.rootOrigins()...)...)
}

// defines sets the names that an included file may test; upstream's launcher
// gives them on httpd's command line.
func (b *builder) defines() {
	i := b.i
	if len(config.IncludeFile.In(i)) == 0 && config.RewriteRules.In(i) == "" && len(config.AllowOverride.In(i)) == 0 {
		return
	}
	for _, d := range []struct {
		on   bool
		name string
	}{
		{config.EmbeddedMode.In(i), "EMBEDDED_MODE"},
		{config.Host.In(i) != "", "MOD_WSGI_WITH_LISTENER_HOST"},
		{config.ServerName.In(i) != "", "MOD_WSGI_VIRTUAL_HOST"},
		{len(config.ServerAlias.In(i)) > 0, "MOD_WSGI_SERVER_ALIAS"},
		{i.proxied(), "MOD_WSGI_WITH_PROXY"},
		{i.Given(config.HTTPSPort), "MOD_WSGI_WITH_HTTPS"},
		{config.HTTPSOnly.In(i), "MOD_WSGI_HTTPS_ONLY"},
		{config.AllowLocalhost.In(i), "MOD_WSGI_ALLOW_LOCALHOST"},
		{i.Given(config.Processes), "MOD_WSGI_MULTIPROCESS"},
		{config.AccessLog.In(i), "MOD_WSGI_ACCESS_LOG"},
		{config.KeepAliveTimeout.In(i) != 0, "MOD_WSGI_KEEP_ALIVE"},
		{config.CompressResponses.In(i), "MOD_WSGI_COMPRESS_RESPONSES"},
		{config.ServerStatus.In(i), "MOD_WSGI_SERVER_STATUS"},
		{config.ServerMetrics.In(i) || config.ServerStatus.In(i), "MOD_WSGI_SERVER_METRICS"},
		{config.DirectoryIndex.In(i) != "", "MOD_WSGI_DIRECTORY_INDEX"},
		{config.DirectoryListing.In(i), "MOD_WSGI_DIRECTORY_LISTING"},
		{config.ErrorOverride.In(i), "MOD_WSGI_ERROR_OVERRIDE"},
		{config.RotateLogs.In(i), "MOD_WSGI_ROTATE_LOGS"},
		{config.HTTP2.In(i), "MOD_WSGI_WITH_HTTP2"},
		{config.ApplicationType.In(i) == "static", "MOD_WSGI_STATIC_ONLY"},
		{config.DisableReloading.In(i), "MOD_WSGI_DISABLE_RELOADING"},
		{true, "MOD_WSGI_MPM_ENABLE_" + strings.ToUpper(i.mpm) + "_MODULE"},
		{config.OrphanInterpreter.In(i), "ORPHAN_INTERPRETER"},
		{config.ChunkedRequest.In(i), "MOD_WSGI_CHUNKED_REQUEST"},
		{config.EnableSendfile.In(i), "MOD_WSGI_ENABLE_SENDFILE"},
		{config.ErrorLogFormat.In(i) != "", "MOD_WSGI_ERROR_LOG_FORMAT"},
		{config.HostAccessScript.In(i) != "", "MOD_WSGI_HOST_ACCESS"},
		{config.AuthUserScript.In(i) != "", "MOD_WSGI_AUTH_USER"},
		{config.AuthGroupScript.In(i) != "", "MOD_WSGI_AUTH_GROUP"},
		{config.SSLCertificateChainFile.In(i) != "", "MOD_WSGI_CERTIFICATE_CHAIN"},
		{config.SSLCACertificateFile.In(i) != "", "MOD_WSGI_VERIFY_CLIENT"},
		{config.SSLEnvironment.In(i), "MOD_WSGI_SSL_ENVIRONMENT"},
		{config.HSTSPolicy.In(i) != "", "MOD_WSGI_HSTS_POLICY"},
		{parentDomain(config.ServerName.In(i)) != "", "MOD_WSGI_REDIRECT_WWW"},
		{len(config.TrustProxyHeader.In(i)) > 0, "MOD_WSGI_WITH_PROXY_HEADERS"},
		{len(config.TrustProxy.In(i)) > 0, "MOD_WSGI_WITH_TRUSTED_PROXIES"},
		{len(config.PythonPath.In(i)) > 0, "MOD_WSGI_WITH_PYTHON_PATH"},
		{config.SocketPrefix.In(i) != "", "MOD_WSGI_WITH_SOCKET_PREFIX"},
		{!dynamic(config.ApplicationGroup.In(i)), "MOD_WSGI_IMPORT_HANDLER_SCRIPT"},
		{config.WithCGI.In(i) && i.cgiModule() == "cgid", "MOD_WSGI_CGID_SCRIPT"},
		{config.WithCGI.In(i) && i.cgiModule() == "cgi", "MOD_WSGI_CGI_SCRIPT"},
		{config.EnableTelemetry.In(i) || config.TelemetryService.In(i) != "", "MOD_WSGI_TELEMETRY_SERVICE"},
		{len(config.TelemetryOptions.In(i)) > 0, "MOD_WSGI_TELEMETRY_OPTIONS"},
		{i.Given(config.SlowRequests), "MOD_WSGI_SLOW_REQUESTS"},
		{i.Given(config.SwitchInterval), "MOD_WSGI_SWITCH_INTERVAL"},
		{config.FreeThreading.In(i), "MOD_WSGI_FREE_THREADING"},
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
		{config.AccessLog.In(i), need("log_config", config.AccessLog)},
		{config.AllowLocalhost.In(i), need("authz_host", config.AllowLocalhost)},
		{config.ServerStatus.In(i), need("authz_host", config.ServerStatus)},
		{config.ServerStatus.In(i), need("status", config.ServerStatus)},
		{config.ServerMetrics.In(i), need("status", config.ServerMetrics)},
		{config.CompressResponses.In(i), need("filter", config.CompressResponses)},
		{config.CompressResponses.In(i), need("deflate", config.CompressResponses)},
		{config.DirectoryListing.In(i), need("autoindex", config.DirectoryListing)},
		{config.HTTP2.In(i), need("http2", config.HTTP2)},
		{i.Given(config.HTTPSPort), need("ssl", config.HTTPSPort)},
		{config.HSTSPolicy.In(i) != "", need("headers", config.HSTSPolicy)},
		{i.proxied(), need("proxy", config.ProxyMountPoint, config.ProxyVirtualHost)},
		{i.proxied(), need("proxy_http", config.ProxyMountPoint, config.ProxyVirtualHost)},
		{i.proxied(), need("headers", config.ProxyMountPoint, config.ProxyVirtualHost)},
		{len(i.proxiedTLS()) > 0, need("ssl", i.proxiedTLS()...)},
		{config.AuthUserScript.In(i) != "", need("auth_"+strings.ToLower(config.AuthType.In(i)), config.AuthUserScript, config.AuthType)},
		{config.AuthUserScript.In(i) != "", need("authz_user", config.AuthUserScript)},
	} {
		if m.on {
			all = append(all, m.module)
		}
	}
	if config.WithCGI.In(i) {
		all = append(all, need(i.cgiModule(), config.WithCGI))
	}
	if len(config.IncludeFile.In(i)) > 0 || config.RewriteRules.In(i) != "" || len(config.AllowOverride.In(i)) > 0 {
		// What upstream's launcher always loads, files written for it rely on.
		for _, name := range []string{"authz_host", "access_compat", "headers", "filter", "setenvif", "log_config"} {
			welcome = append(welcome, module{name, []conf.Origin{config.IncludeFile, config.RewriteRules, config.AllowOverride}})
		}
		for _, name := range i.hostModules() {
			welcome = append(welcome, module{name, []conf.Origin{config.IncludeFile}})
		}
	}
	return all, welcome
}

func (i *instance) proxied() bool {
	return len(config.ProxyMountPoint.In(i))+len(config.ProxyVirtualHost.In(i)) > 0
}

// modules adds what loads httpd's modules: those that are needed, are there and
// are not built in.
func (p *Program) modules(ctx context.Context, b *builder) error {
	i := b.i
	if !i.mpmBuiltIn {
		b.add(conf.D("LoadModule", conf.Key("mpm_"+i.mpm+"_module"), word(i.moduleFile("mpm_"+i.mpm))).From(orMode(config.ServerMPM, config.ModulesDirectory, config.HTTPDExecutable)...))
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
			if given := i.Flags(m.options); len(given) > 0 {
				by = "option " + strings.Join(given, " or ")
			}
			hint := "use an httpd that has it, or see --modules-directory"
			if feature := map[string]string{"ssl": "tls", "http2": "http2", "deflate": "deflate"}[m.name]; feature != "" && host.Builds {
				hint = "modwsgi install --httpd bundled --with " + feature + " --python " + run.Quote(i.in.Home) + " builds one that has it, or see --modules-directory"
			}
			return fault.New(fault.Environment, hint,
				"%s needs the httpd module mod_%s, which is neither in %s nor built in", by, m.name, i.modulesDir)
		}
	}
	for _, d := range site.LoadModule(i.in, i.in.Module) {
		b.add(d)
	}
	return nil
}

func (b *builder) connections() {
	i := b.i
	if i.mime != "" {
		b.add(conf.D("TypesConfig", word(i.mime)).From(config.MIMETypes))
	} else {
		b.add(conf.D("TypesConfig", conf.Key(os.DevNull)))
	}
	b.add(
		conf.D("HostnameLookups", conf.Key("Off")),
		conf.D("MaxMemFree", integer(64)),
		conf.D("Timeout", integer(config.SocketTimeout.In(i))).From(config.SocketTimeout),
		conf.D("ListenBackLog", integer(config.ServerBacklog.In(i))).From(config.ServerBacklog),
	)
	if config.HTTP2.In(i) {
		b.add(conf.D("Protocols", conf.Key("h2"), conf.Key("h2c"), conf.Key("http/1.1")).From(config.HTTP2))
	}
	// Both are always said: mod_reqtimeout has defaults of its own.
	b.add(conf.D("RequestReadTimeout",
		conf.Key("header="+readTimeout(config.HeaderTimeout.In(i), config.HeaderMaxTimeout.In(i), config.HeaderMinRate.In(i))),
		conf.Key("body="+readTimeout(config.BodyTimeout.In(i), config.BodyMaxTimeout.In(i), config.BodyMinRate.In(i)))).From(config.HeaderTimeout, config.HeaderMaxTimeout, config.HeaderMinRate, config.BodyTimeout, config.BodyMaxTimeout, config.BodyMinRate))
	b.add(conf.D("LimitRequestBody", integer(config.LimitRequestBody.In(i))).From(config.LimitRequestBody))
	if config.KeepAliveTimeout.In(i) > 0 {
		b.add(conf.D("KeepAlive", conf.Key("On")).From(config.KeepAliveTimeout), conf.D("KeepAliveTimeout", integer(config.KeepAliveTimeout.In(i))).From(config.KeepAliveTimeout))
	} else {
		b.add(conf.D("KeepAlive", conf.Key("Off")).From(config.KeepAliveTimeout))
	}
	b.add(conf.S("Directory", args(word("/")),
		conf.D("AllowOverride", conf.Key("None")), conf.D("Require", conf.Key("all"), conf.Key("denied"))))
	b.add(conf.D("TraceEnable", conf.Key(titled(config.TraceEnable.In(i)))).From(config.TraceEnable))
	if !config.AllowConnect.In(i) {
		// In a section that httpd applies last, so that no Require replaces it; it is
		// in force in all virtual hosts, and also for requests that are passed on.
		b.add(conf.S("If", args(word("%{REQUEST_METHOD} == 'CONNECT'")), conf.D("Require", conf.Key("all"), conf.Key("denied"))).From(config.AllowConnect))
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
var sizeOrigins = orMode(config.Processes, config.Threads, config.MaxClients, config.InitialWorkers, config.MinimumSpareWorkers, config.MaximumSpareWorkers, config.ServerMPM)

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
	if config.EmbeddedMode.In(i) {
		perChild, keep = config.MaximumRequests.In(i), 100
	}
	if i.mpm == "event" {
		keep = 0
	}
	if i.daemon() && i.mpm != "prefork" && config.HostAccessScript.In(i) == "" && config.AuthUserScript.In(i) == "" {
		// Threads that only pass data on need little; Python needs more.
		b.add(conf.D("ThreadStackSize", integer(262144)))
	}
	b.add(conf.D("MaxConnectionsPerChild", integer(perChild)).From(config.MaximumRequests, config.EmbeddedMode),
		conf.D("MaxKeepAliveRequests", integer(keep)).From(orMode(config.ServerMPM)...))
}

// environment passes variables to the application, request by request.
func (b *builder) environment() {
	for _, kv := range config.Setenv.In(b.i) {
		b.add(conf.D("SetEnv", conf.Word(kv[0]), conf.Word(kv[1])).From(config.Setenv))
	}
	for _, name := range config.Passenv.In(b.i) {
		if !hasVariable(b.i.env, name) {
			continue // httpd would warn at each start
		}
		b.add(conf.D("PassEnv", word(name)).From(config.Passenv))
	}
}

func hasVariable(env []string, name string) bool {
	return slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

func (b *builder) includes() {
	for _, name := range config.IncludeFile.In(b.i) {
		path := b.i.fromLaunch(name)
		file := conf.GlobEach(host.Slashed(path))
		if !exists(path) { // a pattern of several; the working directory is none
			if !filepath.IsAbs(name) {
				path = filepath.Join(string(conf.GlobEach(host.Slashed(b.i.launchDir))), name)
			}
			file = word(path)
		}
		b.add(conf.D("Include", file).From(config.IncludeFile))
	}
}
