package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/otheruser"
)

// TestRootExecutesNoProgramOfOthers puts a program into directories of PATH that another
// user can write to, before the right one.
func TestRootExecutesNoProgramOfOthers(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	dir := func(name string, mode fs.FileMode) string {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "tool"), []byte("#!/bin/sh\necho "+name+"; echo \"$PATH\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, theirs, loose := dir("good", 0o755), dir("theirs", 0o755), dir("loose", 0o777)
	below, sticky, group := dir("home/bin", 0o755), dir("sticky", 0o777|fs.ModeSticky), dir("group", 0o775)
	otheruser.Give(t, theirs, filepath.Dir(below))
	if err := os.Chown(group, 0, otheruser.GID); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(top, "link")
	if err := os.Symlink("theirs", link); err != nil {
		t.Fatal(err)
	}
	groupThenTheirs := dir("group/bin", 0o755)
	otheruser.Give(t, groupThenTheirs)
	for _, bad := range []string{theirs, loose, below, sticky, link, groupThenTheirs} {
		env := []string{"PATH=" + bad + ":" + good}
		if got, err := LookPath("tool", env); err != nil || got != filepath.Join(good, "tool") {
			t.Errorf("%s: %s, %v", bad, got, err)
		}
		out, err := (&Runner{}).Output(t.Context(), Cmd{Argv: []string{"tool"}, Env: env})
		if err != nil || string(out) != "good\n"+good+"\n" { // its own tools are looked for there, too
			t.Errorf("%s: %q, %v", bad, out, err)
		}
		_, err = LookPath("tool", []string{"PATH=" + bad})
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "ignored for root") || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s alone: %v", bad, err)
		}
		if found := UntrustedPath(env); len(found) != 1 || found[bad] == nil {
			t.Errorf("%s: %v", bad, found)
		}
	}
	if got, err := LookPath("tool", []string{"PATH=" + group}); err != nil || got != filepath.Join(group, "tool") {
		t.Errorf("a group of root's: %s, %v", got, err)
	}
	if got := TrustedPath([]string{"A=1", "PATH=.:" + top + "/missing:" + good + ":" + theirs}); strings.Join(got, " ") != "A=1 PATH="+good {
		t.Errorf("%q", got)
	}
}

// TestOrdinaryUsersKeepTheirPath: only root is protected from others here.
func TestOrdinaryUsersKeepTheirPath(t *testing.T) {
	was := asRoot
	t.Cleanup(func() { asRoot = was })
	asRoot = func() bool { return false }
	if got := TrustedPath([]string{"PATH=rel:/tmp:/missing"}); got[0] != "PATH=rel:/tmp:/missing" {
		t.Errorf("%q", got)
	}
	if found := UntrustedPath([]string{"PATH=/tmp"}); len(found) != 0 {
		t.Errorf("%v", found)
	}
}

func BenchmarkLookPathAsRoot(b *testing.B) {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			judged.Clear()
			_ = TrustedPath(env)
		}
	})
	b.Run("later", func(b *testing.B) {
		for b.Loop() {
			_ = TrustedPath(env)
		}
	})
}
