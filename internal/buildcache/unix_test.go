//go:build unix

package buildcache

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/flock"
)

// A server that runs as another user reads a tree.
func TestUmaskDoesNotMatter(t *testing.T) {
	from, dest := tree(t), filepath.Join(t.TempDir(), "dest")
	c := Cache{Dir: t.TempDir()}
	defer syscall.Umask(syscall.Umask(0o077))
	if err := c.Store(t.Context(), key, from, About{}); err != nil {
		t.Fatal(err)
	}
	if hit, err := c.Restore(t.Context(), key, dest); !hit || err != nil {
		t.Fatal(hit, err)
	}
	for name, want := range map[string]fs.FileMode{".": 0o755, "bin": 0o755, "a b": 0o755, "bin/httpd": 0o755, "a b/ü.txt": 0o644} {
		info, err := os.Stat(filepath.Join(dest, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestRestoreLeavesWhatIsThere(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	if err := c.Store(t.Context(), key, tree(t), About{}); err != nil {
		t.Fatal(err)
	}
	mine := tree(t)
	if hit, err := c.Restore(t.Context(), key, mine); hit || err == nil {
		t.Errorf("got %v, %v", hit, err)
	}
	if _, err := os.Stat(filepath.Join(mine, "bin/httpd")); err != nil {
		t.Error(err)
	}
}

func TestHostileEntries(t *testing.T) {
	for name, replace := range map[string][2]string{
		"absolute":        {`"bin/httpd"`, `"/tmp/modwsgi-evil/x"`},
		"parent":          {`"bin/httpd"`, `"../../x/y"`},
		"set-user-id":     {`"mode":493`, `"mode":12583405`}, // fs.ModeSetuid and fs.ModeSetgid with 0755
		"through a link":  {`"bin/link"`, `"a b"`},
		"not a file":      {`"a b/ü.txt"`, `"a b"`},
		"hash of another": {`"size":4`, `"size":5`},
	} {
		t.Run(name, func(t *testing.T) {
			c := Cache{Dir: t.TempDir()}
			if err := c.Store(t.Context(), key, tree(t), About{}); err != nil {
				t.Fatal(err)
			}
			entry := entryPath(c)
			manifest := filepath.Join(entry, "manifest.json")
			data, err := os.ReadFile(manifest)
			if err != nil || !strings.Contains(string(data), replace[0]) {
				t.Fatalf("%s, %v", data, err)
			}
			if err := os.WriteFile(manifest, []byte(strings.Replace(string(data), replace[0], replace[1], 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			outer := t.TempDir()
			dest := filepath.Join(outer, "in/dest")
			hit, err := c.Restore(t.Context(), key, dest)
			if name == "set-user-id" {
				info, err := os.Stat(filepath.Join(dest, "bin/httpd"))
				if !hit || err != nil || info.Mode() != 0o755 {
					t.Errorf("got %v, %v, %v", hit, info, err)
				}
				return
			}
			if hit {
				t.Errorf("restored, %v", err)
			}
			if _, err := os.Lstat(dest); !os.IsNotExist(err) {
				t.Error("something was left")
			}
			for _, evil := range []string{"/tmp/modwsgi-evil", filepath.Join(outer, "x")} {
				if _, err := os.Lstat(evil); err == nil {
					t.Errorf("%s was made", evil)
				}
			}
		})
	}
}

// What a killed process leaves is removed by the next Store; what another one works on is
// not.
func TestSweep(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	dead, alive := filepath.Join(c.Dir, ".store-1"), filepath.Join(c.Dir, ".store-2")
	for _, dir := range []string{dead, alive, filepath.Join(c.Dir, ".drop-3"), filepath.Join(c.Dir, "other")} {
		if err := os.MkdirAll(filepath.Join(dir, "tree"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	release, ok, err := flock.Try(alive)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer release()
	if err := c.Store(t.Context(), key, tree(t), About{}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(c.Dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := ".store-2 ab other"; err != nil || strings.Join(names, " ") != want {
		t.Errorf("got %q, want %s", names, want)
	}
}
