//go:build unix

package place_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/installer/place"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// The test binary is also the process to kill: PLACE_TEST is "MODE POINT EXCHANGE ROOT",
// and it kills itself at step POINT.
func TestMain(m *testing.M) {
	if job := os.Getenv("PLACE_TEST"); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// exchange runs a process that exchanges files of a world for links, on systems that can
// do that in one step.
var exchange func(w world)

func child(job string) error {
	f := strings.SplitN(job, " ", 4)
	point, err := strconv.Atoi(f[1])
	if err != nil {
		return err
	}
	steps := 0
	place.SetFailpoint(func(name string) {
		if steps++; steps == point {
			fmt.Println(name)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	})
	if f[2] == "no" {
		place.WithoutExchange()
	}
	w := worldAt(f[3])
	if f[0] == "exchange" && exchange != nil {
		exchange(w)
	}
	ctx := context.Background()
	l, err := place.Lock(ctx, w.site, time.Minute, nil)
	if err != nil {
		return err
	}
	defer func() { _ = l.Unlock() }()
	switch f[0] {
	case "hold":
		fmt.Println("held")
		_, err := os.Stdin.Read(make([]byte, 1))
		return err
	case "recover":
		_, err = l.Recover(w.prefix)
		return err
	case "writable":
		return place.Writable(w.site, filepath.Join(w.bin, "prog"))
	}
	tb := &testing.T{}
	tx, err := l.Apply(ctx, w.request(tb))
	if err != nil {
		return err
	}
	if f[0] == "rollback" {
		return tx.Rollback()
	}
	return tx.Commit()
}

// runChild returns the name of the step at which the child killed itself, or "" if it
// finished.
func runChild(t *testing.T, mode string, point int, exchange, root string) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	out, err := new(run.Runner).Output(t.Context(), run.Cmd{
		Argv: []string{self}, Env: []string{fmt.Sprintf("PLACE_TEST=%s %d %s %s", mode, point, exchange, root)},
	})
	var failed *run.Error
	if errors.As(err, &failed) && failed.ExitCode == -1 {
		return strings.TrimSpace(string(out))
	}
	if err != nil {
		t.Fatalf("%s at %d: %v %v", mode, point, err, failed.Tail)
	}
	return ""
}

// everyCombination is set for acceptance tests; by default half of them run.
var everyCombination bool

// stride is the distance between the steps at which a process is killed: with -short, a
// fifth of the steps has to do.
func stride() int {
	if testing.Short() {
		return 5
	}
	return 1
}

func TestKilledAtEveryStep(t *testing.T) {
	for _, row := range []struct {
		mode, exchange string
		always         bool
	}{{"commit", "yes", true}, {"rollback", "no", true}, {"commit", "no", false}, {"rollback", "yes", false}} {
		if row.always || everyCombination {
			t.Run(row.mode+" exchange "+row.exchange, func(t *testing.T) {
				t.Parallel()
				killAtEveryStep(t, row.mode, row.exchange)
			})
		}
	}
}

func killAtEveryStep(t *testing.T, mode, exchange string) {
	done := newWorld(t, memory(t))
	runChild(t, "commit", 0, exchange, filepath.Dir(done.prefix))
	after := done.forget(done.snapshot(t))
	for point := 1; ; point += stride() {
		w := newWorld(t, memory(t))
		before := w.forget(w.snapshot(t))
		step := runChild(t, mode, point, exchange, filepath.Dir(w.prefix))
		if step == "" {
			if point < 30 {
				t.Errorf("only %d steps", point)
			}
			return
		}
		when := fmt.Sprintf("killed at %d (%s)", point, step)
		w.pipSeesWhole(t, when)
		_, err := w.lock(t).Recover(w.prefix)
		must(t, err)
		got := w.forget(w.snapshot(t))
		isBefore, isAfter := difference(got, before), difference(got, after)
		if isBefore != "" && isAfter != "" {
			t.Errorf("%s: neither as before:\n%s\nnor as after:\n%s", when, isBefore, isAfter)
		}
		if step == "placed" && isAfter != "" || step == "journal of moving" && isBefore != "" {
			t.Errorf("%s: recovered in the wrong direction", when)
		}
	}
}

// A recovery that is killed as well, at every step, and in an environment that was moved
// after the first kill.
func TestKilledAgainInRecovery(t *testing.T) {
	for _, row := range []struct {
		first, exchange string
		always          bool
	}{
		{"exchanged", "yes", true},
		{"away", "no", false},
		{"taken back", "no", false},
		{"put ../../../bin/added", "yes", false},
		{"placed", "yes", false},
		{"journal of undoing", "yes", false},
		{"undone", "no", false},
	} {
		if row.always || everyCombination {
			t.Run(row.first+" "+row.exchange, func(t *testing.T) {
				t.Parallel()
				killTwice(t, row.first, row.exchange)
			})
		}
	}
}

func killTwice(t *testing.T, first, exchange string) {
	origin := newWorld(t, memory(t))
	before := origin.forget(origin.snapshot(t))
	done := newWorld(t, memory(t))
	runChild(t, "commit", 0, exchange, filepath.Dir(done.prefix))
	after := done.forget(done.snapshot(t))
	point := 0
	for step := "x"; !strings.HasPrefix(step, first); {
		point++
		w := newWorld(t, memory(t))
		if step = runChild(t, "rollback", point, exchange, filepath.Dir(w.prefix)); step == "" {
			t.Fatalf("no step %q", first)
		}
	}
	for again := 1; ; again += stride() {
		w := newWorld(t, memory(t))
		runChild(t, "rollback", point, exchange, filepath.Dir(w.prefix))
		moved := filepath.Join(memory(t), "moved")
		must(t, os.Rename(filepath.Dir(w.prefix), moved))
		w = worldAt(moved)
		step := runChild(t, "recover", again, exchange, moved)
		w.pipSeesWhole(t, "killed again at "+step)
		_, err := w.lock(t).Recover(w.prefix)
		must(t, err)
		want := before
		if first == "placed" {
			want = after
		}
		if d := difference(w.forget(w.snapshot(t)), want); d != "" {
			t.Errorf("killed again at %d (%s):\n%s", again, step, d)
		}
		if step == "" {
			return
		}
	}
}

// An environment that was copied after the kill has other inode numbers.
func TestRecoverOfACopy(t *testing.T) {
	for point := 1; ; point++ {
		w := newWorld(t, memory(t))
		before := w.forget(w.snapshot(t))
		step := runChild(t, "commit", point, "yes", filepath.Dir(w.prefix))
		if step == "" {
			t.Skip("this file system cannot exchange")
		}
		if !strings.HasPrefix(step, "exchanged") {
			continue
		}
		root := memory(t)
		_, err := new(run.Runner).Output(t.Context(), run.Cmd{Argv: []string{"/bin/cp", "-a", w.prefix, root}})
		must(t, err)
		moved := worldAt(root)
		_, err = moved.lock(t).Recover(moved.prefix)
		must(t, err)
		if d := difference(moved.forget(moved.snapshot(t)), before); d != "" {
			t.Error(d)
		}
		return
	}
}

func TestSecondProcessWaits(t *testing.T) {
	w := newWorld(t, memory(t))
	self, err := os.Executable()
	must(t, err)
	in, hold, err := os.Pipe()
	must(t, err)
	defer in.Close()
	out, held, err := os.Pipe()
	must(t, err)
	defer out.Close()
	p, err := new(run.Runner).Start(t.Context(), run.Cmd{
		Argv: []string{self}, Env: []string{"PLACE_TEST=hold 0 yes " + filepath.Dir(w.prefix)}, Stdin: in, Log: held,
	})
	must(t, err)
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	// A wait that ends before the lock is free.
	ctx, cancel := context.WithCancelCause(t.Context())
	var holder string
	_, err = place.Lock(ctx, w.site, time.Minute, func(text string) { holder = text; cancel(errors.New("enough")) })
	if fault.ClassOf(err) != fault.Busy || !strings.Contains(err.Error(), "enough") {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat("/proc/locks"); err == nil && !(strings.Contains(holder, fmt.Sprintf("process %d (", p.PID())) && strings.Contains(holder, "of the user ") && strings.Contains(holder, "1m")) {
		t.Errorf("waiting for %q, not for process %d and at most 1m", holder, p.PID())
	}
	// One that gets the lock, because the holder dies.
	calls := 0
	l, err := place.Lock(t.Context(), w.site, time.Minute, func(string) { calls++; _ = p.Signal(syscall.SIGKILL) })
	must(t, err)
	if calls != 1 {
		t.Errorf("reported %d times", calls)
	}
	_ = p.Wait()
	_ = hold.Close()
	must(t, l.Unlock())
	must(t, l.Unlock())
	if _, err := os.Stat(filepath.Join(w.site, ".modwsgi.lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock file: %v", err)
	}
}

func TestLocksWithinOneProcess(t *testing.T) {
	w := newWorld(t, memory(t))
	link := filepath.Join(memory(t), "lib64")
	must(t, os.Symlink(w.site, link))
	l := w.lock(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := place.Lock(ctx, link, time.Minute, func(string) { cancel() }); fault.ClassOf(err) != fault.Busy {
		t.Errorf("through a link: %v", err)
	}
	must(t, l.Unlock())
	other, err := place.Lock(t.Context(), link, time.Minute, nil)
	must(t, err)
	must(t, other.Unlock())
	if _, err := place.Lock(t.Context(), filepath.Join(w.site, "none"), time.Minute, nil); fault.ClassOf(err) != fault.Place {
		t.Errorf("a directory that does not exist: %v", err)
	}
}

// For root, permissions only count in a child that runs as another user.
func TestReadOnlyEnvironment(t *testing.T) {
	root, err := os.MkdirTemp("", "place-readonly-*")
	must(t, err)
	t.Cleanup(func() {
		_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, _ error) error { return os.Chmod(p, 0o755) })
		_ = os.RemoveAll(root)
	})
	must(t, os.Chmod(root, 0o755))
	w := newWorld(t, root)
	must(t, os.Chmod(w.bin, 0o555))
	var account *run.Account
	self, err := os.Executable()
	must(t, err)
	if os.Getuid() == 0 {
		account = &run.Account{UID: 65534, GID: 65534}
		must(t, filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Lchown(p, 65534, 65534)) }))
		copied := filepath.Join(root, "child")
		data, err := os.ReadFile(self)
		must(t, err)
		must(t, os.WriteFile(copied, data, 0o755))
		self = copied
	}
	before := w.snapshot(t)
	for _, mode := range []string{"writable", "commit"} {
		_, err := new(run.Runner).Output(t.Context(), run.Cmd{
			Argv: []string{self}, Env: []string{"PLACE_TEST=" + mode + " 0 yes " + root}, Account: account,
		})
		var failed *run.Error
		if !errors.As(err, &failed) || !strings.Contains(strings.Join(failed.Tail, "\n"), w.bin) {
			t.Errorf("%s: %v", mode, err)
		}
		w.mustBe(t, before, mode)
	}
	if err := place.Writable(w.site, filepath.Join(w.site, "new", "deep")); err != nil {
		t.Errorf("a writable one: %v", err)
	}
	w.mustBe(t, before, "after the probe")
}
