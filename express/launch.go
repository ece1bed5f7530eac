package express

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/logwriter"
)

// launch returns the parameters for starting httpd.
func (d *deployment) launch() *instance.Launch {
	l := &instance.Launch{
		HTTPD: d.HTTPD, Argv0: d.argv0(), Dir: d.Work, Root: d.Root, Host: listenName(d.Server), Port: config.Port.In(d), Pid: d.PIDFile,
		Stat: config.ServerStatus.In(d), URL: d.mountURL(), GDB: d.GDB, UID: d.account.Number(),
		Args: []string{"-f", filepath.Join(d.Root, instance.ConfFile)},
		Env:  d.ownVariables(), Open: d.Size.OpenFiles(),
		KeepAlive: config.KeepAliveTimeout.In(d), Handover: d.python.Handover(), ErrorLog: d.ErrorLog, Direct: d.DirectLog(),
	}
	l.Health, l.Metrics, l.Clients, l.Threads = config.HealthPath.In(d), d.MetricsAddress(), d.Size.Connections(), d.Size.MaxWorkers
	l.JSONLog, l.Dashboard = d.ErrorLogIsJSON(), d.DashboardAddress()
	if l.ACME = d.ACME(); l.ACME != nil && d.account.Other {
		l.ACME.OtherUser, l.ACME.Group = true, d.account.GID
	}
	if cert, _ := d.Certificate(); cert != "" && l.ACME == nil && d.Given(config.HTTPSPort) {
		l.Certificates = []string{cert}
	}
	for _, p := range servedPorts(d.Server) {
		l.Ports = append(l.Ports, p.port)
	}
	// Without a maximum, bytes extend the time without a limit.
	if least, most := config.HeaderTimeout.In(d), config.HeaderMaxTimeout.In(d); least > 0 && most > 0 {
		l.Patience = max(least, most)
	}
	if d.Daemon() {
		l.Sockets, l.Group, l.Processes, l.Threads = d.SocketDir, d.Group, max(config.Processes.In(d), 1), config.Threads.In(d)
		l.Drain = max(config.GracefulTimeout.In(d), 1)
		l.Startup, l.Reports = config.StartupTimeout.In(d), !config.Dynamic(config.ApplicationGroup.In(d))
	}
	if config.StartupLog.In(d) && (!config.LogToTerminal.In(d) || config.Opens(d.StartLog)) {
		l.Args = append(l.Args, "-E", d.StartLog)
	}
	if config.DebugMode.In(d) {
		l.Args = append(l.Args, "-DONE_PROCESS")
	}
	return l
}

// ownVariables returns the variables that the launcher adds to the environment of all
// processes, including those of services.
func (d *deployment) ownVariables() []string {
	env := []string{
		"MOD_WSGI_SERVER_ROOT=" + d.Root, logwriter.DirectoryVariable + "=" + d.Work, "MOD_WSGI_LISTENER_HOST=" + listenName(d.Server),
		"MOD_WSGI_HTTP_PORT=" + strconv.Itoa(config.Port.In(d)), "MOD_WSGI_MODULES_DIRECTORY=" + d.ModulesDir,
		"MOD_WSGI_USER=" + d.account.User, "MOD_WSGI_GROUP=" + d.account.Group,
		"LANG=" + d.Locale, "LC_ALL=" + d.Locale,
	}
	for name, value := range d.settings().Environ {
		env = append(env, name+"="+value)
	}
	for _, s := range d.ServiceScripts() {
		env = append(env, "MOD_WSGI_SERVICE_"+s[0]+"="+d.FromLaunch(s[1]))
	}
	if a := d.ACME(); a != nil {
		env = append(env, "MOD_WSGI_CHALLENGES="+a.Challenges())
	}
	slices.Sort(env)
	env = append(env, d.variables...)
	if d.Given(config.HTTPSPort) {
		env = append(env, "MOD_WSGI_HTTPS_PORT="+strconv.Itoa(config.HTTPSPort.In(d)))
	}
	return env
}

// argv0 returns the name under which httpd is started. Daemon processes write their
// title over httpd's arguments, so the name is long enough for the longest title.
func (d *deployment) argv0() string {
	if !host.DaemonMode {
		return d.HTTPD
	}
	longest := len("(wsgi:" + d.Group + ")")
	for _, s := range config.ServiceScript.In(d) {
		longest = max(longest, len("(wsgi:service:"+s[0]+")"))
	}
	return fmt.Sprintf("%-*s", longest, config.ProcessName.In(d))
}
