//go:build unix

package buildcache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/owned"
)

// TestMoreDamage adds foreign files to an entry.
func TestMoreDamage(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"an extra file": func(e string) error { return os.WriteFile(filepath.Join(e, "tree/bin/extra"), nil, 0o755) },
		"a link instead of a file": func(e string) error {
			same := filepath.Join(filepath.Dir(filepath.Dir(e)), "same")
			return errors.Join(os.Rename(filepath.Join(e, "tree/bin/httpd"), same), os.Symlink(same, filepath.Join(e, "tree/bin/httpd")))
		},
		"a link to elsewhere": func(e string) error {
			return errors.Join(os.Remove(filepath.Join(e, "tree/bin/link")), os.Symlink("/etc/passwd", filepath.Join(e, "tree/bin/link")))
		},
		"a linked directory": func(e string) error {
			to := filepath.Join(filepath.Dir(filepath.Dir(e)), "moved")
			return errors.Join(os.Rename(filepath.Join(e, "tree/bin"), to), os.Symlink(to, filepath.Join(e, "tree/bin")))
		},
		"a pipe": func(e string) error {
			return errors.Join(os.Remove(filepath.Join(e, "tree/bin/httpd")), syscall.Mkfifo(filepath.Join(e, "tree/bin/httpd"), 0o755))
		},
		"the manifest is a pipe": func(e string) error {
			return errors.Join(os.Remove(filepath.Join(e, "manifest.json")), syscall.Mkfifo(filepath.Join(e, "manifest.json"), 0o755))
		},
		"no manifest": func(e string) error { return os.Remove(filepath.Join(e, "manifest.json")) },
		"the manifest of another key": func(e string) error {
			name := filepath.Join(e, "manifest.json")
			data, err := os.ReadFile(name)
			return errors.Join(err, os.WriteFile(name, []byte(strings.Replace(string(data), key, strings.Repeat("cd", 32), 1)), 0o600))
		},
		"no tree": func(e string) error { return os.RemoveAll(filepath.Join(e, "tree")) },
	} {
		t.Run(name, func(t *testing.T) {
			c := Cache{Dir: filepath.Join(t.TempDir(), "builds")}
			if err := c.Store(t.Context(), key, tree(t), About{}); err != nil {
				t.Fatal(err)
			}
			entry := entryPath(c)
			if err := damage(entry); err != nil {
				t.Fatal(err)
			}
			if err := c.Verify(t.Context(), key); !IsDamage(err) {
				t.Errorf("verify: %v", err)
			}
			dest := filepath.Join(t.TempDir(), "dest")
			if hit, err := c.Restore(t.Context(), key, dest); hit || err != nil {
				t.Errorf("got %v, %v", hit, err)
			}
			for _, gone := range []string{dest, entry} {
				if _, err := os.Lstat(gone); !os.IsNotExist(err) {
					t.Errorf("%s is there", gone)
				}
			}
			if err := c.Store(t.Context(), key, tree(t), About{}); err != nil || c.Verify(t.Context(), key) != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestOthersCanWrite: a cache that another user could have filled is refused.
func TestOthersCanWrite(t *testing.T) {
	for name, change := range map[string]func(Cache) error{
		"the cache": func(c Cache) error { return os.Chmod(c.Dir, 0o777) },
		"a group's": func(c Cache) error {
			dir := filepath.Join(c.Dir, key[:2])
			return errors.Join(os.Chown(dir, -1, 12345), os.Chmod(dir, 0o770))
		},
		"the entry":       func(c Cache) error { return os.Chmod(filepath.Join(c.Dir, key[:2], key), 0o707) },
		"another owner's": func(c Cache) error { return os.Chown(c.Dir, 12345, 12345) },
	} {
		t.Run(name, func(t *testing.T) {
			c := Cache{Dir: filepath.Join(t.TempDir(), "builds")}
			if err := c.Store(t.Context(), key, tree(t), About{}); err != nil {
				t.Fatal(err)
			}
			if err := change(c); err != nil {
				t.Skip(err)
			}
			dest := filepath.Join(t.TempDir(), "dest")
			if hit, err := c.Restore(t.Context(), key, dest); hit || !owned.IsUntrusted(err) {
				t.Errorf("got %v, %v", hit, err)
			}
			if _, err := os.Lstat(dest); err == nil {
				t.Error("something was restored")
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	now := time.Now()
	all := []Entry{{Key: "a", Size: 10, Used: now}, {Key: "b", Size: 20, Used: now.Add(-2 * time.Hour)}, {Key: "c", Size: 30, Used: now.Add(-48 * time.Hour)}}
	for name, tt := range map[string]struct {
		p    Policy
		want string
	}{
		"nothing":           {Policy{MaxSize: -1}, ""},
		"fits":              {Policy{MaxSize: 60}, ""},
		"one too many":      {Policy{MaxSize: 59}, "c"},
		"two":               {Policy{MaxSize: 29}, "cb"},
		"all":               {Policy{MaxSize: 0}, "cba"},
		"not the young":     {Policy{MaxSize: 0, Young: time.Hour}, "cb"},
		"not what is kept":  {Policy{MaxSize: 0, Keep: func(k string) bool { return k == "c" }}, "ba"},
		"by age":            {Policy{MaxSize: -1, OlderThan: time.Hour}, "cb"},
		"what is elsewhere": {Policy{MaxSize: 100, Count: 50}, "c"},
	} {
		got := ""
		for _, e := range tt.p.Choose(all) {
			got += e.Key
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	c := Cache{Dir: t.TempDir()}
	if err := c.Store(t.Context(), key, tree(t), About{Kind: "x"}); err != nil {
		t.Fatal(err)
	}
	if gone, err := c.Prune(Policy{MaxSize: 0}); len(gone) != 1 || err != nil || c.Has(key) {
		t.Errorf("%v, %v", gone, err)
	}
	if left, _ := os.ReadDir(c.Dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
