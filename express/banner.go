package express

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
)

// url is where the server is asked.
func (i *resolved) url() string {
	name := config.ServerName.In(i)
	if name == "" {
		name = config.Unbracket(config.Host.In(i))
	}
	if name == "" {
		name = "localhost"
	}
	switch {
	case config.Port.In(i) != 80:
		name = net.JoinHostPort(name, strconv.Itoa(config.Port.In(i)))
	case strings.Contains(name, ":"):
		name = "[" + name + "]"
	}
	return "http://" + name
}

// statusURL is where this machine, and nobody else, is shown the state of httpd.
func (i *resolved) statusURL() string {
	host := config.Unbracket(config.Host.In(i))
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	return config.Origin("http", host, config.Port.In(i))
}

// capacity tells the mode and how many requests are handled at a time.
func (i *resolved) capacity() (mode string, processes, threads int) {
	switch {
	case config.DebugMode.In(i):
		return "debug", 1, 1
	case i.Daemon():
		return "daemon", max(config.Processes.In(i), 1), config.Threads.In(i)
	}
	if i.MPM == "winnt" {
		return "embedded", 1, i.Size.ThreadsPerChild
	}
	return "embedded", max(config.Processes.In(i), 1), config.Threads.In(i)
}

// banner tells what was set up, with the labels and in the order of upstream's,
// which tools look for.
func (i *resolved) banner(w io.Writer, setup bool) error {
	if config.JSON.In(i) {
		return i.jsonBanner(w)
	}
	var b strings.Builder
	line := func(when bool, label, format string, args ...any) {
		if when {
			fmt.Fprintf(&b, "%-19s: %s\n", label, fmt.Sprintf(format, args...))
		}
	}
	mode, processes, threads := i.capacity()
	daemon := i.Daemon()
	url := i.url()
	line(true, "Server URL", "%s", url+strings.TrimSuffix(i.Mount, "/")+"/")
	line(i.Given(config.HTTPSPort), "Server URL (HTTPS)", "%s", config.Origin("https", config.ServerName.In(i), config.HTTPSPort.In(i))+strings.TrimSuffix(i.Mount, "/")+"/")
	line(config.ServerStatus.In(i), "Server Status", "%s/server-status", i.statusURL())
	line(true, "Server Root", "%s", i.Root)
	line(true, "Server Conf", "%s", filepath.Join(i.Root, instance.ConfFile))
	line(true, "Error Log File", "%s (%s)", i.ErrorLog, config.LogLevel.In(i))
	line(config.AccessLog.In(i), "Access Log File", "%s", i.AccessLog)
	line(config.StartupLog.In(i), "Startup Log File", "%s", i.StartLog)
	line(config.EnableCoverage.In(i), "Coverage Output", "%s", filepath.Join(i.CoverageDir, "index.html"))
	line(config.EnableProfiler.In(i), "Profiler Output", "%s", i.ProfilerDir)
	line(config.EnableRecorder.In(i), "Recorder Output", "%s", i.RecorderDir)
	line(config.RewriteRules.In(i) != "", "Rewrite Rules", "%s", config.RewriteRules.In(i))
	line(config.EnvvarsScript.In(i) != "", "Environ Variables", "%s", config.EnvvarsScript.In(i))
	for _, kv := range instance.Inherited(i.launch().Environ(i.Env)) {
		line(true, "Inherited Variable", "%s", kv)
	}
	line(setup, "Control Script", "%s", filepath.Join(i.Root, host.ControlFile))
	line(true, "Operating Mode", "%s", mode)
	plural := "es"
	if processes == 1 {
		plural = ""
	}
	line(true, "Request Capacity", "%d (%d process%s * %d threads)", processes*threads, processes, plural, threads)
	line(daemon, "Request Timeout", "%d (seconds)", config.RequestTimeout.In(i))
	line(daemon && config.InterruptTimeout.In(i) > 0, "Interrupt Timeout", "%d (seconds)", config.InterruptTimeout.In(i))
	line(daemon && config.StartupTimeout.In(i) > 0, "Startup Timeout", "%d (seconds)", config.StartupTimeout.In(i))
	line(daemon, "Queue Backlog", "%d (connections)", config.DaemonBacklog.In(i))
	line(daemon, "Queue Timeout", "%d (seconds)", config.QueueTimeout.In(i))
	line(daemon, "Server Capacity", "%d (%s)", i.Size.MaxWorkers, i.MPM)
	line(true, "Server Backlog", "%d (connections)", config.ServerBacklog.In(i))
	line(true, "Locale Setting", "%s", i.Locale)
	// Nothing runs yet, which people who set up a server for the first time miss.
	line(setup, "Start It With", "%s start", host.ShellWord(filepath.Join(i.Root, host.ControlFile)))
	_, err := io.WriteString(w, b.String())
	return err
}
