package express

import (
	"context"
	"strconv"
	"time"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/logwriter"
	"modwsgi/express/supervise"
)

// setupServer is the command setup-server.
func setupServer(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	d, err := resolve(ctx, c, inv, s)
	if err != nil {
		return 1, err
	}
	l, _, err := d.setUp(ctx, false)
	if err != nil {
		return 1, err
	}
	l.Close()
	return 0, d.banner(c.Stdout, true)
}

// startServer is the command start-server.
func startServer(ctx context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	if config.SetupOnly.In(s) {
		return setupServer(ctx, c, inv, s)
	}
	return runServer(ctx, c, inv, s, nil)
}

// front is what a user sees of a server, instead of what start-server prints.
type front interface {
	begins(d *deployment) error
	loads(d *deployment, failure string) // of the application, again after each change
}

// runServer serves in the foreground.
func runServer(ctx context.Context, c *Console, inv *Invocation, s *Server, f front) (int, error) {
	sockets, err := host.PassedSockets(inv.Env)
	if err != nil {
		return 1, err
	}
	inv.Env = host.WithoutPassed(inv.Env)
	giveSockets(s, sockets)
	config.ImplyHTTPS(s)
	if err := checkPorts(s, sockets); err != nil {
		return 1, err
	}
	d, err := resolve(ctx, c, inv, s)
	if err != nil {
		return 1, err
	}
	if err := supervise.CheckPages(d.MetricsAddress(), d.DashboardAddress()); err != nil {
		return 1, err
	}
	if err := d.checkSockets(ctx, sockets); err != nil {
		return 1, err
	}
	d.sockets = sockets
	l, release, err := d.setUp(ctx, true)
	if err != nil {
		return 1, err
	}
	defer release()
	defer l.Close()
	l.RemovePIDFile() // left by an httpd that was killed
	show := func(d *deployment) error { return d.banner(c.Stdout, false) }
	if f != nil {
		show = f.begins
	}
	if err := show(d); err != nil {
		return 1, err
	}
	if d.Piped(logwriter.Stderr) {
		if fd, err := host.Share(c.Stderr); err == nil {
			l.Once = append(l.Once, logwriter.StreamVariable+"="+strconv.Itoa(fd))
		}
	}
	// As process 1 of a container, or under systemd, this process takes those with it that
	// have not yet written the last lines.
	defer logwriter.WaitForAll(d.Root, logTime)
	server := foreground(c, inv, d, l)
	if f != nil {
		server.Loads = func(failure string) { f.loads(d, failure) }
	}
	return server.Run(ctx)
}

// foreground returns the httpd that serves a deployment in the foreground.
func foreground(c *Console, inv *Invocation, d *deployment, l *instance.Launch) *supervise.Server {
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	var sockets []int
	for _, p := range d.sockets {
		sockets = append(sockets, p.FD)
	}
	return &supervise.Server{
		Launch: l, Console: c, Checks: checks(c, inv, l), Signals: inv.Signals, Sockets: sockets,
		Debug: config.DebugMode.In(d), Daemon: d.Daemon(),
		Drain: seconds(max(config.GracefulTimeout.In(d), 1)), Shutdown: seconds(config.ShutdownTimeout.In(d)),
		WaitReady: config.WaitReady.In(d), Lazy: config.Dynamic(config.ApplicationGroup.In(d)),
		Announce: func() { _ = d.announce(c.Stdout) },
	}
}

// checks returns the conditions for httpd to read its configuration again.
func checks(c *Console, inv *Invocation, l *instance.Launch) *supervise.Checks {
	return &supervise.Checks{Launch: l, Environ: inv.Env, Trust: inv.trust(c), Fits: func() error {
		python, err := inv.python()
		if err != nil {
			return nil //nolint:nilerr // without an environment httpd itself reports what is missing
		}
		return python.Fits()
	}}
}
