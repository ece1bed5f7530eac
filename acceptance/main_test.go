//go:build acceptance

// Package acceptance tests the programs as users run them, with the real compiler,
// httpd, Python, pip and apt. scripts/run-tests prepares it.
//
// Long tests run in parallel (t.Parallel) unless they use a fixed port, as Apache from
// a package does, or inspect what is left on the whole machine.
package acceptance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/freeport"
)

// setting returns a setting that scripts/run-tests prepared.
func setting(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Skipf("%s is not set: run make acceptance", name)
	}
	return v
}

// program is the path of one of our programs.
func program(t *testing.T, name string) string {
	return filepath.Join(setting(t, "MODWSGI_TEST_BIN"), name)
}

// workdir is a directory that the serving account can reach, optionally with an odd
// name. (t.TempDir is closed to other users.)
func workdir(t *testing.T, name string) string {
	t.Helper()
	base, err := os.MkdirTemp("/var/tmp", "modwsgi-acceptance-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(base, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bareEnv is the environment of a caller without any setup: no activated environment,
// and none of modwsgi's programs on PATH.
func bareEnv(more ...string) []string {
	home := os.Getenv("HOME")
	return append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "LANG=C.UTF-8"}, more...)
}

// result is a finished program.
type result struct {
	stdout, stderr string
	code           int
	elapsed, cpu   time.Duration // of the program and the children that it waited for
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\n--- stdout\n%s--- stderr\n%s", r.code, r.stdout, r.stderr)
}

// command runs a program to its end.
func command(t *testing.T, dir string, env []string, argv ...string) result {
	t.Helper()
	// A release for all platforms takes that long on a machine without a warm build
	// cache.
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir, c.Env = dir, env
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 10 * time.Second
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	start := time.Now()
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	p := c.ProcessState
	return result{out.String(), errOut.String(), p.ExitCode(), time.Since(start), p.UserTime() + p.SystemTime()}
}

// must is command for one that has to succeed.
func must(t *testing.T, dir string, env []string, argv ...string) result {
	t.Helper()
	r := command(t, dir, env, argv...)
	if r.code != 0 {
		t.Fatalf("%s: %v", strings.Join(argv, " "), r)
	}
	return r
}

// install runs modwsgi install with the tests' cache.
func install(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return command(t, dir, bareEnv(), installArgs(t, args...)...)
}

func installArgs(t *testing.T, args ...string) []string {
	argv := []string{program(t, "modwsgi"), "install", "--cache-dir", setting(t, "MODWSGI_TEST_CACHE")}
	if !slices.Contains(args, "--httpd") {
		argv = append(argv, "--httpd", "bundled") // contents of the build cache
	}
	return append(argv, args...)
}

// hello is an application that reports where it runs.
const hello = `import json, os, sys, sysconfig

def application(environ, start_response):
    body = json.dumps({"prefix": sys.prefix, "version": "%d.%d" % sys.version_info[:2], "path": environ["PATH_INFO"],
                       "express": os.environ.get("MOD_WSGI_EXPRESS"), "soabi": sysconfig.get_config_var("SOABI"),
                       "locked": getattr(sys, "_is_gil_enabled", lambda: True)()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
`

type answer struct {
	Prefix, Version, Path, Express, SOABI string
	Locked                                bool // by the global interpreter lock
}

// serve starts the launcher of an environment with the application, gets one answer
// and stops it. The port must be free again afterwards.
func serve(t *testing.T, env string, args ...string) answer {
	t.Helper()
	dir := workdir(t, "app")
	script := filepath.Join(dir, "hello.wsgi")
	if err := os.WriteFile(script, []byte(hello), 0o644); err != nil {
		t.Fatal(err)
	}
	port := freeport.Get(t)
	argv := []string{"start-server", script, "--host", "127.0.0.1", "--port", fmt.Sprint(port), "--server-root", filepath.Join(dir, "root")}
	if os.Geteuid() == 0 {
		argv = append(argv, "--user", "nobody", "--group", "nogroup")
	}
	c := exec.CommandContext(t.Context(), filepath.Join(env, "bin/mod_wsgi-express"), append(argv, args...)...)
	c.Dir, c.Env = dir, bareEnv()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	body, err := get(port, "/some/path", ended)
	_ = c.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = c.Process.Kill()
		t.Errorf("the launcher did not end on SIGTERM")
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "root/error_log"))
		t.Fatalf("no answer: %v\n%s\n%s", err, out.String(), log)
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Errorf("the port is not free afterwards: %v", err)
	} else {
		_ = l.Close()
	}
	return a
}

// get retries until there is an answer, for up to 30 seconds, or until the server has
// ended.
func get(port int, path string, ended <-chan error) ([]byte, error) {
	client := http.Client{Timeout: 30 * time.Second}
	var last error
	for range 300 {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the launcher ended: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
		if err != nil {
			last = err
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			return nil, fmt.Errorf("%s: %s %v", resp.Status, body, err)
		}
		return body, nil
	}
	return nil, last
}

// snapshot lists a tree with modes and contents, for comparisons.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %x", len(data), fnv(data))
		case d.Type()&fs.ModeSymlink != 0:
			link, _ := os.Readlink(path)
			text += " -> " + link
		}
		out[rel] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func fnv(data []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range data {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// differences lists what differs, ignoring byte-compiled files.
func differences(a, b map[string]string) []string {
	var out []string
	note := func(k string) {
		if !strings.Contains(k, "__pycache__") {
			out = append(out, k)
		}
	}
	for k, v := range a {
		if b[k] != v {
			note(fmt.Sprintf("%s: %q, then %q", k, v, b[k]))
		}
	}
	for k, v := range b {
		if _, ok := a[k]; !ok {
			note(fmt.Sprintf("%s: new (%s)", k, v))
		}
	}
	slices.Sort(out)
	return out
}

// untilStep starts an install, kills it when a step begins (after a moment), and
// reports whether that step was seen.
func untilStep(t *testing.T, dir, step string, after time.Duration, args ...string) bool {
	t.Helper()
	c := exec.CommandContext(t.Context(), args[0], append(args[1:], "--json")...)
	c.Dir, c.Env = dir, bareEnv()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	seen := false
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Event, Step string }
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Event == "start" && strings.HasPrefix(e.Step, step) && !seen {
			seen = true
			time.Sleep(after)
			_ = c.Process.Kill()
		}
	}
	_ = c.Wait()
	return seen
}
