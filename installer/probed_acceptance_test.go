//go:build acceptance

package installer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/run"
)

// TestCompilerIsTriedOnce: the builds of one run try a compiler once, and each Python and
// a compiler that has changed since.
func TestCompilerIsTriedOnce(t *testing.T) {
	real, err := run.LookPath("cc", os.Environ())
	if err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	dir := t.TempDir()
	calls, cc := filepath.Join(dir, "calls"), filepath.Join(dir, "cc")
	script := "#!/bin/sh\necho \"$*\" >>" + run.Quote(calls) + "\nexec " + real + " \"$@\"\n"
	if err := os.WriteFile(cc, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	at := Setting{Runner: &run.Runner{}, Dir: dir, Env: append(os.Environ(), "CC="+cc), Probed: &Probed{}}
	plan := func(python string) (*Plan, int) {
		t.Helper()
		_ = os.Remove(calls)
		q := Request{
			Wish:  Wish{Python: python},
			Means: Means{Setting: at, CacheDir: filepath.Join(dir, "cache"), Offline: true, ToolsDir: os.Getenv("MODWSGI_TEST_BIN")},
		}
		p, err := q.StagePlan(t.Context(), q.Means)
		if err != nil {
			t.Fatal(err)
		}
		said, _ := os.ReadFile(calls)
		return p, strings.Count(string(said), "\n")
	}
	first, many := plan("/usr/bin/python3")
	if many < 10 {
		t.Fatalf("the compiler ran %d times: nothing was tried", many)
	}
	again, none := plan("/usr/bin/python3")
	if none != 0 {
		t.Errorf("the compiler ran again, %d times", none)
	}
	if again.Host.HTTPD == nil || again.Host.HTTPD.Toolchain != again.Host.Tools || again.Host.Tools.Compiler != first.Host.Tools.Compiler || again.Host == first.Host {
		t.Errorf("%+v, then %+v", first.Host, again.Host)
	}
	others, _ := filepath.Glob("/root/.pyenv/versions/3.1?.*/bin/python3")
	if len(others) > 0 {
		if _, few := plan(others[0]); few < 1 || few > 3 {
			t.Errorf("for another Python, the compiler ran %d times", few)
		}
	} else {
		t.Log("NOT TESTED: another Python")
	}
	if err := os.Chtimes(cc, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, changed := plan("/usr/bin/python3"); changed < 10 {
		t.Errorf("the compiler has changed, and ran %d times", changed)
	}
}
