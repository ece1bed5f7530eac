//go:build unix

package run

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tools is the variable with the script that this test binary runs as a tool instead of
// the tests; it is then the process to kill.
const tools = "MODWSGI_RUN_TEST_TOOL"

func TestMain(m *testing.M) {
	stop := Guard()
	if script := os.Getenv(tools); script != "" {
		var r Runner
		_ = r.Run(context.Background(), Cmd{Argv: []string{"sh", "-c", script}, Env: testEnv, Log: os.Stdout})
		os.Exit(0)
	}
	code := m.Run()
	stop()
	os.Exit(code)
}

// gone waits until a process has ended; a zombie counts as ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if _, state, ok := strings.Cut(string(stat), ") "); err == nil && ok && state[0] == 'Z' {
			return
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// killed starts a process with a tool whose script prints count process ids, one per
// line, and then kills it.
func killed(t *testing.T, script string, count int, kill func(pid int)) []int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), tools+"="+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	lines := bufio.NewScanner(out)
	for len(pids) < count && lines.Scan() {
		pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != count {
		t.Fatalf("got %v", pids)
	}
	kill(cmd.Process.Pid)
	_ = cmd.Wait()
	return pids
}

// The tools of a killed process end, and their children too: of a compiler only the
// driver would end by itself.
func TestKilledProcessLeavesNoTools(t *testing.T) {
	t.Parallel()
	const compiler = "sleep 600 & echo $!; echo $$; wait; sleep 600"
	const stubborn = `sh -c 'trap "" TERM; echo $$; while :; do sleep 600; done' & echo $$; wait; sleep 600`
	alone := func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }
	group := func(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // as timeout and shells do
	for name, tt := range map[string]struct {
		script string
		kill   func(int)
	}{
		"compiler":               {compiler, alone},
		"compiler, whole group":  {compiler, group},
		"without heeding a TERM": {stubborn, alone},
		"stopped":                {"sleep 600 & echo $!; echo $$; kill -STOP $!; wait; sleep 600", alone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, pid := range killed(t, tt.script, 2, tt.kill) {
				gone(t, pid)
			}
		})
	}
}

// A killed guard is replaced, and the new one knows what the first one knew.
func TestGuardIsReplaced(t *testing.T) {
	var r Runner
	p, err := r.Start(t.Context(), Cmd{Argv: []string{"sleep", "600"}, Env: testEnv})
	if err != nil {
		t.Fatal(err)
	}
	guard.mu.Lock()
	first := guard.cmd.Process
	guard.mu.Unlock()
	_ = first.Kill()
	_, _ = first.Wait()
	if err := r.Run(t.Context(), Cmd{Argv: []string{"true"}, Env: testEnv}); err != nil {
		t.Fatal(err)
	}
	guard.mu.Lock()
	second, known := guard.cmd, guard.groups[p.PID()]
	guard.mu.Unlock()
	if second == nil || second.Process.Pid == first.Pid || !known {
		t.Fatalf("after the first guard there is %v, which knows of the tool: %v", second, known)
	}
	_ = p.Signal(syscall.SIGKILL)
	_ = p.Wait()
}

func TestWatchEndsOnlyReportedGroups(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no tool")
	}
	t.Parallel()
	start := func() *exec.Cmd {
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	ended, left := start(), start()
	groups := map[int]bool{left.Process.Pid: true}
	read := strings.NewReader("+" + strconv.Itoa(ended.Process.Pid) + "\n-" + strconv.Itoa(ended.Process.Pid) +
		"\n+" + strconv.Itoa(left.Process.Pid) + "\n+1\n+0\n+-5\nnonsense\n\n")
	if got := readGroups(read); len(got) != 1 || !got[left.Process.Pid] {
		t.Fatalf("got %v", got)
	}
	endGroups(groups, 50*time.Millisecond) // the test must reap it, so it stays in the group until then
	if err := left.Wait(); err == nil {
		t.Error("it ended by itself")
	}
	if err := syscall.Kill(ended.Process.Pid, 0); err != nil {
		t.Errorf("one that had ended was ended: %v", err)
	}
}
