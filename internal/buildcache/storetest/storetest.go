// Package storetest is the contract of the stores of finished trees: the local build
// cache, and the shared one in a directory and in a registry. It is one suite that the
// tests of each store run. The particularities of one of them, such as signatures or the
// formats of manifests, are tested beside it.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Store is a store under test, initially empty.
type Store interface {
	// Put keeps a copy of a tree under a key.
	Put(ctx context.Context, key, tree string) error
	// Get copies the tree of a key to dest, which does not exist, and reports whether the
	// store had it. A missing tree is not an error.
	Get(ctx context.Context, key, dest string) (bool, error)
	// Damage changes a byte of the stored tree of a key.
	Damage(t *testing.T, key string)
}

// Keys that tests use.
var (
	one = strings.Repeat("ab", 32)
	two = strings.Repeat("cd", 32)
)

// Run runs the suite. open creates a store for each test.
func Run(t *testing.T, open func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"nothing there": testNothing, "round trip": testRoundTrip, "keys are apart": testKeys, "the first stays": testFirst, "copies": testCopies,
		"damaged": testDamaged, "cancelled": testCancelled, "over something": testOver, "many at once": testMany, "not a key": testNotAKey,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// tree creates a tree with everything that builds have.
func tree(t *testing.T, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	for _, f := range []struct {
		name, text string
		mode       fs.FileMode
	}{
		{"bin/httpd", text + strings.Repeat(" binary", 100_000), 0o755}, {"a b/ü.txt", "text", 0o644}, {"lib/libx.so.1", "", 0o755}, {"conf/deep/er/x", "x", 0o644},
	} {
		name := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("libx.so.1", filepath.Join(dir, "lib/libx.so")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// describe lists a tree: modes, links, contents.
func describe(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		below, _ := filepath.Rel(dir, path)
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			fmt.Fprintf(&b, "%s -> %s\n", below, target)
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %v %d %.40q\n", below, info.Mode(), len(data), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func dest(t *testing.T) string { return filepath.Join(t.TempDir(), "dest") }

func put(t *testing.T, s Store, key, tree string) {
	t.Helper()
	if err := s.Put(t.Context(), key, tree); err != nil {
		t.Fatal(err)
	}
}

// has fails the test unless a store has a tree like this one.
func has(t *testing.T, s Store, key, tree string) {
	t.Helper()
	to := dest(t)
	if hit, err := s.Get(t.Context(), key, to); !hit || err != nil {
		t.Errorf("%v, %v", hit, err)
		return
	}
	if got, want := describe(t, to), describe(t, tree); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// misses fails the test if a store has anything usable.
func misses(t *testing.T, s Store, key string) error {
	t.Helper()
	to := dest(t)
	hit, err := s.Get(t.Context(), key, to)
	if hit {
		t.Error("it was found")
	}
	gone(t, to)
	return err
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there", path)
	}
}

func testNothing(t *testing.T, s Store) {
	if err := misses(t, s, one); err != nil {
		t.Error(err)
	}
}

func testRoundTrip(t *testing.T, s Store) {
	from := tree(t, "one")
	put(t, s, one, from)
	has(t, s, one, from)
	has(t, s, one, from)
}

func testKeys(t *testing.T, s Store) {
	first, second := tree(t, "one"), tree(t, "two")
	put(t, s, one, first)
	if err := misses(t, s, two); err != nil {
		t.Error(err)
	}
	put(t, s, two, second)
	has(t, s, one, first)
	has(t, s, two, second)
}

// testFirst: a key stands for the inputs of a tree, so a second tree is the same.
func testFirst(t *testing.T, s Store) {
	from := tree(t, "one")
	put(t, s, one, from)
	put(t, s, one, tree(t, "two"))
	has(t, s, one, from)
}

// testCopies: edits before or after do not change the stored tree.
func testCopies(t *testing.T, s Store) {
	from, same := tree(t, "one"), tree(t, "one")
	put(t, s, one, from)
	to := dest(t)
	if hit, err := s.Get(t.Context(), one, to); !hit || err != nil {
		t.Fatalf("%v, %v", hit, err)
	}
	for _, dir := range []string{from, to} {
		f, err := os.OpenFile(filepath.Join(dir, "bin/httpd"), os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("edited in place")
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	has(t, s, one, same)
}

// testDamaged: a damaged entry counts as missing, whether that is an error or not.
func testDamaged(t *testing.T, s Store) {
	first, second := tree(t, "one"), tree(t, "two")
	put(t, s, one, first)
	put(t, s, two, second)
	s.Damage(t, one)
	_ = misses(t, s, one)
	has(t, s, two, second)
}

func testCancelled(t *testing.T, s Store) {
	from := tree(t, "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, one, from); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if err := misses(t, s, one); err != nil {
		t.Error(err)
	}
	put(t, s, one, from)
	to := dest(t)
	if hit, err := s.Get(ctx, one, to); hit || !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v, %v", hit, err)
	}
	gone(t, to)
	has(t, s, one, from)
}

func testOver(t *testing.T, s Store) {
	put(t, s, one, tree(t, "one"))
	to := tree(t, "mine")
	before := describe(t, to)
	if hit, err := s.Get(t.Context(), one, to); hit || err == nil {
		t.Errorf("%v, %v", hit, err)
	}
	if after := describe(t, to); after != before {
		t.Errorf("got\n%swant\n%s", after, before)
	}
}

// testMany: concurrent readers get everything or nothing.
func testMany(t *testing.T, s Store) {
	from := tree(t, "one")
	want := describe(t, from)
	var wg sync.WaitGroup
	for range 4 {
		to := dest(t)
		wg.Go(func() {
			if err := s.Put(t.Context(), one, from); err != nil {
				t.Errorf("put: %v", err)
			}
		})
		wg.Go(func() {
			hit, err := s.Get(t.Context(), one, to)
			if err != nil {
				t.Errorf("get: %v", err)
			}
			if hit && describe(t, to) != want {
				t.Error("a part was found")
			}
		})
	}
	wg.Wait()
	has(t, s, one, from)
}

func testNotAKey(t *testing.T, s Store) {
	for _, key := range []string{"", "..", "../" + one, strings.ToUpper(one), one + "0"} {
		if err := s.Put(t.Context(), key, tree(t, "one")); err == nil {
			t.Errorf("%q was accepted", key)
		}
		_ = misses(t, s, key)
	}
}

// ChangeLargest changes a byte in the middle of the largest file below a directory
// for which ok is true, for Store.Damage.
func ChangeLargest(t *testing.T, dir string, ok func(path string) bool) {
	t.Helper()
	largest, size := "", int64(-1)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !ok(path) {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil || size < 1 {
		t.Fatalf("there is nothing to damage in %s: %v", dir, err)
	}
	data, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(data)
	changed[len(data)/2] ^= 1
	if err := os.WriteFile(largest, changed, 0o755); err != nil {
		t.Fatal(err)
	}
}
