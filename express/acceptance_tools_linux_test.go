//go:build acceptance

package express_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/internal/freeport"
)

// terminal is a pseudo-terminal with its output.
type terminal struct {
	ours, theirs *os.File
	mu           sync.Mutex
	text         bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	n, err1 := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	err2 := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0)
	theirs, err3 := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Skip(err)
	}
	p := &terminal{ours: ours, theirs: theirs}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := ours.Read(buffer)
			p.mu.Lock()
			p.text.Write(buffer[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return p
}

func (p *terminal) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *terminal) expect(t *testing.T, want string) {
	t.Helper()
	for range 1200 {
		if strings.Contains(p.String(), want) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the terminal never shows %q:\n%s", want, p)
}

// onTerminal starts a server on a separate terminal, which controls it.
func onTerminal(t *testing.T, p *terminal, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, port: freeport.Get(t), out: &p.text, done: make(chan struct{})}
	s.root = filepath.Join(shortDir(t), "root")
	all := append([]string{"start-server"}, args...)
	s.cmd = command(t, append(append(all, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root), asUser()...)...)
	s.cmd.Dir, s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = dir, p.theirs, p.theirs, p.theirs
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(s.stop)
	return s
}

func TestDebugger(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), `
def broken(word):
    raise ValueError("no " + word)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/broken":
        answer = 42
        broken("way")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/late":
        return late()
    return [b"fine"]

def late():
    yield b"one"
    depth = 17
    raise KeyError("late")
`)
	p := newTerminal(t)
	s := onTerminal(t, p, dir, app, "--enable-debugger", "--debugger-startup")
	p.expect(t, "(Pdb)")
	fmt.Fprintf(p.ours, "continue\n")
	s.up()
	if code, body := s.get("/"); code != 200 || body != "fine" {
		t.Errorf("%d %q", code, body)
	}
	for path, c := range map[string]struct{ error, ask, answer string }{
		"/broken": {"ValueError: no way", "up\np answer * 1000\n", "42000"},
		"/late":   {"KeyError: 'late'", "p depth * 1000\n", "17000"},
	} {
		done := make(chan int, 1)
		go func() {
			resp, err := http.Get("http://" + s.address() + path)
			if err != nil {
				done <- 0
				return
			}
			resp.Body.Close()
			done <- resp.StatusCode
		}()
		p.expect(t, c.error)
		fmt.Fprint(p.ours, c.ask)
		p.expect(t, c.answer)
		fmt.Fprint(p.ours, "quit\n")
		if code := <-done; path == "/broken" && code != 500 {
			t.Errorf("%s: %d\n%s", path, code, p)
		}
	}
	if code, _ := s.get("/"); code != 200 {
		t.Errorf("afterwards: %d", code)
	}
}

func TestDebuggerBreakpoint(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), `
def application(environ, start_response):
    number = 6 * 7
    start_response("200 OK", [])
    return [b"fine"]
`)
	p := newTerminal(t)
	s := onTerminal(t, p, dir, app, "--enable-debugger", "--debugger-startup")
	p.expect(t, "(Pdb)")
	fmt.Fprintf(p.ours, "break %s:4\n", app)
	p.expect(t, "Breakpoint 1")
	fmt.Fprint(p.ours, "continue\n")
	s.up()
	done := make(chan int, 1)
	go func() {
		resp, err := http.Get("http://" + s.address() + "/")
		if err != nil {
			done <- 0
			return
		}
		resp.Body.Close()
		done <- resp.StatusCode
	}()
	p.expect(t, `start_response("200 OK", [])`)
	fmt.Fprint(p.ours, "p number * 1000\ncontinue\n")
	p.expect(t, "42000")
	if code := <-done; code != 200 {
		t.Errorf("%d", code)
	}
}

// ended stops the server and returns the files of a directory below its root.
func (s *server) ended(name string) []string {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.done
	names, _ := filepath.Glob(filepath.Join(globWord(s.root), name))
	return names
}

var special = regexp.MustCompile(`[][*?]`)

func globWord(path string) string { return special.ReplaceAllString(path, "?") }

func TestProfiler(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), `
def while_loading():
    pass
while_loading()
def in_request():
    pass
def in_iteration():
    yield b"fine"
def application(environ, start_response):
    in_request()
    start_response("200 OK", [])
    return in_iteration()
`)
	profiles := filepath.Join(shortDir(t), "pro'files")
	s := start(t, dir, app, "--enable-profiler", "--profiler-directory", profiles)
	for range 3 {
		s.get("/")
	}
	s.ended("")
	names, _ := filepath.Glob(filepath.Join(profiles, "*.pstats"))
	if len(names) != 1 || !regexp.MustCompile(`/\d{16}-\d+\.pstats$`).MatchString(names[0]) {
		t.Fatalf("profiles: %q\n%s", names, s.log())
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(testEnv(t), "bin", "python"), "-c",
		"import pstats, sys\nfor (f, line, name), v in pstats.Stats(sys.argv[1]).stats.items(): print(name, v[1])", names[0]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"while_loading 1\n", "in_request 3\n", "in_iteration 6\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the profile lacks %q:\n%s", want, out)
		}
	}
	if info, err := os.Stat(filepath.Dir(names[0])); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestRecorder(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), `
class Body:
    def __iter__(self):
        yield b"part "
        raise RuntimeError("while iterating")
    def close(self):
        raise RuntimeError("while closing")
def application(environ, start_response):
    if environ["PATH_INFO"] == "/call":
        raise RuntimeError("when called")
    data = environ["wsgi.input"].read()
    write = start_response("200 OK", [("X-Own", "yes")])
    if environ["PATH_INFO"] == "/body":
        return Body()
    write(b"written ")
    return [data.upper()]
`)
	s := start(t, dir, app, "--enable-recorder", "--recorder-directory", filepath.Join(filepath.Dir(dir), "archive"))
	resp, err := http.Post("http://"+s.address()+"/fine", "text/plain", strings.NewReader("some body"))
	if err != nil {
		t.Fatal(err)
	}
	answer := new(bytes.Buffer)
	_, _ = answer.ReadFrom(resp.Body)
	resp.Body.Close()
	if answer.String() != "written SOME BODY" {
		t.Errorf("%q", answer)
	}
	if code, _ := s.get("/call"); code != 500 {
		t.Errorf("/call: %d", code)
	}
	if resp, err := http.Get("http://" + s.address() + "/body"); err == nil {
		resp.Body.Close()
	}
	s.ended("")
	archive := filepath.Join(filepath.Dir(dir), "archive")
	names, _ := filepath.Glob(filepath.Join(archive, "*"))
	if len(names) != 21 {
		t.Fatalf("%d files: %q\n%s", len(names), names, s.log())
	}
	read := func(count int, suffix string) string {
		t.Helper()
		found, _ := filepath.Glob(filepath.Join(archive, fmt.Sprintf("*-%d.%s", count, suffix)))
		if len(found) != 1 || !regexp.MustCompile(`/\d{16}-\d+-\d\.\w+$`).MatchString(found[0]) {
			t.Fatalf("%d.%s: %q", count, suffix, found)
		}
		data, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, c := range []struct {
		count        int
		suffix, want string
	}{
		{1, "iheaders", "'PATH_INFO': '/fine'"},
		{1, "icontent", "some body"},
		{1, "oheaders", "('200 OK', [('X-Own', 'yes')])"},
		{1, "ocontent", "written SOME BODY"},
		{1, "oaexcept", ""},
		{1, "orexcept", ""},
		{1, "ofexcept", ""},
		{2, "oaexcept", "RuntimeError: when called"},
		{2, "ocontent", ""},
		{3, "ocontent", "part "},
		{3, "orexcept", "RuntimeError: while iterating"},
		{3, "ofexcept", "RuntimeError: while closing"},
	} {
		if got := read(c.count, c.suffix); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%d.%s: %q, want %q", c.count, c.suffix, got, c.want)
		}
	}
}

// debian unpacks Debian packages without installing them, and returns the directory of
// their Python modules.
func debian(t *testing.T, packages ...string) string {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("apt-get not found")
	}
	if v, err := exec.CommandContext(t.Context(), filepath.Join(testEnv(t), "bin", "python"), "-c", "import sys; print(sys.version_info[:2])").Output(); err != nil || !strings.Contains(string(v), debianPython(t)) {
		t.Skipf("the environment's Python is %s, Debian's is %s", v, debianPython(t))
	}
	dir := workDir(t, "")
	down := filepath.Join(dir, "down")
	if err := errors.Join(os.Mkdir(down, 0o777), os.Chmod(down, 0o777)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "apt-get", append([]string{"download", "-q"}, packages...)...)
	cmd.Dir = down
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("packages %q are unavailable: %v\n%s", packages, err, out)
	}
	names, _ := filepath.Glob(filepath.Join(down, "*.deb"))
	for _, name := range names {
		if out, err := exec.CommandContext(t.Context(), "dpkg", "-x", name, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return filepath.Join(dir, "usr", "lib", "python3", "dist-packages")
}

func debianPython(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import sys; print(sys.version_info[:2])").Output()
	if err != nil {
		t.Skip("Debian's Python not found")
	}
	return strings.TrimSpace(string(out))
}

func TestCoverage(t *testing.T) {
	testEnv(t)
	lib := debian(t, "python3-coverage", "libjs-jquery", "libjs-jquery-hotkeys", "libjs-jquery-isonscreen", "libjs-jquery-tablesorter", "libjs-jquery-throttle-debounce")
	// Debian's package links to files relative to its root.
	share := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(lib))), "share")
	links, _ := filepath.Glob(filepath.Join(lib, "coverage", "htmlfiles", "*"))
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			_, rest, _ := strings.Cut(target, "share/")
			_ = os.Remove(link)
			_ = os.Symlink(filepath.Join(share, rest), link)
		}
	}
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "covered_app.py"), `
def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/never":
        never = 1
    return [b"in a request"]
`)
	s := start(t, dir, app, "--enable-coverage", "--python-path", lib, "--coverage-directory", filepath.Join(shortDir(t), "cov"))
	s.get("/")
	s.ended("")
	names, _ := filepath.Glob(filepath.Join(filepath.Dir(coverageOutput(s.out.String())), "*covered_app_py.html"))
	if len(names) != 1 {
		t.Fatalf("reports: %q\n%s", names, s.log())
	}
	data, _ := os.ReadFile(names[0])
	ran := regexp.MustCompile(`<p class="(run|mis)[^"]*">.*?(in a request|never</span>)`).FindAllStringSubmatch(string(data), -1)
	seen := map[string]string{}
	for _, m := range ran {
		seen[m[2]] = m[1]
	}
	if seen["in a request"] != "run" || !strings.Contains(string(data), `class="mis`) {
		t.Errorf("%v\n%s", seen, data)
	}
}

// coverageOutput returns the path of the report that the banner announces.
func coverageOutput(banner string) string {
	_, rest, _ := strings.Cut(banner, "Coverage Output    : ")
	name, _, _ := strings.Cut(rest, "\n")
	return name
}

func TestGDB(t *testing.T) {
	testEnv(t)
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skip("gdb not found")
	}
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	p := newTerminal(t)
	s := onTerminal(t, p, dir, app, "--enable-gdb")
	s.up()
	if env := s.environ("/"); env["os.environ"].(map[string]any)["MOD_WSGI_GDB_ENABLED"] != "true" {
		t.Error("MOD_WSGI_GDB_ENABLED is not set")
	}
	pid := int(s.environ("/")["pid"].(float64))
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if regexp.MustCompile(`TracerPid:\t0\n`).Match(data) {
		t.Errorf("httpd is not traced:\n%s", data)
	}
	fmt.Fprint(p.ours, "\x03") // Ctrl-C stops the program, not gdb
	p.expect(t, "SIGINT")
	fmt.Fprint(p.ours, "kill\ny\nquit\n")
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		t.Errorf("gdb does not end:\n%s", p)
	}
	refused(t, dir, 1, "--enable-gdb", append([]string{"start-server", app, "--enable-gdb", "--gdb-executable", "/nonexistent/gdb"}, asUser()...)...)
}

// TestResizedTerminal: the server continues when its window is resized.
func TestResizedTerminal(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	p := newTerminal(t)
	s := onTerminal(t, p, dir, write(t, filepath.Join(dir, "app.py"), echoApp)).up()
	pid := s.environ("/")["pid"]
	for n := range uint16(5) {
		if err := unix.IoctlSetWinsize(int(p.ours.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 20 + n, Col: 70 + n}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if now := s.environ("/")["pid"]; now != pid {
		t.Errorf("process %v became %v", pid, now)
	}
	fmt.Fprint(p.ours, "\x03")
	<-s.done
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("Ctrl-C: exit code %d\n%s", code, p)
	}
	s.gone()
}

// TestProcessOne: as the first process of a namespace, the launcher collects orphans
// and returns the true exit code.
func TestProcessOne(t *testing.T) {
	testEnv(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can create a process namespace on every system")
	}
	if err := exec.CommandContext(t.Context(), "unshare", "-pf", "--mount-proc", "true").Run(); err != nil {
		t.Skip("unshare not found")
	}
	dir := workDir(t, "")
	// The inner sleep ends before its parent and is left to the launcher.
	shared := workDir(t, "shared")
	if err := os.Chmod(shared, 0o777); err != nil { // the application runs as another account
		t.Fatal(err)
	}
	ended := filepath.Join(shared, "ended")
	app := write(t, filepath.Join(dir, "app.py"), echoApp+`
import subprocess, threading
def leave():
    subprocess.Popen(["sh", "-c", "sleep 0.1 & exec sleep 0.2"]).wait()
    open(`+strconv.Quote(ended)+`, "w").close()
threading.Thread(target=leave).start()
`)
	s := &server{t: t, port: freeport.Get(t), out: &bytes.Buffer{}, done: make(chan struct{}), root: filepath.Join(shortDir(t), "r")}
	own := command(t, append([]string{"start-server", app, "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root}, asUser()...)...)
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), "unshare", append([]string{"-pf", "--mount-proc", "--kill-child"}, own.Args...)...)
	s.cmd.Env, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = own.Env, dir, s.out, s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	s.up()
	s.environ("/")
	// unshare's child is the launcher.
	out, err := exec.CommandContext(t.Context(), "pgrep", "-P", strconv.Itoa(s.cmd.Process.Pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(out)))
	eventually(t, "the children have ended", func() bool { _, err := os.Stat(ended); return err == nil })
	eventually(t, "no zombie is left", func() bool {
		states, _ := exec.CommandContext(t.Context(), "ps", "--ppid", strconv.Itoa(pid), "-o", "stat=").Output()
		return !strings.Contains(string(states), "Z")
	})
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-s.done
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.out)
	}
}
