//go:build unix

package installer

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

func TestWorkspaceIsSwept(t *testing.T) {
	q := &Request{CacheDir: filepath.Join(t.TempDir(), "cache")}
	work := filepath.Join(q.CacheDir, "work")
	write(t, work, map[string]string{"run-dead/sub/file": "", "kept-1/file": "", "of-somebody/file": ""})
	if err := os.Chmod(filepath.Join(work, "run-dead/sub"), 0o500); err != nil {
		t.Fatal(err)
	}
	live, err := newWorkspace(q)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newWorkspace(q)
	if err != nil {
		t.Fatal(err)
	}
	exists := func(name string, want bool) {
		t.Helper()
		if _, err := os.Stat(name); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", name, err == nil, want)
		}
	}
	exists(filepath.Join(work, "run-dead"), false)
	exists(filepath.Join(work, "kept-1"), true)
	exists(filepath.Join(work, "of-somebody"), true)
	exists(live.dir, true)
	second.keep = true
	second.close()
	exists(second.dir, false)
	exists(second.kept(), true)
	write(t, live.logs, map[string]string{"step.log": "x"})
	live.close()
	exists(live.dir, false)
	exists(filepath.Join(live.logs, "step.log"), true)
	if info, err := os.Stat(work); err != nil || info.Mode().Perm() != 0o700 && info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Others that start in the same moment sweep too: each run keeps its own
// directory, however young it is.
func TestWorkspacesAtTheSameTime(t *testing.T) {
	q := &Request{CacheDir: filepath.Join(t.TempDir(), "cache")}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			w, err := newWorkspace(&Request{CacheDir: q.CacheDir})
			if err != nil {
				t.Error(err)
				return
			}
			defer w.close()
			if _, err := os.Stat(w.dir); err != nil {
				t.Errorf("%s was swept under our feet: %v", w.dir, err)
			}
		})
	}
	wg.Wait()
	if left, _ := os.ReadDir(filepath.Join(q.CacheDir, "work")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestLogsAreKeptToTen(t *testing.T) {
	q := &Request{CacheDir: t.TempDir()}
	for i := range 15 {
		write(t, q.CacheDir, map[string]string{fmt.Sprintf("logs/20200101T0000%02dZ-x/a.log", i): ""})
	}
	w, err := newWorkspace(q)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	left, err := os.ReadDir(filepath.Join(q.CacheDir, "logs"))
	if err != nil || len(left) != keptLogs {
		t.Errorf("%d logs, %v", len(left), err)
	}
	if _, err := os.Stat(w.logs); err != nil {
		t.Error("the run's own are gone: ", err)
	}
}

func TestOddCachePath(t *testing.T) {
	q := &Request{CacheDir: filepath.Join(t.TempDir(), "it's a cache")}
	w, err := newWorkspace(q)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if filepath.Dir(w.dir) != plainTemp {
		t.Errorf("works in %s", w.dir)
	}
	if filepath.Dir(filepath.Dir(w.logs)) != q.CacheDir {
		t.Errorf("logs to %s", w.logs)
	}
}

func TestWorkspaceThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(file), map[string]string{"file": ""})
	_, err := newWorkspace(&Request{CacheDir: file})
	wantFault(t, err, fault.Environment, "--cache-dir")
}

func TestRootOpensUpWhatItInstalls(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's umask is respected")
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{"sub/data": "", "sub/program": ""})
	for name, mode := range map[string]os.FileMode{"sub/data": 0o600, "sub/program": 0o700, "sub": 0o700} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := openUp(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"sub/data": 0o644, "sub/program": 0o755, "sub": 0o755} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestLockFileThatCannotBeWritten is a warning: the lock file is for those who
// keep it.
func TestLockFileThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(file), map[string]string{"file": ""})
	for _, path := range []string{filepath.Join(file, "modwsgi.lock"), "/proc/modwsgi.lock", filepath.Dir(file)} {
		var h heard
		p := &Plan{request: Request{LockFile: path, Events: event.Sink(h.sink)}}
		if err := p.writeLock(&recipe.Lock{}, &sources{}); err != nil || !h.has("warn the lock file is not written") {
			t.Errorf("%s: %v, %q", path, err, h.texts)
		}
	}
}
