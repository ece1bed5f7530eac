package modwsgi_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/testkit"
)

// scripts/quick lists the packages of a change and those that import them, in a small
// repository of its own.
func TestQuickChoosesPackages(t *testing.T) {
	if testing.Short() {
		t.Skip("the go command loads packages a dozen times")
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is missing")
	}
	dir := t.TempDir()
	script, err := os.ReadFile("scripts/quick")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Write(t, dir, map[string]string{
		"go.mod":                "module m\n\ngo 1.24\n",
		"m.go":                  "package m\n",
		"low/low.go":            "package low\n",
		"mid/mid.go":            "package mid\n\nimport _ \"m/low\"\n",
		"top/top.go":            "package top\n\nimport _ \"m/mid\"\n",
		"other/other.go":        "package other\n",
		"other/other_test.go":   "package other\n\nimport _ \"m/low\"\n",
		"low/testdata/case.txt": "1\n",
		"scripts/quick":         string(script),
		"scripts/tool/go.mod":   "module tool\n\ngo 1.24\n",
	})
	do := func(argv ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		c.Dir = dir
		c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GOFLAGS=", "GOWORK=off")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	commit := func(text string) {
		do("git", "add", "-A")
		do("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", text)
	}
	list := func() string { return do("sh", "scripts/quick", "-n") }
	do("git", "init", "-q", "-b", "main")
	commit("one")
	for _, c := range []struct{ name, file, text, want string }{
		{"a file of a package", "mid/mid.go", "package mid\n\nimport _ \"m/low\"\n\nvar X int\n", "m m/mid m/top"},
		{"data of a test, and importers in tests", "low/testdata/case.txt", "2\n", "m m/low m/mid m/other"},
		{"a page", "pages/page.txt", "text\n", "m"},
		{"Go files that are data of a test", "low/testdata/x/x.go", "package x\n", "m m/low m/mid m/other"},
		{"another module", "scripts/tool/main.go", "package main\n", "m"},
		{"settings of another module", "scripts/tool/go.sum", "", "m"},
		{"files for another system", "elsewhere/none_plan9.go", "package elsewhere\n", "m"},
	} {
		testkit.Write(t, dir, map[string]string{c.file: c.text})
		if got := list(); got != c.want {
			t.Errorf("%s, not committed: %s, want %s", c.name, got, c.want)
		}
		commit(c.name) // on main, the last commit counts
		if got := list(); got != c.want {
			t.Errorf("%s, committed: %s, want %s", c.name, got, c.want)
		}
	}
	do("git", "switch", "-q", "-c", "branch")
	testkit.Write(t, dir, map[string]string{"top/top.go": "package top\n"})
	commit("two")
	testkit.Write(t, dir, map[string]string{"other/new.go": "package other\n"})
	if got := list(); got != "m m/other m/top" {
		t.Errorf("a branch: %s", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "top")); err != nil { // a removed package is not listed
		t.Fatal(err)
	}
	if got := list(); got != "m m/other" {
		t.Errorf("a removed package: %s", got)
	}
	testkit.Write(t, dir, map[string]string{"go.mod": "module m\n\ngo 1.25\n"})
	if got := list(); got != "m m/low m/mid m/other" {
		t.Errorf("go.mod: %s, want everything", got)
	}
}
