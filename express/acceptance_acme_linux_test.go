//go:build acceptance && linux

package express_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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

	"golang.org/x/sys/unix"

	"modwsgi/express/acme"
	"modwsgi/internal/freeport"
)

// The authority of these tests is Pebble, by those who run Let's Encrypt. It is pinned in
// tools/pebble. Its companion answers for the DNS.

// buildPebble builds both programs, once in a run.
var buildPebble = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(os.Getenv("MODWSGI_TEST_PYTHONS"), "pebble")
	if os.Getenv("MODWSGI_TEST_PYTHONS") == "" {
		var err error
		if dir, err = os.MkdirTemp("", "mwx-pebble"); err != nil {
			return "", err
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv")
	cmd.Dir = "../tools/pebble"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Pebble: %w\n%s", err, out)
	}
	return dir, nil
})

// pebble is a running authority.
type pebble struct {
	t          *testing.T
	dir        string
	programs   string
	port       int
	management int
	names      int // port of the management of the DNS
	dns        int
	config     map[string]any
	cmd        *exec.Cmd
	out        *bytes.Buffer
	front      string // address that stands in front of it; "" for none
}

// newPebble prepares an authority that has not been started, and starts its DNS, in which
// every name has the address of loopback.
func newPebble(t *testing.T) *pebble {
	t.Helper()
	programs, err := buildPebble()
	if err != nil {
		t.Fatal(err)
	}
	p := &pebble{t: t, dir: shortDir(t), programs: programs, port: freeport.Get(t), management: freeport.Get(t), names: freeport.Get(t), dns: freeport.Get(t)}
	stem, _ := certificate(t, p.dir, "localhost")
	p.config = map[string]any{
		"listenAddress": "127.0.0.1:" + strconv.Itoa(p.port), "managementListenAddress": "127.0.0.1:" + strconv.Itoa(p.management),
		"certificate": stem + ".crt", "privateKey": stem + ".key", "ocspResponderURL": "", "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]any{"authz": 1, "order": 1}, "domainBlocklist": []string{"blocked.example"},
		"profiles": map[string]any{"default": map[string]any{"description": "the usual one", "validityPeriod": 7776000}},
	}
	dns := exec.Command(filepath.Join(programs, "pebble-challtestsrv"), "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
		"-dnsserver", p.resolver(), "-management", "127.0.0.1:"+strconv.Itoa(p.names), "-defaultIPv6", "")
	dns.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Process.Kill(); _ = dns.Wait() })
	p.listens(p.names)
	return p
}

func (p *pebble) resolver() string { return "127.0.0.1:" + strconv.Itoa(p.dns) }

// ca is the file with the certificate of the authority's own server.
func (p *pebble) ca() string { return p.config["certificate"].(string) }

// valid sets how long certificates are valid.
func (p *pebble) valid(d time.Duration) {
	p.config["profiles"] = map[string]any{"default": map[string]any{"description": "short", "validityPeriod": int(d.Seconds())}}
}

// start starts the authority, which reaches a server at these ports.
func (p *pebble) start(port, securePort int) {
	p.t.Helper()
	p.config["httpPort"], p.config["tlsPort"] = port, securePort
	data, err := json.Marshal(map[string]any{"pebble": p.config})
	if err != nil {
		p.t.Fatal(err)
	}
	file := write(p.t, filepath.Join(p.dir, "pebble.json"), string(data))
	p.out = &bytes.Buffer{}
	p.cmd = exec.Command(filepath.Join(p.programs, "pebble"), "-config", file, "-dnsserver", p.resolver())
	// No pauses; it refuses some nonces, as real ones do.
	p.cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=10")
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.stop)
	p.listens(p.port)
	p.listens(p.management)
}

func (p *pebble) listens(port int) {
	p.t.Helper()
	eventually(p.t, "a program of the authority listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		return err == nil && c.Close() == nil
	})
}

func (p *pebble) stop() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// args are the options of a server that uses it.
func (p *pebble) args(names ...string) []string {
	at := "localhost:" + strconv.Itoa(p.port)
	if p.front != "" {
		at = p.front
	}
	args := []string{"--acme-directory", "https://" + at + "/dir", "--acme-ca", p.ca(), "--acme-state-directory", filepath.Join(p.dir, "the state")}
	for _, name := range names {
		args = append(args, "--https-auto", name)
	}
	return args
}

// roots are the certificates that those of the present authority are signed by.
func (p *pebble) roots() *x509.CertPool {
	p.t.Helper()
	pool := x509.NewCertPool()
	for _, c := range p.rootCertificates() {
		pool.AddCert(c)
	}
	return pool
}

func (p *pebble) rootCertificates() (list []*x509.Certificate) {
	p.t.Helper()
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	r, err := insecure.Get("https://127.0.0.1:" + strconv.Itoa(p.management) + "/roots/0")
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			p.t.Fatal(err)
		}
		list = append(list, c)
	}
	if err != nil || len(list) == 0 {
		p.t.Fatalf("%v\n%s", err, data)
	}
	return list
}

// tell changes what the DNS answers.
func (p *pebble) tell(what string, body map[string]any) {
	p.t.Helper()
	data, _ := json.Marshal(body)
	r, err := http.Post("http://127.0.0.1:"+strconv.Itoa(p.names)+"/"+what, "application/json", bytes.NewReader(data))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		p.t.Fatal(r.Status)
	}
}

// secure is a server with --https-auto.
type secure struct {
	*server
	p     *pebble
	https int
}

// beginSecure starts a server whose authority is not running yet.
func (p *pebble) beginSecure(background bool, names []string, more ...string) *secure {
	p.t.Helper()
	app, _ := versionedApp(p.t)
	s := &secure{p: p, https: freeport.Get(p.t)}
	args := append([]string{app, "--https-port", strconv.Itoa(s.https), "--threads", "2"}, append(p.args(names...), more...)...)
	if background {
		s.server = daemon(p.t, args...)
		p.t.Cleanup(func() { _ = command(p.t, "stop", "--server-root", s.root).Run() })
		return s
	}
	s.server = begin(p.t, filepath.Dir(app), args...)
	return s
}

// up waits until it answers, as one in the background does already.
func (s *secure) up() {
	s.t.Helper()
	if s.cmd != nil {
		s.server.up()
	}
}

// dial connects with a name, and verifies the certificate.
func (s *secure) dial(name string, roots *x509.CertPool) (*tls.Conn, error) {
	d := &net.Dialer{Timeout: 20 * time.Second}
	return tls.DialWithDialer(d, "tcp", "127.0.0.1:"+strconv.Itoa(s.https), &tls.Config{ServerName: name, RootCAs: roots})
}

// serial is the number of the certificate that a name has; "" if it cannot be verified.
func (s *secure) serial(name string, roots *x509.CertPool) string {
	c, err := s.dial(name, roots)
	if err != nil {
		return ""
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// http asks for a path by plain HTTP.
func (s *secure) http(name, path string) (status int, location, body string) {
	s.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, "http://"+s.address()+path, nil)
	req.Host = name
	r, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, "", err.Error()
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return r.StatusCode, r.Header.Get("Location"), string(text)
}

// certificateStatus is the certificate in the status of a server.
func (s *secure) certificateStatus() (c acme.Status) {
	s.t.Helper()
	out, err := command(s.t, "status", "--json", "--server-root", s.root).Output()
	var r struct{ Certificate *acme.Status }
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil || r.Certificate == nil {
		return c
	}
	return *r.Certificate
}

// issued waits until all names have a certificate of the authority.
func (s *secure) issued(names ...string) *x509.CertPool {
	s.t.Helper()
	roots := s.p.roots()
	for _, name := range names {
		eventually(s.t, name+" has a certificate", func() bool { return s.serial(name, roots) != "" })
	}
	if s.t.Failed() {
		s.t.Fatalf("%s\n%s\n%s", s.out, s.log(), s.p.out)
	}
	return roots
}

// complains waits until an attempt has failed for this reason, and the log and the status
// tell that with what to do.
func (s *secure) complains(reason, hint string) acme.Status {
	s.t.Helper()
	var c acme.Status
	eventually(s.t, "the status tells "+reason, func() bool {
		c = s.certificateStatus()
		return strings.Contains(c.LastError, reason)
	})
	if s.t.Failed() {
		s.t.Fatalf("%+v\n%s\n%s", c, s.log(), s.p.out)
	}
	if !strings.Contains(c.Hint, hint) || c.NextTry.Before(c.Failed) || c.Failures == 0 {
		s.t.Errorf("want the hint %q: %+v", hint, c)
	}
	if log := s.log(); !strings.Contains(log, reason) || !strings.Contains(log, "[acme:error]") || !strings.Contains(log, "Next try: ") {
		s.t.Errorf("the log does not tell %q:\n%s", reason, log)
	}
	text, err := command(s.t, "status", "--server-root", s.root).Output()
	if err != nil || !strings.Contains(string(text), reason) || !strings.Contains(string(text), "next try") {
		s.t.Errorf("%v\n%s", err, text)
	}
	return c
}

// TestCertificateIsObtained: a server gets its certificate while it answers already, with
// each challenge, in both modes, and redirects plain HTTP from then on.
func TestCertificateIsObtained(t *testing.T) {
	testEnv(t)
	for _, challenge := range []string{acme.HTTP01, acme.TLSALPN01, acme.DNS01} {
		for _, background := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s background=%v", challenge, background), func(t *testing.T) {
				t.Parallel()
				p := newPebble(t)
				names := []string{"a.example.org", "b.example.org"}
				more := []string{"--acme-challenge", challenge, "--acme-email", "root@example.org"}
				if challenge == acme.DNS01 {
					names = append(names, "*.c.example.org")
					script := write(t, filepath.Join(p.dir, "dns"), fmt.Sprintf(`#!/bin/sh
case $1 in
setup) exec curl -sf -d "{\"host\":\"_acme-challenge.$2.\",\"value\":\"$3\"}" http://127.0.0.1:%[1]d/set-txt ;;
teardown) exec curl -sf -d "{\"host\":\"_acme-challenge.$2.\"}" http://127.0.0.1:%[1]d/clear-txt ;;
esac
exit 1
`, p.names))
					if err := os.Chmod(script, 0o755); err != nil {
						t.Fatal(err)
					}
					more = append(more, "--acme-dns-command", script)
				}
				s := p.beginSecure(background, names, more...)
				s.up()
				// The authority is down: the site is there, without a redirection.
				if status, _, body := s.http("b.example.org", "/"); status != 200 || !strings.HasPrefix(body, "v0") {
					t.Errorf("before there is a certificate: %d %q", status, body)
				}
				if status, _, _ := s.http("other.example.org", "/"); status != 403 {
					t.Errorf("another name: %d", status)
				}
				if c, err := s.dial("a.example.org", nil); err == nil {
					c.Close()
					t.Error("a certificate that nobody has issued is trusted")
				}
				s.complains("cannot be reached", "firewall")
				p.start(s.port, s.https)
				roots := s.issued("a.example.org", "b.example.org")
				if challenge == acme.DNS01 {
					s.issued("anything.c.example.org")
				}
				eventually(t, "plain HTTP is redirected", func() bool {
					status, location, _ := s.http("a.example.org", "/x?y=1")
					return status == 301 && location == fmt.Sprintf("https://a.example.org:%d/x?y=1", s.https)
				})
				client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: func(_ context.Context, _, _ string) (net.Conn, error) {
					return net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(s.https))
				}, DisableKeepAlives: true}}
				// For a moment the httpd before, which has no certificate, accepts connections too.
				eventually(t, "the site is there by HTTPS", func() bool {
					r, err := client.Get("https://a.example.org/")
					if err != nil {
						return false
					}
					body, _ := io.ReadAll(r.Body)
					r.Body.Close()
					return r.StatusCode == 200 && strings.HasPrefix(string(body), "v0")
				})
				c := s.certificateStatus()
				if !c.Issued || c.LastError != "" || time.Until(c.NotAfter) < 89*24*time.Hour || time.Until(c.Renewal) < 50*24*time.Hour || !slices.Contains(c.Names, "b.example.org") {
					t.Errorf("%+v", c)
				}
				text, err := command(t, "status", "--server-root", s.root).Output()
				if err != nil || !strings.Contains(string(text), "valid for 89 days more, will be renewed in ") {
					t.Errorf("%v\n%s", err, text)
				}
				s.onlyOwnerReads()
			})
		}
	}
}

// onlyOwnerReads checks that nobody else can read keys, and that no answer is left.
func (s *secure) onlyOwnerReads() {
	s.t.Helper()
	state := filepath.Join(s.p.dir, "the state")
	keys := 0
	err := filepath.WalkDir(state, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		switch {
		case info.Mode().IsRegular() && strings.Contains(path, "/challenges/"):
			s.t.Errorf("an answer is left: %s", path)
		case info.Mode().IsRegular() && info.Mode().Perm() != 0o600:
			s.t.Errorf("%s has mode %v", path, info.Mode())
		case d.IsDir() && (name == "certificates" || name == "accounts") && info.Mode().Perm() != 0o700:
			s.t.Errorf("%s has mode %v", path, info.Mode())
		}
		if name == acme.KeyFile || strings.HasPrefix(filepath.Base(filepath.Dir(path)), "accounts") {
			keys++
		}
		return nil
	})
	if err != nil || keys < 3 {
		s.t.Errorf("%d keys in %s: %v", keys, state, err)
	}
}

// TestCertificateIsRenewed: certificates are renewed again and again under load, and no
// request is lost. The authority forgets its accounts meanwhile, as one for trials does.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestCertificateIsRenewed(t *testing.T) {
	testEnv(t)
	p := newPebble(t)
	p.valid(45 * time.Second)
	s := p.beginSecure(false, []string{"a.example.org", "b.example.org"})
	s.up()
	p.start(s.port, s.https)
	roots := s.issued("a.example.org", "b.example.org")
	// For a moment the httpd before, which has no certificate, accepts connections too.
	eventually(t, "it has ended", func() bool { r := s.report(); return r.Supervised.Reloads > 0 && len(r.Leaving) == 0 })
	var mu sync.Mutex
	seen := map[string]bool{}
	l := newLoad(8, func() (net.Conn, error) {
		mu.Lock()
		roots := roots
		mu.Unlock()
		c, err := s.dial("b.example.org", roots)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		seen[c.ConnectionState().PeerCertificates[0].SerialNumber.String()] = true
		mu.Unlock()
		return named{c, "b.example.org"}, nil
	})
	number := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(seen) >= n
		}
	}
	eventually(t, "it has been renewed", number(2)) // after at most five sixths of its lifetime
	eventually(t, "it has been renewed twice", number(3))
	p.stop()
	p.start(s.port, s.https) // with other keys, and no account
	mu.Lock()
	roots = roots.Clone()
	for _, c := range p.rootCertificates() {
		roots.AddCert(c)
	}
	mu.Unlock()
	eventually(t, "another authority has renewed it", number(4))
	l.check(t, "renewals")
	if t.Failed() {
		t.Fatal(s.log())
	}
	if c := s.certificateStatus(); !c.Issued || time.Until(c.NotAfter) > time.Minute {
		t.Errorf("%+v", c)
	}
	entries, err := os.ReadDir(filepath.Join(p.dir, "the state/certificates", onlyEntry(t, filepath.Join(p.dir, "the state/certificates"))))
	if err != nil || len(entries) > 6 {
		t.Errorf("old certificates are kept: %v %v", entries, err)
	}
	out, err := command(t, "status", "--json", "--server-root", s.root).Output()
	if err != nil || !strings.Contains(string(out), `"reloads_refused":0`) {
		t.Errorf("%v %s", err, out)
	}
}

// onlyEntry is the name of the only entry of a directory.
func onlyEntry(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v %v", entries, err)
	}
	return entries[0].Name()
}

// named sends a host name instead of localhost.
type named struct {
	net.Conn
	name string
}

func (n named) Write(p []byte) (int, error) {
	if _, err := n.Conn.Write(bytes.Replace(p, []byte("Host: localhost"), []byte("Host: "+n.name), 1)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TestAuthorityRefuses: what people meet. Each reason is in the log and in the status with
// what to do; the site stays; and once the reason is gone, reload is enough.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestAuthorityRefuses(t *testing.T) {
	testEnv(t)
	type problem struct {
		names        []string
		args         []string
		before       func(p *pebble) // before the server starts
		start        func(p *pebble, s *secure)
		reason, hint string
		mended       func(p *pebble, s *secure) // nil if it needs another configuration
		alone        bool                       // it needs no reload
	}
	usual := func(p *pebble, s *secure) { p.start(s.port, s.https) }
	for name, c := range map[string]problem{
		"wrong address in the DNS": {
			before: func(p *pebble) {
				p.tell("add-a", map[string]any{"host": "a.example.org", "addresses": []string{"127.0.0.77"}})
			},
			reason: "cannot connect to http://a.example.org/.well-known/acme-challenge/", hint: "port 80 of a.example.org must lead to this server, which listens on port",
			mended: func(p *pebble, _ *secure) { p.tell("clear-a", map[string]any{"host": "a.example.org"}) },
		},
		"no such name": {
			before: func(p *pebble) { p.tell("set-servfail", map[string]any{"host": "a.example.org"}) },
			reason: "a.example.org", hint: "needs an A or AAAA record",
			mended: func(p *pebble, _ *secure) { p.tell("clear-servfail", map[string]any{"host": "a.example.org"}) },
		},
		"port closed": {
			start:  func(p *pebble, s *secure) { p.start(freeport.Get(p.t), s.https) },
			reason: "cannot connect to http://a.example.org/", hint: "firewalls and port forwarding",
			mended: func(p *pebble, s *secure) { p.stop(); p.start(s.port, s.https) },
		},
		"port 443 closed": {
			args:   []string{"--acme-challenge", "tls-alpn-01"},
			start:  func(p *pebble, s *secure) { p.start(s.port, freeport.Get(p.t)) },
			reason: "cannot connect to a.example.org, port 443", hint: "port 443 of a.example.org must lead to this server",
			mended: func(p *pebble, s *secure) { p.stop(); p.start(s.port, s.https) },
		},
		"another server answers": {
			start: func(p *pebble, s *secure) {
				other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "another site") }))
				p.t.Cleanup(other.Close)
				u, _ := url.Parse(other.URL)
				port, _ := strconv.Atoi(u.Port())
				p.start(port, s.https)
			},
			reason: "gets a wrong answer from http://a.example.org/", hint: "lead to another machine",
			mended: func(p *pebble, s *secure) { p.stop(); p.start(s.port, s.https) },
		},
		"a name that the authority does not like": {
			names: []string{"blocked.example"}, reason: "blocked.example", hint: "issues nothing for this name",
		},
		"an account is needed": {
			before: func(p *pebble) {
				p.config["externalAccountBindingRequired"] = true
				p.config["externalAccountMACKeys"] = map[string]string{"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}
			},
			reason: "wants an account that it knows already", hint: "--acme-external-account",
		},
		"an authority that this machine does not know": {
			args: []string{"--acme-ca", "SYSTEM"}, reason: "cannot be trusted", hint: "--acme-ca",
		},
		"the program for the DNS fails": {
			args: []string{"--acme-challenge", "dns-01", "--acme-dns-command", "/bin/false"}, reason: "the program of --acme-dns-command", hint: "run it by hand",
		},
		"limits": {
			before: func(p *pebble) {
				p.inFrontOf(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.URL.Path, "/order-plz") {
						return false
					}
					w.Header().Set("Content-Type", "application/problem+json")
					w.Header().Set("Retry-After", "3600")
					w.WriteHeader(http.StatusTooManyRequests)
					fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates (5) already issued","status":429}`)
					return true
				})
			},
			reason: "issues no more certificates for now: too many certificates (5) already issued", hint: "--acme-staging",
		},
		"the clock is wrong": {
			before: func(p *pebble) {
				p.inFrontOf(func(w http.ResponseWriter, r *http.Request) bool {
					w.Header().Set("Date", time.Now().Add(26*time.Hour).UTC().Format(http.TimeFormat))
					if strings.HasSuffix(r.URL.Path, "/order-plz") {
						http.Error(w, `{"type":"urn:ietf:params:acme:error:malformed","detail":"order is expired"}`, 400)
						return true
					}
					return false
				})
			},
			reason: "the clock of this machine differs from the authority's by 26h", hint: "timedatectl",
		},
		"the authority's certificate is expired by this clock": {
			before: func(p *pebble) { p.expire() }, reason: "by the clock of this machine", hint: "timedatectl",
		},
		"the authority is down, and comes back": {
			start:  func(*pebble, *secure) {},
			reason: "cannot be reached", hint: "firewall",
			mended: usual, alone: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPebble(t)
			if c.names == nil {
				c.names = []string{"a.example.org"}
			}
			if c.before != nil {
				c.before(p)
			}
			args := slices.Clone(c.args)
			if k := slices.Index(args, "SYSTEM"); k > 0 {
				other := filepath.Join(p.dir, "other")
				_ = os.Mkdir(other, 0o755)
				stem, _ := certificate(t, other, "another.example")
				args[k] = stem + ".crt"
			}
			s := p.beginSecure(false, c.names, args...)
			s.up()
			if c.start == nil {
				c.start = usual
			}
			c.start(p, s)
			state := s.complains(c.reason, c.hint)
			if status, _, body := s.http(c.names[0], "/"); status != 200 || !strings.HasPrefix(body, "v0") {
				t.Errorf("the site: %d %q", status, body)
			}
			if name == "limits" && time.Until(state.NextTry) < 50*time.Minute {
				t.Errorf("the authority wants an hour: %+v", state)
			}
			if c.mended == nil {
				return
			}
			c.mended(p, s)
			if !c.alone {
				s.reload(0, "has reloaded")
			}
			s.issued(c.names...)
			eventually(t, "the error is over", func() bool { n := s.certificateStatus(); return n.Issued && n.LastError == "" })
		})
	}
}

// inFrontOf puts a server in front of the authority that may answer itself. It has the
// authority's certificate.
func (p *pebble) inFrontOf(answer func(w http.ResponseWriter, r *http.Request) bool) {
	p.t.Helper()
	pair, err := tls.LoadX509KeyPair(p.ca(), p.config["privateKey"].(string))
	if err != nil {
		p.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", "127.0.0.1:"+strconv.Itoa(p.port)
			r.Out.Host = r.In.Host // it makes its URLs of that
		},
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		ModifyResponse: func(r *http.Response) error { r.Header.Del("Date"); return nil },
	}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	front.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	front.StartTLS()
	p.t.Cleanup(front.Close)
	p.front = "localhost:" + strconv.Itoa(front.Listener.Addr().(*net.TCPAddr).Port)
}

// expire gives the authority's own server a certificate that is not valid any more.
func (p *pebble) expire() {
	p.t.Helper()
	stem, _ := certificateUntil(p.t, p.dir, "localhost", time.Now().Add(-time.Minute))
	p.config["certificate"], p.config["privateKey"] = stem+".crt", stem+".key"
}

// TestExternalAccount: the account of an authority that does not accept everybody.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestExternalAccount(t *testing.T) {
	testEnv(t)
	p := newPebble(t)
	const key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	p.config["externalAccountBindingRequired"] = true
	p.config["externalAccountMACKeys"] = map[string]string{"kid-1": key}
	file := write(t, filepath.Join(p.dir, "account"), "kid-1\n"+key+"\n")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	s := p.beginSecure(false, []string{"a.example.org"}, "--acme-external-account", file)
	<-s.done
	if !strings.Contains(s.out.String(), "chmod 600") {
		t.Errorf("everybody can read the key, and the server starts:\n%s", s.out)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	s = p.beginSecure(false, []string{"a.example.org"}, "--acme-external-account", file)
	s.up()
	p.start(s.port, s.https)
	s.issued("a.example.org")
}

// TestStapling: httpd asks the authority's responder whether the certificate is revoked, and
// serves without an answer, too.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestStapling(t *testing.T) {
	testEnv(t)
	p := newPebble(t)
	asked := make(chan string, 100)
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path:
		default:
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer responder.Close()
	p.config["ocspResponderURL"] = responder.URL + "/ocsp"
	s := p.beginSecure(false, []string{"a.example.org"})
	s.up()
	p.start(s.port, s.https)
	roots := s.issued("a.example.org")
	if _, err := os.Stat(filepath.Join(p.dir, "the state/certificates", onlyEntry(t, filepath.Join(p.dir, "the state/certificates")), "current", acme.OCSPFile)); err != nil {
		t.Fatal(err)
	}
	// Go's client asks for no proof; OpenSSL's does.
	out, err := exec.Command("openssl", "s_client", "-connect", "127.0.0.1:"+strconv.Itoa(s.https), "-servername", "a.example.org", "-status").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "OCSP response: no response sent") {
		t.Errorf("%v\n%.2000s", err, out)
	}
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Errorf("httpd asks no responder\n%s", s.log())
	}
	eventually(t, "the certificate is verified without a proof", func() bool { return s.serial("a.example.org", roots) != "" })
}

// TestDiskIsFull: without room for the next certificate, the present one stays, and the
// authority is not asked for one that could not be written.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestDiskIsFull(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("a small file system needs root")
	}
	p := newPebble(t)
	p.valid(30 * time.Second)
	state := filepath.Join(p.dir, "the state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", state, "tmpfs", 0, "size=512k,mode=755"); err != nil {
		t.Skip("mount: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(state, unix.MNT_DETACH) })
	s := p.beginSecure(false, []string{"a.example.org"})
	s.up()
	p.start(s.port, s.https)
	roots := s.issued("a.example.org")
	fill := filepath.Join(state, "fill")
	f, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write(make([]byte, 1<<20))
	f.Close()
	orders := strings.Count(p.out.String(), "Added order")
	eventually(t, "the log tells it", func() bool { return strings.Contains(s.log(), "no space left on device") })
	if now := strings.Count(p.out.String(), "Added order"); now != orders {
		t.Errorf("the authority was asked %d times", now-orders)
	}
	if c, err := s.dial("a.example.org", nil); err == nil {
		c.Close()
	} else if !strings.Contains(err.Error(), "unknown authority") && !strings.Contains(err.Error(), "expired") {
		t.Errorf("the site: %v", err)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	before := s.serial("a.example.org", roots)
	eventually(t, "it is renewed", func() bool { now := s.serial("a.example.org", roots); return now != "" && now != before })
	if t.Failed() {
		t.Log(s.log())
	}
}

// TestKilledWhileObtaining: the launcher and httpd are killed again and again while they
// obtain a certificate; the next start always works, and ends with one.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestKilledWhileObtaining(t *testing.T) {
	testEnv(t)
	p := newPebble(t)
	s := p.beginSecure(false, []string{"a.example.org"})
	s.up()
	p.start(s.port, s.https)
	for k := range 6 {
		// A moment of the attempt, another one each time.
		time.Sleep(time.Duration(k*k) * 60 * time.Millisecond)
		_ = s.cmd.Process.Kill()
		<-s.done
		s.gone()
		again := exec.Command(s.cmd.Path, s.cmd.Args[1:]...)
		again.Dir, again.Env, again.Stdout, again.Stderr = s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr
		s.cmd, s.done = again, make(chan struct{})
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func(cmd *exec.Cmd, done chan struct{}) { s.err = cmd.Wait(); close(done) }(s.cmd, s.done)
		s.up()
	}
	s.issued("a.example.org")
	versions, err := filepath.Glob(filepath.Join(p.dir, "the state/certificates/a.example.org-*/[0-9]*"))
	if err != nil || len(versions) > 2 {
		t.Errorf("what was interrupted is left: %v %v", versions, err)
	}
}

// TestSharedCertificate: two servers with the same certificate obtain it once.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestSharedCertificate(t *testing.T) {
	testEnv(t)
	p := newPebble(t)
	first := p.beginSecure(false, []string{"a.example.org"}, "--acme-challenge", "tls-alpn-01")
	first.up()
	second := p.beginSecure(false, []string{"a.example.org"}, "--acme-challenge", "tls-alpn-01")
	second.up()
	p.start(first.port, first.https)
	roots := first.issued("a.example.org")
	eventually(t, "the other one has it too", func() bool { return second.serial("a.example.org", roots) != "" })
	if one, two := first.serial("a.example.org", roots), second.serial("a.example.org", roots); one != two {
		t.Errorf("two certificates: %s and %s\n%s", one, two, second.log())
	}
}

// TestChallengeOnEveryHost: the authority is answered whatever the configuration does with
// other requests, and only for its own paths.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestChallengeOnEveryHost(t *testing.T) {
	testEnv(t)
	p := newPebble(t)
	dir := workDir(t, "")
	include := write(t, filepath.Join(dir, "deny.conf"), "<Location />\nRequire all denied\n</Location>\nRewriteEngine On\nRewriteRule ^ - [F]\n")
	var hits atomic.Int32
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hits.Add(1); fmt.Fprint(w, "backend") }))
	defer backend.Close()
	s := p.beginSecure(false, []string{"www.example.org", "example.org", "api.example.org"}, "--include-file", include,
		"--proxy-virtual-host", "api.example.org", backend.URL+"/", "--hsts-policy", "max-age=60")
	s.up()
	if status, _, _ := s.http("www.example.org", "/"); status != 403 {
		t.Errorf("the site: %d", status)
	}
	for _, path := range []string{"", "../../../certificates/www.example.org/current/privkey.pem", "..%2f..%2fcertificates", ".", "x/y"} {
		if status, _, body := s.http("www.example.org", "/.well-known/acme-challenge/"+path); status == 200 || strings.Contains(body, "PRIVATE") {
			t.Errorf("%q: %d %s", path, status, body)
		}
	}
	p.start(s.port, s.https)
	s.issued("www.example.org", "example.org", "api.example.org")
	if hits.Load() != 0 {
		t.Errorf("the backend got %d requests of the authority", hits.Load())
	}
	if err := os.WriteFile(include, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.reload(0, "has reloaded")
	if status, location, _ := s.http("example.org", "/x"); status != 301 || location != fmt.Sprintf("https://www.example.org:%d/x", s.https) {
		t.Errorf("%d %s", status, location)
	}
}

// TestOrdinaryUserHasACertificate: without root and in the default directory, with each
// challenge that needs nothing else.
//
// Once: httpd and the launcher do that, whichever mod_wsgi it is.
func TestOrdinaryUserHasACertificate(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("not root: the other tests run as an ordinary user")
	}
	for _, challenge := range []string{acme.HTTP01, acme.TLSALPN01} {
		t.Run(challenge, func(t *testing.T) {
			p := newPebble(t)
			for _, file := range []string{p.ca(), p.config["privateKey"].(string)} {
				if err := os.Chmod(file, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			app, _ := versionedApp(t)
			home := shortDir(t)
			if err := os.Chown(home, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			s := &secure{p: p, https: freeport.Get(t), server: &server{t: t, out: &bytes.Buffer{}, port: freeport.Get(t), done: make(chan struct{})}}
			s.root = filepath.Join(home, "root")
			s.cmd = command(t, "start-server", app, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--https-port", strconv.Itoa(s.https), "--server-root", s.root,
				"--https-auto", "a.example.org", "--acme-challenge", challenge, "--acme-directory", "https://localhost:"+strconv.Itoa(p.port)+"/dir", "--acme-ca", p.ca())
			s.cmd.Env = append(s.cmd.Env, "HOME="+home)
			s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = home, s.out, s.out
			s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			if err := s.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go func() { s.err = s.cmd.Wait(); close(s.done) }()
			t.Cleanup(s.stop)
			s.up()
			p.start(s.port, s.https)
			s.issued("a.example.org")
			if info, err := os.Stat(filepath.Join(home, ".local/state/mod_wsgi-express/acme")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v %v", info, err)
			}
			list := command(t, "certificates")
			list.Env = append(list.Env, "HOME="+home)
			list.SysProcAttr = s.cmd.SysProcAttr
			if out, err := list.CombinedOutput(); err != nil || !strings.Contains(string(out), "a.example.org  2") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestStateOfOthers: certificates are kept only where nobody else can change them.
//
// Once: no server is started.
func TestStateOfOthers(t *testing.T) {
	testEnv(t)
	p := newPebble(t)
	state := filepath.Join(p.dir, "the state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(state, 0o777); err != nil {
		t.Fatal(err)
	}
	app, _ := versionedApp(t)
	out, err := command(t, append(append([]string{"setup-server", app, "--port", "8000", "--https-port", "8443", "--server-root", filepath.Join(p.dir, "root")}, p.args("a.example.org")...), asUser()...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the directory for certificates") || !strings.Contains(string(out), "--acme-state-directory") {
		t.Errorf("%v\n%s", err, out)
	}
}
