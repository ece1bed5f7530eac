//go:build acceptance && unix

package express_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

const authScript = `
import hashlib
def check_password(environ, user, password):
    if user in ("anna", "bert"):
        return password == "pass " + user
    return None
def get_realm_hash(environ, user, realm):
    if user in ("anna", "bert"):
        return hashlib.md5(("%s:%s:pass %s" % (user, realm, user)).encode()).hexdigest()
    return None
def groups_for_user(environ, user):
    return {"anna": ["staff", "it's us"]}.get(user, [""])
def allow_access(environ, host):
    return "blocked" not in environ.get("QUERY_STRING", environ.get("REQUEST_URI", ""))
`

func TestBasicAndDigest(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	script := write(t, filepath.Join(dir, "it's auth.py"), authScript)
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for _, kind := range []string{"Basic", "Digest"} {
		for _, group := range []string{"", "it's us"} {
			t.Run(kind+group, func(t *testing.T) {
				args := []string{app, "--auth-user-script", script, "--auth-type", kind}
				if group != "" {
					args = append(args, "--auth-group-script", script, "--auth-group", group)
				}
				s := start(t, dir, args...)
				bert := 200
				if group != "" {
					bert = 401
				}
				for who, want := range map[string]int{"": 401, "anna:pass anna": 200, "anna:wrong": 401, "nobody:x": 401, "bert:pass bert": bert} {
					code, body := s.authorized(t, kind, who)
					// A user outside the group may get 401 or 403.
					if code != want && (want != 401 || code != 403 || group == "") {
						t.Errorf("%q: %d, want %d\n%s", who, code, want, s.log())
					}
					if code == 200 && !strings.Contains(body, `"REMOTE_USER": "`+strings.Split(who, ":")[0]+`"`) {
						t.Errorf("%q: %s", who, body)
					}
				}
			})
		}
	}
}

var challenge = regexp.MustCompile(`(\w+)="?([^",]+)"?`)

// authorized sends a request with a user's name and password.
func (s *server) authorized(t *testing.T, kind, who string) (int, string) {
	t.Helper()
	ask := func(header string) *http.Response {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+"/p", nil)
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	name, password, _ := strings.Cut(who, ":")
	resp := ask("")
	if who != "" && kind == "Basic" {
		req := &http.Request{Header: http.Header{}}
		req.SetBasicAuth(name, password)
		resp = ask(req.Header.Get("Authorization"))
	} else if who != "" {
		v := map[string]string{}
		for _, m := range challenge.FindAllStringSubmatch(resp.Header.Get("WWW-Authenticate"), -1) {
			v[m[1]] = m[2]
		}
		sum := func(text string) string { h := md5.Sum([]byte(text)); return hex.EncodeToString(h[:]) }
		answer := sum(sum(name+":"+v["realm"]+":"+password) + ":" + v["nonce"] + ":00000001:c:auth:" + sum("GET:/p"))
		resp = ask(fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="/p", qop=auth, nc=00000001, cnonce="c", response="%s", algorithm=MD5`,
			name, v["realm"], v["nonce"], answer))
	}
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func TestHostAccess(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	script := write(t, filepath.Join(dir, "access.py"), `
def allow_access(environ, host):
    return not environ["REQUEST_URI"].startswith("/blocked")
`)
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--host-access-script", script)
	if code, _ := s.get("/blocked"); code != 403 {
		t.Errorf("blocked: %d\n%s", code, s.log())
	}
	s.environ("/free")
}

func TestCGI(t *testing.T) {
	testEnv(t)
	for _, mpm := range []string{"event", "prefork"} {
		t.Run(mpm, func(t *testing.T) {
			dir, docs := workDir(t, ""), workDir(t, "docs")
			name := write(t, filepath.Join(docs, "hello.cgi"), "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\ncgi %s %s' \"$QUERY_STRING\" \"$PATH_INFO\"\n")
			if err := os.Chmod(name, 0o755); err != nil {
				t.Fatal(err)
			}
			s := begin(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--document-root", docs, "--with-cgi", "--server-mpm", mpm)
			select {
			case <-s.done:
				if strings.Contains(s.out.String(), "which is neither in") {
					t.Skip("this httpd has no CGI")
				}
			case <-time.After(300 * time.Millisecond):
			}
			s.up()
			if code, body := s.get("/hello.cgi/more?x=1"); code != 200 || body != "cgi x=1 /more" {
				t.Errorf("%d %q\n%s", code, body, s.log())
			}
			s.environ("/other")
		})
	}
}

func TestCompressionAndStatus(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--compress-responses", "--server-status")
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address()+"/", nil)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%v", resp.Header)
	}
	if code, body := s.get("/server-status?auto"); code != 200 || !strings.Contains(body, "BusyWorkers") {
		t.Errorf("%d %s", code, body)
	}
	req.Header.Set("X-Forwarded-For", "10.1.2.3")
	req.Header.Del("Accept-Encoding")
	trusting := start(t, dir, filepath.Join(dir, "app.py"), "--trust-proxy-header", "X-Forwarded-For", "--trust-proxy", "127.0.0.0/8")
	req.URL.Host = trusting.address()
	seen, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Body.Close()
	if body, _ := io.ReadAll(seen.Body); !strings.Contains(string(body), `"REMOTE_ADDR": "10.1.2.3"`) {
		t.Errorf("%s", body)
	}
}

// TestClientCertificates: a client with a certificate signed by the CA gets access.
func TestClientCertificates(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	stem, pool := certificate(t, dir, "secure.example")
	ca, signed := clientCertificate(t, dir)
	stranger := *issued(t, filepath.Join(dir, "stranger"), "eve", true, nil)
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for _, only := range []bool{false, true} {
		port := freeport.Get(t)
		args := []string{app, "--https-port", strconv.Itoa(port), "--ssl-certificate", stem, "--server-name", "secure.example", "--ssl-ca-certificate-file", ca, "--https-only", "--ssl-environment"}
		if only {
			args = append(args, "--ssl-verify-client", "/private", "--ssl-verify-client", "/odd*[x]")
		}
		s := begin(t, dir, args...)
		select {
		case <-s.done:
			if strings.Contains(s.out.String(), "mod_ssl, which is neither") {
				t.Skip("this httpd has no mod_ssl")
			}
		case <-time.After(300 * time.Millisecond):
		}
		s.up()
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s.clientCertificates(port, version, pool, only, signed, stranger)
		}
		for _, word := range []string{"AH01909", "AH10129", "renegotiat"} { // a host without a certificate, and one whose certificate is requested late
			if strings.Contains(s.log(), word) {
				t.Errorf("only %v: %s in the log\n%s", only, word, s.log())
			}
		}
		s.stop()
	}
}

// clientCertificates sends requests with a certificate, without one, and with one
// signed by another CA. Go's client does not support post-handshake authentication, nor
// do most others.
func (s *server) clientCertificates(port int, version uint16, pool *x509.CertPool, only bool, signed, stranger tls.Certificate) {
	t := s.t
	t.Helper()
	what := fmt.Sprintf("only %v, %s", only, tls.VersionName(version))
	cache := tls.NewLRUClientSessionCache(8) // sessions are resumed
	ask := func(path string, certificate *tls.Certificate) (int, string) {
		config := &tls.Config{RootCAs: pool, ServerName: "secure.example", MinVersion: version, MaxVersion: version}
		if certificate != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
		} else {
			config.ClientSessionCache = cache
		}
		transport := &http.Transport{
			TLSClientConfig: config, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+strconv.Itoa(port))
			},
		}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://secure.example:%d%s", port, path), nil)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	// A path that looks like a pattern still protects what is below it.
	for _, path := range []string{"/private/x", "/private", "/odd*[x]/deep", "/odd*%5Bx%5D", "//private/x", "/public/../private/x"} {
		for range 2 {
			if code, _ := ask(path, nil); code != map[bool]int{false: 0, true: 403}[only] {
				t.Errorf("%s: %s without a certificate: %d", what, path, code)
			}
		}
		if code, _ := ask(path, &stranger); code == 200 {
			t.Errorf("%s: %s with a certificate of another CA", what, path)
		}
		if code, body := ask(path, &signed); code != 200 || !strings.Contains(body, `"SSL_CLIENT_S_DN_CN": "anna"`) {
			t.Errorf("%s: %s with a certificate: %d %s\n%s", what, path, code, body, s.log())
		}
	}
	if code, _ := ask("/public", nil); (code == 200) != only {
		t.Errorf("%s: other paths without a certificate: %d", what, code)
	}
}

// issued makes a certificate with a key, signed by the given one, or self-signed for
// nil. It writes both as STEM.crt and STEM.key.
func issued(t *testing.T, stem, name string, ca bool, parent *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if ca {
		template.KeyUsage |= x509.KeyUsageCertSign
	} else {
		template.DNSNames = []string{name}
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	data, err1 := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	leaf, err3 := x509.ParseCertificate(data)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	write(t, stem+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: data})))
	write(t, stem+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return &tls.Certificate{Certificate: [][]byte{data}, PrivateKey: key, Leaf: leaf}
}

// TestCertificateChain: a client that knows only the root trusts a certificate signed
// by an intermediate one, if the server sends the intermediate certificate.
func TestCertificateChain(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "ch ain's")
	at := func(name string) string { return filepath.Join(dir, name) }
	root := issued(t, at("root"), "the root", true, nil)
	middle := issued(t, at("middle"), "the middle", true, root)
	issued(t, at("leaf"), "secure.example", false, middle)
	app := write(t, at("app.py"), echoApp)
	pool := x509.NewCertPool()
	pool.AddCert(root.Leaf)
	both, _ := os.ReadFile(at("leaf.crt"))
	more, _ := os.ReadFile(at("middle.crt"))
	write(t, at("both.crt"), string(both)+string(more))
	for _, c := range []struct {
		name, cert string
		args       []string
		trusted    bool
	}{
		{"without", "leaf.crt", nil, false},
		{"--ssl-certificate-chain-file", "leaf.crt", []string{"--ssl-certificate-chain-file", "middle.crt"}, true},
		{"in the certificate's file", "both.crt", nil, true},
	} {
		port := freeport.Get(t)
		s := start(t, dir, append([]string{
			app, "--https-port", strconv.Itoa(port), "--server-name", "secure.example", "--ssl-certificate-file", c.cert, "--ssl-certificate-key-file", "leaf.key",
		}, c.args...)...)
		conn, err := tls.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port), &tls.Config{RootCAs: pool, ServerName: "secure.example"})
		if (err == nil) != c.trusted {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			conn.Close()
		}
		s.stop()
	}
}

// TestClientCertificateLater: with TLS 1.3, a client that does not support
// post-handshake authentication still presents its certificate for a path. Several
// paths require one.
func TestClientCertificateLater(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	at := func(name string) string { return filepath.Join(dir, name) }
	issued(t, at("server"), "localhost", false, nil)
	ca := issued(t, at("ca"), "the CA", true, nil)
	issued(t, at("anna"), "anna", false, ca)
	issued(t, at("stranger"), "stranger", false, issued(t, at("other"), "another CA", true, nil))
	port := freeport.Get(t)
	start(t, dir, write(t, at("app.py"), echoApp), "--https-port", strconv.Itoa(port), "--server-name", "localhost", "--ssl-certificate", "server", "--ssl-ca-certificate-file", "ca.crt",
		"--ssl-environment", "--ssl-verify-client", "/private", "--ssl-verify-client", "/it's too")
	program := write(t, at("client.py"), `
import http.client, json, ssl, sys
port, path, stem = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile="server.crt")
context.minimum_version, context.post_handshake_auth = ssl.TLSVersion.TLSv1_3, False
if stem:
    context.load_cert_chain(stem + ".crt", stem + ".key")
connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
try:
    connection.request("GET", path)
    answer = connection.getresponse()
    print(answer.status, json.loads(answer.read()).get("SSL_CLIENT_S_DN_CN") if answer.status == 200 else "")
except (OSError, http.client.HTTPException) as error:
    print("refused", type(error).__name__)
`)
	for _, c := range []struct{ path, stem, want string }{
		{"/open", "", "200 None"},
		{"/private/x", "anna", "200 anna"},
		{"/it%27s%20too/x", "anna", "200 anna"},
		{"/private/x", "", ""},
		{"/private/x", "stranger", ""},
		{"/it%27s%20too", "", ""},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(testEnv(t), "bin", "python"), program, strconv.Itoa(port), c.path, c.stem)
		cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
		out, err := cmd.CombinedOutput()
		got := strings.TrimSpace(string(out))
		if err != nil || c.want != "" && got != c.want || c.want == "" && strings.HasPrefix(got, "200") {
			t.Errorf("%s with %q: %v %s, want %q", c.path, c.stem, err, got, c.want)
		}
	}
}

// TestProxyToTLS: requests can be passed on to a TLS server.
func TestProxyToTLS(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	cert := issued(t, filepath.Join(dir, "behind"), "localhost", false, nil)
	behind := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.URL.Path, r.TLS.ServerName)
	}))
	behind.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
	behind.StartTLS()
	defer behind.Close()
	_, port, _ := net.SplitHostPort(behind.Listener.Addr().String())
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--proxy-mount-point", "/far", "https://localhost:"+port+"/base/")
	if code, body := s.get("/far/x"); code != 200 || body != "/base/x localhost" {
		t.Errorf("%d %s\n%s", code, body, s.log())
	}
	if env := s.environ("/near"); env["PATH_INFO"] != "/near" {
		t.Error("the application does not answer")
	}
}

// clientCertificate makes a CA and a certificate signed by it.
func clientCertificate(t *testing.T, dir string) (string, tls.Certificate) {
	t.Helper()
	template := func(n int64, name string, ca bool) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
	}
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	root := template(1, "the CA", true)
	caData, err1 := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	data, err2 := x509.CreateCertificate(rand.Reader, template(2, "anna", false), root, &key.PublicKey, caKey)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	name := write(t, filepath.Join(dir, "ca's.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caData})))
	return name, tls.Certificate{Certificate: [][]byte{data}, PrivateKey: key}
}
