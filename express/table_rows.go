package express

// daemonAnywhere is daemon for options that mean something on Windows too.
func (o *Option) daemonAnywhere(v string) *Option { o.Daemon = v; return o }

var (
	optCompressResponses = toggle("compress-responses", "Compress textual responses for clients that can take them.",
		func(s *Server) *bool { return &s.CompressResponses })
	optEnableSendfile = toggle("enable-sendfile", "Send files with the system's sendfile call.",
		func(s *Server) *bool { return &s.EnableSendfile })
	optTraceEnable = text("trace-enable", "off", "WHEN", "Answer TRACE requests, which echo a request with its cookies: on, off or extended (also with a body).",
		func(s *Server) *string { return &s.TraceEnable }).among(true, "on", "off", "extended")
	optAllowConnect = toggle("allow-connect", "Let CONNECT requests reach the application; without it they are refused.",
		func(s *Server) *bool { return &s.AllowConnect })
)

var httpOptions = group("HTTP",
	optCompressResponses, optEnableSendfile, optTraceEnable, optAllowConnect,
)

var (
	optDocumentRoot = text("document-root", "", "DIRECTORY", "Files here are served at /, before the application is asked.",
		func(s *Server) *string { return &s.DocumentRoot }).shown("SERVER_ROOT/htdocs")
	optFollowSymlinks = text("follow-symlinks", "none", "WHICH", "Symbolic links in the document root and in directories of --url-alias that are followed: none, owner (link and target have the same owner) or all.",
		func(s *Server) *string { return &s.FollowSymlinks }).among(true, "none", "owner", "all")
	optDirectoryIndex = text("directory-index", "", "NAMES", "Files that stand for their directory, such as index.html.",
		func(s *Server) *string { return &s.DirectoryIndex })
	optDirectoryListing = toggle("directory-listing", "List directories that have no index file.",
		func(s *Server) *bool { return &s.DirectoryListing })
	optAllowOverride = texts("allow-override", "CLASS", "Kind of directives that .htaccess files may hold.",
		func(s *Server) *[]string { return &s.AllowOverride }).checked(oneWord).shown("None")
	optURLAlias = pairs("url-alias", "URL-PATH PATH", "Serve a file or directory at a URL.",
		func(s *Server) *[][2]string { return &s.URLAliases })
	optErrorDocument = pairs("error-document", "STATUS DOCUMENT", "What to send instead of httpd's own error page.",
		func(s *Server) *[][2]string { return &s.ErrorDocuments }).blank()
	optErrorOverride = toggle("error-override", "Error documents replace the application's own error responses too.",
		func(s *Server) *bool { return &s.ErrorOverride })
	optMIMETypes = text("mime-types", "", "FILE", "Table of media types by file name.",
		func(s *Server) *string { return &s.MIMETypes }).shown("system mime.types")
	optRewriteRules = text("rewrite-rules", "", "FILE", "mod_rewrite rules for the document root.",
		func(s *Server) *string { return &s.RewriteRules }).shown("SERVER_ROOT/rewrite.conf")
	optAddHandler = pairs("add-handler", "EXTENSION SCRIPT", "Python script that answers for files with an extension.",
		func(s *Server) *[][2]string { return &s.AddHandlers })
	optWithCGI = toggle("with-cgi", "Run .cgi files of the document root.",
		func(s *Server) *bool { return &s.WithCGI })
	optEnableDocs = toggle("enable-docs", "Serve the launcher's manual below /__wsgi__/docs; on by itself for the welcome page.",
		func(s *Server) *bool { return &s.EnableDocs })
)

var documentOptions = group("Files",
	optDocumentRoot, optFollowSymlinks, optDirectoryIndex, optDirectoryListing, optAllowOverride, optURLAlias, optErrorDocument,
	optErrorOverride, optMIMETypes, optRewriteRules, optAddHandler, optWithCGI, optEnableDocs,
)

var (
	optProxyMountPoint = pairs("proxy-mount-point", "URL-PATH URL", "Pass requests below a path on to another server.",
		func(s *Server) *[][2]string { return &s.ProxyMountPoints }).alias("proxy-url-alias")
	optProxyVirtualHost = pairs("proxy-virtual-host", "NAME URL", "Pass requests for a host name on to another server.",
		func(s *Server) *[][2]string { return &s.ProxyVirtualHosts })
	optTrustProxyHeader = texts("trust-proxy-header", "NAME", "Header of a proxy in front of us that is believed; needs --trust-proxy.",
		func(s *Server) *[]string { return &s.TrustProxyHeaders }).since("4.4.9").checked(oneWord)
	optTrustProxy = texts("trust-proxy", "ADDRESS", "Address or network of a proxy in front of us.",
		func(s *Server) *[]string { return &s.TrustProxies }).since("4.4.10").checked(network)
)

var proxyOptions = group("Proxies",
	optProxyMountPoint, optProxyVirtualHost, optTrustProxyHeader, optTrustProxy,
)

var (
	optHostAccessScript = text("host-access-script", "", "FILE", "Script whose allow_access(environ, host) decides who gets in.",
		func(s *Server) *string { return &s.HostAccessScript })
	optAuthUserScript = text("auth-user-script", "", "FILE", "Script that knows users and their passwords.",
		func(s *Server) *string { return &s.AuthUserScript })
	optAuthType = text("auth-type", "Basic", "TYPE", "Basic or Digest.",
		func(s *Server) *string { return &s.AuthType }).among(true, "Basic", "Digest")
	optAuthGroupScript = text("auth-group-script", "", "FILE", "Script that knows the groups of a user.",
		func(s *Server) *string { return &s.AuthGroupScript })
	optAuthGroup = text("auth-group", "wsgi", "NAME", "Group that a user must be in.",
		func(s *Server) *string { return &s.AuthGroup })
	optServerStatus = toggle("server-status", "Show httpd's state at http://localhost/server-status, to this machine only, not through a proxy.",
		func(s *Server) *bool { return &s.ServerStatus })
	optServerMetrics = toggle("server-metrics", "Let the application read httpd's state.",
		func(s *Server) *bool { return &s.ServerMetrics })
)

var accessOptions = group("Access",
	optHostAccessScript, optAuthUserScript, optAuthType, optAuthGroupScript, optAuthGroup, optServerStatus, optServerMetrics,
)

var (
	optLogDirectory = text("log-directory", "", "DIRECTORY", "Where log files go.",
		func(s *Server) *string { return &s.LogDirectory }).shown("SERVER_ROOT")
	optLogLevel = text("log-level", "warn", "LEVEL", "Least severe messages that are logged; may name modules (info rewrite:trace3).",
		func(s *Server) *string { return &s.LogLevel }).checked(logLevel)
	optLogToTerminal = toggle("log-to-terminal", "Logs go to standard error and standard output.",
		func(s *Server) *bool { return &s.LogToTerminal }).unix()
	optAccessLog = toggle("access-log", "Log each request.",
		func(s *Server) *bool { return &s.AccessLog })
	optAccessLogFormat = text("access-log-format", "common", "FORMAT", "common, combined, or a format of mod_log_config.",
		func(s *Server) *string { return &s.AccessLogFormat })
	optErrorLogFormat = text("error-log-format", "", "FORMAT", "Format of lines in the error log.",
		func(s *Server) *string { return &s.ErrorLogFormat })
	optErrorLogName = text("error-log-name", "error_log", "NAME", "File name of the error log.",
		func(s *Server) *string { return &s.ErrorLogName })
	optAccessLogName = text("access-log-name", "access_log", "NAME", "File name of the access log.",
		func(s *Server) *string { return &s.AccessLogName })
	optStartupLog = toggle("startup-log", "Log what httpd says before it has read its configuration.",
		func(s *Server) *bool { return &s.StartupLog }).unix()
	optStartupLogName = text("startup-log-name", "startup_log", "NAME", "File name of the startup log.",
		func(s *Server) *string { return &s.StartupLogName }).unix()
	optRotateLogs = toggle("rotate-logs", "Start a new log file when one is full.",
		func(s *Server) *bool { return &s.RotateLogs }).unix()
	optMaxLogSize = number("max-log-size", "5", "MEGABYTES", "Size at which a log file is full.",
		func(s *Server) *int { return &s.MaxLogSize }).unix().checked(between(1, 1<<20))
	optRotatelogsExecutable = text("rotatelogs-executable", "", "FILE", "The rotatelogs program.",
		func(s *Server) *string { return &s.RotatelogsExecutable }).unix().shown("found beside httpd, else rotatelogs")
	optVerboseDebugging = toggle("verbose-debugging", "More messages from modules before 6.0.0.",
		func(s *Server) *bool { return &s.VerboseDebugging }).hidden()
)

var logOptions = group("Logs",
	optLogDirectory, optLogLevel, optLogToTerminal, optAccessLog, optAccessLogFormat, optErrorLogFormat, optErrorLogName, optAccessLogName,
	optStartupLog, optStartupLogName, optRotateLogs, optMaxLogSize, optRotatelogsExecutable, optVerboseDebugging,
)

var (
	optPythonPath = texts("python-path", "DIRECTORY", "Directory for the module path of the application.",
		func(s *Server) *[]string { return &s.PythonPath })
	optPythonEggs = text("python-eggs", "", "DIRECTORY", "Where zipped eggs are unpacked.",
		func(s *Server) *string { return &s.PythonEggs }).shown("SERVER_ROOT/python-eggs")
	optPythonWarnings = texts("python-warnings", "FILTER", "Filter as for python -W.",
		func(s *Server) *[]string { return &s.PythonWarnings })
	optSwitchInterval = &Option{
		Name: "switch-interval", Values: 1, Kind: Fraction, Shown: "none (Python: 0.005)", Meta: "SECONDS", Since: "6.0.0",
		Help:  "How long a thread may run before another one gets its turn.",
		field: func(s *Server) any { return &s.SwitchInterval }, check: positive,
	}
	optFreeThreading = toggle("free-threading", "Run without the global interpreter lock; Python must be built for it.",
		func(s *Server) *bool { return &s.FreeThreading }).since("6.0.0")
)

var pythonOptions = group("Python",
	optPythonPath, optPythonEggs, optPythonWarnings, optSwitchInterval, optFreeThreading,
)

var (
	optServerRoot = text("server-root", "", "DIRECTORY", "Directory for the files of this instance.",
		func(s *Server) *string { return &s.ServerRoot }).shown("see notes")
	optUser = text("user", "", "NAME", "Account of the application, when started as root.",
		func(s *Server) *string { return &s.User }).unix().shown("current user")
	optGroup = text("group", "", "NAME", "Group of the application, when started as root.",
		func(s *Server) *string { return &s.Group }).unix().shown("primary group of current user")
	optSetenv = pairs("setenv", "NAME VALUE", "Put a variable into the WSGI environment of each request.",
		func(s *Server) *[][2]string { return &s.SetEnv }).blank()
	optPassenv = texts("passenv", "NAME", "Put a variable of our own environment into that of each request.",
		func(s *Server) *[]string { return &s.PassEnv }).checked(variable)
	optIncludeFile = texts("include-file", "FILE", "Further httpd configuration, read at the end.",
		func(s *Server) *[]string { return &s.IncludeFiles })
	optLocale = text("locale", "", "LOCALE", "Locale of the application.",
		func(s *Server) *string { return &s.Locale }).shown("process locale").checked(oneWord)
	optLang = text("lang", "", "LOCALE", "Old spelling of --locale.",
		func(s *Server) *string { return &s.Lang }).unix().hidden().checked(oneWord)
	optPIDFile = text("pid-file", "", "FILE", "Where httpd writes its process identifier.",
		func(s *Server) *string { return &s.PIDFile }).shown("SERVER_ROOT/httpd.pid")
	optProcessName = text("process-name", "httpd (mod_wsgi-express)", "NAME", "Name of the httpd processes in ps.",
		func(s *Server) *string { return &s.ProcessName }).unix()
	optHTTPDExecutable = text("httpd-executable", "", "FILE", "The httpd to run.",
		func(s *Server) *string { return &s.HTTPDExecutable }).shown("httpd known at build time")
	optModulesDirectory = text("modules-directory", "", "DIRECTORY", "Where httpd's modules are.",
		func(s *Server) *string { return &s.ModulesDirectory }).shown("known at build time")
	optSocketPrefix = text("socket-prefix", "", "DIRECTORY", "Directory for the sockets of the daemon processes.",
		func(s *Server) *string { return &s.SocketPrefix }).unix().shown("SERVER_ROOT")
	optSetupOnly = toggle("setup-only", "Write the files, start nothing.",
		func(s *Server) *bool { return &s.SetupOnly }).unix()
	optEnvvarsScript = text("envvars-script", "", "FILE", "Shell script, run once at setup, whose exported variables httpd gets.",
		func(s *Server) *string { return &s.EnvVarsScript }).unix().shown("SERVER_ROOT/envvars")
	optShellExecutable = text("shell-executable", "", "FILE", "Shell for --envvars-script; nothing else here runs through a shell.",
		func(s *Server) *string { return &s.Shell }).unix().shown("bash, else sh, from PATH")
	optJSON = toggle("json", "Tell what was set up as JSON, one object on a line.",
		func(s *Server) *bool { return &s.JSON })
	optWaitReady = toggle("wait-ready", "Tell so, and write the line last, only once the application is loaded; fail if it does not load.",
		func(s *Server) *bool { return &s.WaitReady }).unix()
	optHelp = &Option{Name: "help", Aliases: []string{"h"}, Kind: Flag, Help: "Show this help.", field: func(*Server) any { return nil }}
)

var serverOptions = group("Server",
	optServerRoot, optUser, optGroup, optSetenv, optPassenv, optIncludeFile, optLocale, optLang, optPIDFile, optProcessName, optHTTPDExecutable,
	optModulesDirectory, optSocketPrefix, optSetupOnly, optEnvvarsScript, optShellExecutable, optJSON, optWaitReady, optHelp,
)

var (
	optServiceScript = pairs("service-script", "NAME SCRIPT", "Run a script in a process of its own.",
		func(s *Server) *[][2]string { return &s.ServiceScripts }).unix().since("4.6.0")
	optServiceUser = pairs("service-user", "NAME USER", "Account of a service.",
		func(s *Server) *[][2]string { return &s.ServiceUsers }).unix().since("4.6.0").shown("--user")
	optServiceGroup = pairs("service-group", "NAME GROUP", "Group of a service.",
		func(s *Server) *[][2]string { return &s.ServiceGroups }).unix().since("4.6.0").shown("--group")
	optServiceLogFile = pairs("service-log-file", "NAME FILE", "Log file of a service, in the log directory.",
		func(s *Server) *[][2]string { return &s.ServiceLogFiles }).unix().since("4.6.0").alias("service-log")
)

var serviceOptions = group("Services",
	optServiceScript, optServiceUser, optServiceGroup, optServiceLogFile,
)

// seconds is an option whose value is a time.
func seconds(name, def, help string, f func(*Server) *float64, check func(string) error) *Option {
	return &Option{
		Name: name, Values: 1, Kind: Fraction, Default: def, Since: "6.0.0", Meta: "SECONDS", Help: help,
		field: func(s *Server) any { return f(s) }, check: check,
	}
}

var (
	optTelemetryService = text("telemetry-service", "", "TARGET", "Report to a collector at unix:PATH.",
		func(s *Server) *string { return &s.TelemetryService }).since("6.0.0").checked(unixTarget)
	optEnableTelemetry = toggle("enable-telemetry", "Collect telemetry and show it, on this machine only.",
		func(s *Server) *bool { return &s.EnableTelemetry }).unix().since("6.0.0")
	optTelemetryUIPort = number("telemetry-ui-port", "8888", "NUMBER", "Port on which it is shown.",
		func(s *Server) *int { return &s.TelemetryUIPort }).unix().since("6.0.0").checked(between(1, 65535))
	optTelemetryInterval = seconds("telemetry-interval", "1.0", "Time between reports, 0.5 or more.",
		func(s *Server) *float64 { return &s.TelemetryInterval }, atLeastSeconds(0.5))
	optSlowRequests = seconds("slow-requests", "", "Report requests that take longer; 0 is off.",
		func(s *Server) *float64 { return &s.SlowRequests }, atLeastSeconds(0))
	optTelemetryOptions = texts("telemetry-options", "OPTIONS", "What else is captured: None, All, or names such as +CaptureUserAgent.",
		func(s *Server) *[]string { return &s.TelemetryOptions }).since("6.0.0").checked(telemetryWords)
)

var telemetryOptions = group("Telemetry",
	optTelemetryService, optEnableTelemetry, optTelemetryUIPort, optTelemetryInterval, optSlowRequests, optTelemetryOptions,
)

var (
	optEnableDebugger = toggle("enable-debugger", "Python debugger on uncaught exceptions; implies --debug-mode, as all of these do.",
		func(s *Server) *bool { return &s.EnableDebugger }).unix()
	optDebuggerStartup = toggle("debugger-startup", "Debugger prompt once the application is loaded, with --enable-debugger.",
		func(s *Server) *bool { return &s.DebuggerStartup }).unix()
	optEnableCoverage = toggle("enable-coverage", "Measure which lines run; the package coverage must be installed.",
		func(s *Server) *bool { return &s.EnableCoverage }).unix()
	optCoverageDirectory = text("coverage-directory", "", "DIRECTORY", "Where the coverage report goes, when the server ends.",
		func(s *Server) *string { return &s.CoverageDirectory }).unix().shown("SERVER_ROOT/htmlcov")
	optEnableProfiler = toggle("enable-profiler", "Profile loading and requests.",
		func(s *Server) *bool { return &s.EnableProfiler }).unix()
	optProfilerDirectory = text("profiler-directory", "", "DIRECTORY", "Where the profile goes, when the server ends.",
		func(s *Server) *string { return &s.ProfilerDirectory }).unix().shown("SERVER_ROOT/pstats")
	optEnableRecorder = toggle("enable-recorder", "Record each request and its response, seven files each.",
		func(s *Server) *bool { return &s.EnableRecorder }).unix()
	optRecorderDirectory = text("recorder-directory", "", "DIRECTORY", "Where recordings go.",
		func(s *Server) *string { return &s.RecorderDirectory }).unix().shown("SERVER_ROOT/archive")
	optEnableGDB = toggle("enable-gdb", "Run httpd under gdb.",
		func(s *Server) *bool { return &s.EnableGDB }).unix()
	optGDBExecutable = text("gdb-executable", "gdb", "FILE", "The gdb to use.",
		func(s *Server) *string { return &s.GDBExecutable }).unix()
)

var debugOptions = group("Debugging",
	optEnableDebugger, optDebuggerStartup, optEnableCoverage, optCoverageDirectory, optEnableProfiler, optProfilerDirectory, optEnableRecorder,
	optRecorderDirectory, optEnableGDB, optGDBExecutable,
)

const newRelic = "was dropped in mod_wsgi 6.0.0; start the New Relic agent in the application itself"

// goneOptions are those that upstream had; nothing asks for them.
var goneOptions = group("Gone",
	toggle("with-newrelic", "", nil).gone(newRelic),
	toggle("with-newrelic-agent", "", nil).gone(newRelic),
	toggle("with-newrelic-platform", "", nil).gone(newRelic),
	text("newrelic-config-file", "", "FILE", "", nil).shown("empty").gone(newRelic),
	text("newrelic-environment", "", "NAME", "", nil).shown("empty").gone(newRelic),
	toggle("isatty", "", nil).unix().gone("was dropped in mod_wsgi 4.8.0; the launcher always supervises httpd, on and off terminals"),
	toggle("with-php5", "", nil).gone("is not supported: PHP 5 is no longer maintained; use --include-file for another handler"),
	number("proxy-buffer-size", "0", "BYTES", "", nil).gone("was renamed in mod_wsgi 4.4.7; use --response-buffer-size"),
)
