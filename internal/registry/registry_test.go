package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"modwsgi/internal/httpc"
	"modwsgi/internal/run"
)

func TestRetriedErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("x"), false},
		{io.ErrUnexpectedEOF, true},
		{&transport.Error{StatusCode: 503}, true},
		{&transport.Error{StatusCode: 404}, false},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, false},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, true},
	} {
		if got := again(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

// login is an entry of docker's configuration.
func login(user string) string {
	return fmt.Sprintf(`{"auth":%q}`, base64.StdEncoding.EncodeToString([]byte(user+":s3cret")))
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestWhereCredentialsAreFrom: one keychain serves images and the shared cache.
func TestWhereCredentialsAreFrom(t *testing.T) {
	home := t.TempDir()
	at := func(below string) string { return filepath.Join(home, below) }
	entries := func(pairs ...string) string {
		var all []string
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, fmt.Sprintf("%q:%s", pairs[i], login(pairs[i+1])))
		}
		return `{"auths":{` + strings.Join(all, ",") + `}}`
	}
	write(t, at(".docker/config.json"), entries("docker.example", "docker", "https://index.docker.io/v1/", "hub", "http://old.example/v2/", "old"), 0o600)
	write(t, at(".config/containers/auth.json"), entries("podman.example", "podman"), 0o600)
	write(t, at("run/containers/auth.json"), entries("docker.example", "runtime", "parts.example", "all", "parts.example/team", "team", "parts.example/team/web", "web"), 0o600)
	write(t, at("named/config.json"), entries("docker.example", "named"), 0o600)
	write(t, at("file.json"), entries("docker.example", "file"), 0o600)
	write(t, at("torn/config.json"), "{", 0o600)
	write(t, at("large/config.json"), strings.Repeat(" ", maxConfig)+entries("docker.example", "large"), 0o600)
	write(t, at("token/config.json"), `{"auths":{"docker.example":{"identitytoken":"T"}}}`, 0o600)
	write(t, at("empty/config.json"), `{"auths":{"docker.example":{}},"credsStore":"../evil"}`, 0o600)
	for _, tt := range []struct {
		name, repository string
		env              []string
		want             string // USER:PASSWORD, or the token
	}{
		{"nothing", "none.example/x", nil, ""},
		{"docker", "docker.example/x", nil, "docker:s3cret"},
		{"podman", "podman.example/x", nil, "podman:s3cret"},
		{"another host", "sub.docker.example/x", nil, ""},
		{"another port", "docker.example:5000/x", nil, ""},
		{"an address with a path", "old.example/x", nil, "old:s3cret"},
		{"the hub", "docker.io/library/x", nil, "hub:s3cret"},
		{"a variable wins", "docker.example/x", []string{"CACHE_USER=me", "CACHE_PASSWORD="}, "me:"},
		{"the text in a variable", "docker.example/x", []string{"DOCKER_AUTH_CONFIG=" + entries("docker.example", "text")}, "text:s3cret"},
		{"docker's variable", "docker.example/x", []string{"DOCKER_CONFIG=" + at("named"), "REGISTRY_AUTH_FILE=" + at("file.json")}, "named:s3cret"},
		{"podman's variable", "docker.example/x", []string{"REGISTRY_AUTH_FILE=" + at("file.json")}, "file:s3cret"},
		{"the login of the session", "docker.example/x", []string{"XDG_RUNTIME_DIR=" + at("run")}, "runtime:s3cret"},
		{"a part of a registry", "parts.example/team/web", []string{"XDG_RUNTIME_DIR=" + at("run")}, "web:s3cret"},
		{"the part above", "parts.example/team/db/x", []string{"XDG_RUNTIME_DIR=" + at("run")}, "team:s3cret"},
		{"the rest of it", "parts.example/teams", []string{"XDG_RUNTIME_DIR=" + at("run")}, "all:s3cret"},
		{"a torn file", "docker.example/x", []string{"DOCKER_CONFIG=" + at("torn")}, "docker:s3cret"},
		{"a large file", "docker.example/x", []string{"DOCKER_CONFIG=" + at("large")}, "docker:s3cret"},
		{"a directory", "docker.example/x", []string{"REGISTRY_AUTH_FILE=" + at("run")}, "docker:s3cret"},
		{"a relative name", "docker.example/x", []string{"REGISTRY_AUTH_FILE=file.json"}, "docker:s3cret"},
		{"an identity token", "docker.example/x", []string{"DOCKER_CONFIG=" + at("token")}, "T"},
		{"a helper that is a path", "docker.example/x", []string{"DOCKER_CONFIG=" + at("empty")}, "docker:s3cret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			repo, err := name.NewRepository(tt.repository)
			if err != nil {
				t.Fatal(err)
			}
			k := NewKeychain(append([]string{"HOME=" + home}, tt.env...), &run.Runner{}, Login{"CACHE_USER", "CACHE_PASSWORD"}, time.Second)
			auth, err := k.Resolve(repo)
			if err != nil {
				t.Fatal(err)
			}
			c, err := auth.Authorization()
			if err != nil {
				t.Fatal(err)
			}
			got := c.IdentityToken
			if text, _ := base64.StdEncoding.DecodeString(c.Auth); got == "" {
				got = string(text)
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestCredentialHelper: it is asked once, by docker's name for the registry.
func TestCredentialHelper(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("a credential helper is a shell script here")
	}
	home := t.TempDir()
	write(t, filepath.Join(home, "docker-credential-test"), `#!/bin/sh
read -r host
echo "$host" >>"$HOME/asked"
case $host in
https://index.docker.io/v1/) echo '{"Username":"<token>","Secret":"T"}' ;;
good.example) echo '{"Username":"me","Secret":"s3cret"}' ;;
*) echo "credentials not found"; exit 1 ;;
esac
`, 0o755)
	write(t, filepath.Join(home, ".docker/config.json"), `{"auths":{"good.example":{}},"credsStore":"test"}`, 0o600)
	k := NewKeychain([]string{"HOME=" + home, "PATH=" + home + ":/bin:/usr/bin"}, &run.Runner{}, Login{}, 10*time.Second)
	for _, tt := range [][2]string{{"good.example/x", "me"}, {"good.example/x", "me"}, {"bad.example/x", ""}, {"docker.io/library/x", "T"}} {
		repo, err := name.NewRepository(tt[0])
		if err != nil {
			t.Fatal(err)
		}
		if c := k.find(t.Context(), repo); c.user+c.token != tt[1] {
			t.Errorf("%s: %+v", tt[0], c)
		}
	}
	asked, err := os.ReadFile(filepath.Join(home, "asked"))
	if err != nil || string(asked) != "good.example\nbad.example\nhttps://index.docker.io/v1/\n" {
		t.Errorf("asked %q, %v", asked, err)
	}
}

// serve starts a registry with a handler, and opens a repository of it.
func serve(t *testing.T, o Options, h http.HandlerFunc) (*httptest.Server, *Repository) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	if o.Limits.Total == 0 {
		o.Limits = httpc.Limits{Rate: 1, Window: time.Second, Total: 20 * time.Second}
	}
	o.Retry = httpc.Retry{Again: 2, Delay: time.Millisecond, Max: time.Millisecond}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Repository(strings.TrimPrefix(s.URL, "http://")+"/team/cache", true)
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func onlyHere(u *url.URL) error {
	if u.Scheme == "https" || httpc.Loopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s is not https", u.Host)
}

// TestTokensStayAtHome: a registry does not choose where credentials are sent
// unencrypted.
func TestTokensStayAtHome(t *testing.T) {
	for name, realm := range map[string]string{
		"plain http elsewhere": "http://tokens.invalid/token", "a private address": "https://10.0.0.1/token", "metadata of a cloud": "http://169.254.169.254/token",
		"a file": "file:///etc/passwd", "nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			_, r := serve(t, Options{Allowed: onlyHere, Env: []string{"U=me", "P=s3cret"}, Login: Login{"U", "P"}}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
			})
			_, _, err := r.Manifest(t.Context(), "x", "a/b", 100)
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("a redirect", func(t *testing.T) {
		other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				t.Errorf("%s has %s", r.Host, r.Header.Get("Authorization"))
			}
		}))
		t.Cleanup(other.Close)
		_, r := serve(t, Options{Env: []string{"U=me", "P=s3cret"}, Login: Login{"U", "P"}}, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/v2/":
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
			case r.Header.Get("Authorization") == "":
				t.Error("no credentials")
			default:
				http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/blob", http.StatusTemporaryRedirect)
			}
		})
		body, err := r.Blob(t.Context(), "sha256:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = body.Close()
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestGreetingWithoutEnd: the first answer is read up to a limit.
func TestGreetingWithoutEnd(t *testing.T) {
	_, r := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			for r.Context().Err() == nil {
				if _, err := io.CopyN(w, zeros{}, 1<<20); err != nil {
					return
				}
			}
			return
		}
		_, _ = io.WriteString(w, "manifest")
	})
	began := time.Now()
	data, _, err := r.Manifest(t.Context(), "x", "a/b", 100)
	if err != nil || string(data) != "manifest" || time.Since(began) > 10*time.Second {
		t.Errorf("%q, %v after %s", data, err, time.Since(began))
	}
}

// TestTokenThatExpires: an upload whose token has expired is sent again as a whole.
func TestTokenThatExpires(t *testing.T) {
	var tokens, uploads atomic.Int32
	var got string
	var s *httptest.Server
	s, r := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			fmt.Fprintf(w, `{"token":"T%d"}`, tokens.Add(1))
			return
		case r.URL.Path != "/v2/" && (r.Method != http.MethodPut || r.Header.Get("Authorization") == "Bearer T2"):
		default:
			uploads.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.Method {
		case http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case http.MethodPost:
			w.Header().Set("Location", "/upload")
			w.WriteHeader(http.StatusAccepted)
		default:
			data, _ := io.ReadAll(r.Body)
			got = string(data)
			w.WriteHeader(http.StatusCreated)
		}
	})
	err := r.PutBlob(t.Context(), "sha256:0", 4, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("blob")), nil })
	if err != nil || got != "blob" || tokens.Load() != 2 {
		t.Errorf("%q after %d tokens: %v", got, tokens.Load(), err)
	}
}

func TestCancelledRequest(t *testing.T) {
	_, r := serve(t, Options{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	why := errors.New("the user had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if _, _, err := r.Manifest(ctx, "x", "a/b", 100); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
