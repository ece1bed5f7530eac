package installer

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/otheruser"
)

// passwdHome is the original cachedir.OwnHome.
var passwdHome = cachedir.OwnHome

// TestPlanWritesNothing: --dry-run promises it, for a HOME and a TMPDIR of another user
// and for the cache used instead.
func TestPlanWritesNothing(t *testing.T) {
	otheruser.Need(t)
	env := python(t)
	top := otheruser.Dir(t)
	write(t, top, map[string]string{"home/": "", "tmp/": "", "root/": "", "bin/mod_wsgi-express": "x", "work/": ""})
	own := top + "/root"
	cachedir.OwnHome = func() string { return own }
	defer func(f func() string) { cachedir.OwnHome = f }(passwdHome)
	otheruser.Give(t, top+"/home", top+"/tmp")
	q := request(t)
	q.CacheDir, q.Python, q.ToolsDir, q.Dir = "", env, top+"/bin", top+"/work"
	q.HTTPD = "bundled"
	q.Env = append(q.Env, "HOME="+top+"/home", "TMPDIR="+top+"/tmp")
	before := snapshot(t, top, env)
	if _, err := MakePlan(t.Context(), q); err != nil {
		t.Skipf("needs a compiler: %v", err)
	}
	unchanged(t, before, snapshot(t, top, env))
}

// snapshot has a line for everything below the directories, with mode, owner, size, and
// for anything but directories the time of change.
func snapshot(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			st := info.Sys().(*syscall.Stat_t)
			line := fmt.Sprint(info.Mode(), st.Uid)
			if !d.IsDir() {
				line += fmt.Sprint(" ", info.Size(), st.Mtim)
			}
			out[path] = line
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func unchanged(t *testing.T, before, after map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(before)) {
		if after[path] != before[path] {
			t.Errorf("%s was %s, is %q", path, before[path], after[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if before[path] == "" {
			t.Errorf("%s was made", path)
		}
	}
}

func symlink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
