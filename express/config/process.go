package config

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
	"modwsgi/express/site"
)

var (
	Processes = option.Number("processes", "", "NUMBER", "Number of daemon processes.").
			DefaultText("none (single)").Check(option.Between(0, 10000)).With(unixOnly)
	Threads = option.Number("threads", "5", "NUMBER", "Number of request threads per process.").
		Check(option.Between(1, 65533))
	MaxClients = option.Number("max-clients", "", "NUMBER", "Maximum number of connections on which httpd works at the same time: it receives a request, waits for its response or sends it.").
			DefaultText("as this machine allows, up to 2400; 10 + max(10, floor(1.5*processes*threads)) for prefork").Check(option.Between(0, 20000))
	MaxConnections = option.Number("max-connections", "", "NUMBER", "Maximum number of open connections, most of them idle.").
			DefaultText("as this machine allows").Check(option.Between(1, 1000000)).With(unixOnly, own)
	InitialWorkers = option.Fraction("initial-workers", "", "FRACTION", "Fraction of the connections for which workers are started immediately.").
			DefaultText("0.05 prefork / 0.2 worker,event").Check(option.Part).With(unixOnly)
	MinimumSpareWorkers = option.Fraction("minimum-spare-workers", "", "FRACTION", "Minimum fraction of workers to keep idle.").
				DefaultText("initial-workers").Check(option.Part).With(unixOnly)
	MaximumSpareWorkers = option.Fraction("maximum-spare-workers", "", "FRACTION", "Maximum fraction of workers that may be idle.").
				DefaultText("0.1 prefork / 0.6 worker,event").Check(option.Part).With(unixOnly)
	ServerMPM = option.Texts("server-mpm", "NAME", "Multi-processing module: event, worker or prefork; the first available one is used.").
			DefaultText("event, worker, prefork").Among(false, "event", "worker", "prefork").With(unixOnly)
	MaximumRequests = option.Number("maximum-requests", "0", "NUMBER", "Replace a process after this many requests; 0 means never.").
			With(daemonAnywhere("maximum-requests"))
	EmbeddedMode = option.Toggle("embedded-mode", "Run the application inside httpd's own processes.").
			With(unixOnly)
	DebugMode = option.Toggle("debug-mode", "Run everything in one process with one thread, in the foreground.").
			With(unixOnly)
)

// processes is the mode, and the number of processes and threads.
var processes = feature{
	options: option.NewGroup("Processes",
		Processes, Threads, MaxClients, MaxConnections, InitialWorkers, MinimumSpareWorkers, MaximumSpareWorkers, ServerMPM, MaximumRequests,
		EmbeddedMode, DebugMode,
	),
	conflicts: func(s *Server) error {
		if EmbeddedMode.In(s) && DebugMode.In(s) {
			return option.Usage("", "--embedded-mode and --debug-mode cannot be combined")
		}
		return nil
	},
	useless: func(s *Server) []useless {
		mode := "in " + s.mode() + " mode"
		return []useless{
			{!s.Daemon(), mode, by(InitialWorkers, MinimumSpareWorkers, MaximumSpareWorkers)},
			// On Windows, it is the number of threads of the only process.
			{!s.Daemon() && host.DaemonMode, mode, by(MaxClients)},
			{DebugMode.In(s), "in debug mode, which has one process and one thread", by(Processes, Threads, MaximumRequests)},
			{!s.Daemon(), mode, onlyDaemon()},
		}
	},
	defines: func(i *Instance) []define {
		return []define{
			{EmbeddedMode.In(i), "EMBEDDED_MODE"},
			{i.Given(Processes), "MOD_WSGI_MULTIPROCESS"},
			{true, "MOD_WSGI_MPM_ENABLE_" + strings.ToUpper(i.MPM) + "_MODULE"},
			{i.hasMPM("event"), "MOD_WSGI_MPM_EXISTS_EVENT_MODULE"},
			{i.hasMPM("worker"), "MOD_WSGI_MPM_EXISTS_WORKER_MODULE"},
			{i.hasMPM("prefork"), "MOD_WSGI_MPM_EXISTS_PREFORK_MODULE"},
		}
	},
	writes: map[slot]func(*writer){
		slotModules: writeModules,
		slotDaemon: func(w *writer) {
			w.daemonProcess()
			w.embedded()
		},
		slotSizes: (*writer).processSizes,
	},
}

// mode returns the mode that replaces daemon processes.
func (s *Server) mode() string {
	if DebugMode.In(s) {
		return "debug"
	}
	return "embedded"
}

// onlyDaemon returns the options that apply to daemon processes only.
func onlyDaemon() (options []conf.Origin) {
	for _, o := range table.Options() {
		if Daemon.Of(o) != "" && o != MaximumRequests.Option && o != SocketTimeout.Option {
			options = append(options, o)
		}
	}
	return options
}

// orMode returns options, followed by those that choose a mode with other directives.
func orMode(options ...conf.Origin) []conf.Origin {
	return append(append(options, EmbeddedMode), debugOrigins...)
}

// sizeOrigins are the options that determine the sizes of the MPM.
var sizeOrigins = orMode(Processes, Threads, MaxClients, MaxConnections, InitialWorkers, MinimumSpareWorkers, MaximumSpareWorkers, ServerMPM)

// processSizes adds the sizes of the MPM.
func (w *writer) processSizes() {
	i, z := w.i, w.i.Size
	size := func(name string, n int) { w.add(conf.D(name, integer(n)).From(sizeOrigins...)) }
	switch i.MPM {
	case "winnt":
		size("ThreadLimit", max(1920, z.ThreadsPerChild))
		size("ThreadsPerChild", z.ThreadsPerChild)
	case "prefork":
		size("ServerLimit", z.ServerLimit)
		size("StartServers", z.StartServers)
		size("MinSpareServers", z.MinSpare)
		size("MaxSpareServers", z.MaxSpare)
		size("MaxRequestWorkers", z.MaxWorkers)
	default:
		size("ServerLimit", z.ServerLimit)
		size("ThreadLimit", z.ThreadLimit)
		size("ThreadsPerChild", z.ThreadsPerChild)
		size("StartServers", z.StartServers)
		size("MinSpareThreads", z.MinSpare)
		size("MaxSpareThreads", z.MaxSpare)
		size("MaxRequestWorkers", z.MaxWorkers)
		if z.Factor > 0 {
			size("AsyncRequestWorkerFactor", z.Factor)
		}
	}
	perChild, keep := 0, 500
	if EmbeddedMode.In(i) {
		perChild, keep = MaximumRequests.In(i), 100
	}
	if i.MPM == "event" {
		keep = 0
	}
	if i.Daemon() && i.MPM != "prefork" && HostAccessScript.In(i) == "" && AuthUserScript.In(i) == "" {
		// Threads that only pass on data need little stack. Python needs more.
		w.add(conf.D("ThreadStackSize", integer(262144)))
	}
	w.add(conf.D("MaxConnectionsPerChild", integer(perChild)).From(MaximumRequests, EmbeddedMode),
		conf.D("MaxKeepAliveRequests", integer(keep)).From(orMode(ServerMPM)...))
}

// daemonProcess adds the group of processes that run the application.
func (w *writer) daemonProcess() {
	i := w.i
	if !i.Daemon() {
		return
	}
	if dir := badPathEntry(PythonPath.In(i)); dir != "" {
		w.err = option.Usage("use a symbolic link whose path has no colon", "option --python-path: the directory %q contains a colon, which separates directories in the module path", dir)
		return
	}
	w.add(conf.D("WSGIRestrictEmbedded", onOff(HostAccessScript.In(i) == "" && AuthUserScript.In(i) == "")).From(HostAccessScript, AuthUserScript))
	d := conf.D("WSGIDaemonProcess", word(i.Group), conf.Pair{Name: "display-name", Value: "%{GROUP}"}).From(slices.Concat(i.groupOrigins(), i.eggsOrigins(), []conf.Origin{WorkingDirectory, Processes, Threads, PythonPath, Locale, Lang, ServerMetrics, SwitchInterval})...)
	pair := func(name, value string) { d.Args = append(d.Args, conf.Pair{Name: name, Value: value}) }
	pair("home", i.Work)
	if i.Given(Processes) {
		pair("processes", strconv.Itoa(max(Processes.In(i), 1)))
	}
	pair("threads", strconv.Itoa(Threads.In(i)))
	if len(PythonPath.In(i)) > 0 {
		pair("python-path", strings.Join(w.pythonPath(), ":"))
	}
	pair("python-eggs", i.Eggs)
	pair("lang", i.Locale)
	pair("locale", i.Locale)
	for _, o := range Table().Options() {
		if parameter := Daemon.Of(o); parameter != "" && site.AtLeastVersion(i.ModuleVersion, Since(o)) {
			pair(parameter, strconv.Itoa(option.Handle[int]{Option: o}.In(i)))
			d.Origins = append(d.Origins, o)
		}
	}
	if ServerMetrics.In(i) {
		pair("server-metrics", "On")
	}
	if i.Given(SwitchInterval) {
		pair("switch-interval", decimal(SwitchInterval.In(i)))
	}
	w.add(d)
}

// embedded adds the directives that replace daemon processes in embedded and debug
// mode.
func (w *writer) embedded() {
	i := w.i
	if i.Daemon() {
		return
	}
	dirs := append([]string{i.Work}, w.pythonPath()...)
	if dir := badPathEntry(dirs); dir != "" && host.DaemonMode {
		w.err = option.Usage("", "the directory %q contains a colon, which separates directories in the module path", dir)
		return
	}
	w.add(conf.D("WSGIPythonPath", word(strings.Join(dirs, string(filepath.ListSeparator)))).From(orMode(PythonPath, WorkingDirectory)...))
}
