package express

import (
	"cmp"
	"encoding/json"
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

// name returns the host name under which clients reach the server.
func (d *deployment) name() string {
	return cmp.Or(config.ServerName.In(d), listenName(d.Server))
}

// url returns the URL of the server, without a path.
func (d *deployment) url() string {
	name := d.name()
	switch {
	case config.Port.In(d) != 80:
		name = net.JoinHostPort(name, strconv.Itoa(config.Port.In(d)))
	case strings.Contains(name, ":"):
		name = "[" + name + "]"
	}
	return "http://" + name
}

// mountURL returns the URL of the application.
func (d *deployment) mountURL() string { return d.atMount(d.url()) }

// secureURL returns the HTTPS URL of the application.
func (d *deployment) secureURL() string {
	return d.atMount(config.Origin("https", config.ServerName.In(d), config.HTTPSPort.In(d)))
}

func (d *deployment) atMount(origin string) string {
	return origin + strings.TrimSuffix(d.Mount, "/") + "/"
}

// statusURL returns the URL of httpd's status, which only this machine can read.
func (d *deployment) statusURL() string {
	name := listenName(d.Server)
	if name == "0.0.0.0" || name == "::" {
		name = "localhost"
	}
	return config.Origin("http", name, config.Port.In(d))
}

// capacity returns the mode and the number of requests handled concurrently.
func (d *deployment) capacity() (mode string, processes, threads int) {
	switch {
	case config.DebugMode.In(d):
		return "debug", 1, 1
	case d.Daemon():
		return "daemon", max(config.Processes.In(d), 1), config.Threads.In(d)
	}
	if d.MPM == "winnt" {
		return "embedded", 1, d.Size.ThreadsPerChild
	}
	return "embedded", max(config.Processes.In(d), 1), config.Threads.In(d)
}

// banner prints what was set up, with the labels and order of upstream's banner, which
// tools parse.
func (d *deployment) banner(w io.Writer, setup bool) error {
	if config.JSON.In(d) {
		return d.jsonBanner(w)
	}
	var b strings.Builder
	line := func(when bool, label, format string, args ...any) {
		if when {
			fmt.Fprintf(&b, "%-19s: %s\n", label, fmt.Sprintf(format, args...))
		}
	}
	mode, processes, threads := d.capacity()
	daemon := d.Daemon()
	line(true, "Server URL", "%s", d.mountURL())
	line(d.Given(config.HTTPSPort), "Server URL (HTTPS)", "%s", d.secureURL())
	line(config.ServerStatus.In(d), "Server Status", "%s/server-status", d.statusURL())
	line(d.DashboardAddress() != "", "Dashboard", "http://%s/", d.DashboardAddress())
	line(true, "Server Root", "%s", d.Root)
	line(d.ConfigFile != "", "Configuration File", "%s", d.ConfigFile)
	line(true, "Server Conf", "%s", filepath.Join(d.Root, instance.ConfFile))
	line(true, "Error Log File", "%s (%s)", d.ErrorLog, config.LogLevel.In(d))
	line(config.AccessLog.In(d), "Access Log File", "%s", d.AccessLog)
	line(config.StartupLog.In(d), "Startup Log File", "%s", d.StartLog)
	line(config.EnableCoverage.In(d), "Coverage Output", "%s", filepath.Join(d.CoverageDir, "index.html"))
	line(config.EnableProfiler.In(d), "Profiler Output", "%s", d.ProfilerDir)
	line(config.EnableRecorder.In(d), "Recorder Output", "%s", d.RecorderDir)
	line(config.RewriteRules.In(d) != "", "Rewrite Rules", "%s", config.RewriteRules.In(d))
	line(config.EnvvarsScript.In(d) != "", "Environ Variables", "%s", config.EnvvarsScript.In(d))
	for _, kv := range instance.Inherited(d.launch().Environ(d.Env)) {
		line(true, "Inherited Variable", "%s", kv)
	}
	for _, p := range d.sockets {
		line(true, "Inherited Socket", "%s", p)
	}
	line(setup, "Control Script", "%s", filepath.Join(d.Root, host.ControlFile))
	line(true, "Operating Mode", "%s", mode)
	plural := "es"
	if processes == 1 {
		plural = ""
	}
	line(true, "Request Capacity", "%d (%d process%s * %d threads)", processes*threads, processes, plural, threads)
	line(daemon, "Request Timeout", "%d (seconds)", config.RequestTimeout.In(d))
	line(daemon && config.InterruptTimeout.In(d) > 0, "Interrupt Timeout", "%d (seconds)", config.InterruptTimeout.In(d))
	line(daemon && config.StartupTimeout.In(d) > 0, "Startup Timeout", "%d (seconds)", config.StartupTimeout.In(d))
	line(daemon, "Queue Backlog", "%d (connections)", config.DaemonBacklog.In(d))
	line(daemon, "Queue Timeout", "%d (seconds)", config.QueueTimeout.In(d))
	line(daemon, "Server Capacity", "%d (%s)", d.Size.MaxWorkers, d.MPM)
	line(d.Size.Factor > 0, "Open Connections", "%d", d.Size.Connections())
	line(true, "Server Backlog", "%d (connections)", config.ServerBacklog.In(d))
	line(true, "Locale Setting", "%s", d.Locale)
	// Nothing is running yet, which is easy to miss the first time.
	line(setup, "Start It With", "%s start", host.ShellWord(filepath.Join(d.Root, host.ControlFile)))
	_, err := io.WriteString(w, b.String())
	return err
}

// jsonBanner prints the banner as one JSON object.
func (d *deployment) jsonBanner(w io.Writer) error {
	mode, processes, threads := d.capacity()
	m := map[string]any{
		"event": "setup", "url": d.mountURL(), "server_root": d.Root, "conf": filepath.Join(d.Root, instance.ConfFile),
		"error_log": d.ErrorLog, "mode": mode, "processes": processes, "threads": threads, "mpm": d.MPM, "pid_file": d.PIDFile,
		"control_script": filepath.Join(d.Root, host.ControlFile),
	}
	if d.Given(config.HTTPSPort) {
		m["https_url"] = d.secureURL()
	}
	if names := instance.Inherited(d.launch().Environ(d.Env)); len(names) > 0 {
		m["inherited"] = names
	}
	if len(d.sockets) > 0 {
		m["sockets"] = addresses(d.sockets)
	}
	if address := d.DashboardAddress(); address != "" {
		m["dashboard"] = "http://" + address + "/"
	}
	if config.AccessLog.In(d) {
		m["access_log"] = d.AccessLog
	}
	return json.NewEncoder(w).Encode(m)
}

// announce prints that the application is loaded.
func (d *deployment) announce(w io.Writer) error {
	if config.JSON.In(d) {
		return json.NewEncoder(w).Encode(map[string]any{"event": "ready", "url": d.mountURL()})
	}
	_, err := fmt.Fprintf(w, "%-19s: %s\n", "Ready", d.mountURL())
	return err
}
