//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"modwsgi/scripts/loopback"
)

// versioned is the application: what it answers carries the version that was read when
// it was loaded, and the number in the configuration.
const versioned = `import os, time
from urllib.parse import parse_qsl

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, 'VERSION')) as f:
    version = f.read().strip()


def application(environ, start_response):
    asked = dict(parse_qsl(environ['QUERY_STRING']))
    body = environ['wsgi.input'].read()
    if 'begun' in asked:
        open(os.path.join(here, 'begun', asked['number']), 'w').close()
    time.sleep(float(asked['seconds']))
    line = 'number=%s version=%s config=%s pid=%d body=%d\n' % (
        asked['number'], version, environ['TORTURE_CONFIG'], os.getpid(), len(body))
    data = line.encode() + b'x' * int(asked['size'])
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(data)))])
    return [data]
`

// side is a launcher and the way in which it runs httpd.
type side struct {
	launcher   string // the program
	upstream   bool
	foreground bool
	extra      []string // options that only this launcher needs
}

func (s side) String() string {
	switch {
	case s.upstream:
		return "upstream"
	case s.foreground:
		return "foreground"
	}
	return "background"
}

// instance is a server of one side, for one row.
type instance struct {
	*world
	*side
	t           *torture
	root, app   string
	http, https int
	options     []string // of the row
	now         stamp    // what it should answer
	processes   int      // of the application

	running  bool
	dials    *dials    // of all its clients
	launched *exec.Cmd // in the foreground
	output   *bytes.Buffer
	ended    chan struct{}
}

const (
	threads    = 8 // of each process of the application
	processes  = 2
	serverName = "www.torture.test"
)

func newInstance(t *torture, s *side, name string, secure bool, options []string) (*instance, error) {
	i := &instance{world: t.world, side: s, t: t, dials: new(dials), options: options, processes: processes, now: stamp{1, 1, 1}}
	at := t.path(name)
	i.root, i.app = filepath.Join(at, "root"), filepath.Join(at, "app")
	begun := filepath.Join(i.app, "begun")
	err := os.MkdirAll(begun, 0o755)
	if err == nil {
		err = os.Chmod(begun, 0o777) // the application has another account
	}
	if err != nil {
		return nil, err
	}
	if i.http, err = loopback.FreePort(); err != nil {
		return nil, err
	}
	if secure {
		if i.https, err = loopback.FreePort(); err != nil {
			return nil, err
		}
	}
	return i, errors.Join(os.WriteFile(filepath.Join(i.app, "app.wsgi"), []byte(versioned), 0o644), i.write())
}

// write writes what the next version consists of.
func (i *instance) write() error {
	name := filepath.Join(i.app, "VERSION")
	err := os.WriteFile(name+".new", []byte(strconv.Itoa(i.now.version)), 0o644)
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err == nil && i.https != 0 {
		err = certificate(filepath.Dir(i.app), i.now.serial)
	}
	return err
}

// certificate writes one with a serial number, and its key.
func certificate(dir string, serial int64) error {
	cert, key, err := loopback.Certificate(serverName, serial)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o644), os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600))
}

// argv is a command of the launcher for this instance.
func (i *instance) argv(verb string) []string {
	all := []string{
		i.launcher, verb, filepath.Join(i.app, "app.wsgi"), "--server-root", i.root, "--host", "127.0.0.1", "--port", strconv.Itoa(i.http),
		"--processes", strconv.Itoa(i.processes), "--threads", strconv.Itoa(threads), "--setenv", "TORTURE_CONFIG", strconv.Itoa(i.now.config),
		"--working-directory", i.app,
	}
	if i.https != 0 {
		dir := filepath.Dir(i.app)
		all = append(all, "--https-port", strconv.Itoa(i.https), "--server-name", serverName,
			"--ssl-certificate-file", filepath.Join(dir, "cert.pem"), "--ssl-certificate-key-file", filepath.Join(dir, "key.pem"))
	}
	if os.Geteuid() == 0 {
		all = append(all, "--user", "nobody")
		if u, err := user.Lookup("nobody"); err == nil {
			if g, err := user.LookupGroupId(u.Gid); err == nil {
				all = append(all, "--group", g.Name)
			}
		}
	}
	return append(append(all, i.extra...), i.options...)
}

// run runs a command to its end.
func (i *instance) run(argv ...string) error {
	if r := i.do(i.t.ctx, argv...); r.code != 0 {
		return errors.New(r.String())
	}
	return nil
}

func (i *instance) setup() error { return i.run(i.argv("setup-server")...) }

func (i *instance) apachectl(verb string) error {
	return i.run(filepath.Join(i.root, "apachectl"), verb)
}

// start starts the server and waits until it answers.
func (i *instance) start() error {
	i.running = true
	if i.foreground {
		c, out := i.command(i.argv("start-server")...)
		if err := c.Start(); err != nil {
			return err
		}
		i.launched, i.output, i.ended = c, out, make(chan struct{})
		go func() { _ = c.Wait(); close(i.ended) }()
	} else if err := errors.Join(i.setup(), i.apachectl("start")); err != nil {
		return err
	}
	c := i.client(false)
	defer c.close()
	last := response{}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && i.t.ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if last = c.do(request{number: "1", limit: 10 * time.Second}); last.kind == answered {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer after its start: %s %s %s", i.side, last.kind, last.detail, i.log())
}

// log is the end of the error log and of the launcher's output.
func (i *instance) log() string {
	data, _ := os.ReadFile(filepath.Join(i.root, "error_log"))
	text := string(data[max(0, len(data)-1500):])
	if i.foreground {
		select {
		case <-i.ended:
			text += "\n" + i.output.String()
		default: // it is written to
		}
	}
	return text
}

func (i *instance) client(keep bool) *client {
	c := &client{dials: i.dials, address: fmt.Sprintf("127.0.0.1:%d", i.http), host: fmt.Sprintf("127.0.0.1:%d", i.http), keep: keep}
	if i.https != 0 {
		c.address, c.host = fmt.Sprintf("127.0.0.1:%d", i.https), fmt.Sprintf("%s:%d", serverName, i.https)
		c.tls = &tls.Config{ServerName: serverName, InsecureSkipVerify: true} // #nosec G402 -- the test's own certificate, whose serial number is looked at
	}
	return c
}

// reload is what an administrator types after a change.
func (i *instance) reload() error {
	if i.upstream {
		return i.apachectl("graceful")
	}
	return i.run(i.launcher, "reload", "--server-root", i.root)
}

// first is the process that an administrator would send a signal: the launcher, or
// httpd's first process.
func (i *instance) first() (int, error) {
	if i.foreground {
		return i.launched.Process.Pid, nil
	}
	return i.httpd()
}

// httpd is the process in the PID file.
func (i *instance) httpd() (int, error) {
	data, err := os.ReadFile(filepath.Join(i.root, "httpd.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

func (i *instance) signal(s syscall.Signal) error {
	pid, err := i.first()
	if err != nil {
		return err
	}
	return send(pid, s)
}

// ask to stop after running requests.
func (i *instance) stop() error {
	switch {
	case i.foreground:
		return i.signal(syscall.SIGTERM)
	case i.upstream:
		return i.apachectl("graceful-stop")
	}
	return i.run(i.launcher, "stop", "--server-root", i.root)
}

// gone ends the server, if it runs still, and waits for the end of its processes.
func (i *instance) gone() error {
	i.running = false
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if len(i.world.processes()) == 0 {
			if i.launched != nil {
				<-i.ended
				i.launched = nil
			}
			return nil
		}
	}
	left := i.quiet(0)
	for _, pid := range i.world.processes() {
		kill9(pid)
	}
	i.quiet(5 * time.Second)
	return fmt.Errorf("%s: after the stop these run still: %q", i.side, left)
}

// child is the process of httpd, not of the application, with the most connections.
func (i *instance) child() (pid int, err error) {
	here, err := connections(i.http, i.https)
	if err != nil {
		return 0, err
	}
	first, err := i.httpd()
	if err != nil {
		return 0, err
	}
	most := 0
	for _, p := range i.world.processes() {
		if n := owns(p, here); p != first && n > most {
			pid, most = p, n
		}
	}
	if pid == 0 {
		return 0, errors.New("no child of httpd has a connection")
	}
	return pid, nil
}

// applications counts the processes of the application, by the name that both launchers
// give them.
func (i *instance) applications() (n int) {
	for _, pid := range i.world.processes() {
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && bytes.HasPrefix(line, []byte("(wsgi:")) {
			n++
		}
	}
	return n
}

// connection is one end of a TCP connection, as the kernel lists it.
type connection struct {
	client int    // port of the other end
	inode  string // 0 if no program has it
	queued bool   // no program has it yet
}

// connections are those to some ports.
func connections(ports ...int) (all []connection, err error) {
	const established, shaking, listening = "01", "03", "0A"
	data, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] == listening {
			continue
		}
		if here := portOf(f[1]); here != 0 && slices.Contains(ports, here) {
			all = append(all, connection{portOf(f[2]), f[9], f[9] == "0" && (f[3] == established || f[3] == shaking)})
		}
	}
	return all, nil
}

// portOf reads the port of an address such as 0100007F:1F90.
func portOf(address string) int {
	_, hex, _ := strings.Cut(address, ":")
	port, _ := strconv.ParseInt(hex, 16, 32)
	return int(port)
}

// owns counts the connections that a process has.
func owns(pid int, all []connection) (n int) {
	sockets := map[string]bool{}
	for _, c := range all {
		sockets["socket:["+c.inode+"]"] = true
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, _ := os.ReadDir(dir)
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && sockets[to] {
			n++
		}
	}
	return n
}

// upstreams builds upstream's launcher from its source for our httpd, or takes one that
// is there, and gives it our module, so that both launchers differ in nothing else.
func upstreams(t *torture, env, from string) (*side, error) {
	if _, err := os.Stat(filepath.Join(from, "setup.py")); err != nil {
		return nil, fmt.Errorf("-upstream names the unpacked source of mod_wsgi: %w", err)
	}
	at, source := t.path("upstream"), t.path("upstream-source")
	if r := t.do(t.ctx, t.python, "-m", "venv", at); r.code != 0 {
		return nil, errors.New(r.String())
	}
	if r := t.do(t.ctx, "cp", "-a", from, source); r.code != 0 {
		return nil, errors.New(r.String())
	}
	build := fmt.Sprintf("cd '%s' && APXS='%s/bin/mod_wsgi-apxs' '%s/bin/python' setup.py install", source, env, at)
	if r := t.do(t.ctx, "sh", "-c", build); r.code != 0 {
		return nil, fmt.Errorf("upstream's launcher cannot be built: %v", r)
	}
	mine, _ := filepath.Glob(filepath.Join(site(env), "mod_wsgi/server/mod_wsgi-py*.so"))
	theirs, _ := filepath.Glob(filepath.Join(site(at), "mod_wsgi*/mod_wsgi/server/mod_wsgi-py*.so"))
	if len(mine) != 1 || len(theirs) != 1 || filepath.Base(mine[0]) != filepath.Base(theirs[0]) {
		return nil, fmt.Errorf("the modules are %q and %q", mine, theirs)
	}
	if r := t.do(t.ctx, "cp", mine[0], theirs[0]); r.code != 0 {
		return nil, errors.New(r.String())
	}
	return &side{launcher: filepath.Join(at, "bin/mod_wsgi-express"), upstream: true}, nil
}
