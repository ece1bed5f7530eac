//go:build acceptance && unix

package express_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	"time"

	"modwsgi/internal/freeport"
)

// asked is an answer: its status and its body, or its redirect target.
func asked(t *testing.T, pool *x509.CertPool, scheme, host string, port int, path string, header http.Header) string {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: host},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+strconv.Itoa(port))
		},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s://%s:%d%s", scheme, host, port, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "error " + err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if to := resp.Header.Get("Location"); to != "" {
		return fmt.Sprint(resp.StatusCode, " ", to)
	}
	if resp.StatusCode != 200 {
		return strconv.Itoa(resp.StatusCode)
	}
	return "200 " + string(body)
}

// TestIncludedInEachHost: the directives of an included file apply in every virtual
// host, and do not open names that were not configured.
func TestIncludedInEachHost(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	stem, pool := certificate(t, dir, "www.example.com")
	https := freeport.Get(t)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "behind ", r.URL.EscapedPath()) }))
	defer behind.Close()
	app := write(t, filepath.Join(dir, "app.py"), "def application(environ, start_response):\n"+
		"    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'app ' + environ['PATH_INFO'].encode()]\n")
	write(t, filepath.Join(dir, "nested.conf"), "<IfDefine !NOT_THERE>\nAllowEncodedSlashes \\\n  NoDecode\n</IfDefine>\n<IfDefine NOT_THERE>\nLimitRequestLine 10\n</IfDefine>\n")
	include := write(t, filepath.Join(dir, "site.conf"), "Define SIZE 60000\nLimitRequestFieldSize ${SIZE}\nLimitRequestLine 20000\nInclude nested.conf\n"+
		"DeflateCompressionLevel 9\nHeader add X-Once yes\nRewriteEngine On\nRewriteRule ^/rewritten$ http://elsewhere.example/ [R=302]\nRedirect 302 /moved http://elsewhere.example/\n"+
		"<Directory />\n  LimitRequestBody 7\n</Directory>\n")
	write(t, filepath.Join(dir, "site.conf"), strings.Replace(readFile(t, include), "Include nested.conf", `Include "`+filepath.Join(dir, "nested.conf")+`"`, 1))
	s := begin(t, dir, app, "--https-port", strconv.Itoa(https), "--ssl-certificate", stem, "--server-name", "www.example.com",
		"--proxy-virtual-host", "proxy.example.com", behind.URL, "--include-file", include)
	if !tlsUp(s) {
		t.Skip("this httpd has no mod_ssl")
	}
	big := func(n int) http.Header { return http.Header{"X-Big": {strings.Repeat("x", n)}} }
	insecure := (*x509.CertPool)(nil)
	for _, c := range []struct {
		scheme, host, path string
		header             http.Header
		want               string
	}{
		{"http", "www.example.com", "/a%2Fb", big(50000), "200 app /a%2Fb"},
		{"https", "www.example.com", "/a%2Fb", big(50000), "200 app /a%2Fb"},
		{"http", "proxy.example.com", "/a%2Fb", big(50000), "200 behind /a%252Fb"},
		{"http", "www.example.com", "/?" + strings.Repeat("p", 15000), nil, "200 app /"},
		{"http", "www.example.com", "/", big(61000), "400"},
		{"http", "www.example.com", "/rewritten", nil, "302 http://elsewhere.example/"},
		{"https", "www.example.com", "/rewritten", nil, "302 http://elsewhere.example/"},
		{"http", "proxy.example.com", "/rewritten", nil, "302 http://elsewhere.example/"},
		{"http", "www.example.com", "/moved", nil, "302 http://elsewhere.example/"},
		// Names that were not configured are refused, whatever the path.
		{"http", "evil.example", "/rewritten", nil, "403"},
		{"http", "evil.example", "/moved", nil, "403"},
		{"http", "evil.example", "/", big(50000), "403"},
		{"http", "example.com", "/rewritten", nil, fmt.Sprintf("301 http://www.example.com:%d/rewritten", s.port)},
	} {
		port, roots := s.port, insecure
		if c.scheme == "https" {
			port, roots = https, pool
		}
		if got := asked(t, roots, c.scheme, c.host, port, c.path, c.header); got != c.want {
			t.Errorf("%s://%s%.60s (%d): %.200s, want %.60s", c.scheme, c.host, c.path, len(c.header.Get("X-Big")), got, c.want)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+"/", nil)
	req.Host = "www.example.com"
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if once := resp.Header.Values("X-Once"); len(once) != 1 {
		t.Errorf("the header added by the file occurs %d times", len(once))
	}
	// A reload reads the files again.
	write(t, include, strings.Replace(readFile(t, include), "SIZE 60000", "SIZE 10000", 1))
	if out, err := command(t, "reload", "--server-root", s.root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := asked(t, nil, "http", "www.example.com", s.port, "/", big(50000))
		if got == "400" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a reload: %s", got)
		}
	}
}

// TestIncludedWithLocalhost: rules of an included file do not answer other machines
// under names that are not the server's.
func TestIncludedWithLocalhost(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	include := write(t, filepath.Join(dir, "site.conf"), "RewriteEngine On\nRewriteRule ^/rewritten$ http://elsewhere.example/ [R=302]\nRedirect 302 /moved http://elsewhere.example/\n")
	s := start(t, dir, app, "--server-name", "www.example.com", "--allow-localhost", "--server-status", "--include-file", include)
	forwarded := http.Header{"X-Forwarded-For": {"192.0.2.1"}}
	for _, c := range []struct {
		host, path string
		header     http.Header
		want       string
	}{
		{"localhost", "/rewritten", nil, "302 http://elsewhere.example/"},
		{"localhost", "/moved", nil, "302 http://elsewhere.example/"},
		{"localhost", "/rewritten", forwarded, "403"},
		{"localhost", "/moved", forwarded, "403"},
		{"www.example.com", "/moved", forwarded, "302 http://elsewhere.example/"},
	} {
		if got := asked(t, nil, "http", c.host, s.port, c.path, c.header); got != c.want {
			t.Errorf("%s%s %v: %.100s, want %s", c.host, c.path, c.header, got, c.want)
		}
	}
	if got := asked(t, nil, "http", "localhost", s.port, "/server-status?auto", nil); !strings.HasPrefix(got, "200 localhost") {
		t.Errorf("/server-status: %.100s", got)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// tlsUp waits for a server with HTTPS; false means an httpd without mod_ssl.
func tlsUp(s *server) bool {
	s.t.Helper()
	return s.upUnless("mod_ssl, which is neither")
}
