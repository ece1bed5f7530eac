//go:build acceptance && unix

package express_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// TestVirtualHosts sends requests to a server with every combination of the options
// that create virtual hosts: for its own names, foreign names and internal names, over
// both schemes, with and without a client certificate, from this machine, from another
// address and through a proxy, and with different names in TLS and HTTP.
//
// Once: httpd decides which host is chosen.
func TestVirtualHosts(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	httpd, _ := filepath.Glob(filepath.Join(testEnv(t), "lib", "python3*", "site-packages", "mod_wsgi_packages", "httpd", "bin", "httpd"))
	if len(httpd) != 1 {
		t.Skip("this environment does not contain an httpd")
	}
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.Split(r.URL.Path, "/")[1]) // which of the two passes it on
	}))
	t.Cleanup(behind.Close)
	ca, signed := clientCertificate(t, dir)
	stem, _ := certificate(t, dir, "site.example")
	h := &hosts{t: t, dir: dir, httpd: httpd[0], ca: ca, stem: stem, signed: signed, behind: behind.URL, outside: outside(t)}
	h.docs = filepath.Join(dir, "docs")
	if err := errors.Join(os.Mkdir(h.docs, 0o755), os.Mkdir(filepath.Join(h.docs, "private"), 0o755)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(h.docs, "x"), "application")
	write(t, filepath.Join(h.docs, "private", "x"), "application")
	write(t, filepath.Join(dir, "job.py"), "import time\ntime.sleep(1000)\n")
	write(t, filepath.Join(dir, "app.py"), "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '11')])\n    return [b'application']\n")
	sites := make(chan site)
	var workers sync.WaitGroup
	for range max(2, runtime.NumCPU()) {
		p, memory := newInProcess(t), memoryDir(t)
		workers.Go(func() {
			n := 0
			for s := range sites {
				h.check(p, filepath.Join(memory, strconv.Itoa(n)), s)
				n++
			}
		})
	}
	for _, s := range everySite() {
		sites <- s
	}
	close(sites)
	workers.Wait()
	t.Logf("%d combinations of options, %d requests", len(everySite()), h.asked.Load())
}

// outside is an address of this machine other than its loopback address: to httpd, a
// connection from there to 127.0.0.1 is one between different machines. Without such an
// address these requests are skipped.
func outside(t *testing.T) string {
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip.IP}, Timeout: time.Second}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				continue
			}
			conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
			l.Close()
			if err == nil {
				conn.Close()
				return ip.IP.String()
			}
		}
	}
	t.Log("this machine has no second address; requests from elsewhere are skipped")
	return ""
}

// hosts is the state shared by the sites.
type hosts struct {
	t                                  *testing.T
	dir, docs, httpd, ca, stem, behind string
	signed                             tls.Certificate
	outside                            string
	asked, done                        atomic.Int64
}

func (h *hosts) args(s site, http, https int, root string) []string {
	args := []string{"setup-server", "--document-root", h.docs, "--host", "127.0.0.1", "--port", strconv.Itoa(http), "--server-root", root, "--keep-alive-timeout", "60"}
	for _, a := range []struct {
		when bool
		args []string
	}{
		{s.script, []string{filepath.Join(h.dir, "app.py")}},
		{!s.script, []string{"--application-type", "static"}},
		{s.name != "", []string{"--server-name", s.name}},
		{s.alias, []string{"--server-alias", "*.alias.example"}},
		{s.https, []string{"--https-port", strconv.Itoa(https), "--ssl-certificate", h.stem}},
		{s.only, []string{"--https-only"}},
		{s.client != "", []string{"--ssl-ca-certificate-file", h.ca}},
		{s.client == "part", []string{"--ssl-verify-client", "/private"}},
		{s.proxy, []string{"--proxy-virtual-host", proxied, h.behind + "/host"}},
		{s.service, []string{"--service-script", "job", filepath.Join(h.dir, "job.py"), "--service-log-file", "job", "job.log"}},
		{s.local, []string{"--allow-localhost"}},
		{s.hsts, []string{"--hsts-policy", "max-age=60"}},
		{s.mount, []string{"--proxy-mount-point", "/far", h.behind + "/mount"}},
		{s.trust, []string{
			"--trust-proxy", "127.0.0.1", "--trust-proxy-header", "X-Forwarded-Host", "--trust-proxy-header", "X-Forwarded-Proto", "--trust-proxy-header", "X-Forwarded-For",
		}},
		{s.status, []string{"--server-status"}},
	} {
		if a.when {
			args = append(args, a.args...)
		}
	}
	return append(args, asUser()...)
}

// check starts a server for a combination and sends it requests.
func (h *hosts) check(p *inProcess, root string, s site) {
	t := h.t
	http, https := freeport.Get(t), freeport.Get(t)
	if code, out := p.run(h.dir, h.args(s, http, https, root)...); code != 0 {
		t.Errorf("%+v: %d\n%s", s, code, out)
		return
	}
	cmd := exec.CommandContext(t.Context(), h.httpd, "-f", filepath.Join(root, "httpd.conf"), "-DFOREGROUND")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin"}, h.dir
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	defer func() {
		// Stopped immediately, together with its Python processes, which may not have started
		// yet.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	c := &client{hosts: h, http: http, https: https}
	defer c.close()
	if !c.up(s) {
		data, _ := os.ReadFile(filepath.Join(root, "error_log"))
		t.Errorf("%+v: no answer\n%s", s, data)
		return
	}
	queries := s.queries(h.outside)
	h.done.Add(1)
	slices.SortStableFunc(queries, func(x, y query) int { return strings.Compare(x.connection(), y.connection()) })
	for _, q := range queries {
		h.asked.Add(1)
		got, header := c.ask(q)
		if want := s.expected(q, http, https); got != want {
			t.Errorf("%+v:\n%+v: %s, want %s", s, q, got, want)
		}
		strict := header.Get("Strict-Transport-Security")
		if s.hsts && q.https && (got == "host" || got == "application") && own(s, q) && strict != "max-age=60" {
			t.Errorf("%+v:\n%+v: Strict-Transport-Security %q", s, q, strict)
		}
	}
	for _, head := range []string{"Host: site.example\r\nHost: " + foreign, "Host: site.example " + foreign, "Host: site.example, " + foreign} {
		if got, _ := c.raw("GET /x HTTP/1.1\r\n" + head + "\r\nConnection: close\r\n\r\n"); got != "400" {
			t.Errorf("%+v:\n%q: %s, want 400", s, head, got)
		}
	}
	if data, err := os.ReadFile(filepath.Join(root, "job.log")); s.service && err != nil {
		t.Errorf("%+v: the service has no separate log: %v %s", s, err, data)
	}
}

// own reports whether a request is for a name given to the server.
func own(s site, q query) bool {
	return q.absolute == "" && (q.host == s.name || s.alias && strings.HasSuffix(q.host, ".alias.example") || s.proxy && q.host == proxied)
}

// wire is a connection.
type wire struct {
	net.Conn
	r *bufio.Reader
}

// client sends requests to one server. They share connections if possible: a request
// for one name may follow one for another.
type client struct {
	*hosts
	http, https int
	open        *wire
	key         string
}

func (c *client) close() {
	if c.open != nil {
		c.open.Close()
		c.open = nil
	}
}

// up waits until all ports are open.
func (c *client) up(s site) bool {
	ports := []int{c.http}
	if s.https {
		ports = append(ports, c.https)
	}
	for deadline := time.Now().Add(60 * time.Second); len(ports) > 0 && time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(ports[0]))
		if err != nil {
			time.Sleep(3 * time.Millisecond)
			continue
		}
		conn.Close()
		ports = ports[1:]
	}
	return len(ports) == 0
}

func (c *client) dial(q query) (*wire, error) {
	d := net.Dialer{Timeout: 20 * time.Second}
	if q.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(q.from)}
	}
	port := c.http
	if q.https {
		port = c.https
	}
	conn, err := d.DialContext(c.t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	if q.https {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: strings.TrimSuffix(strings.Split(q.sni, ":")[0], ".")}
		if strings.HasPrefix(q.path, "/private") || strings.HasPrefix(q.path, "//private") {
			// Up to TLS 1.2, Go accepts a request for a certificate on an established
			// connection.
			config.MaxVersion, config.Renegotiation = tls.VersionTLS12, tls.RenegotiateFreelyAsClient
		}
		if q.certificate {
			config.Certificates = []tls.Certificate{c.signed}
		}
		conn = tls.Client(conn, config)
	}
	return &wire{conn, bufio.NewReader(conn)}, nil
}

// ask sends a request, on an open connection if possible.
func (c *client) ask(q query) (string, http.Header) {
	key := q.connection()
	if key != c.key {
		c.close()
		c.key = key
	}
	head := "Host: " + q.host + "\r\n"
	version, target := "1.1", q.path
	if q.absolute != "" {
		target = "http://" + q.absolute + q.path
	}
	if q.old {
		head, version = "", "1.0"
	}
	if q.forwarded {
		head += "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: site.example\r\nX-Forwarded-Proto: https\r\n"
	}
	for range 2 { // httpd may have closed the connection in the meantime
		fresh := c.open == nil
		if fresh {
			var err error
			if c.open, err = c.dial(q); err != nil {
				return err.Error(), nil
			}
		}
		w := c.open
		got, header, err := w.exchange("GET " + target + " HTTP/" + version + "\r\n" + head + "\r\n")
		if err == nil && header.Get("Connection") != "close" && !q.old {
			return got, header
		}
		c.close()
		switch {
		case err == nil:
			return got, header
		case strings.Contains(err.Error(), "remote error: tls: "):
			return "refused", nil
		case fresh && q.https && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
			return "refused", nil // httpd closes a connection whose renegotiation has failed
		case fresh:
			return err.Error(), nil
		}
	}
	return "closed again and again", nil
}

// exchange sends a request and returns what came back.
func (w *wire) exchange(request string) (string, http.Header, error) {
	if _, err := io.WriteString(w, request); err != nil {
		return "", nil, err
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", nil, err
	case resp.StatusCode == http.StatusMovedPermanently:
		return resp.Header.Get("Location"), resp.Header, nil
	case resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusMisdirectedRequest:
		return "refused", resp.Header, nil
	case resp.StatusCode == http.StatusOK && strings.Contains(string(body), "Apache Server Status"):
		return "status", resp.Header, nil
	case resp.StatusCode == http.StatusOK:
		return string(body), resp.Header, nil
	}
	return strconv.Itoa(resp.StatusCode), resp.Header, nil
}

// raw sends bytes over plain HTTP on a separate connection.
func (c *client) raw(request string) (string, http.Header) {
	w, err := c.dial(query{})
	if err != nil {
		return err.Error(), nil
	}
	defer w.Close()
	got, header, err := w.exchange(request)
	if err != nil {
		return err.Error(), nil
	}
	return got, header
}
