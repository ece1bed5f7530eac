//go:build unix

package supervise

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/express/console"
	"modwsgi/express/host"
	"modwsgi/express/instance"
)

// Run waits for all children of its process, so each test runs it in a separate
// process: the test program again, with a shell script as httpd.

const scriptVariable = "SUPERVISE_TEST_HTTPD"

func TestMain(m *testing.M) {
	if path := os.Getenv(scriptVariable); path != "" {
		os.Exit(supervised(path))
	}
	os.Exit(m.Run())
}

// supervised runs the script as httpd and returns the exit code.
func supervised(path string) int {
	c := &console.Console{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	l := &instance.Launch{HTTPD: path, Argv0: path, Dir: "/", ErrorLog: "/the/log"}
	s := &Server{
		Launch: l, Console: c, Checks: &Checks{Launch: l, Environ: os.Environ()}, WaitReady: true,
		Announce: func() { c.Printf("announced\n") },
	}
	code, err := s.Run(context.Background())
	if err != nil {
		c.Fail(err)
	}
	return code
}

func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		script string
		code   int
		output string
	}{
		"exit code of httpd":        {"exit 7", 7, ""},
		"killed by a signal":        {"kill -KILL $$", 128 + 9, ""},
		"arguments":                 {"echo arguments: $@", 0, "arguments: -DFOREGROUND"},
		"application is loaded":     {"echo ready $$ >&3; exec 3>&-; sleep 0.3", 0, "announced\n"},
		"application does not load": {"trap 'exit 0' TERM; echo failed $$ no module app >&3; while :; do sleep 0.05; done", 1, "mod_wsgi-express: error: the application does not load: no module app\n    the complete error is in /the/log"},
	} {
		t.Run(name, func(t *testing.T) {
			code, output := superviseScript(t, tt.script)
			if code != tt.code || !strings.Contains(output, tt.output) {
				t.Errorf("exit code %d, output %q; want %d, %q", code, output, tt.code, tt.output)
			}
		})
	}
	if code, output := superviseProgram(t, filepath.Join(t.TempDir(), "missing")); code != 1 || !strings.Contains(output, "error: start ") {
		t.Errorf("an httpd that does not exist: %d %q", code, output)
	}
}

func superviseScript(t *testing.T, script string) (code int, output string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "httpd")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return superviseProgram(t, path)
}

func superviseProgram(t *testing.T, path string) (code int, output string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), scriptVariable+"="+path)
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestEnd: a process that ignores the first signals gets more of them, and a process
// that ignores all of them is reported as not stopped.
func TestEnd(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "httpd.conf")
	start := func(script string) *host.Process {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script, "-f", conf)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		if _, err := fmt.Fscanln(out, new(string)); err != nil { // its trap is set
			t.Fatal(err)
		}
		proc, err := host.Identify(cmd.Process.Pid, &host.HTTPD{Program: "/bin/sh", Args: []string{"-f", conf}})
		if err != nil || proc == nil {
			t.Skipf("processes cannot be identified: %v", err)
		}
		t.Cleanup(proc.Release)
		return proc
	}
	never := func() bool { return false }
	patient := start("n=0; trap 'n=$((n+1)); [ $n -lt 2 ] || exit 0' TERM; echo trapped; while :; do sleep 0.02; done")
	if ended, err := end(t.Context(), patient, host.Terminate, time.Minute, never); !ended || err != nil {
		t.Errorf("ended %v, %v", ended, err)
	}
	deaf := start("trap '' TERM; echo trapped; while :; do sleep 0.02; done")
	if ended, err := end(t.Context(), deaf, host.Terminate, 300*time.Millisecond, never); ended || err != nil {
		t.Errorf("a process that ignores the signal: ended %v, %v", ended, err)
	}
	if ended, err := end(t.Context(), deaf, host.Terminate, time.Minute, func() bool { return true }); !ended || err != nil {
		t.Errorf("enough: ended %v, %v", ended, err)
	}
}
