package place

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"modwsgi/internal/flock"
)

// TestSpent: placing with hard links, where that is allowed, must not leave the result
// connected to its source.
func TestSpent(t *testing.T) {
	site, stage := t.TempDir(), t.TempDir()
	source := filepath.Join(stage, "pkg", "sub", "file.py")
	if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(source, []byte("x = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Lock(t.Context(), site, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Unlock() }()
	ready := 0
	r := Request{Items: []Item{{Source: filepath.Join(stage, "pkg"), Target: filepath.Join(site, "pkg")}}, Label: "pkg", Spent: true}
	r.Ready = func() error {
		ready++
		if _, err := os.Lstat(filepath.Join(site, "pkg")); err == nil {
			t.Error("the change is visible before it is ready")
		}
		return nil
	}
	tx, err := l.Apply(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(stage); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(site, "pkg/sub/file.py"))
	if string(data) != "x = 1\n" || err != nil || ready != 1 {
		t.Errorf("%q, %v, ready %d times", data, err, ready)
	}
}

// TestNotReady: an error at the last moment leaves nothing behind.
func TestNotReady(t *testing.T) {
	site, stage := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(stage, "m.py"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Lock(t.Context(), site, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Unlock() }()
	no := errors.New("no")
	_, err = l.Apply(t.Context(), Request{Items: []Item{{Source: filepath.Join(stage, "m.py"), Target: filepath.Join(site, "m.py")}}, Ready: func() error { return no }})
	if !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(site); len(left) != 1 || left[0].Name() != flock.Name { // the lock, which is held
		t.Errorf("left: %v", left)
	}
	if _, err := l.Apply(t.Context(), Request{Items: []Item{{Source: filepath.Join(stage, "m.py"), Target: filepath.Join(site, "m.py")}}}); err != nil {
		t.Errorf("after it: %v", err)
	}
}
