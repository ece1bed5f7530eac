package express

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/supervise"
	"modwsgi/internal/fault"
)

// The commands for an instance that runs, and those that only print.

// instanceOf finds the instance that a command is about: by its server root, or by
// the address from which the default one is made.
func (p *Program) instanceOf(s *Server) (*instance.Launch, error) {
	if err := p.needDirectory(config.ServerRoot.In(s)); err != nil {
		return nil, err
	}
	root := p.abs(config.ServerRoot.In(s))
	if root == "" {
		name := config.Unbracket(config.Host.In(s))
		if name == "" {
			name = "localhost"
		}
		root = host.DefaultRoot(p.Env, name, config.Port.In(s), host.Caller())
	}
	return instance.ReadLaunch(filepath.Clean(root))
}

func statusOf(ctx context.Context, p *Program, c *parsed) (int, error) {
	l, err := p.instanceOf(c.server)
	if err != nil {
		return 1, err
	}
	defer l.Close()
	if !config.JSON.In(c.server) {
		return status(ctx, l, p.Stdout)
	}
	proc, err := l.Running()
	if err != nil {
		return 1, err
	}
	pid := 0
	if proc != nil {
		pid = proc.Pid
		proc.Release()
	}
	err = json.NewEncoder(p.Stdout).Encode(map[string]any{"running": pid != 0, "pid": pid, "server_root": l.Root, "url": l.URL})
	if pid == 0 {
		return 3, err
	}
	return 0, err
}

func reload(ctx context.Context, p *Program, c *parsed) (int, error) {
	l, proc, err := p.runningInstance(c.server)
	if err != nil {
		return 1, err
	}
	defer l.Close()
	defer proc.Release()
	// An httpd that cannot read its configuration any more would end.
	if err := p.checkConfiguration(ctx, l); err != nil {
		return 1, err
	}
	if err := proc.Signal(host.Graceful); err != nil {
		return 1, fault.New(fault.Environment, "", "reload httpd (process %d): %w", proc.Pid, err)
	}
	fmt.Fprintf(p.Stdout, "httpd of %s reloads (process %d)\n", l.Root, proc.Pid)
	return 0, nil
}

func (p *Program) runningInstance(s *Server) (*instance.Launch, *host.Process, error) {
	l, err := p.instanceOf(s)
	if err != nil {
		return nil, nil, err
	}
	proc, err := l.Running()
	if err == nil && proc == nil {
		err = fault.New(fault.Environment, "", "httpd of %s is not running", l.Root)
	}
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return l, proc, nil
}

// stop ends an instance: gracefully, and after the time for that, at once. It runs
// no program and reads no configuration.
func stop(ctx context.Context, p *Program, c *parsed) (int, error) {
	l, proc, err := p.runningInstance(c.server)
	if err != nil {
		return 1, err
	}
	defer l.Close()
	defer proc.Release()
	kinds := []struct {
		kind    host.SignalKind
		seconds int
	}{{host.Drain, l.Drain}, {host.Terminate, 15}}
	if l.Drain == 0 {
		kinds = kinds[1:]
	}
	for _, k := range kinds {
		ended, err := supervise.End(ctx, proc, k.kind, time.Duration(k.seconds)*time.Second, func() bool { return false })
		if err != nil {
			return 1, err
		}
		if ended {
			fmt.Fprintf(p.Stdout, "httpd of %s has stopped\n", l.Root)
			return 0, nil
		}
	}
	return 1, fault.New(fault.Environment, "see its error log", "httpd of %s (process %d) does not stop", l.Root, proc.Pid)
}

// showConfig prints the configuration that start-server would write, with a
// comment where the option that lines come from changes.
func showConfig(ctx context.Context, p *Program, c *parsed) (int, error) {
	i, err := p.resolve(ctx, c.server)
	if err != nil {
		return 1, err
	}
	file, text, err := i.Configuration()
	if err != nil {
		return 1, err
	}
	_, err = io.WriteString(p.Stdout, annotated(c.server, file, text))
	return 0, err
}

func annotated(s *Server, file *conf.File, text string) string {
	var b strings.Builder
	last := ""
	for k, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		origin := s.Label(file.Origins(k + 1))
		if origin != last && k > 0 && !strings.HasPrefix(strings.TrimSpace(line), "</") {
			fmt.Fprintf(&b, "# %s\n", origin)
			last = origin
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// jsonBanner is the banner for programs.
func (i *resolved) jsonBanner(w io.Writer) error {
	mode, processes, threads := i.capacity()
	m := map[string]any{
		"event": "setup", "url": i.url() + strings.TrimSuffix(i.Mount, "/") + "/", "server_root": i.Root, "conf": filepath.Join(i.Root, instance.ConfFile),
		"error_log": i.ErrorLog, "mode": mode, "processes": processes, "threads": threads, "mpm": i.MPM, "pid_file": i.PIDFile,
		"control_script": filepath.Join(i.Root, host.ControlFile),
	}
	if i.Given(config.HTTPSPort) {
		m["https_url"] = config.Origin("https", config.ServerName.In(i), config.HTTPSPort.In(i)) + strings.TrimSuffix(i.Mount, "/") + "/"
	}
	if names := instance.Inherited(i.launch().Environ(i.Env)); len(names) > 0 {
		m["inherited"] = names
	}
	if config.AccessLog.In(i) {
		m["access_log"] = i.AccessLog
	}
	return json.NewEncoder(w).Encode(m)
}

func (i *resolved) jsonReady(w io.Writer) error {
	return json.NewEncoder(w).Encode(map[string]any{"event": "ready", "url": i.url() + strings.TrimSuffix(i.Mount, "/") + "/"})
}
