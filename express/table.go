package express

import "slices"

// Each option is a value, by which the code asks for it: a name that does not exist
// does not compile. An option belongs to the group that lists it.

// Options returns the table of all options, in the order in which help shows
// them.
func Options() []*Option {
	return slices.Concat(
		applicationOptions, listenOptions, httpsOptions, processOptions, timeoutOptions, bufferOptions, httpOptions,
		documentOptions, proxyOptions, accessOptions, logOptions, pythonOptions, serverOptions, serviceOptions,
		telemetryOptions, debugOptions, goneOptions,
	)
}

var (
	optApplicationType = text("application-type", "script", "TYPE", "How the entry point is loaded: script (a file), module (an importable name), paste (a Paste Deploy file) or static (files only).",
		func(s *Server) *string { return &s.ApplicationType }).among(false, "script", "module", "paste", "static")
	optEntryPoint = text("entry-point", "", "ENTRY", "The application to serve; the same as the first argument, and stronger than it.",
		func(s *Server) *string { return &s.EntryPoint })
	optCallableObject = text("callable-object", "application", "NAME", "Name of the WSGI callable in the script or module.",
		func(s *Server) *string { return &s.CallableObject })
	optMountPoint = text("mount-point", "/", "URL-PATH", "URL path below which the application answers.",
		func(s *Server) *string { return &s.MountPoint }).checked(urlPath)
	optApplicationGroup = text("application-group", "%{GLOBAL}", "NAME", "Interpreter of the application; by default the main one.",
		func(s *Server) *string { return &s.ApplicationGroup }).blank()
	optProcessGroup = text("process-group", "", "NAME", "Name of the daemon process group.",
		func(s *Server) *string { return &s.ProcessGroup }).shown("HOST:PORT").checked(processGroup)
	optMapHEADToGET = text("map-head-to-get", "Auto", "WHEN", "Whether a HEAD request reaches the application as GET: Auto, On or Off.",
		func(s *Server) *string { return &s.MapHEADToGET }).among(true, "Auto", "On", "Off")
	optWorkingDirectory = text("working-directory", "", "DIRECTORY", "Working directory of the application, and first on its module path.",
		func(s *Server) *string { return &s.WorkingDirectory }).shown("current directory")
	optReloadOnChanges = toggle("reload-on-changes", "Restart the application when a file of any module it has loaded changes.",
		func(s *Server) *bool { return &s.ReloadOnChanges }).unix()
	optDisableReloading = toggle("disable-reloading", "Do not even reload when the entry point changes.",
		func(s *Server) *bool { return &s.DisableReloading }).unix()
	optChunkedRequest = toggle("chunked-request", "Accept request bodies without a length.",
		func(s *Server) *bool { return &s.ChunkedRequest })
	optOrphanInterpreter = toggle("orphan-interpreter", "End processes without tearing Python down; atexit functions do not run.",
		func(s *Server) *bool { return &s.OrphanInterpreter }).since("4.9.1")
)

var applicationOptions = group("Application",
	optApplicationType, optEntryPoint, optCallableObject, optMountPoint, optApplicationGroup, optProcessGroup, optMapHEADToGET,
	optWorkingDirectory, optReloadOnChanges, optDisableReloading, optChunkedRequest, optOrphanInterpreter,
)

var (
	optHost = text("host", "", "ADDRESS", "Address or name to listen on; by default all addresses.",
		func(s *Server) *string { return &s.Host }).shown("none (all interfaces)").checked(hostName)
	optPort = number("port", "8000", "NUMBER", "TCP port to listen on.",
		func(s *Server) *int { return &s.Port }).checked(between(1, 65535))
	optHTTP2 = toggle("http2", "Speak HTTP/2 too; the httpd must have mod_http2.",
		func(s *Server) *bool { return &s.HTTP2 })
	optServerName = text("server-name", "", "NAME", "The one host name that is answered; others get 403.",
		func(s *Server) *string { return &s.ServerName }).checked(hostName)
	optServerAlias = texts("server-alias", "NAME", "A further name of the server; may hold * and ?.",
		func(s *Server) *[]string { return &s.ServerAliases }).checked(hostPattern)
	optAllowLocalhost = toggle("allow-localhost", "With a server name: answer requests that this machine makes itself under any name.",
		func(s *Server) *bool { return &s.AllowLocalhost })
)

var listenOptions = group("Listening and names",
	optHost, optPort, optHTTP2, optServerName, optServerAlias, optAllowLocalhost,
)

var (
	optHTTPSPort = number("https-port", "", "NUMBER", "TCP port for HTTPS.",
		func(s *Server) *int { return &s.HTTPSPort }).alias("ssl-port").checked(between(1, 65535))
	optSSLCertificateFile = text("ssl-certificate-file", "", "FILE", "The server's certificate.",
		func(s *Server) *string { return &s.CertificateFile })
	optSSLCertificateKeyFile = text("ssl-certificate-key-file", "", "FILE", "The certificate's key.",
		func(s *Server) *string { return &s.CertificateKeyFile })
	optSSLCertificate = text("ssl-certificate", "", "STEM", "Both at once: STEM.crt and STEM.key.",
		func(s *Server) *string { return &s.Certificate })
	optSSLCACertificateFile = text("ssl-ca-certificate-file", "", "FILE", "Demand client certificates signed by these, for all names.",
		func(s *Server) *string { return &s.CACertificateFile })
	optSSLVerifyClient = texts("ssl-verify-client", "URL-PATH", "Demand client certificates only here.",
		func(s *Server) *[]string { return &s.VerifyClient })
	optSSLCertificateChainFile = text("ssl-certificate-chain-file", "", "FILE", "Intermediate certificates.",
		func(s *Server) *string { return &s.CertificateChainFile })
	optSSLEnvironment = toggle("ssl-environment", "Pass the TLS variables to the application.",
		func(s *Server) *bool { return &s.SSLEnvironment })
	optHTTPSOnly = toggle("https-only", "Redirect plain HTTP to HTTPS, also for proxies.",
		func(s *Server) *bool { return &s.HTTPSOnly })
	optHSTSPolicy = text("hsts-policy", "", "POLICY", "Value of the Strict-Transport-Security header.",
		func(s *Server) *string { return &s.HSTSPolicy }).checked(headerValue)
)

var httpsOptions = group("HTTPS",
	optHTTPSPort, optSSLCertificateFile, optSSLCertificateKeyFile, optSSLCertificate, optSSLCACertificateFile, optSSLVerifyClient,
	optSSLCertificateChainFile, optSSLEnvironment, optHTTPSOnly, optHSTSPolicy,
)

var (
	optProcesses = number("processes", "", "NUMBER", "Number of daemon processes.",
		func(s *Server) *int { return &s.Processes }).shown("none (single)").unix().checked(between(0, 10000))
	optThreads = number("threads", "5", "NUMBER", "Request threads of each process.",
		func(s *Server) *int { return &s.Threads }).checked(between(1, 65533))
	optMaxClients = number("max-clients", "", "NUMBER", "Connections that httpd accepts at the same time.",
		func(s *Server) *int { return &s.MaxClients }).shown("10 + max(10, floor(1.5*processes*threads))").checked(between(0, 20000))
	optInitialWorkers = fraction("initial-workers", "0.05 prefork / 0.2 worker,event", "Part of the connections for which workers are started at once.",
		func(s *Server) *float64 { return &s.InitialWorkers }).unix()
	optMinimumSpareWorkers = fraction("minimum-spare-workers", "initial-workers", "Part of the workers that are kept idle at least.",
		func(s *Server) *float64 { return &s.MinSpareWorkers }).unix()
	optMaximumSpareWorkers = fraction("maximum-spare-workers", "0.1 prefork / 0.6 worker,event", "Part of the workers that may be idle.",
		func(s *Server) *float64 { return &s.MaxSpareWorkers }).unix()
	optServerMPM = texts("server-mpm", "NAME", "Multi-processing module, the first that is there: event, worker or prefork.",
		func(s *Server) *[]string { return &s.ServerMPM }).unix().shown("event, worker, prefork").among(false, "event", "worker", "prefork")
	optMaximumRequests = number("maximum-requests", "0", "NUMBER", "Replace a process after so many requests; 0 is never.",
		func(s *Server) *int { return &s.MaximumRequests }).daemonAnywhere("maximum-requests")
	optEmbeddedMode = toggle("embedded-mode", "Run the application inside httpd's own processes.",
		func(s *Server) *bool { return &s.EmbeddedMode }).unix()
	optDebugMode = toggle("debug-mode", "Everything in one process with one thread, in the foreground.",
		func(s *Server) *bool { return &s.DebugMode }).unix()
)

var processOptions = group("Processes",
	optProcesses, optThreads, optMaxClients, optInitialWorkers, optMinimumSpareWorkers, optMaximumSpareWorkers, optServerMPM,
	optMaximumRequests, optEmbeddedMode, optDebugMode,
)

var (
	optStartupTimeout = number("startup-timeout", "15", "SECONDS", "Replace a process whose application does not load in this time; 0 is off.",
		func(s *Server) *int { return &s.StartupTimeout }).since("4.5.6").daemon("startup-timeout")
	optShutdownTimeout = number("shutdown-timeout", "5", "SECONDS", "How long a process that is told to stop may take.",
		func(s *Server) *int { return &s.ShutdownTimeout }).daemon("shutdown-timeout")
	optRestartInterval = number("restart-interval", "0", "SECONDS", "Replace each process after this time; 0 is off.",
		func(s *Server) *int { return &s.RestartInterval }).since("4.5.12").daemon("restart-interval")
	optCPUTimeLimit = number("cpu-time-limit", "0", "SECONDS", "Replace a process after so much CPU time; 0 is off.",
		func(s *Server) *int { return &s.CPUTimeLimit }).daemon("cpu-time-limit")
	optGracefulTimeout = number("graceful-timeout", "15", "SECONDS", "How long requests may go on in a process that is to be replaced.",
		func(s *Server) *int { return &s.GracefulTimeout }).daemon("graceful-timeout")
	optEvictionTimeout = number("eviction-timeout", "0", "SECONDS", "The same after a SIGUSR1 to the process; 0 is the graceful timeout.",
		func(s *Server) *int { return &s.EvictionTimeout }).since("4.4.7").daemon("eviction-timeout")
	optDeadlockTimeout = number("deadlock-timeout", "60", "SECONDS", "Replace a process whose interpreter does not answer for so long.",
		func(s *Server) *int { return &s.DeadlockTimeout }).daemon("deadlock-timeout")
	optInactivityTimeout = number("inactivity-timeout", "0", "SECONDS", "Replace a process that had nothing to do for so long; 0 is off.",
		func(s *Server) *int { return &s.InactivityTimeout }).daemon("inactivity-timeout")
	optIgnoreActivity = texts("ignore-activity", "URL-PATH", "Requests here do not count as activity.",
		func(s *Server) *[]string { return &s.IgnoreActivity }).unix().since("4.5.8").checked(urlPath)
	optRequestTimeout = number("request-timeout", "60", "SECONDS", "Replace a process that is stuck in requests; 0 is off.",
		func(s *Server) *int { return &s.RequestTimeout }).daemon("request-timeout")
	optInterruptTimeout = number("interrupt-timeout", "0", "SECONDS", "Before that, raise an exception in the stuck request; 0 is off.",
		func(s *Server) *int { return &s.InterruptTimeout }).since("6.0.0").daemon("interrupt-timeout")
	optConnectTimeout = number("connect-timeout", "15", "SECONDS", "How long httpd tries to reach a daemon process.",
		func(s *Server) *int { return &s.ConnectTimeout }).daemon("connect-timeout")
	optSocketTimeout = number("socket-timeout", "60", "SECONDS", "Longest pause of a client or a daemon process while data moves.",
		func(s *Server) *int { return &s.SocketTimeout }).daemonAnywhere("socket-timeout").checked(atLeast(1))
	optProxyTimeout = number("proxy-timeout", "", "SECONDS", "The same for servers behind us.",
		func(s *Server) *int { return &s.ProxyTimeout }).shown("none (socket-timeout)").checked(atLeast(1))
	optQueueTimeout = number("queue-timeout", "45", "SECONDS", "Requests that waited longer are answered 504.",
		func(s *Server) *int { return &s.QueueTimeout }).daemonAnywhere("queue-timeout")
	optHeaderTimeout = number("header-timeout", "15", "SECONDS", "Time for a request's headers; 0 is no limit.",
		func(s *Server) *int { return &s.HeaderTimeout })
	optHeaderMaxTimeout = number("header-max-timeout", "30", "SECONDS", "The most that the time for headers is extended to; 0 is no ceiling.",
		func(s *Server) *int { return &s.HeaderMaxTimeout })
	optHeaderMinRate = number("header-min-rate", "500", "BYTES", "Bytes that extend the time for headers by a second.",
		func(s *Server) *int { return &s.HeaderMinRate })
	optBodyTimeout = number("body-timeout", "15", "SECONDS", "Time for a request's body; 0 is no limit.",
		func(s *Server) *int { return &s.BodyTimeout })
	optBodyMaxTimeout = number("body-max-timeout", "0", "SECONDS", "The most that the time for a body is extended to; 0 is no ceiling.",
		func(s *Server) *int { return &s.BodyMaxTimeout })
	optBodyMinRate = number("body-min-rate", "500", "BYTES", "Bytes that extend the time for a body by a second.",
		func(s *Server) *int { return &s.BodyMinRate })
	optResponseSocketTimeout = number("response-socket-timeout", "0", "SECONDS", "Longest pause of a client while it reads a response; 0 is the socket timeout.",
		func(s *Server) *int { return &s.ResponseSocketTimeout }).since("4.5.13").daemon("response-socket-timeout")
	optResponseFlushDelay = number("response-flush-delay", "5", "MILLISECONDS", "Wait for more data before a part of a response is sent.",
		func(s *Server) *int { return &s.ResponseFlushDelay }).since("6.0.2").daemon("response-flush-delay")
	optKeepAliveTimeout = number("keep-alive-timeout", "2", "SECONDS", "How long an idle connection stays open; 0 closes it after each response.",
		func(s *Server) *int { return &s.KeepAliveTimeout })
)

var timeoutOptions = group("Timeouts",
	optStartupTimeout, optShutdownTimeout, optRestartInterval, optCPUTimeLimit, optGracefulTimeout, optEvictionTimeout, optDeadlockTimeout,
	optInactivityTimeout, optIgnoreActivity, optRequestTimeout, optInterruptTimeout, optConnectTimeout, optSocketTimeout, optProxyTimeout,
	optQueueTimeout, optHeaderTimeout, optHeaderMaxTimeout, optHeaderMinRate, optBodyTimeout, optBodyMaxTimeout, optBodyMinRate,
	optResponseSocketTimeout, optResponseFlushDelay, optKeepAliveTimeout,
)

var (
	optLimitRequestBody = number("limit-request-body", "10485760", "BYTES", "Largest request body; 0 is no limit.",
		func(s *Server) *int { return &s.LimitRequestBody })
	optServerBacklog = number("server-backlog", "500", "NUMBER", "Connections that wait for httpd.",
		func(s *Server) *int { return &s.ServerBacklog }).checked(atLeast(1))
	optDaemonBacklog = number("daemon-backlog", "100", "NUMBER", "Requests that wait for a daemon process.",
		func(s *Server) *int { return &s.DaemonBacklog }).daemon("listen-backlog")
	optSendBufferSize = number("send-buffer-size", "0", "BYTES", "Socket buffer from daemon process to httpd; 0 is the system's.",
		func(s *Server) *int { return &s.SendBufferSize }).daemon("send-buffer-size").checked(zeroOr(512))
	optReceiveBufferSize = number("receive-buffer-size", "0", "BYTES", "Socket buffer from httpd to daemon process; 0 is the system's.",
		func(s *Server) *int { return &s.ReceiveBufferSize }).daemon("receive-buffer-size").checked(zeroOr(512))
	optHeaderBufferSize = number("header-buffer-size", "0", "BYTES", "Largest response header; 0 is the module's default.",
		func(s *Server) *int { return &s.HeaderBufferSize }).daemon("header-buffer-size").checked(zeroOr(8192))
	optResponseBufferSize = number("response-buffer-size", "0", "BYTES", "How much of a response is buffered; 0 is the module's default.",
		func(s *Server) *int { return &s.ResponseBufferSize }).since("4.4.7").daemon("response-buffer-size").checked(zeroOr(65536))
)

var bufferOptions = group("Sizes",
	optLimitRequestBody, optServerBacklog, optDaemonBacklog, optSendBufferSize, optReceiveBufferSize, optHeaderBufferSize,
	optResponseBufferSize,
)
