//go:build unix

package cachedir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/testkit"
)

func TestWorkspaceIsSwept(t *testing.T) {
	q := &request{CacheDir: filepath.Join(t.TempDir(), "cache")}
	work := filepath.Join(q.CacheDir, "work")
	testkit.Write(t, work, map[string]string{"run-dead/sub/file": "", "kept-1/file": "", "of-somebody/file": ""})
	if err := os.Chmod(filepath.Join(work, "run-dead/sub"), 0o500); err != nil {
		t.Fatal(err)
	}
	live, err := newWorkspace(q)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newWorkspace(&request{CacheDir: q.CacheDir, Keep: true})
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
	exists(live.Dir, true)
	second.Close()
	exists(second.Dir, false)
	exists(second.Kept(), true)
	testkit.Write(t, live.Logs, map[string]string{"step.log": "x"})
	live.Close()
	exists(live.Dir, false)
	exists(filepath.Join(live.Logs, "step.log"), true)
	if info, err := os.Stat(work); err != nil || info.Mode().Perm() != 0o700 && info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Runs that start at the same moment sweep too: each keeps its own directory, however new
// it is.
func TestConcurrentWorkspaces(t *testing.T) {
	q := &request{CacheDir: filepath.Join(t.TempDir(), "cache")}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			w, err := newWorkspace(&request{CacheDir: q.CacheDir})
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			if _, err := os.Stat(w.Dir); err != nil {
				t.Errorf("%s was swept under our feet: %v", w.Dir, err)
			}
		})
	}
	wg.Wait()
	if left, _ := os.ReadDir(filepath.Join(q.CacheDir, "work")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestLogsAreKeptToTen(t *testing.T) {
	q := &request{CacheDir: t.TempDir()}
	for i := range 15 {
		testkit.Write(t, q.CacheDir, map[string]string{fmt.Sprintf("logs/20200101T0000%02dZ-x/a.log", i): ""})
	}
	w, err := newWorkspace(q)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	left, err := os.ReadDir(filepath.Join(q.CacheDir, "logs"))
	if err != nil || len(left) != cachedir.KeptLogs {
		t.Errorf("%d logs, %v", len(left), err)
	}
	if _, err := os.Stat(w.Logs); err != nil {
		t.Error("the run's own are gone: ", err)
	}
}

func TestOddCachePath(t *testing.T) {
	q := &request{CacheDir: filepath.Join(t.TempDir(), "it's a cache")}
	w, err := newWorkspace(q)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if filepath.Dir(w.Dir) != cachedir.PlainTemp {
		t.Errorf("works in %s", w.Dir)
	}
	if filepath.Dir(filepath.Dir(w.Logs)) != q.CacheDir {
		t.Errorf("logs to %s", w.Logs)
	}
}

func TestWorkspaceThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	testkit.Write(t, filepath.Dir(file), map[string]string{"file": ""})
	_, err := newWorkspace(&request{CacheDir: file})
	testkit.WantFault(t, err, fault.Environment, "--cache-dir")
}
