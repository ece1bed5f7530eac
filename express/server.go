package express

// Server is what the command line says, typed, before anything is derived from
// the environment that we run in. Paths are as given; relative ones are taken
// from the working directory of the launcher. Times are in seconds and sizes in
// bytes unless an option's help says something else.
type Server struct {
	// Application.
	ApplicationType, EntryPoint, ApplicationGroup, ProcessGroup, CallableObject, MapHEADToGET string
	DisableReloading, ReloadOnChanges, ChunkedRequest, OrphanInterpreter                      bool
	WorkingDirectory, MountPoint                                                              string

	// Listening and names.
	Host, ServerName string
	Port             int
	ServerAliases    []string
	AllowLocalhost   bool
	HTTP2            bool

	// TLS.
	HTTPSPort                                           int
	CertificateFile, CertificateKeyFile, Certificate    string
	CACertificateFile, CertificateChainFile, HSTSPolicy string
	VerifyClient                                        []string
	SSLEnvironment, HTTPSOnly                           bool

	// Processes.
	Processes, Threads, MaxClients                     int
	InitialWorkers, MinSpareWorkers, MaxSpareWorkers   float64
	MaximumRequests                                    int
	EmbeddedMode, DebugMode                            bool
	ServerMPM                                          []string
	StartupTimeout, ShutdownTimeout, RestartInterval   int
	CPUTimeLimit, GracefulTimeout, EvictionTimeout     int
	DeadlockTimeout, InactivityTimeout, RequestTimeout int
	InterruptTimeout, ConnectTimeout, SocketTimeout    int
	QueueTimeout, ResponseSocketTimeout                int
	ResponseFlushDelay                                 int // milliseconds
	IgnoreActivity                                     []string

	// HTTP.
	LimitRequestBody, KeepAliveTimeout                 int
	HeaderTimeout, HeaderMaxTimeout, HeaderMinRate     int
	BodyTimeout, BodyMaxTimeout, BodyMinRate           int
	ServerBacklog, DaemonBacklog                       int
	SendBufferSize, ReceiveBufferSize                  int
	HeaderBufferSize, ResponseBufferSize, ProxyTimeout int
	EnableSendfile, CompressResponses                  bool
	TraceEnable                                        string
	AllowConnect                                       bool

	// Documents.
	DocumentRoot, DirectoryIndex string
	FollowSymlinks               string
	DirectoryListing             bool
	AllowOverride                []string
	URLAliases                   [][2]string
	ErrorDocuments               [][2]string
	ErrorOverride, WithCGI       bool
	MIMETypes                    string

	// Proxies.
	ProxyMountPoints, ProxyVirtualHosts [][2]string
	TrustProxyHeaders, TrustProxies     []string

	// Access.
	HostAccessScript, AuthUserScript, AuthType, AuthGroupScript, AuthGroup string
	ServerStatus, ServerMetrics                                            bool

	// Logs.
	LogDirectory, LogLevel, AccessLogFormat, ErrorLogFormat string
	ErrorLogName, AccessLogName, StartupLogName             string
	AccessLog, StartupLog, LogToTerminal, RotateLogs        bool
	VerboseDebugging                                        bool
	MaxLogSize                                              int // megabytes
	RotatelogsExecutable                                    string

	// Python.
	PythonPath, PythonWarnings []string
	PythonEggs                 string
	SwitchInterval             float64
	FreeThreading              bool

	// The server and its surroundings.
	User, Group, Locale, Lang         string
	SetEnv                            [][2]string
	PassEnv, IncludeFiles             []string
	RewriteRules, PIDFile, ServerRoot string
	HTTPDExecutable, ModulesDirectory string
	SocketPrefix, ProcessName         string
	SetupOnly                         bool
	ServiceScripts                    [][2]string
	ServiceUsers, ServiceGroups       [][2]string
	ServiceLogFiles                   [][2]string
	AddHandlers                       [][2]string
	EnableDocs, JSON, WaitReady       bool
	EnvVarsScript, Shell              string

	// Telemetry.
	TelemetryService                string
	EnableTelemetry                 bool
	TelemetryUIPort                 int
	TelemetryInterval, SlowRequests float64
	TelemetryOptions                []string

	// Debugging.
	EnableDebugger, DebuggerStartup, EnableCoverage, EnableProfiler, EnableRecorder, EnableGDB bool
	CoverageDirectory, ProfilerDirectory, RecorderDirectory, GDBExecutable                     string

	given         map[string]bool // by name
	positional    []string
	moduleVersion string // of the installed module
	freeThreaded  bool   // the installed Python has no GIL
	forUnit       bool   // a unit is printed, which runs it as --user
}

// Given reports whether the command line sets the option.
func (s *Server) Given(o *Option) bool { return s.given[o.Name] }
