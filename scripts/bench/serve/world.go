//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"modwsgi/scripts/loopback"
)

const application = `import os, time

HERE = os.path.dirname(os.path.abspath(__file__))
BIG = b'x' * (1 << 20)


def respond(start_response, body):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]


def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/hello':
        return respond(start_response, b'hello\n')
    if path == '/sleep':
        time.sleep(0.02)
        return respond(start_response, b'hello\n')
    if path == '/big':
        return respond(start_response, BIG)
    if path == '/static/file.bin':  # only where no server is in front of it
        file = open(os.path.join(HERE, 'static', 'file.bin'), 'rb')
        size = os.fstat(file.fileno()).st_size
        start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('Content-Length', str(size))])
        return environ['wsgi.file_wrapper'](file, 65536)
    start_response('404 Not Found', [('Content-Type', 'text/plain'), ('Content-Length', '0')])
    return []
`

// world is where the servers work.
type world struct {
	options
	ctx    context.Context
	base   string
	id     string
	theirs string // upstream's launcher, "" if not compared
	as     *syscall.Credential
	shown  []string // the commands of the last measurement
}

func newWorld(ctx context.Context, o options) (w *world, err error) {
	w = &world{options: o, ctx: ctx, id: fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())}
	if w.env, err = filepath.Abs(w.env); err != nil {
		return nil, err
	}
	if w.loadCores != "" {
		if _, err := exec.LookPath("taskset"); err != nil {
			return nil, fmt.Errorf("taskset of util-linux is not on PATH; install it, or pass -pin=false: %w", err)
		}
	}
	if err := w.unpack(); err != nil {
		return nil, err
	}
	// The account that serves must be able to enter it, and paths of sockets are short.
	if w.base, err = os.MkdirTemp("/var/tmp", fmt.Sprintf("modwsgi-bench-%d-", os.Getpid())); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.end())
		}
	}()
	if os.Geteuid() == 0 { // nothing serves as root
		u, err := user.Lookup("nobody")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		w.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	err = errors.Join(os.Chmod(w.base, 0o755), os.MkdirAll(w.path("app/static"), 0o755), //
		os.WriteFile(w.path("app/app.py"), []byte(application), 0o644),
		os.WriteFile(w.path("app"+staticPath), bytes.Repeat([]byte{'x'}, 100<<10), 0o644),
		os.WriteFile(w.path("report.lua"), []byte(wrkReport), 0o644), w.certificate())
	if err == nil {
		err = w.upstreams()
	}
	return w, err
}

func (w *world) path(name string) string { return filepath.Join(w.base, name) }

func (w *world) end() error {
	if w.keep {
		fmt.Fprintln(os.Stderr, "kept:", w.base)
		return nil
	}
	return os.RemoveAll(w.base)
}

// unpack unpacks the servers, once. Without them, the launchers and what is installed
// are compared.
func (w *world) unpack() error {
	if w.fixture == "" {
		out, err := exec.CommandContext(w.ctx, "scripts/test-directory").Output()
		if err != nil {
			return fmt.Errorf("run this in the top directory of the source, or pass -fixture: %w", err)
		}
		w.fixture = filepath.Join(strings.TrimSpace(string(out)), "serve")
	}
	if _, err := os.Stat(filepath.Join(w.fixture, "complete")); err == nil {
		return nil
	}
	c := exec.CommandContext(w.ctx, "scripts/serve-fixture", w.fixture)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "the packages of other servers cannot be unpacked; only installed ones are compared:", err)
	}
	return nil
}

// program finds a program among the unpacked ones and on PATH, under the first name that
// exists, "" if it is missing.
func (w *world) program(names ...string) string {
	for _, name := range names {
		for _, dir := range []string{"usr/bin", "usr/sbin"} {
			if p := filepath.Join(w.fixture, dir, name); executable(p) {
				return p
			}
		}
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
		if p := filepath.Join("/usr/sbin", name); executable(p) {
			return p
		}
	}
	return ""
}

func executable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// environ is the environment of the servers and load generators: unpacked libraries and
// Python packages are found.
func (w *world) environ() []string {
	libs, _ := filepath.Glob(filepath.Join(w.fixture, "usr/lib/*-linux-gnu*"))
	if lib := filepath.Join(w.fixture, "lib"); exists(lib) {
		more, _ := filepath.Glob(filepath.Join(lib, "*-linux-gnu*"))
		libs = append(libs, more...)
	}
	return []string{
		"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8", "HOME=" + w.base, "PYTHONDONTWRITEBYTECODE=1",
		"LD_LIBRARY_PATH=" + strings.Join(libs, ":"), "PYTHONPATH=" + filepath.Join(w.fixture, "usr/lib/python3/dist-packages"),
	}
}

// plain is the environment of the launchers, which need nothing that is unpacked.
func (w *world) plain() []string {
	return []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8", "HOME=" + w.base}
}

func (w *world) launcher() string { return filepath.Join(w.env, "bin/mod_wsgi-express") }

func (w *world) site(env string) string {
	found, _ := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages"))
	if len(found) == 0 {
		return env
	}
	return found[0]
}

// upstreams builds upstream's launcher for our httpd and gives it our module, so that
// the launchers differ in nothing else.
func (w *world) upstreams() error {
	if w.upstream == "" {
		return nil
	}
	mine, err := w.module(w.env, "mod_wsgi/server")
	if err != nil {
		return err
	}
	if executable(w.upstream) {
		if w.theirs, err = filepath.Abs(w.upstream); err != nil {
			return err
		}
		other, err := w.module(filepath.Dir(filepath.Dir(w.theirs)), "mod_wsgi*/mod_wsgi/server")
		if err != nil {
			return err
		}
		if a, b := digest(mine), digest(other); a == "" || a != b {
			return fmt.Errorf("%s and %s are different modules; pass the source of mod_wsgi instead", mine, other)
		}
		return nil
	}
	if _, err := os.Stat(filepath.Join(w.upstream, "setup.py")); err != nil {
		return fmt.Errorf("-upstream names neither unpacked source of mod_wsgi nor a launcher: %w", err)
	}
	at := w.path("upstream")
	script := `set -e
"$1" -m venv "$2"
cp -a "$3" "$2/source"
cd "$2/source"
APXS="$4/bin/mod_wsgi-apxs" "$2/bin/python" setup.py install
rm -rf "$2/source"`
	c := exec.CommandContext(w.ctx, "sh", "-c", script, "sh", w.python(), at, w.upstream, w.env)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("upstream's launcher cannot be built: %w: %s", err, out[max(0, len(out)-2000):])
	}
	other, err := w.module(at, "mod_wsgi*/mod_wsgi/server")
	if err != nil {
		return err
	}
	w.theirs = filepath.Join(at, "bin/mod_wsgi-express")
	data, err := os.ReadFile(mine)
	if err != nil {
		return err
	}
	return os.WriteFile(other, data, 0o755)
}

func (w *world) module(env, dir string) (string, error) {
	found, _ := filepath.Glob(filepath.Join(w.site(env), dir, "mod_wsgi-py*.so"))
	if len(found) != 1 {
		return "", fmt.Errorf("%s has %d modules for Python, not one: pass an environment with mod_wsgi installed by modwsgi", env, len(found))
	}
	return found[0], nil
}

func digest(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// python is the Python that Debian's packages are for; the environment must be made
// from the same.
func (w *world) python() string { return "/usr/bin/python3" }

func (w *world) certificate() error {
	cert, key, err := loopback.Certificate(serverName, 1)
	if err != nil {
		return err
	}
	// Servers read the key without being root. It protects nothing.
	return errors.Join(os.WriteFile(w.path("cert.pem"), cert, 0o644), os.WriteFile(w.path("key.pem"), key, 0o644))
}

// versions are those of everything that takes part.
func (w *world) versions() map[string]string {
	all := map[string]string{}
	ask := func(name, pattern string, argv ...string) {
		if argv[0] == "" {
			return
		}
		c := exec.CommandContext(w.ctx, argv[0], argv[1:]...)
		c.Env = w.environ()
		out, _ := c.CombinedOutput() // wrk -v ends with 1
		if m := regexp.MustCompile(pattern).FindSubmatch(out); m != nil {
			all[name] = string(m[1])
		}
	}
	ask("httpd", `Apache/(\S+)`, filepath.Join(w.site(w.env), "mod_wsgi_packages/httpd/bin/httpd"), "-v")
	ask("Python", `Python (\S+)`, w.python(), "-V")
	ask("Python of the environment", `Python (\S+)`, filepath.Join(w.env, "bin/python"), "-V")
	if found, _ := filepath.Glob(filepath.Join(w.site(w.env), "mod_wsgi-*.dist-info")); len(found) == 1 {
		all["mod_wsgi"] = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), "mod_wsgi-"), ".dist-info")
	}
	ask("gunicorn", `version (\S+?)\)`, w.python(), "-m", "gunicorn", "--version")
	ask("waitress", `(\S+)`, w.python(), "-c", "import importlib.metadata as m; print(m.version('waitress'))")
	ask("uWSGI", `(\d\S+)`, w.program("uwsgi-core", "uwsgi"), "--version")
	ask("nginx", `nginx/(\S+)`, w.program("nginx"), "-v")
	ask("wrk", `wrk (?:debian/)?(\S+)`, w.program("wrk"), "-v")
	ask("h2load", `nghttp2/(\S+)`, w.program("h2load"), "--version")
	return all
}

// machine describes this one.
func (w *world) machine() string {
	grep := func(file, pattern string) string {
		data, _ := os.ReadFile(file)
		if m := regexp.MustCompile(pattern).FindSubmatch(data); m != nil {
			return strings.TrimSpace(string(m[1]))
		}
		return "unknown"
	}
	data, _ := os.ReadFile("/proc/cpuinfo")
	kb, _ := strconv.ParseInt(grep("/proc/meminfo", `(?m)^MemTotal:\s+(\d+)`), 10, 64)
	return fmt.Sprintf("%s, %d processors, %d GB of memory, %s, Linux %s, load average %s at the beginning", grep("/proc/cpuinfo", `(?m)^model name\s*: (.*)$`),
		bytes.Count(data, []byte("processor\t")), (kb+(1<<19))>>20, grep("/etc/os-release", `(?m)^PRETTY_NAME="(.*)"`),
		grep("/proc/sys/kernel/osrelease", `(.*)`), grep("/proc/loadavg", `^(\S+)`))
}

// figures are what one measurement of one server has shown.
type figures struct {
	Row, Server string
	Round       int
	Invalid     string  `json:",omitempty"` // why it does not count
	Requests    int64   `json:",omitempty"`
	Errors      int64   `json:",omitempty"`
	PerSecond   float64 `json:"requests_per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	CPU         float64 `json:"cpu_ms_per_request"`
	Memory      float64 `json:"memory_mb"`
	Processes   int     `json:"processes"`
	Start       float64 `json:"first_answer_ms"`
}

func (f figures) String() string {
	if f.Invalid != "" && f.PerSecond == 0 {
		return fmt.Sprintf("%s %s round %d: invalid: %s", f.Row, f.Server, f.Round+1, f.Invalid)
	}
	why := ""
	if f.Invalid != "" {
		why = ", invalid: " + f.Invalid
	}
	return fmt.Sprintf("%s %s round %d: %.0f requests/s, p50 %.2f ms, p99 %.2f ms, CPU %.3f ms per request, %.0f MB in %d processes, first answer after %.0f ms%s",
		f.Row, f.Server, f.Round+1, f.PerSecond, f.P50, f.P99, f.CPU, f.Memory, f.Processes, f.Start, why)
}

// measure starts a server, measures it, and ends it.
func (w *world) measure(r row, s server, round int) (f figures) {
	f = figures{Row: r.name, Server: s.name, Round: round}
	c, err := w.newCell(r, fmt.Sprintf("%s-%s-%d", r.name, s.name, round))
	if err == nil {
		err = w.run(c, s, &f)
	}
	if err != nil {
		f.Invalid = err.Error()
	}
	return f
}

func (w *world) run(c *cell, s server, f *figures) (err error) {
	commands, err := s.commands(c)
	if err != nil {
		return err
	}
	g := &group{id: w.id, patience: 10 * time.Second}
	defer func() { err = errors.Join(err, g.stop()) }()
	w.shown = nil
	began := time.Now()
	for _, cmd := range commands {
		w.shown = append(w.shown, c.legible(cmd.argv))
		if err := g.start(w.path("app"), filepath.Join(c.dir, "output"), cmd.env, w.as, on(w.serverCores, cmd.argv)); err != nil {
			return err
		}
	}
	if f.Start, err = c.first(g, began); err != nil {
		return err
	}
	if err := c.ask(c.client(), c.row.path, c.row.size); err != nil {
		return err
	}
	if w.warm > 0 { // every thread has had a request before what is measured
		if _, err := w.generate(w.ctx, c.row, c.dir, c.url(c.row.path), w.warm); err != nil {
			return err
		}
	}
	before := g.cpu()
	l, err := w.generate(w.ctx, c.row, c.dir, c.url(c.row.path), w.seconds)
	after := g.cpu()
	if err != nil {
		return err
	}
	f.Requests, f.Errors = l.requests, l.errors
	if l.requests == 0 || l.seconds == 0 {
		return errors.New("no request was answered")
	}
	f.PerSecond, f.P50, f.P99 = float64(l.requests)/l.seconds, l.p50, l.p99
	f.CPU = float64((after - before).Microseconds()) / 1e3 / float64(l.requests)
	kb, n := g.memory()
	f.Memory, f.Processes = float64(kb)/1024, n
	if l.errors > 0 || l.detail != "" {
		return fmt.Errorf("%d errors in %d requests: %s", l.errors, l.requests, l.detail)
	}
	return nil
}

// cell is one measurement.
type cell struct {
	*world
	row        row
	dir        string
	port, http int // http is HTTP's, where a server wants one besides HTTPS
}

func (w *world) newCell(r row, name string) (*cell, error) {
	c := &cell{world: w, row: r, dir: w.path(name)}
	err := os.Mkdir(c.dir, 0o755)
	if err == nil && w.as != nil {
		err = os.Chown(c.dir, int(w.as.Uid), int(w.as.Gid))
	}
	if err == nil {
		c.port, err = loopback.FreePort()
	}
	if err == nil {
		c.http, err = loopback.FreePort()
	}
	return c, err
}

// serverName is what certificates name; every program resolves it to the loopback
// interface.
const serverName = "localhost"

func (c *cell) url(path string) string {
	if c.row.tls {
		return fmt.Sprintf("https://%s:%d%s", serverName, c.port, path)
	}
	return fmt.Sprintf("http://127.0.0.1:%d%s", c.port, path)
}

// legible is a command without what is particular to this run.
func (c *cell) legible(argv []string) string {
	r := strings.NewReplacer(c.dir, "DIR", c.path("app"), "APP", c.path("cert.pem"), "CERT", c.path("key.pem"), "KEY", orNothing(c.theirs), "UPSTREAM/bin/mod_wsgi-express", c.env, "ENV",
		c.fixture+"/", "/", strconv.Itoa(c.port), "PORT", strconv.Itoa(c.http), "PORT2")
	return r.Replace(strings.Join(argv, " "))
}

func orNothing(s string) string {
	if s == "" {
		return "\x00" // nothing is replaced
	}
	return s
}

// client asks as the load generator does, for the checks before it.
func (c *cell) client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // #nosec G402 -- the benchmark's own certificate
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)))
		},
	}}
}

// ask sends one request and checks the answer.
func (c *cell) ask(client *http.Client, path string, size int64) error {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, c.url(path), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || n != size {
		return fmt.Errorf("%s is answered with %s and %d bytes instead of 200 and %d", path, resp.Status, n, size)
	}
	return nil
}

// first waits for the first answer of the application.
func (c *cell) first(g *group, began time.Time) (ms float64, err error) {
	client := c.client()
	for end := began.Add(30 * time.Second); time.Now().Before(end) && c.ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		if err = c.ask(client, "/hello", 6); err == nil {
			return float64(time.Since(began).Microseconds()) / 1e3, nil
		}
		if g.over() {
			break
		}
	}
	data, _ := os.ReadFile(filepath.Join(c.dir, "output"))
	more, _ := os.ReadFile(filepath.Join(c.dir, "root/error_log"))
	return 0, fmt.Errorf("no answer: %w: %s", errors.Join(err, c.ctx.Err()), strings.TrimSpace(tail(data)+tail(more)))
}

func tail(data []byte) string { return string(data[max(0, len(data)-800):]) }
