package buildcache

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

var key = strings.Repeat("ab", 32)

func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"bin/httpd": "binary", "a b/ü.txt": "text"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "bin/httpd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("httpd", filepath.Join(dir, "bin/link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// entryPath returns the path of the entry of key.
func entryPath(c Cache) string { return filepath.Join(c.Dir, key[:2], key) }

// listed lists the contents of a tree.
func listed(t *testing.T, dir string) []File {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files, err := list(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestStoreAndRestore(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	from, dest := tree(t), filepath.Join(t.TempDir(), "dest")
	if hit, err := c.Restore(t.Context(), key, dest); hit || err != nil {
		t.Fatalf("empty cache: %v, %v", hit, err)
	}
	for range 2 { // the second one finds it there
		if err := c.Store(t.Context(), key, from, About{}); err != nil {
			t.Fatal(err)
		}
	}
	if hit, err := c.Restore(t.Context(), key, dest); !hit || err != nil {
		t.Fatalf("restore: %v, %v", hit, err)
	}
	want, got := listed(t, from), listed(t, dest)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestDamageIsNoticedAndDropped(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"changed":      func(e string) error { return os.WriteFile(filepath.Join(e, "tree/bin/httpd"), []byte("evil!!"), 0o755) },
		"shorter":      func(e string) error { return os.Truncate(filepath.Join(e, "tree/bin/httpd"), 2) },
		"missing":      func(e string) error { return os.Remove(filepath.Join(e, "tree/bin/httpd")) },
		"bad manifest": func(e string) error { return os.WriteFile(filepath.Join(e, "manifest.json"), []byte("{"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			c := Cache{Dir: t.TempDir()}
			if err := c.Store(t.Context(), key, tree(t), About{}); err != nil {
				t.Fatal(err)
			}
			entry := entryPath(c)
			if err := damage(entry); err != nil {
				t.Fatal(err)
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
		})
	}
}

// TestOtherFormat: an entry of another version is distinguished from a damaged one, and
// replaced.
func TestOtherFormat(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	if err := c.Store(t.Context(), key, tree(t), About{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	entry := entryPath(c)
	name := filepath.Join(entry, manifestName)
	data, _ := os.ReadFile(name)
	for text, want := range map[string]bool{
		strings.Replace(string(data), `"schema":3`, `"schema":4`, 1): true,
		`{"schema":1,"files":{"a":1}}`:                               true,
		`{"schema":0}`:                                               false,
		`{"schema":-1,"files":{}}`:                                   false,
		`{"schema":3,"files":{}}`:                                    false,
		`{"schema":"4"}`:                                             false,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := c.Verify(t.Context(), key)
		if IsOtherFormat(err) != want || !IsDamage(err) {
			t.Errorf("%s: %v", text, err)
		}
		if e, err := c.Info(key); err != nil || (e.Format != 0) != want || (e.Damage == "") != want {
			t.Errorf("%s: %+v, %v", text, e, err)
		}
	}
	if err := os.WriteFile(name, []byte(`{"schema":1,"files":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "dest")
	if hit, err := c.Restore(t.Context(), key, dest); hit || err != nil {
		t.Errorf("%v, %v", hit, err)
	}
	if err := c.Store(t.Context(), key, tree(t), About{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	if hit, err := c.Restore(t.Context(), key, dest); !hit || err != nil {
		t.Errorf("%v, %v", hit, err)
	}
}

func TestEntryCannotLeaveTheDestination(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	if err := c.Store(t.Context(), key, tree(t), About{}); err != nil {
		t.Fatal(err)
	}
	entry := entryPath(c)
	name := filepath.Join(entry, "manifest.json")
	data, _ := os.ReadFile(name)
	if err := os.WriteFile(name, []byte(strings.Replace(string(data), `"bin/httpd"`, `"../evil"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	outer := t.TempDir()
	if hit, _ := c.Restore(t.Context(), key, filepath.Join(outer, "dest")); hit {
		t.Error("restored")
	}
	if left, _ := os.ReadDir(outer); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestConcurrentAndCancelledStore(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	from := tree(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := c.Store(t.Context(), key, from, About{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dest := filepath.Join(t.TempDir(), "dest")
	if hit, err := c.Restore(ctx, key, dest); hit || err == nil {
		t.Errorf("cancelled: %v, %v", hit, err)
	}
	if _, err := os.Lstat(dest); !os.IsNotExist(err) {
		t.Error("a cancelled restore left something")
	}
	left, _ := filepath.Glob(filepath.Join(c.Dir, ".*"))
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := c.Restore(t.Context(), "../../etc", dest); err == nil {
		t.Error("a bad key was taken")
	}
}
