//go:build acceptance && linux

package express_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// together runs parts of a test that mostly wait.
func together(parts ...func()) {
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(part)
	}
	all.Wait()
}

// TestDeadlock: a process in which one thread holds Python's lock forever is replaced.
func TestDeadlock(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), "import ctypes\n"+strings.Replace(echoApp, "    out = {", `
    if query == "hold":
        ctypes.PyDLL(None).sleep(60)  # unlike CDLL it keeps the lock
    out = {`, 1))
	s := start(t, dir, app, "--deadlock-timeout", "1", "--shutdown-timeout", "1", "--socket-timeout", "30", "--log-level", "info")
	first := s.environ("/")["pid"]
	began := time.Now()
	if code, _ := s.get("/?hold"); code == 200 || time.Since(began) > 15*time.Second {
		t.Errorf("%d after %v", code, time.Since(began))
	}
	if now := s.environ("/")["pid"]; now == first {
		t.Error("the process was not replaced")
	}
	if !strings.Contains(strings.ToLower(s.log()), "deadlock") {
		t.Errorf("the log does not contain the reason:\n%s", s.log())
	}
}

// TestFullQueue: when the queue of the daemon process is full (--daemon-backlog), other
// requests are refused after --connect-timeout.
func TestFullQueue(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	begun := func(args ...string) *server {
		s := start(t, dir, append([]string{app, "--threads", "1", "--max-clients", "40", "--shutdown-timeout", "1", "--graceful-timeout", "1"}, args...)...)
		s.environ("/")
		return s
	}
	codes := func(s *server, seconds string) map[int]int {
		var all sync.WaitGroup
		var lock sync.Mutex
		count := map[int]int{}
		for range 8 {
			all.Go(func() {
				resp, err := http.Get("http://" + s.address() + "/?sleep=" + seconds)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				lock.Lock()
				count[resp.StatusCode]++
				lock.Unlock()
			})
		}
		all.Wait()
		return count
	}
	short := begun("--daemon-backlog", "1", "--connect-timeout", "1")
	patient := begun("--daemon-backlog", "1", "--connect-timeout", "20")
	long := begun("--daemon-backlog", "20", "--connect-timeout", "3")
	together(func() {
		// Longer than the connect timeout, so that late requests on a busy machine also find
		// the queue full.
		if c := codes(short, "1.5"); c[503] == 0 || c[200] < 2 {
			t.Errorf("a short queue: %v", c)
		}
	}, func() {
		if c := codes(patient, "0.5"); c[200] != 8 {
			t.Errorf("a short queue with patience: %v", c)
		}
	}, func() {
		if c := codes(long, "0.5"); c[200] != 8 {
			t.Errorf("a queue with room: %v", c)
		}
	})
}

// TestListenQueue: the queue lengths given to the kernel (ss shows them for listening
// sockets).
func TestListenQueue(t *testing.T) {
	testEnv(t)
	t.Parallel()
	if _, err := exec.LookPath("ss"); err != nil {
		t.Skip("ss not found")
	}
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--server-backlog", "37", "--daemon-backlog", "23")
	s.environ("/")
	queue := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "ss", args...).CombinedOutput()
		if err != nil {
			t.Skipf("ss: %v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, s.address()+" ") || strings.Contains(line, s.root+"/wsgi.") {
				return strings.Join(strings.Fields(line), " ")
			}
		}
		return string(out)
	}
	if line := queue("-Hltn"); !strings.HasPrefix(line, "LISTEN 0 37 ") {
		t.Errorf("for clients: %s", line)
	}
	if line := queue("-Hlx"); !strings.HasPrefix(line, "u_str LISTEN 0 23 ") {
		t.Errorf("for the daemon process: %s", line)
	}
}

// TestClientThatDoesNotRead: a client that stops reading a response is dropped after
// --response-socket-timeout.
func TestClientThatDoesNotRead(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	const size = 64 << 20
	app := write(t, filepath.Join(dir, "app.py"), fmt.Sprintf(`
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "%d")])
    return (b"x" * 65536 for _ in range(%d))
`, size, size/65536))
	got := func(s *server) int64 {
		conn, err := net.Dial("tcp", s.address())
		if err != nil {
			t.Error(err)
			return -1
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).SetReadBuffer(65536)
		fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
		_ = conn.SetDeadline(time.Now().Add(40 * time.Second))
		in := bufio.NewReader(conn)
		for line := ""; line != "\r\n"; {
			if line, err = in.ReadString('\n'); err != nil {
				t.Error(err)
				return -1
			}
		}
		time.Sleep(4 * time.Second) // the test is about a client that reads nothing for longer than the timeout
		n, _ := io.Copy(io.Discard, in)
		return n
	}
	strict := start(t, dir, app, "--socket-timeout", "60", "--response-socket-timeout", "1")
	patient := start(t, dir, app, "--socket-timeout", "60", "--response-socket-timeout", "30")
	together(func() {
		if n := got(strict); n >= size {
			t.Errorf("all %d bytes arrived", n)
		}
	}, func() {
		if n := got(patient); n != size {
			t.Errorf("%d bytes arrived, want all %d", n, size)
		}
	})
}

// TestSlowBody: a body may arrive slowly, but not forever (--body-max-timeout).
func TestSlowBody(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), strings.Replace(echoApp, "    out = {", "    environ['wsgi.input'].read()\n    out = {", 1))
	answer := func(s *server) string {
		conn, err := net.Dial("tcp", s.address())
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		fmt.Fprint(conn, "POST / HTTP/1.0\r\nContent-Length: 200\r\n\r\n")
		for range 20 { // ten bytes at a time allow ten seconds each
			_, _ = conn.Write([]byte("0123456789"))
			time.Sleep(200 * time.Millisecond) // the test is about a client that pauses
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return strings.TrimSpace(line)
	}
	limited := start(t, dir, app, "--body-timeout", "1", "--body-min-rate", "1", "--body-max-timeout", "2")
	free := start(t, dir, app, "--body-timeout", "1", "--body-min-rate", "1", "--body-max-timeout", "0")
	together(func() {
		if line := answer(limited); strings.Contains(line, " 200 ") {
			t.Errorf("with a limit: %s", line)
		}
	}, func() {
		if line := answer(free); !strings.Contains(line, " 200 ") {
			t.Errorf("without: %s", line)
		}
	})
}

// TestNumbersOfProcesses: how many processes and connections httpd has.
func TestNumbersOfProcesses(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	children := func(s *server) int { // without the daemon process
		parent, err := exec.CommandContext(t.Context(), "pgrep", "-P", strconv.Itoa(s.cmd.Process.Pid)).Output()
		if err != nil {
			return -1
		}
		out, _ := exec.CommandContext(t.Context(), "pgrep", "-c", "-P", strings.TrimSpace(string(parent))).Output()
		n, _ := strconv.Atoi(strings.TrimSpace(string(out)))
		return n - 1
	}
	for _, c := range []struct {
		args        string
		least, most int
	}{
		{"--initial-workers 0.25 --minimum-spare-workers 0.05 --maximum-spare-workers 1", 10, 10},
		{"--initial-workers 0.05 --minimum-spare-workers 0.2 --maximum-spare-workers 1", 8, 12}, // it starts 1, 2, 4 more
		{"--initial-workers 0.2 --minimum-spare-workers 0.05 --maximum-spare-workers 0.1", 2, 4},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			s := start(t, dir, append([]string{app, "--server-mpm", "prefork", "--max-clients", "40"}, strings.Fields(c.args)...)...)
			eventually(t, fmt.Sprintf("%d to %d processes", c.least, c.most), func() bool { n := children(s); return n >= c.least && n <= c.most })
		})
	}
	t.Run("--max-clients", func(t *testing.T) {
		t.Parallel()
		s := start(t, dir, app, "--server-mpm", "prefork", "--max-clients", "3", "--threads", "1", "--header-timeout", "30")
		s.environ("/")
		var idle []net.Conn
		for range 3 {
			c, err := net.Dial("tcp", s.address())
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(c, "GET")
			idle = append(idle, c)
		}
		// Another client is served until there is a process for each of them. Its keep-alive
		// connection would occupy a separate process.
		var answered chan bool
		eventually(t, "a fourth client waits", func() bool {
			http.DefaultClient.CloseIdleConnections()
			answered = make(chan bool)
			go func(done chan bool) { s.environ("/"); close(done) }(answered)
			select {
			case <-answered:
				return false
			case <-time.After(time.Second):
				return true
			}
		})
		for _, c := range idle {
			c.Close()
		}
		<-answered
	})
}
