//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// peer is a server that treats each request of each connection as a test wants it.
type peer struct {
	listener net.Listener
	// answer handles a request, the nth of its connection, and reports whether the
	// connection goes on.
	answer func(c net.Conn, number string, nth int) bool
}

func newPeer(t *testing.T, secure *tls.Config, answer func(c net.Conn, number string, nth int) bool) *client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &peer{l, answer}
	c := &client{dials: new(dials), address: l.Addr().String(), host: "torture.test", keep: true}
	if secure != nil {
		p.listener = tls.NewListener(l, secure)
		c.tls = &tls.Config{InsecureSkipVerify: true} // #nosec G402 -- the serial number is looked at
	}
	go p.serve()
	t.Cleanup(c.close)
	return c
}

func (p *peer) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			in := bufio.NewReader(c)
			for nth := 1; ; nth++ {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				if !p.answer(c, r.URL.Query().Get("number"), nth) {
					return
				}
			}
		}()
	}
}

// good writes the answer of the application.
func good(c net.Conn, number string, version int) {
	line := fmt.Sprintf("number=%s version=%d config=2 pid=3 body=0\n", number, version)
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(line)+4, line+"xxxx")
}

func asked(c *client, number string) response {
	return c.do(request{number: number, size: 4, limit: 2 * time.Second})
}

// TestKinds: every kind of loss has its name.
func TestKinds(t *testing.T) {
	short := func(c net.Conn, _ string, _ int) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnumber=1")
		return false
	}
	for name, test := range map[string]struct {
		answer func(c net.Conn, number string, nth int) bool
		want   kind
	}{
		"good":           {func(c net.Conn, n string, _ int) bool { good(c, n, 7); return true }, answered},
		"no response":    {func(net.Conn, string, int) bool { return false }, reset},
		"aborted":        {func(c net.Conn, _ string, _ int) bool { _ = c.(*net.TCPConn).SetLinger(0); return false }, reset},
		"cut body":       {short, cut},
		"cut head":       {func(c net.Conn, _ string, _ int) bool { _, _ = io.WriteString(c, "HTTP/1.1 20"); return false }, cut},
		"another number": {func(c net.Conn, _ string, _ int) bool { good(c, "8", 7); return true }, cut},
		"503": {func(c net.Conn, _ string, _ int) bool {
			_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
			return true
		}, "503"},
		"404": {func(c net.Conn, _ string, _ int) bool {
			_, _ = io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			return true
		}, odd},
		"silence": {func(net.Conn, string, int) bool { time.Sleep(3 * time.Second); return false }, timeout}, // longer than the client waits
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := asked(newPeer(t, nil, test.answer), "1")
			if got.kind != test.want || !got.opened || got.aborted != (name == "aborted") {
				t.Errorf("%+v, want %q", got, test.want)
			}
			if test.want == answered && (got.version != 7 || got.config != 2 || got.pid != 3) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestRefusedConnection(t *testing.T) {
	c := newPeer(t, nil, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.address = l.Addr().String()
	_ = l.Close()
	if got := asked(c, "1"); got.kind != refused {
		t.Errorf("%+v", got)
	}
}

// TestUsedConnections: one that the server ends while it is idle is not used again, one
// that it ends with a request on it loses that.
func TestUsedConnections(t *testing.T) {
	secure := serverTLS(t, 41)
	for _, config := range []*tls.Config{nil, secure} {
		name := "plain"
		if config != nil {
			name = "tls"
		}
		t.Run(name+" idle", func(t *testing.T) {
			ended := make(chan bool, 9)
			c := newPeer(t, config, func(c net.Conn, n string, _ int) bool {
				good(c, n, 7)
				_ = c.Close()
				ended <- true
				return false
			})
			for n := range 3 {
				got := asked(c, fmt.Sprint(n))
				<-ended
				time.Sleep(20 * time.Millisecond) // the end has to come through the kernel
				if got.kind != answered || !got.opened || config != nil && got.serial != 41 {
					t.Errorf("request %d: %+v", n, got)
				}
			}
		})
		t.Run(name+" with a request", func(t *testing.T) {
			c := newPeer(t, config, func(c net.Conn, n string, nth int) bool {
				if nth == 3 {
					return false
				}
				good(c, n, 7)
				return true
			})
			for n, want := range []kind{answered, answered, closed, answered} {
				if got := asked(c, fmt.Sprint(n)); got.kind != want || got.opened != (n == 0 || n == 3) {
					t.Errorf("request %d: %+v, want %q", n, got, want)
				}
			}
		})
	}
	t.Run("Connection: close", func(t *testing.T) {
		c := newPeer(t, nil, func(c net.Conn, n string, nth int) bool {
			if nth > 1 {
				t.Error("the connection was used again")
			}
			line := "number=" + n + " version=1 config=1 pid=1 body=0\nxxxx"
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
			return true
		})
		for n := range 2 {
			if got := asked(c, fmt.Sprint(n)); got.kind != answered || !got.opened {
				t.Errorf("request %d: %+v", n, got)
			}
		}
	})
}

func serverTLS(t *testing.T, serial int64) *tls.Config {
	t.Helper()
	dir := t.TempDir()
	if err := certificate(dir, serial); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// TestAges: only requests that were sent after the change can be late.
func TestAges(t *testing.T) {
	m := newMeter()
	before := response{version: 1, config: 1, serial: 1, sent: time.Now(), pid: 5}
	m.add(request{}, before)
	m.from(stamp{2, 1, 1})
	m.add(request{}, before) // was on its way
	if m.oldCount != 0 || m.fresh(0) {
		t.Errorf("%d old", m.oldCount)
	}
	late := before
	late.sent = m.since.Add(300 * time.Millisecond)
	m.add(request{}, late)
	if m.oldCount != 1 || m.old != 300*time.Millisecond || m.fresh(0) {
		t.Errorf("%d old, %v", m.oldCount, m.old)
	}
	now := late
	now.version = 2
	m.add(request{}, now)
	if m.oldCount != 1 || m.fresh(time.Hour) {
		t.Errorf("%d old", m.oldCount)
	}
	// A connection keeps its certificate, and plain HTTP has no certificate.
	m.from(stamp{2, 1, 2})
	now.sent = time.Now()
	m.add(request{}, now)
	now.opened = true
	m.add(request{}, now)
	now.serial = 0
	m.add(request{}, now)
	if m.oldCount != 2 {
		t.Errorf("%d old", m.oldCount)
	}
	if m.sent != 7 || len(m.lost) != 0 {
		t.Errorf("%d sent, lost %v", m.sent, m.lost)
	}
}

// TestStoppingServer: what a server that stops has accepted counts, and nothing else.
func TestStoppingServer(t *testing.T) {
	m := newMeter()
	m.stopping.Store(true)
	m.accepted[8] = true
	for _, r := range []response{
		{kind: refused}, {kind: reset, aborted: true, port: 7}, {kind: reset, aborted: true, port: 8}, {kind: reset}, {kind: closed, aborted: true, port: 7},
	} {
		m.add(request{}, r)
	}
	if m.sent != 3 || m.queued != 1 || m.lost[reset] != 2 || m.lost[closed] != 1 || m.lost[refused] != 0 {
		t.Errorf("%d sent, %d queued, lost %v", m.sent, m.queued, m.lost)
	}
}

func TestKeptPromises(t *testing.T) {
	three := 3
	for _, test := range []struct {
		f    figures
		want bool
	}{
		{figures{Sent: 9, Queued: 2, Old: 10}, true},
		{figures{Sent: 9, Lost: 1}, false},
		{figures{Sent: 9, Closed: 1}, false},
		{figures{Sent: 9, Problems: []string{"x"}}, false},
		{figures{}, false},
		{figures{Sent: 9, Lost: 2, Closed: 1, Bound: &three}, true},
		{figures{Sent: 9, Lost: 2, Closed: 2, Bound: &three}, false},
	} {
		if test.f.holds() != test.want {
			t.Errorf("%+v: %v", test.f, !test.want)
		}
	}
}

// TestConnections: a connection belongs to the process that has accepted it.
func TestConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	mine := conn.LocalAddr().(*net.TCPAddr).Port
	all, err := connections(port)
	if err != nil || len(all) != 1 || all[0] != (connection{mine, "0", true}) || owns(os.Getpid(), all) != 0 {
		t.Errorf("in the queue: %v, %v, not client %d without inode", all, err, mine)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	all, err = connections(port)
	if n := owns(os.Getpid(), all); err != nil || n != 1 || len(all) != 1 || all[0].queued || all[0].inode == "0" {
		t.Errorf("%d of %v, %v", n, all, err)
	}
	if all, err = connections(mine); err != nil || len(all) != 1 || all[0].client != port {
		t.Errorf("the other end: %v, %v", all, err)
	}
}
