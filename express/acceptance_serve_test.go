//go:build acceptance && unix

package express_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
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

func TestScriptAndEnvironment(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "o'dir with \"quotes\" ${HOME} %d [x]")
	script := write(t, filepath.Join(dir, "he llo'$.wsgi"), echoApp)
	values := [][2]string{
		{"QUOTE", `it's "quoted" \`},
		{"DOLLAR", "${HOME} ${PATH} $1 %{HTTP_HOST} ${"},
		{"UNICODE", "grüße ✓"},
		{"EMPTY", ""},
		{"BLANKS", "  a\tb  "},
		{"HASH", "# no comment"},
		{"TAG", "<Directory />"},
		{"BACK", `\\a\"b\`},
	}
	args := []string{script, "--python-path", filepath.Join(dir, "lib one"), "--python-path", dir, "--processes", "2", "--threads", "3"}
	for _, v := range values {
		args = append(args, "--setenv", v[0], v[1])
	}
	s := start(t, dir, args...)
	env := s.environ("/a/b%20c?x=1")
	for _, v := range values {
		if got := env[v[0]]; got != latin1(v[1]) {
			t.Errorf("%s is %q, want %q", v[0], got, latin1(v[1]))
		}
	}
	want := map[string]any{
		"SCRIPT_NAME": "", "PATH_INFO": "/a/b c", "QUERY_STRING": "x=1", "wsgi.multiprocess": true, "wsgi.multithread": true, "cwd": dir,
		"mod_wsgi.process_group": s.address(),
	}
	for k, v := range want {
		if env[k] != v {
			t.Errorf("%s is %v, want %v", k, env[k], v)
		}
	}
	os := env["os.environ"].(map[string]any)
	if os["MOD_WSGI_EXPRESS"] != "true" || os["MOD_WSGI_SERVER_NAME"] != "127.0.0.1" || os["MOD_WSGI_SERVER_ALIASES"] != "" {
		t.Errorf("the application's os.environ: %v", os)
	}
	if _, ok := os["MOD_WSGI_RELOADER_ENABLED"]; ok {
		t.Error("MOD_WSGI_RELOADER_ENABLED is set")
	}
	path := fmt.Sprint(env["path"])
	if !strings.Contains(path, dir+" ") || !strings.Contains(path, "lib one") {
		t.Errorf("sys.path: %v", env["path"])
	}
	if env["uid"] == float64(0) {
		t.Error("the application runs as root")
	}
	pids := map[string]bool{}
	answers := make(chan string, 4) // more than one process has threads
	for range cap(answers) {
		go func() {
			resp, err := http.Get("http://" + s.address() + "/?sleep=0.5")
			if err != nil {
				answers <- err.Error()
				return
			}
			defer resp.Body.Close()
			var m map[string]any
			err = json.NewDecoder(resp.Body).Decode(&m)
			answers <- fmt.Sprint(m["pid"], err)
		}()
	}
	for range cap(answers) {
		pids[<-answers] = true
	}
	if len(pids) != 2 {
		t.Errorf("%d processes answered, want 2", len(pids))
	}
}

// latin1 returns a string as WSGI passes it to the application (PEP 3333).
func latin1(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

func TestNoSetenvMeansSingleProcess(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--threads", "1")
	if env := s.environ("/"); env["wsgi.multiprocess"] != false || env["wsgi.multithread"] != false {
		t.Errorf("multiprocess %v, multithread %v", env["wsgi.multiprocess"], env["wsgi.multithread"])
	}
}

func TestModuleAndCallable(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	pkg := filepath.Join(dir, "pkg")
	if err := os.Mkdir(pkg, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(pkg, "__init__.py"), "")
	write(t, filepath.Join(pkg, "site.py"), strings.Replace(echoApp, "def application", "def wsgi", 1))
	s := start(t, dir, "pkg.site", "--application-type", "module", "--callable-object", "wsgi")
	if env := s.environ("/x"); env["PATH_INFO"] != "/x" {
		t.Errorf("PATH_INFO is %v", env["PATH_INFO"])
	}
}

func TestModes(t *testing.T) {
	testEnv(t)
	for _, mode := range [][]string{
		{"--embedded-mode"},
		{"--debug-mode"},
		{"--server-mpm", "prefork"},
		{"--server-mpm", "worker"},
		{"--embedded-mode", "--server-mpm", "prefork"},
		{"--disable-reloading", "--orphan-interpreter"},
		{"--process-group", "mine"},
	} {
		t.Run(strings.Join(mode, " "), func(t *testing.T) {
			dir := workDir(t, "")
			write(t, filepath.Join(dir, "beside.py"), "")
			app := write(t, filepath.Join(dir, "app.py"), "import beside\n"+echoApp)
			s := start(t, dir, append([]string{app}, mode...)...)
			env := s.environ("/p")
			os := env["os.environ"].(map[string]any)
			if _, debug := os["MOD_WSGI_DEBUG_MODE"]; debug != (mode[0] == "--debug-mode") {
				t.Errorf("MOD_WSGI_DEBUG_MODE is %v", os["MOD_WSGI_DEBUG_MODE"])
			}
			if mode[0] == "--process-group" && env["mod_wsgi.process_group"] != "mine" {
				t.Errorf("process group %v", env["mod_wsgi.process_group"])
			}
		})
	}
}

func TestMountPoint(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	docs := workDir(t, "docs")
	write(t, filepath.Join(docs, "file.txt"), "a file")
	for _, mount := range []string{"/api", "/api/", "api", "/a.b+c/d e"} {
		t.Run(mount, func(t *testing.T) {
			s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--mount-point", mount, "--document-root", docs)
			clean := "/" + strings.Trim(mount, "/")
			url := strings.NewReplacer(" ", "%20", "+", "%2B").Replace(clean)
			env := s.environ(url + "/x/y")
			if env["SCRIPT_NAME"] != clean || env["PATH_INFO"] != "/x/y" {
				t.Errorf("SCRIPT_NAME %q, PATH_INFO %q", env["SCRIPT_NAME"], env["PATH_INFO"])
			}
			for path, want := range map[string]int{url: 301, url + "/": 200, url + "x": 404, "/": 404, "/file.txt": 200, "/other": 404} {
				if code, _ := s.get(path); code != want {
					t.Errorf("%s: %d, want %d", path, code, want)
				}
			}
			if entries, _ := os.ReadDir(docs); len(entries) != 1 {
				t.Error("the document root was written to")
			}
		})
	}
}

func TestFilesAndAliases(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	docs, alias := workDir(t, "do'cs [1] ${HOME}"), workDir(t, "static*files?")
	write(t, filepath.Join(docs, "plain.txt"), "plain")
	write(t, filepath.Join(docs, ".secret"), "secret")
	write(t, filepath.Join(alias, "s.css"), "css")
	write(t, filepath.Join(dir, "fav.ico"), "ico")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--document-root", docs,
		"--url-alias", "/static", alias, "--url-alias", "/favicon.ico", "fav.ico", "--url-alias", "/static/deep", dir)
	for path, want := range map[string]string{"/plain.txt": "plain", "/static/s.css": "css", "/favicon.ico": "ico", "/static/deep/fav.ico": "ico"} {
		if code, body := s.get(path); code != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
	if code, body := s.get("/.secret"); code != 403 || strings.Contains(body, "secret\n") {
		t.Errorf("/.secret: %d %q", code, body)
	}
	if code, _ := s.get("/static/missing.css"); code != 404 {
		t.Errorf("missing file of an alias: %d", code)
	}
	if env := s.environ("/plain"); env["PATH_INFO"] != "/plain" {
		t.Errorf("PATH_INFO %v", env["PATH_INFO"])
	}
}

func TestStatic(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	write(t, filepath.Join(dir, "index.html"), "home")
	s := start(t, dir, "--application-type", "static", ".", "--directory-index", "index.html", "--directory-listing")
	if code, body := s.get("/"); code != 200 || body != "home" {
		t.Errorf("/: %d %q", code, body)
	}
	if code, _ := s.get("/no"); code != 404 {
		t.Errorf("/no: %d", code)
	}
	// Listings do not link to anything in dotted directories.
	for _, d := range []string{".git/x", "sub/.svn", "sub/seen", ".well-known"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{"/.git/": 403, "/.git/x/": 403, "/.git": 403, "/%2egit/": 403, "/sub/.svn/": 403, "/sub/": 200, "/sub/seen/": 200, "/.well-known/": 200} {
		code, body := s.get(path)
		if code != want || strings.Contains(body, ".svn") {
			t.Errorf("%s: %d, want %d\n%s", path, code, want, body)
		}
	}
}

func TestWelcome(t *testing.T) {
	testEnv(t)
	s := start(t, workDir(t, ""))
	if code, body := s.get("/"); code != 200 || !strings.Contains(body, "It runs") {
		t.Errorf("%d %q", code, body)
	}
}

func TestServerName(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--server-name", "www.example.com", "--server-alias", "*.example.net", "--server-alias", "x.org")
	ask := func(host string) (int, string, string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+"/p", nil)
		req.Host = host
		resp, err := (&http.Transport{}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header.Get("Location"), string(body)
	}
	for host, want := range map[string]int{"www.example.com": 200, "a.example.net": 200, "x.org": 200, "evil.org": 403, "example.com": 301} {
		code, location, body := ask(host)
		if code != want {
			t.Errorf("%s: %d, want %d", host, code, want)
		}
		if code == 301 && location != fmt.Sprintf("http://www.example.com:%d/p", s.port) {
			t.Errorf("redirected to %s", location)
		}
		if host == "x.org" && !strings.Contains(body, `"MOD_WSGI_SERVER_ALIASES": "*.example.net x.org"`) {
			t.Errorf("aliases: %s", body)
		}
	}
}

func TestProxy(t *testing.T) {
	testEnv(t)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s port=%s prefix=%s", r.URL.Path, r.Header.Get("X-Forwarded-Port"), r.Header.Get("X-Forwarded-Prefix"))
	}))
	defer behind.Close()
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--proxy-mount-point", "/a.b", behind.URL, "--proxy-url-alias", "/c/", behind.URL+"/deep/",
		"--proxy-virtual-host", "other.example", behind.URL)
	for path, want := range map[string]string{
		"/a.b/x": fmt.Sprintf("/x port=%d prefix=/a.b", s.port), "/c/x": fmt.Sprintf("/deep/x port=%d prefix=/c", s.port),
	} {
		if code, body := s.get(path); code != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
	if code, _ := s.get("/a.b"); code != 302 {
		t.Errorf("/a.b: %d", code)
	}
	if env := s.environ("/axb"); env["PATH_INFO"] != "/axb" {
		t.Errorf("%v", env)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+"/v", nil)
	req.Host = "other.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != fmt.Sprintf("/v port=%d prefix=", s.port) {
		t.Errorf("virtual host: %q", body)
	}
}

// certificate makes a self-signed certificate and returns its stem.
func certificate(t *testing.T, dir, name string) (stem string, pool *x509.CertPool) {
	t.Helper()
	return certificateUntil(t, dir, name, time.Now().Add(time.Hour))
}

func certificateUntil(t *testing.T, dir, name string, until time.Time) (stem string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name, strings.TrimPrefix(name, "www.")}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err1 := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	stem = filepath.Join(dir, "it's a cert")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	write(t, stem+".crt", string(data))
	if err := os.WriteFile(stem+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return stem, pool
}

func TestHTTPS(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	stem, pool := certificate(t, dir, "www.example.com")
	port := freeport.Get(t)
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.URL.Path, r.Header.Get("X-Forwarded-Port"), r.Header.Get("X-Forwarded-Scheme"))
	}))
	defer behind.Close()
	s := begin(t, dir, app, "--https-port", strconv.Itoa(port), "--ssl-certificate", stem, "--server-name", "www.example.com", "--https-only",
		"--hsts-policy", "max-age=60; includeSubDomains", "--ssl-environment", "--proxy-mount-point", "/far", behind.URL)
	if !tlsUp(s) {
		t.Skip("this httpd has no mod_ssl")
	}
	askPath := func(scheme, name string, port int, path string) *http.Response {
		t.Helper()
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+strconv.Itoa(port))
			},
		}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s://%s:%d%s", scheme, name, port, path), nil)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: %v\n%s", scheme, err, s.log())
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	ask := func(scheme, name string, port int) *http.Response { return askPath(scheme, name, port, "/p") }
	resp := ask("https", "www.example.com", port)
	var env map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&env); err != nil || env["wsgi.url_scheme"] != "https" || env["SSL_PROTOCOL"] == nil {
		t.Errorf("%v %v", err, env)
	}
	far := askPath("https", "www.example.com", port, "/far/x")
	if body, _ := io.ReadAll(far.Body); string(body) != fmt.Sprintf("/x %d https", port) {
		t.Errorf("proxied: %s", body)
	}
	if l := askPath("https", "www.example.com", port, "/far").Header.Get("Location"); l != fmt.Sprintf("https://www.example.com:%d/far/", port) {
		t.Errorf("the bare prefix of a proxy leads to %s", l)
	}
	if h := resp.Header.Get("Strict-Transport-Security"); h != "max-age=60; includeSubDomains" {
		t.Errorf("HSTS %q", h)
	}
	for _, from := range []struct {
		scheme, name string
		port         int
	}{{"http", "www.example.com", s.port}, {"http", "example.com", s.port}, {"https", "example.com", port}} {
		resp := ask(from.scheme, from.name, from.port)
		if want := fmt.Sprintf("https://www.example.com:%d/p", port); resp.StatusCode != 301 || resp.Header.Get("Location") != want {
			t.Errorf("%v: %d %s", from, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	if out, err := command(t, append([]string{
		"setup-server", app, "--https-port", "8443", "--ssl-certificate-file", stem + ".crt", "--ssl-certificate-key-file", stem + ".key",
		"--ssl-certificate-chain-file", stem + ".crt", "--server-name", "x.org", "--server-root", filepath.Join(shortDir(t), "r"),
	}, asUser()...)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, args := range [][]string{{"--https-port", "8443"}, {"--https-port", "8443", "--server-name", "x.org"}, {"--ssl-certificate", stem}, {"--hsts-policy", "x"}} {
		refused(t, dir, 2, "needs", append(append([]string{"start-server", app, "--port", strconv.Itoa(freeport.Get(t))}, args...), asUser()...)...)
	}
}
