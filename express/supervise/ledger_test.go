package supervise

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"modwsgi/express/host"
)

func TestParseReport(t *testing.T) {
	for line, want := range map[string]report{
		"ready 12":                  {"ready", 12, ""},
		"failed 7 E: a b":           {"failed", 7, "E: a b"},
		"stopping 9 killed":         {"stopping", 9, "killed"},
		"failed 7 a\x1b[2J\u009b\r": {"failed", 7, "a\ufffd[2J\ufffd\ufffd"},
		"failed 7 \xff":             {"failed", 7, "\ufffd"},
		"ready":                     {},
		"ready x":                   {},
		"ready -1":                  {},
		"ready 0":                   {},
		"other 12":                  {},
		"":                          {},
		"ready 1e3":                 {},
		"failed  7 two spaces":      {},
	} {
		got, ok := parseReport(line)
		if got != want || ok != (want != report{}) {
			t.Errorf("%q: %+v, %v", line, got, ok)
		}
	}
}

// itself is this process as an httpd.
type itself struct{ httpd }

func (itself) PID() int { return os.Getpid() }

func TestReasonOf(t *testing.T) {
	for text, want := range map[string]string{
		"maximum_requests": "maximum_requests", "": endUnknown, "a b": endUnknown, "x\"}": endUnknown, "A": endUnknown, strings.Repeat("a", 33): endUnknown,
	} {
		if got := reasonOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// sleeper is a process that ends with the test.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// TestLedger: the state follows the last processes, and each end is counted once, with
// its reason. Processes of an httpd that was replaced end with it.
func TestLedger(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are known on Linux")
	}
	l, g, old := newLedger(), &generation{httpd: itself{}}, &generation{httpd: itself{}}
	state := func(want host.State) {
		t.Helper()
		if got := l.state(g); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	state(host.Starting)
	begin := func(g *generation, kind, text string) *exec.Cmd {
		t.Helper()
		p := sleeper(t)
		l.note(g, report{kind, p.Process.Pid, text})
		return p
	}
	end := func(p *exec.Cmd) {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	bad := begin(g, "failed", "E: x")
	state(host.Failed)
	first := begin(g, "ready", "")
	state(host.Ready)
	end(bad)
	l.note(g, reportOfEnd(first, "restart_interval"))
	end(first)
	state(host.Starting)
	if l.failure(g) != "" {
		t.Errorf("the failure before the success: %q", l.failure(g))
	}
	last := begin(old, "ready", "")
	old.leaves.Store(true)
	end(last)
	l.note(g, report{"stopping", os.Getpid(), "x"}) // unknown before
	l.note(g, report{"ready", 1, ""})               // another program
	l.note(g, report{"ready", 1 << 30, ""})         // does not exist
	ends, counts, loaded := l.history()
	if len(ends) != 2 || counts[endKilled] != 1 || counts["restart_interval"] != 1 || len(counts) != 2 || len(loaded) != 0 {
		t.Errorf("%v %v %v", ends, counts, loaded)
	}
	for range mostEnds + 5 {
		end(begin(g, "ready", ""))
	}
	if ends, counts, _ := l.history(); len(ends) != mostEnds || counts[endKilled] != mostEnds+6 {
		t.Errorf("%d ends are kept, %v counted", len(ends), counts)
	}
}

func reportOfEnd(p *exec.Cmd, why string) report { return report{"stopping", p.Process.Pid, why} }
