//go:build acceptance && linux

package express_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"modwsgi/internal/freeport"
)

// debianHTTPD unpacks Debian's Apache, which has mod_http2, for the test: its program
// and modules serve with the environment's mod_wsgi. It returns the options and the
// variable that make the launcher use it.
func debianHTTPD(t *testing.T) (args, env []string) {
	t.Helper()
	lib := debian(t, "apache2-bin", "libapr1", "libaprutil1", "libnghttp2-14")
	usr := filepath.Dir(filepath.Dir(filepath.Dir(lib)))
	libraries, _ := filepath.Glob(filepath.Join(usr, "lib", "*", "libnghttp2.so.14"))
	if len(libraries) != 1 {
		t.Fatalf("libnghttp2: %q", libraries)
	}
	args = []string{"--httpd-executable", filepath.Join(usr, "sbin", "apache2"), "--modules-directory", filepath.Join(usr, "lib", "apache2", "modules")}
	env = []string{"LD_LIBRARY_PATH=" + filepath.Dir(libraries[0])}
	if out, err := exec.CommandContext(t.Context(), "env", append(env, args[1], "-v")...).CombinedOutput(); err != nil {
		t.Skipf("Debian's Apache does not run here: %v\n%s", err, out)
	}
	return args, env
}

const http2App = `
import json, os, wsgiref.util
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/file":
        size = os.path.getsize(__file__)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](open(__file__, "rb"), 100)
    if path == "/large":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"x" * 65536 for _ in range(64))
    body = environ["wsgi.input"].read()
    out = {k: v for k, v in environ.items() if isinstance(v, str)}
    out["length"], out["scheme"] = len(body), environ["wsgi.url_scheme"]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(out).encode()]
`

// http2Client sends requests to one port, whatever the name, with or without HTTP/2.
func http2Client(pool *x509.CertPool, port int, protocols ...func(*http.Protocols)) *http.Client {
	var p http.Protocols
	for _, set := range protocols {
		set(&p)
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "secure.example"}, Protocols: &p, MaxConnsPerHost: 1,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+strconv.Itoa(port))
		},
	}}
}

func h1(p *http.Protocols)  { p.SetHTTP1(true) }
func h2(p *http.Protocols)  { p.SetHTTP2(true) }
func h2c(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }

// TestHTTP2: over TLS the protocol is negotiated (ALPN); without TLS clients with prior
// knowledge can use it. The application receives and sends the same as with HTTP/1.
func TestHTTP2(t *testing.T) {
	testEnv(t)
	httpd, env := debianHTTPD(t)
	dir := workDir(t, "")
	stem, pool := certificate(t, dir, "secure.example")
	app := write(t, filepath.Join(dir, "app.py"), http2App)
	secure := freeport.Get(t)
	s := beginWith(t, env, dir, append(httpd, app, "--http2", "--https-port", strconv.Itoa(secure), "--ssl-certificate", stem, "--server-name", "secure.example",
		"--ssl-environment", "--processes", "2")...).up()
	both := http2Client(pool, secure, h1, h2)
	base := fmt.Sprintf("https://secure.example:%d", secure)
	ask := func(c *http.Client, method, url string, body io.Reader) (*http.Response, string) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), method, url, body)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatalf("%s: %v\n%s", url, err, s.log())
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: %d %v\n%s", url, resp.StatusCode, err, s.log())
		}
		return resp, string(text)
	}
	resp, text := ask(both, "POST", base+"/x?y=z", strings.NewReader(strings.Repeat("b", 1<<20)))
	var seen map[string]any
	unmarshal(t, []byte(text), &seen)
	if resp.Proto != "HTTP/2.0" || resp.TLS == nil || resp.TLS.NegotiatedProtocol != "h2" {
		t.Errorf("%s, ALPN %+v", resp.Proto, resp.TLS)
	}
	for k, v := range map[string]any{
		"SERVER_PROTOCOL": "HTTP/2.0", "length": float64(1 << 20), "scheme": "https", "PATH_INFO": "/x", "QUERY_STRING": "y=z", "HTTP2": "on",
	} {
		if seen[k] != v {
			t.Errorf("%s is %v, want %v", k, seen[k], v)
		}
	}
	if _, text := ask(both, "GET", base+"/file", nil); text != http2App {
		t.Errorf("a file of %d bytes arrived as %d: %q", len(http2App), len(text), text)
	}
	if _, text := ask(both, "GET", base+"/large", nil); len(text) != 64*65536 {
		t.Errorf("%d bytes, want %d", len(text), 64*65536)
	}
	// Many concurrently on one connection.
	var all sync.WaitGroup
	reused := make(chan bool, 40)
	for range cap(reused) {
		all.Go(func() {
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused <- i.Reused }})
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, base+"/many", nil)
			resp, err := both.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if err := json.NewDecoder(resp.Body).Decode(&map[string]any{}); err != nil || resp.ProtoMajor != 2 {
				t.Errorf("%s: %v", resp.Proto, err)
			}
		})
	}
	all.Wait()
	close(reused)
	for r := range reused {
		if !r {
			t.Error("a request used a separate connection")
		}
	}
	if resp, _ := ask(http2Client(pool, secure, h1), "GET", base+"/", nil); resp.ProtoMajor != 1 {
		t.Errorf("a client without HTTP/2 got %s", resp.Proto)
	}
	if resp, text := ask(http2Client(nil, s.port, h2c), "GET", fmt.Sprintf("http://secure.example:%d/", s.port), nil); resp.ProtoMajor != 2 || !strings.Contains(text, `"scheme": "http"`) {
		t.Errorf("without TLS: %s %s", resp.Proto, text)
	}
	s.stop()
	plain := beginWith(t, env, dir, append(httpd, app, "--https-port", strconv.Itoa(secure), "--ssl-certificate", stem, "--server-name", "secure.example")...).up()
	if resp, _ := ask(http2Client(pool, secure, h1, h2), "GET", base+"/", nil); resp.ProtoMajor != 1 {
		t.Errorf("without the option: %s\n%s", resp.Proto, plain.log())
	}
	show := command(t, append(append([]string{"show-config", app, "--http2", "--server-mpm", "prefork"}, httpd...), asUser()...)...)
	show.Env = append(show.Env, env...)
	if out, err := show.CombinedOutput(); err != nil || !strings.Contains(string(out), "--http2 has no effect with the prefork MPM") {
		t.Errorf("prefork: %v\n%.500s", err, out)
	}
}

// TestHTTP2Refused: an httpd without mod_http2 is not started, and the error names the
// option, not a line of the configuration.
func TestHTTP2Refused(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	modules := filepath.Dir(mustGlob(t, filepath.Join(testEnv(t), "lib", "python3*", "site-packages", "mod_wsgi_packages", "httpd", "modules", "mod_alias.so")))
	without := filepath.Join(dir, "modules")
	if err := os.Mkdir(without, 0o755); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(modules, "*.so"))
	for _, name := range names {
		if filepath.Base(name) != "mod_http2.so" {
			if err := os.Symlink(name, filepath.Join(without, filepath.Base(name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused(t, dir, 1, "option --http2 needs the httpd module mod_http2", append([]string{"start-server", app, "--http2", "--modules-directory", without}, asUser()...)...)
}

func mustGlob(t *testing.T, pattern string) string {
	t.Helper()
	names, _ := filepath.Glob(pattern)
	if len(names) != 1 {
		t.Skipf("%s: %q", pattern, names)
	}
	return names[0]
}
