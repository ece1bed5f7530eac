//go:build acceptance && linux

package express_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/freeport"
)

// TestHTTP2Hosts: HTTP/2 gives no access that HTTP/1 refuses: neither by another
// :authority on a connection for the server's name, nor by an upgrade, nor by CONNECT.
// Debian's httpd has a different version from the environment's.
func TestHTTP2Hosts(t *testing.T) {
	testEnv(t)
	t.Parallel()
	httpd, env := debianHTTPD(t)
	dir := workDir(t, "")
	stem, _ := certificate(t, dir, "secure.example")
	ca, signed := clientCertificate(t, dir)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "behind") }))
	defer behind.Close()
	app := write(t, filepath.Join(dir, "app.py"), plainApp)
	tree(t, dir, "settings.py", "page.txt")
	link(t, "/etc/passwd", filepath.Join(dir, "linked"))
	job := write(t, filepath.Join(dir, "job.py"), "import time\ntime.sleep(1000)\n")
	secure := freeport.Get(t)
	s := beginWith(t, env, dir, append(httpd, app, "--http2", "--https-port", strconv.Itoa(secure), "--ssl-certificate", stem, "--server-name", "secure.example", "--https-only",
		"--ssl-ca-certificate-file", ca, "--proxy-virtual-host", "p.example", behind.URL, "--proxy-mount-point", "/far", behind.URL, "--document-root", dir,
		"--service-script", "job", job, "--service-log-file", "job", "job.log", "--server-status")...).up()
	client := func(port int, protocol func(*http.Protocols), certificates ...tls.Certificate) *http.Client {
		var p http.Protocols
		protocol(&p)
		return &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "secure.example", Certificates: certificates}, Protocols: &p, MaxConnsPerHost: 1,
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+strconv.Itoa(port))
				},
			},
		}
	}
	ask := func(c *http.Client, method, scheme, host, path string) string {
		req, _ := http.NewRequestWithContext(t.Context(), method, scheme+"://secure.example"+path, nil)
		req.Host = host
		resp, err := c.Do(req)
		if err != nil {
			return "failed"
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		switch {
		case resp.ProtoMajor != 2:
			t.Errorf("%s %s: %s", host, path, resp.Proto)
		case resp.StatusCode >= 400:
			return "refused"
		case resp.StatusCode != 200:
			return resp.Header.Get("Location")
		}
		return string(body)
	}
	over, plain, without := client(secure, h2, signed), client(s.port, h2c), client(secure, h2)
	for _, c := range []struct{ host, path, tls, clear string }{
		{"secure.example", "/x", "application GET /x", fmt.Sprintf("https://secure.example:%d/x", secure)},
		{"secure.example", "/far/x", "behind", fmt.Sprintf("https://secure.example:%d/far/x", secure)},
		{"p.example", "/x", "behind", fmt.Sprintf("https://p.example:%d/x", secure)},
		{"evil.example", "/x", "refused", "refused"},
		{"_wsgi_", "/x", "refused", "refused"},
		{"_wsgi_service_job_", "/x", "refused", "refused"},
		{"secure.example", "/settings.py", "refused", fmt.Sprintf("https://secure.example:%d/settings.py", secure)},
		{"secure.example", "/linked", "refused", fmt.Sprintf("https://secure.example:%d/linked", secure)},
		{"secure.example", "/page.txt", "content of page.txt", fmt.Sprintf("https://secure.example:%d/page.txt", secure)},
	} {
		if got := ask(over, "GET", "https", c.host, c.path); got != c.tls {
			t.Errorf("TLS: %s%s: %s, want %s", c.host, c.path, got, c.tls)
		}
		if got := ask(plain, "GET", "http", c.host, c.path); got != c.clear {
			t.Errorf("h2c: %s%s: %s, want %s", c.host, c.path, got, c.clear)
		}
		if got := ask(without, "GET", "https", c.host, c.path); got != "failed" {
			t.Errorf("without a certificate: %s%s: %s", c.host, c.path, got)
		}
	}
	for _, method := range []string{"CONNECT", "TRACE"} {
		for _, path := range []string{"/x", "/far/x", "/page.txt"} {
			if got := ask(over, method, "https", "secure.example", path); got != "refused" && got != "failed" {
				t.Errorf("%s %s: %s", method, path, got)
			}
		}
	}
	if data, err := os.ReadFile(filepath.Join(s.root, "job.log")); err != nil {
		t.Errorf("the service has no log: %v %s", err, data)
	}
	if out, err := command(t, "status", "--server-root", s.root).CombinedOutput(); err != nil || !strings.Contains(string(out), "BusyWorkers") {
		t.Errorf("status: %v %s", err, out)
	}
}
