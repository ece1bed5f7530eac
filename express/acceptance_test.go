//go:build acceptance && unix

package express_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// The tests use an environment made by modwsgi install, named in MODWSGI_TEST_ENV, and
// change nothing in it.

const echoApp = `
import json, os, sys, time
def application(environ, start_response):
    query = environ.get("QUERY_STRING", "")
    if query.startswith("sleep="):
        print("a slow request is inside", file=environ["wsgi.errors"], flush=True)
        time.sleep(float(query[6:]))
    out = {k: v for k, v in environ.items() if isinstance(v, (str, bool, int))}
    out["os.environ"] = dict(os.environ)
    out["pid"], out["uid"], out["cwd"], out["path"], out["prefix"] = os.getpid(), os.getuid(), os.getcwd(), sys.path, sys.prefix
    body = json.dumps(out).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
`

func testEnv(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("MODWSGI_TEST_ENV")
	if dir == "" {
		t.Skip("MODWSGI_TEST_ENV does not name an environment made by modwsgi install")
	}
	return dir
}

// workDir returns a directory that other accounts can access.
func workDir(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			break
		}
	}
	if name == "" {
		return dir
	}
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// asUser returns the options that a start as root needs.
func asUser() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	return []string{"--user", runUser()}
}

func runUser() string {
	if _, err := user.Lookup("www-data"); err == nil {
		return "www-data"
	}
	return "nobody"
}

// server is a running launcher.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *bytes.Buffer
	root string
	port int
	done chan struct{}
	err  error
}

func launcher(t *testing.T) string { return filepath.Join(testEnv(t), "bin", "mod_wsgi-express") }

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	// The test's own context ends before its cleanup, which stops servers differently.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), launcher(t), args...)
	// Neither activated nor on the PATH.
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "TMPDIR=" + os.TempDir()}
	return cmd
}

// start starts a server and waits until it answers.
func start(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	return begin(t, dir, args...).up()
}

// up waits until the server answers.
func (s *server) up() *server {
	s.t.Helper()
	s.upUnless()
	return s
}

// upUnless does the same, but returns false if the server ended with one of these
// messages, which report what the httpd lacks.
func (s *server) upUnless(lacks ...string) bool {
	t := s.t
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.done:
			if slices.ContainsFunc(lacks, func(text string) bool { return strings.Contains(s.out.String(), text) }) {
				return false
			}
			t.Fatalf("the server ended: %v\n%s\n%s", s.err, s.out, s.log())
		default:
		}
		if s.listens() {
			return true
		}
	}
	t.Fatalf("no answer\n%s\n%s", s.out, s.log())
	return false
}

// listens reports whether every port of the server accepts connections: httpd opens
// them one after the other.
func (s *server) listens() bool {
	ports := []string{strconv.Itoa(s.port)}
	for i, arg := range s.cmd.Args[:len(s.cmd.Args)-1] {
		if arg == "--https-port" {
			ports = append(ports, s.cmd.Args[i+1])
		}
	}
	for _, port := range ports {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		c.Close()
	}
	return true
}

func begin(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	return beginWith(t, nil, dir, args...)
}

// beginWith starts a server with additional variables in its environment.
func beginWith(t *testing.T, env []string, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, port: freeport.Get(t), out: &bytes.Buffer{}, done: make(chan struct{})}
	s.root = filepath.Join(shortDir(t), "it's a root")
	all := append(onLoopback("start-server", args), "--port", strconv.Itoa(s.port), "--server-root", s.root)
	s.cmd = command(t, append(all, asUser()...)...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, s.out, s.out
	s.cmd.Env = append(s.cmd.Env, env...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(s.stop)
	return s
}

// everyAddress stands for no --host among the arguments of a server.
const everyAddress = "every address"

// onLoopback returns a command whose server listens on loopback, unless its arguments say
// otherwise.
func onLoopback(verb string, args []string) []string {
	all := append([]string{verb}, args...)
	if slices.Contains(args, "--host") {
		return all
	}
	if k := slices.Index(all, everyAddress); k >= 0 {
		return slices.Delete(all, k, k+1)
	}
	return append(all, "--host", "127.0.0.1")
}

// shortDir returns a directory whose path leaves room for the names of sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mwx")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *server) address() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

func (s *server) log() string {
	data, _ := os.ReadFile(filepath.Join(s.root, "error_log"))
	return string(data)
}

// inside waits until the echo application has begun a slow request, in a server without
// earlier ones.
func (s *server) inside() {
	s.t.Helper()
	eventually(s.t, "the request is inside of the application", func() bool { return strings.Contains(s.log(), "a slow request is inside") })
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		s.t.Errorf("the server did not stop\n%s", s.log())
	}
}

// get returns the status and the body.
func (s *server) get(path string) (int, string) {
	s.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 30 * time.Second}
	resp, err := client.Get("http://" + s.address() + path)
	if err != nil {
		s.t.Fatalf("GET %s: %v\n%s", path, err, s.log())
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// environ returns what the echo application saw.
func (s *server) environ(path string) map[string]any {
	s.t.Helper()
	code, body := s.get(path)
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); code != 200 || err != nil {
		s.t.Fatalf("GET %s: %d %v\n%.2000s\n%s", path, code, err, body, s.log())
	}
	return m
}

func unmarshal(t *testing.T, data []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatalf("%v in %.500s", err, data)
	}
}
