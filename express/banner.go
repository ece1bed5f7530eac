package express

import (
	"fmt"
	"io"
	"modwsgi/express/host"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// url is where the server is asked.
func (i *instance) url() string {
	name := i.ServerName
	if name == "" {
		name = unbracket(i.Host)
	}
	if name == "" {
		name = "localhost"
	}
	switch {
	case i.Port != 80:
		name = net.JoinHostPort(name, strconv.Itoa(i.Port))
	case strings.Contains(name, ":"):
		name = "[" + name + "]"
	}
	return "http://" + name
}

// statusURL is where this machine, and nobody else, is shown the state of httpd.
func (i *instance) statusURL() string {
	host := unbracket(i.Host)
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	return origin("http", host, i.Port)
}

// capacity tells the mode and how many requests are handled at a time.
func (i *instance) capacity() (mode string, processes, threads int) {
	switch {
	case i.DebugMode:
		return "debug", 1, 1
	case i.daemon():
		return "daemon", max(i.Processes, 1), i.Threads
	}
	if i.mpm == "winnt" {
		return "embedded", 1, i.size.threadsPerChild
	}
	return "embedded", max(i.Processes, 1), i.Threads
}

// banner tells what was set up, with the labels and in the order of upstream's,
// which tools look for.
func (i *instance) banner(w io.Writer, setup bool) error {
	if i.JSON {
		return i.jsonBanner(w)
	}
	var b strings.Builder
	line := func(when bool, label, format string, args ...any) {
		if when {
			fmt.Fprintf(&b, "%-19s: %s\n", label, fmt.Sprintf(format, args...))
		}
	}
	mode, processes, threads := i.capacity()
	daemon := i.daemon()
	url := i.url()
	line(true, "Server URL", "%s", url+strings.TrimSuffix(i.mount, "/")+"/")
	line(i.Given(optHTTPSPort), "Server URL (HTTPS)", "%s", origin("https", i.ServerName, i.HTTPSPort)+strings.TrimSuffix(i.mount, "/")+"/")
	line(i.ServerStatus, "Server Status", "%s/server-status", i.statusURL())
	line(true, "Server Root", "%s", i.root)
	line(true, "Server Conf", "%s", filepath.Join(i.root, confFile))
	line(true, "Error Log File", "%s (%s)", i.errorLog, i.LogLevel)
	line(i.AccessLog, "Access Log File", "%s", i.accessLog)
	line(i.StartupLog, "Startup Log File", "%s", i.startLog)
	line(i.EnableCoverage, "Coverage Output", "%s", filepath.Join(i.coverageDir, "index.html"))
	line(i.EnableProfiler, "Profiler Output", "%s", i.profilerDir)
	line(i.EnableRecorder, "Recorder Output", "%s", i.recorderDir)
	line(i.RewriteRules != "", "Rewrite Rules", "%s", i.RewriteRules)
	line(i.EnvVarsScript != "", "Environ Variables", "%s", i.EnvVarsScript)
	for _, kv := range inherited(i.launch().environ(i.env)) {
		line(true, "Inherited Variable", "%s", kv)
	}
	line(setup, "Control Script", "%s", filepath.Join(i.root, host.ControlFile))
	line(true, "Operating Mode", "%s", mode)
	plural := "es"
	if processes == 1 {
		plural = ""
	}
	line(true, "Request Capacity", "%d (%d process%s * %d threads)", processes*threads, processes, plural, threads)
	line(daemon, "Request Timeout", "%d (seconds)", i.RequestTimeout)
	line(daemon && i.InterruptTimeout > 0, "Interrupt Timeout", "%d (seconds)", i.InterruptTimeout)
	line(daemon && i.StartupTimeout > 0, "Startup Timeout", "%d (seconds)", i.StartupTimeout)
	line(daemon, "Queue Backlog", "%d (connections)", i.DaemonBacklog)
	line(daemon, "Queue Timeout", "%d (seconds)", i.QueueTimeout)
	line(daemon, "Server Capacity", "%d (%s)", i.size.maxWorkers, i.mpm)
	line(true, "Server Backlog", "%d (connections)", i.ServerBacklog)
	line(true, "Locale Setting", "%s", i.locale)
	// Nothing runs yet, which people who set up a server for the first time miss.
	line(setup, "Start It With", "%s start", host.ShellWord(filepath.Join(i.root, host.ControlFile)))
	_, err := io.WriteString(w, b.String())
	return err
}
