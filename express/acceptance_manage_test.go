//go:build acceptance && unix

package express_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// manage runs a command for a server's instance.
func (s *server) manage(code int, want, verb string, args ...string) string {
	s.t.Helper()
	cmd := command(s.t, append([]string{verb, "--server-root", s.root}, args...)...)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), want) {
		s.t.Errorf("%s: exit code %d, want %d and %q\n%s", verb, got, code, want, out)
	}
	return string(out)
}

func TestManage(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	bad := write(t, filepath.Join(dir, "more.conf"), "")
	s := start(t, dir, app, "--include-file", bad)
	// httpd accepts connections a moment before it writes its PID file.
	eventually(t, "the PID file", func() bool {
		data, _ := os.ReadFile(filepath.Join(s.root, "httpd.pid"))
		return len(data) > 0
	})
	s.manage(0, "is running (process ", "status")
	var status struct {
		Running bool
		PID     int
		URL     string
	}
	unmarshal(t, []byte(s.manage(0, "{", "status", "--json")), &status)
	if !status.Running || status.PID < 2 || status.URL != "http://"+s.address()+"/" {
		t.Errorf("%+v", status)
	}
	before := s.environ("/")["pid"]
	write(t, bad, "NoSuchDirective On\n")
	s.manage(1, "NoSuchDirective", "reload")
	if now := s.environ("/")["pid"]; now != before {
		t.Error("a refused reload had an effect")
	}
	write(t, bad, "")
	s.manage(0, "reload", "reload")
	eventually(t, "another process", func() bool {
		status, body := s.get("/")
		var now map[string]any
		return status == 200 && json.Unmarshal([]byte(body), &now) == nil && now["pid"] != before
	})
	slow := make(chan string, 1)
	go func() {
		_, body := (&server{t: t, port: s.port, root: s.root}).get("/?sleep=1.5")
		slow <- body
	}()
	s.inside()
	s.manage(0, "has stopped", "stop")
	if body := <-slow; !strings.Contains(body, `"pid"`) {
		t.Errorf("the running request: %q", body)
	}
	<-s.done
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code of the launcher: %d", code)
	}
	s.gone()
	s.manage(3, "is not running", "status")
	s.manage(3, `"running":false`, "status", "--json")
	s.manage(1, "is not running", "stop")
	(&server{t: t, root: dir}).manage(1, "is not a server root", "status")
}

func TestShowConfig(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	root := filepath.Join(shortDir(t), "r")
	args := append([]string{app, "--server-root", root, "--port", strconv.Itoa(freeport.Get(t)), "--setenv", "A", "b c", "--access-log"}, asUser()...)
	out, err := command(t, append([]string{"show-config"}, args...)...).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Lstat(root); err == nil {
		t.Error("the server root was written")
	}
	lines := strings.Split(string(out), "\n")
	from := func(directive string) (origin string) {
		for _, line := range lines {
			if o, ok := strings.CutPrefix(line, "# "); ok {
				origin = o
			}
			if strings.HasPrefix(strings.TrimSpace(line), directive) {
				return origin
			}
		}
		return "missing"
	}
	for directive, want := range map[string]string{
		`SetEnv "A" "b c"`: "--setenv", "Listen ": "--port", "CustomLog": "--access-log --server-root",
		"LimitRequestBody": "--limit-request-body, by default", "ServerTokens": "always",
	} {
		if got := from(directive); got != want {
			t.Errorf("%s comes from %q, want %q", directive, got, want)
		}
	}
	if out, err := command(t, append([]string{"setup-server"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	written, _ := os.ReadFile(filepath.Join(root, "httpd.conf"))
	var plain []string
	for k, line := range lines {
		if k == 0 || !strings.HasPrefix(line, "# ") {
			plain = append(plain, line)
		}
	}
	if strings.Join(plain, "\n") != string(written) {
		t.Errorf("the output differs from the file:\n%s\n%s", out, written)
	}
}

func TestSystemdUnit(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "my $app 100%")
	app := write(t, filepath.Join(dir, "it's.py"), echoApp)
	cmd := command(t, "systemd-unit", "it's.py", "--user", runUser(), "--port", "80", "--setenv", "A", `q"uo\te %n $HOME`, "--processes", "2")
	var said strings.Builder
	cmd.Dir, cmd.Stderr = dir, &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(said.String(), "the unit contains the values of --setenv") {
		t.Errorf("no warning about secrets: %q", &said)
	}
	unit := string(out)
	for _, want := range []string{
		"\nUser=" + runUser() + "\n", "\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n", "\nNoNewPrivileges=yes\n", "\nProtectSystem=strict\n", "\nType=notify\n",
		`"--setenv=A" "q\"uo\\te %%n $$HOME"`, `"--processes=2"`, "\nRuntimeDirectoryMode=0700\n", `"` + strings.NewReplacer("%", "%%", "$", "$$").Replace(app) + `"`,
	} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit lacks %q:\n%s", want, unit)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze not found")
	}
	name := write(t, filepath.Join(t.TempDir(), "app.service"), unit)
	if text, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", name).CombinedOutput(); err != nil || strings.Contains(string(text), "app.service") {
		t.Errorf("systemd-analyze verify: %v\n%s\n%s", err, text, unit)
	}
}

func TestWaitReady(t *testing.T) {
	testEnv(t)
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), "import time\ntime.sleep(1)\n"+echoApp)
	// The socket that systemd would provide.
	socket := filepath.Join(shortDir(t), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	for _, mode := range []string{"--disable-reloading", "--embedded-mode", "--debug-mode"} {
		t.Run(mode, func(t *testing.T) {
			s := &server{t: t, port: freeport.Get(t), done: make(chan struct{}), root: filepath.Join(shortDir(t), "r")}
			s.cmd = command(t, append([]string{"start-server", app, mode, "--wait-ready", "--json", "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--server-root", s.root}, asUser()...)...)
			s.cmd.Env = append(s.cmd.Env, "NOTIFY_SOCKET="+socket)
			out, err := s.cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := s.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for _, want := range []string{"setup", "ready"} {
				if !lines.Scan() {
					t.Fatal("no further lines")
				}
				var event map[string]any
				if err := json.Unmarshal(lines.Bytes(), &event); err != nil || event["event"] != want || event["url"] != "http://"+s.address()+"/" {
					t.Errorf("%v %s", err, lines.Text())
				}
			}
			if took := time.Since(began); took < time.Second {
				t.Errorf("ready after %v, and the application takes a second", took)
			}
			s.environ("/") // at once
			buffer := make([]byte, 100)
			_ = systemd.SetReadDeadline(time.Now().Add(time.Minute))
			if n, err := systemd.Read(buffer); err != nil || string(buffer[:n]) != "READY=1" {
				t.Errorf("systemd received %q, %v", buffer[:n], err)
			}
			go func() { s.err = s.cmd.Wait(); close(s.done) }()
			s.stop()
		})
	}
	t.Run("hanging", func(t *testing.T) {
		s := begin(t, dir, write(t, filepath.Join(dir, "hangs.py"), "import time\ntime.sleep(1000)\n"), "--wait-ready", "--startup-timeout", "1")
		<-s.done
		if code := s.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(s.out.String(), "the application does not load within 1 seconds") {
			t.Errorf("exit code %d\n%s", code, s.out)
		}
	})
	t.Run("failing", func(t *testing.T) {
		broken := write(t, filepath.Join(dir, "broken.py"), "raise RuntimeError('no database')\n")
		s := begin(t, dir, broken, "--wait-ready")
		select {
		case <-s.done:
		case <-time.After(20 * time.Second):
			t.Fatal("the launcher does not end")
		}
		if code := s.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(s.out.String(), "the application does not load: RuntimeError: no database") {
			t.Errorf("exit code %d\n%s", code, s.out)
		}
		if strings.Contains(s.out.String(), "Ready ") {
			t.Errorf("%s", s.out)
		}
		s.gone()
	})
}

func TestSecretsAreNotListed(t *testing.T) {
	testEnv(t)
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("no proc file system")
	}
	dir := workDir(t, "")
	s := start(t, dir, write(t, filepath.Join(dir, "app.py"), echoApp), "--setenv", "TOKEN", "s3cr3t-one", "--setenv=OTHER", "s3cr3t-two", "--log-level", "debug")
	if env := s.environ("/"); env["TOKEN"] != "s3cr3t-one" || env["OTHER"] != "s3cr3t-two" {
		t.Errorf("%v %v", env["TOKEN"], env["OTHER"])
	}
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.cmd.Process.Pid))
	if strings.Contains(string(data), "s3cr3t") || !strings.Contains(string(data), "TOKEN\x00**********\x00") {
		t.Errorf("command line of the launcher: %q", data)
	}
	out, _ := exec.CommandContext(t.Context(), "pgrep", "-fa", "s3cr3t").Output()
	if strings.Contains(string(out), "httpd") || strings.Contains(s.log()+s.out.String(), "s3cr3t") {
		t.Errorf("%s\n%s", out, s.log())
	}
	for _, name := range []string{"httpd.conf", "settings.json", "instance.json", "apachectl"} {
		info, err := os.Stat(filepath.Join(s.root, name))
		if err != nil || info.Mode().Perm()&0o007 != 0 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
		if data, _ := os.ReadFile(filepath.Join(s.root, name)); name != "httpd.conf" && strings.Contains(string(data), "s3cr3t") {
			t.Errorf("%s contains the secret", name)
		}
	}
}
