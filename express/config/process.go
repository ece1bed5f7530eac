package config

import "modwsgi/express/option"

var (
	Processes = option.Number("processes", "", "NUMBER", "Number of daemon processes.").
			DefaultText("none (single)").Check(option.Between(0, 10000)).With(unixOnly)
	Threads = option.Number("threads", "5", "NUMBER", "Request threads of each process.").
		Check(option.Between(1, 65533))
	MaxClients = option.Number("max-clients", "", "NUMBER", "Connections that httpd accepts at the same time.").
			DefaultText("10 + max(10, floor(1.5*processes*threads))").Check(option.Between(0, 20000))
	InitialWorkers = option.Fraction("initial-workers", "", "FRACTION", "Part of the connections for which workers are started at once.").
			DefaultText("0.05 prefork / 0.2 worker,event").Check(option.Part).With(unixOnly)
	MinimumSpareWorkers = option.Fraction("minimum-spare-workers", "", "FRACTION", "Part of the workers that are kept idle at least.").
				DefaultText("initial-workers").Check(option.Part).With(unixOnly)
	MaximumSpareWorkers = option.Fraction("maximum-spare-workers", "", "FRACTION", "Part of the workers that may be idle.").
				DefaultText("0.1 prefork / 0.6 worker,event").Check(option.Part).With(unixOnly)
	ServerMPM = option.Texts("server-mpm", "NAME", "Multi-processing module, the first that is there: event, worker or prefork.").
			DefaultText("event, worker, prefork").Among(false, "event", "worker", "prefork").With(unixOnly)
	MaximumRequests = option.Number("maximum-requests", "0", "NUMBER", "Replace a process after so many requests; 0 is never.").
			With(daemonAnywhere("maximum-requests"))
	EmbeddedMode = option.Toggle("embedded-mode", "Run the application inside httpd's own processes.").
			With(unixOnly)
	DebugMode = option.Toggle("debug-mode", "Everything in one process with one thread, in the foreground.").
			With(unixOnly)
)

var processesGroup = option.NewGroup("Processes",
	Processes, Threads, MaxClients, InitialWorkers, MinimumSpareWorkers, MaximumSpareWorkers, ServerMPM, MaximumRequests,
	EmbeddedMode, DebugMode,
)
