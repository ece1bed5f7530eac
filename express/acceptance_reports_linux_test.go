//go:build acceptance && linux

package express_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reportedApp behaves as applications in public reports do
// (docs/troubleshooting/reports.md).
const reportedApp = `
import atexit, json, logging, os, signal, threading, time
print("printed while loading")
logging.warning("logged while loading")
signal.signal(signal.SIGTERM, lambda *args: None)
atexit.register(lambda: print("atexit ran"))
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/none":
        return None
    print("printed for " + path)
    out = {"authorization": environ.get("HTTP_AUTHORIZATION"), "group": environ["mod_wsgi.application_group"],
           "main": threading.current_thread() is threading.main_thread(), "home": os.environ.get("HOME"), "path": path}
    start_response("200 OK", [("Content-Type", "application/json")])
    if path == "/endless":
        return (b"x" * 65536 for _ in range(1000))
    return [json.dumps(out).encode()]
`

// TestReported: one application reproduces several public reports. The server answers,
// logs and ends as docs/troubleshooting/reports.md describes.
func TestReported(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	docs := workDir(t, "docs")
	write(t, filepath.Join(docs, "readme.txt"), "a file\n")
	app := write(t, filepath.Join(dir, "app.py"), reportedApp)
	s := start(t, dir, app, "--document-root", docs, "--reload-on-changes", "--log-level", "info")
	// encode/django-rest-framework#488; GrahamDumpleton/mod_wsgi#128, #838
	code, out := s.ask("GET", "/", nil, "Authorization", "Bearer secret")
	if code != 200 || out["authorization"] != "Bearer secret" || out["group"] != "" || out["path"] != "/" {
		t.Errorf("the root: %d %v", code, out)
	}
	if out["main"] != false { // django/asgiref#143
		t.Error("a request thread considers itself the main thread")
	}
	if code, _ := s.ask("GET", "/%ff%fe", nil); code != 200 { // release notes of 4.9.2
		t.Errorf("a path that is not UTF-8: %d", code)
	}
	if code, _ := s.ask("GET", "/none", nil); code != 500 { // GrahamDumpleton/mod_wsgi#150
		t.Errorf("no response: %d", code)
	}
	// GrahamDumpleton/mod_wsgi#312: the length is unknown.
	if code, _ := s.ask("POST", "/", io.MultiReader(strings.NewReader("body"))); code != http.StatusLengthRequired {
		t.Errorf("a body without a length: %d", code)
	}
	// GrahamDumpleton/mod_wsgi#485, #544: the client disconnects.
	c, err := net.Dial("tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET /endless HTTP/1.0\r\n\r\n")
	_, _ = c.Read(make([]byte, 100))
	c.Close()
	if code, _ := s.ask("GET", "/after", nil); code != 200 {
		t.Errorf("after that: %d", code)
	}
	before := time.Now()
	s.stop() // GrahamDumpleton/mod_wsgi#250: a thread still runs
	if took := time.Since(before); took > 4*time.Second {
		t.Errorf("stopping took %v", took)
	}
	s.logged([]string{ // #147, #475, #650, jezdez/envdir#23
		"printed while loading", "logged while loading", "printed for /\n", "printed for /endless", "registration for signal 15",
		"'NoneType' object is not iterable", "support for chunked transfer encoding has not been enabled", "atexit ran",
	}, []string{"failed to write data", "egmentation fault"})
}

// ask makes a request and returns the object in the response.
func (s *server) ask(method, path string, body io.Reader, headers ...string) (int, map[string]any) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.address()+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for k := 0; k < len(headers); k += 2 {
		req.Header.Set(headers[k], headers[k+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	out := map[string]any{}
	if resp.StatusCode == http.StatusOK {
		unmarshal(s.t, data, &out)
	}
	return resp.StatusCode, out
}

// logged checks which texts the error log must contain, and which it must not.
func (s *server) logged(want, never []string) {
	s.t.Helper()
	log := s.log()
	for _, text := range want {
		if !strings.Contains(log, text) {
			s.t.Errorf("the log does not contain %q:\n%s", text, log)
		}
	}
	for _, text := range never {
		if strings.Contains(log, text) {
			s.t.Errorf("the log contains %q:\n%s", text, log)
		}
	}
}

// TestStopDuringRestart: httpd ignores a signal that arrives right after the one for a
// restart. Stopping continues until httpd has received it.
func TestStopDuringRestart(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	for _, words := range [][]string{{"apachectl", "stop"}, {"apachectl", "graceful-stop"}, {"stop"}} {
		t.Run(strings.Join(words, " "), func(t *testing.T) {
			s := start(t, dir, app)
			eventually(t, "httpd handles signals", func() bool { return s.pid() > 0 && strings.Contains(s.log(), "resuming normal operations") })
			pid := s.pid()
			// httpd is suspended in the middle of its restart.
			if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			for pending(pid)&(1<<(syscall.SIGHUP-1)) != 0 {
				runtime.Gosched()
			}
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			cmd := command(t, "stop", "--server-root", s.root)
			if words[0] == "apachectl" {
				cmd = exec.CommandContext(t.Context(), filepath.Join(s.root, words[0]), words[1])
			}
			begun := time.Now()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "httpd is asked to stop", func() bool { return pending(pid)&(1<<(syscall.SIGTERM-1)|1<<(syscall.SIGWINCH-1)) != 0 })
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %v", words, err)
			}
			eventually(t, "httpd has ended", func() bool { return syscall.Kill(pid, 0) != nil })
			if took := time.Since(begun); took > 12*time.Second { // requests have 15 seconds before httpd is ended immediately
				t.Errorf("%v took %v", words, took)
			}
		})
	}
}

// pending returns the signals that a process has not handled yet, as bits.
func pending(pid int) uint64 {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	_, rest, _ := strings.Cut(string(data), "\nShdPnd:\t")
	word, _, _ := strings.Cut(rest, "\n")
	bits, _ := strconv.ParseUint(word, 16, 64)
	return bits
}
