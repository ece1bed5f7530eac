//go:build unix

package run

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var testEnv = []string{"PATH=/usr/bin:/bin"}

func TestRunReportsExitCodeAndTail(t *testing.T) {
	var log bytes.Buffer
	var r Runner
	err := r.Run(t.Context(), Cmd{
		Argv: []string{"sh", "-c", "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); done; exit 7"},
		Env:  testEnv, Log: &log, LogPath: "/some/log",
	})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want *Error", err)
	}
	if e.ExitCode != 7 || e.LogPath != "/some/log" || len(e.Tail) != tailLines || e.Tail[tailLines-1] != "line 39" {
		t.Errorf("got %+v", e)
	}
	if !strings.HasPrefix(log.String(), "line 0\n") {
		t.Errorf("log starts with %.20q", log.String())
	}
}

func TestEnvironmentIsExplicit(t *testing.T) {
	t.Setenv("LEAK", "1")
	var r Runner
	out, err := r.Output(t.Context(), Cmd{Argv: []string{"env"}, Env: append(testEnv, "A=b")})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "LEAK") || !strings.Contains(string(out), "A=b\n") {
		t.Errorf("environment of the tool:\n%s", out)
	}
}

func TestMissingProgram(t *testing.T) {
	var r Runner
	err := r.Run(t.Context(), Cmd{Argv: []string{"no-such-program"}, Env: testEnv})
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestCancelEndsTheWholeGroup(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	ctx, cancel := context.WithCancelCause(t.Context())
	var r Runner
	p, err := r.Start(ctx, Cmd{Argv: []string{"sh", "-c", "(sleep 1; echo late >" + mark + ") & echo up; wait"}, Env: testEnv})
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	cancel(stop)
	if err := p.Wait(); !errors.Is(err, stop) {
		t.Errorf("Wait returned %v, want the cause", err)
	}
	time.Sleep(1500 * time.Millisecond) // the child would write a second after its start; nothing may happen in the meantime
	if _, err := os.Stat(mark); err == nil {
		t.Error("a child of the cancelled tool went on")
	}
}

func TestEchoQuotes(t *testing.T) {
	var echo bytes.Buffer
	r := Runner{Echo: &echo}
	if err := r.Run(t.Context(), Cmd{Argv: []string{"true", "a b", "it's", ""}, Env: testEnv, Dir: "/"}); err != nil {
		t.Fatal(err)
	}
	if got, want := echo.String(), `+ (cd / && true 'a b' 'it'\''s' '')`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOutputIsBounded(t *testing.T) {
	var r Runner
	out, err := r.Output(t.Context(), Cmd{Argv: []string{"head", "-c", "17825792", "/dev/zero"}, Env: testEnv})
	if err == nil || len(out) != MaxOutput {
		t.Errorf("got %d bytes and %v", len(out), err)
	}
}

func TestAccountThatMayReadEverything(t *testing.T) {
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root can run tools as another user")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	program, secret := filepath.Join(dir, "cat"), filepath.Join(dir, "secret")
	data, err := os.ReadFile("/bin/cat")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secret, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	var r Runner
	a := &Account{UID: 65534, GID: 65534, ReadAll: true}
	out, err := r.Output(t.Context(), Cmd{Argv: []string{program, secret}, Dir: "/", Account: a})
	if err != nil || string(out) != "text" {
		t.Errorf("with ReadAll: %q, %v", out, err)
	}
	a.ReadAll = false
	if _, err := r.Output(t.Context(), Cmd{Argv: []string{"/bin/cat", secret}, Dir: "/", Account: a}); err == nil {
		t.Error("without ReadAll the file was read")
	}
	if out, err := r.Output(t.Context(), Cmd{Argv: []string{"/usr/bin/id", "-u"}, Dir: "/", Account: a}); err != nil || string(out) != "65534\n" {
		t.Errorf("id: %q, %v", out, err)
	}
	for readAll, want := range map[bool]string{
		false: "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n",
		true:  "CapInh:\t0000000000000004\nCapPrm:\t0000000000000004\nCapEff:\t0000000000000004\n",
	} {
		a := &Account{UID: 65534, GID: 65534, ReadAll: readAll}
		out, err := r.Output(t.Context(), Cmd{Argv: []string{"/bin/cat", "/proc/self/status"}, Dir: "/", Account: a})
		if err != nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "\nNoNewPrivs:\t1\n") || !strings.Contains(string(out), "\nGroups:\t \n") {
			t.Errorf("ReadAll %v: %v\n%s", readAll, err, out)
		}
	}
	// The threads that started these are not used for anything else.
	out, err = r.Output(t.Context(), Cmd{Argv: []string{"/bin/cat", "/proc/self/status"}, Dir: "/"})
	if err != nil || !strings.Contains(string(out), "\nNoNewPrivs:\t0\n") {
		t.Errorf("a tool of root: %v\n%s", err, out)
	}
	closed, err := a.Closed("/etc/passwd", "/no/such", secret, "/etc/shadow")
	if err != nil || closed != secret {
		t.Errorf("closed is %q, %v", closed, err)
	}
	if closed, err := a.Closed("/etc/passwd", "/"); err != nil || closed != "" {
		t.Errorf("closed is %q, %v", closed, err)
	}
}

// Without the narrow capability nothing is started, and the wide one is not given.
func TestWideCapabilityIsNotPassedOn(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no tool")
	}
	const inner = "MODWSGI_TEST_WITHOUT_CAPABILITY"
	if os.Getenv(inner) == "" {
		if os.Geteuid() != 0 || runtime.GOOS != "linux" {
			t.Skip("only root can run tools as another user")
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		var r Runner
		out, err := r.Output(t.Context(), Cmd{
			Argv: []string{"setpriv", "--bounding-set=-dac_read_search", self, "-test.run=^TestWideCapabilityIsNotPassedOn$", "-test.v"},
			Env:  append(os.Environ(), inner+"=1"),
		})
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if CanReadAll() || !CanSwitch() {
		t.Errorf("CanReadAll is %v, CanSwitch is %v", CanReadAll(), CanSwitch())
	}
	var r Runner
	out, err := r.Output(t.Context(), Cmd{Argv: []string{"/bin/cat", "/etc/shadow"}, Dir: "/", Account: &Account{UID: 65534, GID: 65534, ReadAll: true}})
	if err == nil || !strings.Contains(err.Error(), "CAP_DAC_READ_SEARCH") || len(out) > 0 {
		t.Errorf("%q, %v", out, err)
	}
}

// The meaning of "." or "bin" in a PATH depends on where a tool runs, which may be a
// directory with strangers' files.
func TestRelativeDirectoriesOfPATHDoNotCount(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tool", "bin/tool"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, path := range []string{".", "", "bin", "./bin", ":", "..:."} {
		if got, err := LookPath("tool", []string{"PATH=" + path}); err == nil {
			t.Errorf("PATH=%s found %s", path, got)
		}
	}
	// Nor may a name be looked up in this process's PATH.
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	if got, err := LookPath("tool", []string{"PATH=."}); err == nil {
		t.Errorf("found %s in the PATH of this process", got)
	}
	if got, err := LookPath("tool", []string{"PATH=.:" + filepath.Join(dir, "bin")}); err != nil || got != filepath.Join(dir, "bin/tool") {
		t.Errorf("got %s, %v", got, err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// A log that cannot be written must neither end the tool nor hide its output.
func TestFullLog(t *testing.T) {
	var r Runner
	mark := filepath.Join(t.TempDir(), "mark")
	script := "echo one; echo two; echo >" + mark
	if err := r.Run(t.Context(), Cmd{Argv: []string{"sh", "-c", script}, Env: testEnv, Log: fullDisk{}}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	err := r.Run(t.Context(), Cmd{Argv: []string{"sh", "-c", script + "; exit 1"}, Env: testEnv, Log: fullDisk{}})
	var e *Error
	if !errors.As(err, &e) || len(e.Tail) != 3 || e.Tail[1] != "two" || !strings.Contains(e.Tail[2], "no space left on device") {
		t.Errorf("got %+v", e)
	}
}

func TestStartWithAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	var r Runner
	if err := r.Run(ctx, Cmd{Argv: []string{"true"}, Env: testEnv}); !errors.Is(err, stop) {
		t.Errorf("got %v, want the cause", err)
	}
}
