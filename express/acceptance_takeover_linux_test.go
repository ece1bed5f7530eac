//go:build acceptance && linux

package express_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// versioned is an application whose answers begin with the version that it read when it
// was loaded. It sleeps for the seconds in the query, or 20 ms.
const versioned = `import os, time
VERSION = open(os.path.join(os.path.dirname(__file__), "version")).read().strip()
if VERSION == "broken":
    raise RuntimeError("this version is broken")


def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0.02))
    body = VERSION.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
`

// versionedApp writes the application with its first version.
func versionedApp(t *testing.T) (app string, version func(string)) {
	t.Helper()
	dir := workDir(t, "")
	version = func(v string) { write(t, filepath.Join(dir, "version"), v+"\n") }
	version("v0")
	return write(t, filepath.Join(dir, "app.py"), versioned), version
}

// rawClient is a client of HTTP/1.1 that never repeats a request. It uses a connection until
// the server announces that it closes it.
type rawClient struct {
	dial func() (net.Conn, error)
	keep bool
	conn net.Conn
	from *bufio.Reader
}

func (c *rawClient) get(path string) (string, error) {
	var err error
	if c.conn == nil {
		if c.conn, err = c.dial(); err != nil {
			return "", err
		}
		c.from = bufio.NewReader(c.conn)
	}
	last := ""
	if !c.keep {
		last = "Connection: close\r\n"
	}
	_ = c.conn.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.WriteString(c.conn, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n"+last+"\r\n"); err != nil {
		return "", c.close(err)
	}
	r, err := http.ReadResponse(c.from, nil)
	if err != nil {
		return "", c.close(err)
	}
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", r.Status)
	}
	if err != nil || r.Close {
		return string(body), c.close(err)
	}
	return string(body), nil
}

func (c *rawClient) close(err error) error {
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.conn = nil
	return err
}

// load asks from many connections, half of which are kept.
type load struct {
	wait sync.WaitGroup
	end  chan struct{}
	sent atomic.Int64

	mu     sync.Mutex
	failed []string
}

func newLoad(clients int, dial func() (net.Conn, error)) *load {
	return loadOf(clients, func(k int) bool { return k%2 == 0 }, dial)
}

// loadOf asks from many connections; keep chooses those that are kept.
func loadOf(clients int, keep func(int) bool, dial func() (net.Conn, error)) *load {
	l := &load{end: make(chan struct{})}
	for k := range clients {
		l.wait.Go(func() {
			c := &rawClient{dial: dial, keep: keep(k)}
			defer func() { _ = c.close(nil) }()
			for {
				select {
				case <-l.end:
					return
				default:
				}
				l.sent.Add(1)
				if _, err := c.get("/"); err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, fmt.Sprintf("keep %v: %v", c.keep, err))
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

// check ends the load, and fails if a request was lost.
func (l *load) check(t *testing.T, what string) {
	t.Helper()
	close(l.end)
	l.wait.Wait()
	if n := len(l.failed); n > 0 {
		t.Errorf("%s: %d of %d requests were lost: %.500q", what, n, l.sent.Load(), l.failed)
	}
	t.Logf("%s: %d requests, %d lost", what, l.sent.Load(), len(l.failed))
}

// killWatch kills the process that apachectl has left to supervise httpd.
func (s *server) killWatch() {
	s.t.Helper()
	if out, err := exec.CommandContext(context.WithoutCancel(s.t.Context()), "pkill", "-KILL", "-f", "apachectl "+s.root+" watch-httpd").CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

func (s *server) tcp() (net.Conn, error) { return net.Dial("tcp", s.address()) }

// reload runs the command, which ends when the new version answers.
func (s *server) reload(code int, want string) {
	s.t.Helper()
	eventually(s.t, "its PID file", func() bool { return s.pid() > 0 }) // httpd writes it after it listens
	cmd := command(s.t, "reload", "--server-root", s.root)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), want) {
		s.t.Errorf("reload: exit code %d, want %d and %q\n%s\n%s", got, code, want, out, s.log())
	}
}

// answers checks that all new connections get a version.
func (s *server) answers(version string) {
	s.t.Helper()
	for range 20 {
		c := &rawClient{dial: s.tcp}
		if body, err := c.get("/"); body != version || err != nil {
			s.t.Errorf("got %q, %v, want %q", body, err, version)
			return
		}
	}
}

// both calls test with a server in the foreground and with one in the background.
func both(t *testing.T, args []string, test func(t *testing.T, s *server, again func(args ...string), version func(string))) {
	t.Helper()
	testEnv(t)
	for _, background := range []bool{false, true} {
		t.Run(map[bool]string{false: "foreground", true: "background"}[background], func(t *testing.T) {
			t.Parallel() // mostly they wait
			app, version := versionedApp(t)
			var s *server
			all := append([]string{app}, args...)
			if background {
				s = daemon(t, all...)
				t.Cleanup(func() { _ = command(t, "stop", "--server-root", s.root).Run() })
			} else {
				s = start(t, filepath.Dir(app), all...)
				eventually(t, "its PID file", func() bool { return s.pid() > 0 })
			}
			s.answers("v0")
			again := func(more ...string) {
				t.Helper()
				argv := append(onLoopback("setup-server", args), "--port", strconv.Itoa(s.port), "--server-root", s.root, app)
				argv = append(argv, more...)
				if out, err := command(t, append(argv, asUser()...)...).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			test(t, s, again, version)
		})
	}
}

// TestNoRequestIsLost: the code, the configuration and the log files are replaced under
// load, by a command and by signals, and no request is lost. When the command returns,
// no new connection gets the old version.
func TestNoRequestIsLost(t *testing.T) {
	both(t, []string{everyAddress, "--processes", "2", "--threads", "8"}, func(t *testing.T, s *server, again func(...string), version func(string)) {
		number := 0
		next := func() string {
			number++
			v := fmt.Sprintf("v%d", number)
			version(v)
			return v
		}
		signal := func(kind syscall.Signal, pid int) {
			want := next()
			if err := syscall.Kill(pid, kind); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the signal has been obeyed", func() bool {
				body, err := (&rawClient{dial: s.tcp}).get("/")
				return err == nil && body == want
			})
		}
		l := newLoad(32, s.tcp)
		for range 3 {
			want := next()
			s.reload(0, "has reloaded")
			s.answers(want)
		}
		l.check(t, "new code")

		l = newLoad(32, s.tcp)
		signal(syscall.SIGHUP, s.pid())
		signal(syscall.SIGUSR1, s.pid())
		if s.cmd != nil {
			signal(syscall.SIGHUP, s.cmd.Process.Pid)
			signal(syscall.SIGUSR1, s.cmd.Process.Pid)
		}
		l.check(t, "signals")

		l = newLoad(32, s.tcp)
		for _, processes := range []string{"4", "1"} {
			again("--processes", processes, "--threads", "8", "--log-level", "info")
			want := next()
			s.reload(0, "has reloaded")
			s.answers(want)
		}
		l.check(t, "more and fewer processes")

		l = newLoad(32, s.tcp)
		log := filepath.Join(s.root, "error_log")
		if err := os.Rename(log, log+".1"); err != nil {
			t.Fatal(err)
		}
		s.reload(0, "has reloaded")
		if data, err := os.ReadFile(log); err != nil || !strings.Contains(string(data), "resuming normal operations") {
			t.Errorf("the new error log: %v\n%s", err, data)
		}
		l.check(t, "a moved log file")
	})
}

// TestLongRequests: requests of 12 seconds are completed by the httpd that has been
// replaced, whatever replaced it, and new ones do not wait for them.
func TestLongRequests(t *testing.T) {
	both(t, []string{"--processes", "2", "--threads", "8"}, func(t *testing.T, s *server, again func(...string), version func(string)) {
		for _, c := range []struct {
			what   string
			change func()
		}{
			{"new code", func() {}},
			{"new configuration", func() { again("--processes", "1", "--threads", "4", "--log-level", "info") }},
		} {
			done := make(chan error, 1)
			old := "v0"
			if c.what != "new code" {
				old = "new code"
			}
			go func() {
				body, err := (&rawClient{dial: s.tcp}).get("/?12")
				if err == nil && body != old {
					err = fmt.Errorf("it got %q", body)
				}
				done <- err
			}()
			time.Sleep(time.Second) // so that the request is inside, whose length is tested
			version(c.what)
			c.change()
			s.reload(0, "has reloaded")
			began := time.Now()
			s.answers(c.what)
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("%s: twenty short requests took %v", c.what, took)
			}
			select {
			case err := <-done:
				t.Errorf("%s: the long request has ended before the short ones: %v", c.what, err)
			default:
			}
			if err := <-done; err != nil {
				t.Errorf("%s: the long request: %v", c.what, err)
			}
		}
	})
}

// TestChangedScript: a request that takes longer than upstream's five seconds is
// completed when the script has changed meanwhile.
func TestChangedScript(t *testing.T) {
	testEnv(t)
	app, version := versionedApp(t)
	s := start(t, filepath.Dir(app), app)
	done := make(chan error, 1)
	go func() {
		body, err := (&rawClient{dial: s.tcp}).get("/?9")
		if err == nil && body != "v0" {
			err = fmt.Errorf("it got %q", body)
		}
		done <- err
	}()
	time.Sleep(time.Second) // so that the request is inside, whose length is tested
	version("v1")
	write(t, app, versioned+"\n")
	s.answers("v1")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRefusedReload: nothing changes if the next httpd cannot serve, and the command says
// why.
func TestRefusedReload(t *testing.T) {
	both(t, nil, func(t *testing.T, s *server, _ func(...string), version func(string)) {
		before := s.pid()
		l := newLoad(8, s.tcp)
		version("broken")
		s.reload(1, "the application does not load: RuntimeError: this version is broken")
		conf := filepath.Join(s.root, "httpd.conf")
		good, err := os.ReadFile(conf)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(conf, append(good, "Nonsense\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		s.reload(1, "Invalid command 'Nonsense'")
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		if err := os.WriteFile(conf, append(good, "Listen "+taken.Addr().String()+"\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		version("v1")
		s.reload(1, "could not bind to address "+taken.Addr().String())
		s.answers("v0")
		l.check(t, "refused reloads")
		if s.pid() != before {
			t.Errorf("process %d, before %d", s.pid(), before)
		}
		_ = taken.Close()
		s.reload(0, "has reloaded")
		s.answers("v1")
		c, err := net.Dial("tcp", taken.Addr().String())
		if err != nil {
			t.Errorf("the added port: %v", err)
		} else {
			_ = c.Close()
		}
		if err := os.WriteFile(conf, good, 0o600); err != nil {
			t.Fatal(err)
		}
		s.reload(0, "has reloaded")
		eventually(t, "the removed port is closed", func() bool {
			c, err := net.Dial("tcp", taken.Addr().String())
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
	})
}

// TestNewCertificate: a certificate is replaced under load. No request is lost, and the
// first connection after the reload gets the new one.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestNewCertificate(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	dir := workDir(t, "")
	stem, _ := certificate(t, dir, "www.example.com")
	port := freeport.Get(t)
	s := begin(t, filepath.Dir(app), app, "--https-port", strconv.Itoa(port), "--ssl-certificate", stem, "--server-name", "www.example.com")
	if !tlsUp(s) {
		t.Skip("this httpd has no mod_ssl")
	}
	var seen sync.Map
	dial := func() (net.Conn, error) {
		c, err := tls.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port), &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.com"})
		if err != nil {
			return nil, err
		}
		seen.Store(string(c.ConnectionState().PeerCertificates[0].Raw), true)
		return hostHeader{c}, nil
	}
	last := func() string {
		c, err := tls.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port), &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	l := newLoad(16, dial)
	before := last()
	for range 2 {
		certificate(t, dir, "www.example.com")
		s.reload(0, "has reloaded")
		if now := last(); now == before {
			t.Error("a connection after the reload got the old certificate")
		} else {
			before = now
		}
	}
	l.check(t, "new certificates")
	n := 0
	seen.Range(func(any, any) bool { n++; return true })
	if n != 3 {
		t.Errorf("the clients have seen %d certificates, want 3", n)
	}
}

// hostHeader sends the name of the certificate instead of localhost.
type hostHeader struct{ net.Conn }

func (h hostHeader) Write(p []byte) (int, error) {
	_, err := h.Conn.Write([]byte(strings.Replace(string(p), "Host: localhost", "Host: www.example.com", 1)))
	return len(p), err
}

// TestLogsOfTheNextHTTPD: with a startup log, and with logs on the terminal that are not
// files, the next httpd writes to the same ones.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestLogsOfTheNextHTTPD(t *testing.T) {
	testEnv(t)
	app, version := versionedApp(t)
	s := start(t, filepath.Dir(app), app, "--startup-log", "--log-to-terminal", "--access-log", "--log-level", "info")
	s.answers("v0")
	for _, v := range []string{"v1", "v2"} {
		version(v)
		s.reload(0, "has reloaded")
		s.answers(v)
	}
	s.stop()
	out := s.out.String()
	if n := strings.Count(out, "resuming normal operations"); n != 3 {
		t.Errorf("%d of 3 httpds have reported that they are ready:\n%s", n, out)
	}
	if n := strings.Count(out, `"GET / HTTP/1.1" 200`); n != 60 {
		t.Errorf("%d of 60 requests are in the access log:\n%s", n, out)
	}
}

// TestModesHandOver: the same with the other MPMs, and with the application inside of
// httpd.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestModesHandOver(t *testing.T) {
	testEnv(t)
	for name, args := range map[string][]string{
		"worker": {"--server-mpm", "worker"}, "prefork": {"--server-mpm", "prefork", "--max-clients", "24"},
		"embedded": {"--embedded-mode"}, "HTTP/2": {"--http2"}, "no keep-alive": {"--keep-alive-timeout", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			app, version := versionedApp(t)
			s := begin(t, filepath.Dir(app), append([]string{app, "--processes", "2"}, args...)...)
			if !s.upUnless("which is neither", "--server-mpm") {
				t.Skipf("this httpd does not have it: %s", s.out)
			}
			s.answers("v0")
			l := newLoad(16, s.tcp)
			for _, v := range []string{"v1", "v2", "v3"} {
				version(v)
				s.reload(0, "has reloaded")
				if name == "worker" || name == "prefork" || name == "embedded" {
					// Their processes may wait in accept(2), and get one more connection each.
					for range 40 {
						if _, err := (&rawClient{dial: s.tcp}).get("/"); err != nil {
							t.Error(err)
						}
					}
				}
				s.answers(v)
			}
			l.check(t, name)
		})
	}
}

// TestEveryAddressHandsOver: a reload keeps the sockets of every form of --host, and those
// of HTTPS.
func TestEveryAddressHandsOver(t *testing.T) {
	testEnv(t)
	for name, c := range map[string]struct{ host, ask []string }{
		everyAddress: {[]string{everyAddress}, []string{"127.0.0.1", "::1"}},
		"IPv4":       {[]string{"--host", "0.0.0.0"}, []string{"127.0.0.1"}},
		"IPv6":       {[]string{"--host", "::"}, []string{"127.0.0.1", "::1"}},
		"localhost":  {[]string{"--host", "localhost"}, []string{"127.0.0.1"}},
	} {
		for _, background := range []bool{false, true} {
			t.Run(name+map[bool]string{false: "/foreground", true: "/background"}[background], func(t *testing.T) {
				t.Parallel() // mostly they wait
				app, version := versionedApp(t)
				args, https := append([]string{app}, c.host...), freeport.Get(t)
				var s *server
				if background {
					s = daemon(t, args...)
					t.Cleanup(func() { _ = command(t, "stop", "--server-root", s.root).Run() })
				} else {
					stem, _ := certificate(t, filepath.Dir(app), "localhost")
					s = begin(t, filepath.Dir(app), append(args, "--https-port", strconv.Itoa(https), "--server-name", "localhost", "--ssl-certificate", stem)...)
					if !tlsUp(s) {
						t.Skip("this httpd has no mod_ssl")
					}
				}
				all := func(version string) bool {
					for _, a := range c.ask {
						clients := []*rawClient{{dial: func() (net.Conn, error) { return net.Dial("tcp", net.JoinHostPort(a, strconv.Itoa(s.port))) }}}
						if !background {
							clients = append(clients, &rawClient{dial: func() (net.Conn, error) {
								return tls.Dial("tcp", net.JoinHostPort(a, strconv.Itoa(https)), &tls.Config{InsecureSkipVerify: true})
							}})
						}
						for _, client := range clients {
							if body, err := client.get("/"); err != nil || body != version {
								t.Logf("%s: %q, %v", a, body, err)
								return false
							}
						}
					}
					return true
				}
				eventually(t, "it answers", func() bool { return all("v0") })
				for _, v := range []string{"v1", "v2"} {
					version(v)
					s.reload(0, "has reloaded")
					if !all(v) {
						t.Errorf("not every address has %s", v)
					}
				}
				if background {
					s.apachectl(0, "", "stop")
					s.apachectl(0, "", "start") // the port is free again
					eventually(t, "it answers", func() bool { return all("v2") })
				}
			})
		}
	}
}

// TestOverlappingAddresses: the socket for every address cannot be replaced by one for a
// single address while it is open.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestOverlappingAddresses(t *testing.T) {
	both(t, []string{everyAddress}, func(t *testing.T, s *server, again func(...string), version func(string)) {
		version("v1")
		again("--host", "127.0.0.1")
		s.reload(1, "(98)Address already in use: AH00072: make_sock: could not bind to address 127.0.0.1:"+strconv.Itoa(s.port))
		s.reload(1, "stop it and start it again")
		s.answers("v0")
		again()
		s.reload(0, "has reloaded")
		s.answers("v1")
	})
}

// TestServicesRunOnce: the process of a service ends before that of the next httpd runs
// its script.
func TestServicesRunOnce(t *testing.T) {
	testEnv(t)
	app, _ := versionedApp(t)
	dir := filepath.Dir(app)
	script := write(t, filepath.Join(dir, "service.py"), `import os, sys, time
print("service begins", os.getpid(), time.time(), file=sys.stderr, flush=True)
try:
    while True:
        time.sleep(0.1)
finally:
    print("service ends", os.getpid(), time.time(), file=sys.stderr, flush=True)
`)
	s := start(t, dir, app, "--service-script", "beat", script)
	lines := func(what string) (all []string) {
		for line := range strings.Lines(s.log()) {
			if k := strings.Index(line, "service "+what); k >= 0 {
				all = append(all, strings.TrimSpace(line[k:]))
			}
		}
		return all
	}
	eventually(t, "the service runs", func() bool { return len(lines("begins")) == 1 })
	for k := range 2 {
		s.reload(0, "has reloaded")
		eventually(t, "the next service runs", func() bool { return len(lines("begins")) == k+2 })
		begins, ends := lines("begins"), lines("ends")
		if len(ends) != k+1 {
			t.Fatalf("%q, %q", begins, ends)
		}
		var began, ended float64
		var pid, other int
		_, err1 := fmt.Sscanf(begins[k+1], "service begins %d %f", &pid, &began)
		_, err2 := fmt.Sscanf(ends[k], "service ends %d %f", &other, &ended)
		if err1 != nil || err2 != nil || pid == other || began < ended {
			t.Errorf("%v, %v: %q, %q", err1, err2, begins, ends)
		}
	}
}

// TestStopDuringReload: a server that is stopped while it is being replaced ends, with
// everything that it has begun.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestStopDuringReload(t *testing.T) {
	both(t, nil, func(t *testing.T, s *server, _ func(...string), version func(string)) {
		version("v1")
		ended := make(chan string, 1)
		cmd := command(t, "reload", "--server-root", s.root)
		go func() {
			out, _ := cmd.CombinedOutput()
			ended <- string(out)
		}()
		eventually(t, "the next httpd has begun", func() bool {
			names, _ := filepath.Glob(filepath.Join(s.root, "generation-*.pid"))
			return len(names) > 0
		})
		if out, err := command(t, "stop", "--server-root", s.root).CombinedOutput(); err != nil || !strings.Contains(string(out), "has stopped") {
			t.Errorf("%v: %s", err, out)
		}
		<-ended
		s.gone()
		for _, pattern := range []string{"*.pid", "*.sock"} {
			if left, _ := filepath.Glob(filepath.Join(s.root, pattern)); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		}
	})
}

// TestPIDFileDuringReloads: the PID file always names a running httpd, and what the
// launcher uses does not grow.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestPIDFileDuringReloads(t *testing.T) {
	both(t, nil, func(t *testing.T, s *server, _ func(...string), _ func(string)) {
		supervisor := func() int {
			if s.cmd != nil {
				return s.cmd.Process.Pid
			}
			out, _ := exec.CommandContext(t.Context(), "pgrep", "-f", "apachectl "+s.root+" watch-httpd").Output()
			pid, _ := strconv.Atoi(strings.TrimSpace(string(out)))
			return pid
		}()
		files := func() int {
			entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", supervisor))
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		s.reload(0, "has reloaded") // what is opened once is open then
		stop, missing := make(chan struct{}), make(chan time.Duration, 1)
		go func() {
			var longest time.Duration
			last := time.Now()
			for {
				select {
				case <-stop:
					missing <- longest
					return
				default:
				}
				if pid := s.pid(); pid > 0 && syscall.Kill(pid, 0) == nil {
					last = time.Now()
				} else {
					longest = max(longest, time.Since(last))
				}
				time.Sleep(time.Millisecond)
			}
		}()
		before := -1
		for range 4 {
			s.reload(0, "has reloaded")
			eventually(t, "one httpd is left", func() bool {
				names, _ := filepath.Glob(filepath.Join(s.root, "generation-*.pid"))
				return len(names) == 1
			})
			if before < 0 {
				before = files()
			}
		}
		close(stop)
		if longest := <-missing; longest > 200*time.Millisecond {
			t.Errorf("for %v, the PID file did not have the number of a running httpd", longest)
		}
		eventually(t, fmt.Sprintf("no more than %d open files, as after one reload", before), func() bool { return files() <= before })
	})
}

// TestOnlyItsOwnerReloads: neither other users nor the application reach the socket by
// which the launcher is asked, nor what connects it with httpd.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestOnlyItsOwnerReloads(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), `import json, os, socket
def application(environ, start_response):
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            kind = socket.socket(fileno=os.dup(int(name))).getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        except OSError:
            continue
        found.append(kind)
    reached = True
    try:
        socket.socket(socket.AF_UNIX).connect(environ["QUERY_STRING"])
    except OSError:
        reached = False
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"kinds": found, "reached": reached}).encode()]
`)
	s := start(t, dir, app, "--processes", "2")
	s.reload(0, "has reloaded")
	var got struct {
		Kinds   []int
		Reached bool
	}
	short := filepath.Join(shortDir(t), "root")
	if err := os.Symlink(s.root, short); err != nil {
		t.Fatal(err)
	}
	_, body := s.get("/?" + filepath.Join(short, "control.sock"))
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if len(got.Kinds) == 0 || slices.Contains(got.Kinds, syscall.SOCK_SEQPACKET) {
		t.Errorf("kinds of the sockets that the application has: %v", got.Kinds)
	}
	if os.Geteuid() == 0 && got.Reached {
		t.Error("the application, which runs as another user, reaches the socket")
	}
	info, err := os.Stat(filepath.Join(s.root, "control.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestWatchKilled: without the process that replaces it, httpd restarts itself.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestWatchKilled(t *testing.T) {
	testEnv(t)
	app, version := versionedApp(t)
	s := daemon(t, app)
	t.Cleanup(func() { _ = command(t, "stop", "--server-root", s.root).Run() })
	s.killWatch()
	before := s.pid()
	for k, change := range []func(){
		func() { s.reload(0, "reloads (process "+strconv.Itoa(before)+")") },
		func() { _ = syscall.Kill(before, syscall.SIGUSR1) },
		func() { _ = syscall.Kill(before, syscall.SIGHUP) },
	} {
		want := fmt.Sprintf("v%d", k+1)
		version(want)
		change()
		eventually(t, "httpd has restarted", func() bool {
			body, err := (&rawClient{dial: s.tcp}).get("/")
			return err == nil && body == want
		})
	}
	if s.pid() != before {
		t.Errorf("process %d, before %d", s.pid(), before)
	}
}
