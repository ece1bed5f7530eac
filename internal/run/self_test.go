package run

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

// TestCalledPath: without /proc, a program finds itself by the name that it was called by.
func TestCalledPath(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "bin", "program")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for called, want := range map[string]string{
		program: program, "bin/program": program, "./bin/../bin/program": program, "program": program,
		"other": "", "bin/other": "", "": "", dir: "",
	} {
		if got := calledPath(called, []string{"PATH=/no/such:" + filepath.Join(dir, "bin")}); got != want {
			t.Errorf("called %q: %q, want %q", called, got, want)
		}
	}
	if got := calledPath("program", nil); got != "" {
		t.Errorf("without PATH: %q", got)
	}
	if own, err := os.Executable(); err != nil || Executable("anything", nil) != own {
		t.Errorf("%q, %v", Executable("anything", nil), err)
	}
}

func TestWithPath(t *testing.T) {
	if got := WithPath([]string{"HOME=/x"}); len(got) != 2 || !strings.Contains(Getenv(got, "PATH"), "/usr/bin:") {
		t.Errorf("unset: %q", got)
	}
	for _, env := range [][]string{{"PATH="}, {"PATH=/opt/bin", "HOME=/x"}} {
		if got := WithPath(env); !slices.Equal(got, env) {
			t.Errorf("%q: %q", env, got)
		}
	}
	given := make([]string, 1, 2)
	given[0] = "HOME=/x"
	WithPath(given)
	if given[:2][1] != "" {
		t.Error("the caller's list was changed")
	}
}

func TestCheckProc(t *testing.T) {
	if err := CheckProc(); err != nil {
		t.Errorf("here: %v", err)
	}
	if err := checkProc(t.TempDir()); fault.ClassOf(err) != fault.Environment || !strings.Contains(fault.HintOf(err), "mount -t proc") {
		t.Errorf("without: %v", err)
	}
}
