//go:build acceptance && linux

package express_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/internal/cgroup"
	"modwsgi/internal/freeport"
)

// connections are open connections to a server, from many addresses: the ports of one do
// not suffice for thousands.
type connections struct {
	sync.Mutex
	all []net.Conn
}

func (c *connections) open(address string, k int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+k/2000))}, Timeout: 20 * time.Second}
	conn, err := d.Dial("tcp", address)
	if err == nil {
		c.Lock()
		c.all = append(c.all, conn)
		c.Unlock()
	}
	return conn, err
}

func (c *connections) close() {
	c.Lock()
	defer c.Unlock()
	for _, conn := range c.all {
		_ = conn.Close()
	}
}

// fiftyAtOnce calls do with 0 to n-1, 50 at a time.
func fiftyAtOnce(n int, do func(k int)) {
	var wg sync.WaitGroup
	slots := make(chan bool, 50)
	for k := range n {
		slots <- true
		wg.Go(func() {
			do(k)
			<-slots
		})
	}
	wg.Wait()
}

// TestSlowAndIdleClients: with the default sizes, a new request is answered while 3,000
// connections are idle and 1,000 send a byte from time to time. No idle one is closed,
// and each can be used again.
func TestSlowAndIdleClients(t *testing.T) {
	testEnv(t)
	const idle, slow = 3000, 1000
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Max < 8192 {
		t.Skipf("NOT TESTED: at most %d files can be open, %v", files.Max, err)
	}
	if memory := cgroup.Read().Memory; memory < 4<<30 {
		t.Skipf("NOT TESTED: the sizes follow the memory, %d bytes", memory)
	}
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := start(t, dir, app, "--keep-alive-timeout", "120")
	open := &connections{}
	defer open.close()
	get := func(conn net.Conn) error {
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		defer func() { _ = conn.SetDeadline(time.Time{}) }()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		defer func() { _ = r.Body.Close() }()
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != 200 || r.Close {
			return fmt.Errorf("status %d, closes %v, %v", r.StatusCode, r.Close, err)
		}
		return nil
	}
	kept := make([]net.Conn, idle)
	var failed atomic.Int64
	fiftyAtOnce(idle, func(k int) {
		conn, err := open.open(s.address(), k)
		if err == nil {
			err = get(conn)
		}
		if kept[k] = conn; err != nil && failed.Add(1) < 5 {
			t.Errorf("idle connection %d: %v", k, err)
		}
	})
	end := make(chan bool)
	var sending sync.WaitGroup
	fiftyAtOnce(slow, func(k int) {
		conn, err := open.open(s.address(), idle+k)
		if err != nil {
			t.Errorf("slow connection %d: %v", k, err)
			return
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		sending.Go(func() {
			for {
				select {
				case <-end:
					return
				case <-time.After(5 * time.Second):
					if _, err := io.WriteString(conn, "a"); err != nil {
						return // the time for headers is over
					}
				}
			}
		})
	})
	var took []time.Duration
	for range 40 {
		began := time.Now()
		conn, err := open.open(s.address(), 0)
		if err == nil {
			err = get(conn)
		}
		if err != nil {
			t.Errorf("a new request: %v", err)
		}
		took = append(took, time.Since(began))
		time.Sleep(100 * time.Millisecond) // requests one after the other, over four seconds
	}
	slices.Sort(took)
	t.Logf("new requests: median %v, longest %v", took[len(took)/2], took[len(took)-1])
	fiftyAtOnce(idle, func(k int) {
		if err := get(kept[k]); err != nil && failed.Add(1) < 5 {
			t.Errorf("idle connection %d, used again: %v", k, err)
		}
	})
	close(end)
	sending.Wait()
	if text := s.log(); strings.Contains(text, "AH00484") || strings.Contains(text, "AH10159") {
		t.Errorf("httpd ran out of threads:\n%s", text)
	}
}

// TestReusedConnectionsStayOpen: connections that are used again and again are not closed,
// although there are more of them than the application has threads, and than httpd had
// threads once.
func TestReusedConnectionsStayOpen(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), "import time\ndef application(environ, start_response):\n    time.sleep(0.02)\n    start_response('200 OK', [('Content-Length', '2')])\n    return [b'ok']\n")
	s := start(t, dir, app)
	var opened atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		opened.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 30 {
				r, err := client.Get("http://" + s.address() + "/")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_ = r.Body.Close()
				if r.Close {
					t.Error("the server closes a connection")
				}
			}
		})
	}
	wg.Wait()
	if n := opened.Load(); n > 64 {
		t.Errorf("%d connections were opened for 64 clients", n)
	}
}

// TestOpenFiles: httpd may have as many files open as its connections need, whatever the
// soft limit is, and adapts to the hard limit.
func TestOpenFiles(t *testing.T) {
	testEnv(t)
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Max < 4096 {
		t.Skipf("NOT TESTED: at most %d files can be open, %v", files.Max, err)
	}
	shell := func(t *testing.T, root, script string) string {
		t.Helper()
		out, err := exec.Command("sh", "-c", script, "sh", root, launcher(t)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	number := func(text, pattern string) int {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in %s", pattern, text)
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	needs := func(conf string) int {
		return number(conf, `(?m)^ThreadsPerChild (\d+)$`) * (2 + number(conf, `(?m)^AsyncRequestWorkerFactor (\d+)$`))
	}
	for _, c := range []struct {
		name, before, after string
		warns               bool
	}{
		{"soft limit", "ulimit -Sn 1024", "ulimit -Sn 1024", false},
		{"hard limit", "ulimit -n 2048", "ulimit -n 2048", false},
		{"another hard limit later", "ulimit -Sn 1024", "ulimit -n 2048", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := workDir(t, "")
			app, root := write(t, filepath.Join(dir, "app.py"), echoApp), filepath.Join(shortDir(t), "root")
			shell(t, root, c.before+"; "+`exec "$2" setup-server `+app+` --server-root "$1" --host 127.0.0.1 --port `+strconv.Itoa(freeport.Get(t))+" "+strings.Join(asUser(), " "))
			defer shell(t, root, `"$1/apachectl" stop || true; n=0; while [ -e "$1/httpd.pid" ] && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.1; done`)
			said := shell(t, root, c.after+`; "$1/apachectl" start; n=0; while [ ! -e "$1/httpd.pid" ] && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.1; done; cat /proc/$(cat "$1/httpd.pid")/limits`)
			conf, err := os.ReadFile(filepath.Join(root, "httpd.conf"))
			if err != nil {
				t.Fatal(err)
			}
			allowed := number(said, `Max open files +(\d+)`)
			if warned := strings.Contains(said, "LimitNOFILE"); warned != c.warns || !c.warns && allowed < needs(string(conf)) {
				t.Errorf("%d files may be open, and %d can be needed: %s", allowed, needs(string(conf)), said)
			}
		})
	}
}
