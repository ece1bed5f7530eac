//go:build acceptance && unix

package express_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// refused runs a command that must fail before anything is written.
func refused(t *testing.T, dir string, code int, want string, args ...string) {
	t.Helper()
	root := filepath.Join(shortDir(t), "root")
	words := slices.Clone(args)
	if slices.Contains(words, "start-server") && !slices.Contains(words, "--port") {
		words = append(words, "--port", strconv.Itoa(freeport.Get(t))) // another program may use the default one
	}
	cmd := command(t, append(words, "--server-root", root)...)
	cmd.Dir = dir
	// A command that is not refused would serve forever.
	guard := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer guard.Stop()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code || !strings.Contains(string(out), want) {
		t.Errorf("%q: %v, want exit code %d and %q\n%s", args, err, code, want, out)
	}
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q: the server root was left behind", args)
	}
}

func TestRefusals(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	port := strconv.Itoa(freeport.Get(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "missing.py does not exist", []string{"missing.py"}},
		{1, "is a directory", []string{dir}},
		{2, "needs --enable-debugger", []string{app, "--debugger-startup"}},
		{2, "cannot be combined with --embedded-mode", []string{app, "--enable-recorder", "--embedded-mode"}},
		{1, "--telemetry-service needs mod_wsgi 6.0.0 or newer", []string{app, "--telemetry-service", "unix:/run/x"}},
		{1, "--enable-telemetry needs mod_wsgi 6.0.0", []string{app, "--enable-telemetry"}},
		{1, "--slow-requests needs mod_wsgi 6.0.0", []string{app, "--slow-requests", "1"}},
		{1, "--interrupt-timeout needs mod_wsgi 6.0.0", []string{app, "--interrupt-timeout", "10"}},
		{1, "--response-flush-delay needs mod_wsgi 6.0.2", []string{app, "--response-flush-delay", "1"}},
		{1, "--free-threading needs mod_wsgi 6.0.0", []string{app, "--free-threading"}},
		{1, "--switch-interval needs mod_wsgi 6.0.0", []string{app, "--switch-interval", "0.1"}},
		{2, "not an extension", []string{app, "--add-handler", ".", app}},
		{1, "no such account", []string{app, "--service-script", "s", app, "--service-user", "s", "no-such-user"}},
		{2, "did you mean --processes?", []string{app, "--proceses", "2"}},
		{2, "--response-buffer-size", []string{app, "--proxy-buffer-size", "2"}},
		{2, "option --setenv: the value contains a line break", []string{app, "--setenv", "A", "x\nSetEnv B y"}},
		{2, "option --port", []string{app, "--port", "99999"}},
		{2, "one application", []string{app, "another"}},
		{1, "option --working-directory", []string{app, "--working-directory", "/nonexistent/x"}},
		{1, "option --log-level", []string{app, "--log-level", "nonsense"}},
	} {
		if _, since, ok := strings.Cut(c.want, "needs mod_wsgi "); ok && installed(t).atLeast(strings.Fields(since)[0]) {
			continue
		}
		args := append([]string{"start-server", "--port", port}, c.args...)
		refused(t, dir, c.code, c.want, append(args, asUser()...)...)
	}
	refused(t, dir, 1, "is in use by", append([]string{"start-server", app, "--port", taken, "--host", "127.0.0.1"}, asUser()...)...)
	if os.Geteuid() == 0 {
		refused(t, dir, 1, "option --user is required", "start-server", app, "--port", port)
		refused(t, dir, 1, "no such account", "start-server", app, "--port", port, "--user", "no-such-user")
		refused(t, dir, 1, "is root", "start-server", app, "--port", port, "--user", "#0")
		closed := filepath.Join(dir, "closed")
		if err := os.Mkdir(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		hidden := write(t, filepath.Join(closed, "app.py"), echoApp)
		refused(t, dir, 1, "the directory "+closed+" cannot be entered", "start-server", hidden, "--port", port, "--user", runUser())
	}
}

func TestServerRootOfSomebodyElse(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	base := shortDir(t)
	open := filepath.Join(base, "open")
	if err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777), os.Symlink(open, filepath.Join(base, "link"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"open": "can be written by others", "link": "is a symbolic link"} {
		out, err := command(t, append([]string{"setup-server", app, "--server-root", filepath.Join(base, name)}, asUser()...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if entries, _ := os.ReadDir(open); len(entries) != 0 {
		t.Errorf("%d files were written", len(entries))
	}
}

// TestSameRootAtTheSameTime: of several concurrent starts exactly one serves, whatever
// the moment.
func TestSameRootAtTheSameTime(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	root := filepath.Join(dir, "root")
	ended := make(chan string, 3)
	var all []*exec.Cmd
	for range 3 {
		args := append([]string{"start-server", app, "--host", "127.0.0.1", "--port", strconv.Itoa(freeport.Get(t)), "--server-root", root}, asUser()...)
		c := command(t, args...)
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		go func() { _ = c.Wait(); ended <- out.String() }()
	}
	for range 2 {
		select {
		case out := <-ended:
			if !strings.Contains(out, "already") {
				t.Errorf("one start ended differently: %s", out)
			}
		case <-time.After(20 * time.Second):
			t.Error("several servers with the same root")
		}
	}
	for _, c := range all {
		_ = c.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the serving one did not end")
	}
}

// TestSameRootTwice: the second server is refused, and the first one is undisturbed.
func TestSameRootTwice(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	s := start(t, dir, app)
	before, _ := os.ReadFile(filepath.Join(s.root, "httpd.conf"))
	args := append([]string{"start-server", app, "--port", strconv.Itoa(freeport.Get(t)), "--server-root", s.root}, asUser()...)
	// httpd answers a moment before it writes its PID file.
	eventually(t, "its PID file", func() bool {
		data, _ := os.ReadFile(filepath.Join(s.root, "httpd.pid"))
		return bytes.HasSuffix(data, []byte("\n")) // the file exists a moment before it contains the number
	})
	out, err := command(t, args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "an httpd already runs with the server root "+s.root+" (process ") {
		t.Errorf("%v\n%s", err, out)
	}
	if after, _ := os.ReadFile(filepath.Join(s.root, "httpd.conf")); !bytes.Equal(before, after) {
		t.Error("httpd.conf of the running server was changed")
	}
	s.environ("/")
}

// TestRefusedConfiguration: a configuration that httpd refuses leaves an existing
// server root unchanged.
func TestRefusedConfiguration(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	root := filepath.Join(shortDir(t), "r")
	args := append([]string{"setup-server", app, "--port", strconv.Itoa(freeport.Get(t)), "--server-root", root}, asUser()...)
	if out, err := command(t, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	read := func() (all string) {
		entries, _ := os.ReadDir(root)
		for _, e := range entries {
			data, _ := os.ReadFile(filepath.Join(root, e.Name()))
			all += e.Name() + ":" + string(data) + "\n"
		}
		return all
	}
	before := read()
	bad := write(t, filepath.Join(dir, "bad.conf"), "NoSuchDirective On\n")
	out, err := command(t, append(args, "--include-file", bad, "--mount-point", "/x")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "NoSuchDirective") {
		t.Errorf("%v\n%s", err, out)
	}
	if after := read(); after != before {
		t.Errorf("the server root was changed:\n%s\n%s", before, after)
	}
}

func TestModuleCommands(t *testing.T) {
	testEnv(t)
	out, err := command(t, "module-location").Output()
	location := strings.TrimSuffix(string(out), "\n")
	if _, serr := os.Stat(location); err != nil || serr != nil {
		t.Fatalf("%v %v %q", err, serr, out)
	}
	out, err = command(t, "module-config").Output()
	want := "LoadModule wsgi_module \"" + location + "\"\nWSGIPythonHome \""
	if lib := installed(t).library; lib != "" {
		want = "LoadFile \"" + lib + "\"\n" + want
	}
	if err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("%v\n%s", err, out)
	}
	for _, verb := range []string{"module-config", "module-location"} {
		var answer struct {
			Module     string   `json:"module"`
			Home       string   `json:"python_home"`
			Directives []string `json:"directives"`
		}
		lines, err := command(t, verb, "--json").Output()
		unmarshal(t, lines, &answer)
		if err != nil || strings.Count(string(lines), "\n") != 1 || answer.Module != location || answer.Home != filepath.Clean(testEnv(t)) || strings.Join(answer.Directives, "\n")+"\n" != string(out) {
			t.Errorf("%s: %v %s", verb, err, lines)
		}
	}
	dir := filepath.Join(t.TempDir(), `mo"d`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err = command(t, "install-module", "--modules-directory", dir).CombinedOutput()
	copied := filepath.Join(dir, filepath.Base(location))
	if err != nil || !strings.Contains(string(out), strings.ReplaceAll(copied, `"`, `\"`)) {
		t.Errorf("%v\n%s", err, out)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", info, err)
	}
	for _, args := range [][]string{{"module-config", "x"}, {}, {"nonsense"}, {"module-location", "--nonsense"}} {
		cmd := command(t, args...)
		if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "mod_wsgi-express: error: ") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// TestCalledThroughALink: the launcher is called by another name in another directory.
func TestCalledThroughALink(t *testing.T) {
	testEnv(t)
	link := filepath.Join(t.TempDir(), "serve")
	if err := os.Symlink(launcher(t), link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), link, "module-location")
	cmd.Env = []string{}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), filepath.Clean(testEnv(t))) {
		t.Errorf("%v\n%s", err, out)
	}
}
