package flock

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
)

// hold makes another process keep the lock of an open file until the end of the test, and
// returns its id. The process is the other user's.
func hold(t *testing.T, name string, flags int) int {
	t.Helper()
	f, err := os.OpenFile(name, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := otheruser.Command(t, "/bin/sh", "-c", "flock -n 3 || exit 1; echo; exec sleep 50")
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_ = f.Close()
	if n, err := out.Read(make([]byte, 1)); n != 1 {
		t.Skip("needs flock(1): ", err)
	}
	return cmd.Process.Pid
}

// TestHolder: a process of another user is found by its lock, and not one that has a file
// of the same number on another file system.
func TestHolder(t *testing.T) {
	otheruser.Need(t)
	dir := otheruser.Dir(t)
	name := filepath.Join(dir, Name)
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pid := hold(t, name, os.O_RDWR)
	_, err := Wait(t.Context(), Options{Dir: dir, Limit: time.Millisecond})
	// flock(1) acquired it and has ended; the shell's replacement holds it.
	want := fmt.Sprintf("process %d (sleep 50) of the user with the id %d, since ", pid, otheruser.UID)
	if fault.ClassOf(err) != fault.Busy || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	}
	// Two file systems in memory number their files alike.
	var dirs []string
	for range 2 {
		at := filepath.Join(otheruser.Dir(t), "mounted")
		makeDir(t, at, 0o755)
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, "mode=755"); err != nil {
			t.Skip("mount: ", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
		if err := os.WriteFile(filepath.Join(at, Name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, at)
	}
	inode := func(dir string) uint64 {
		info, err := os.Stat(filepath.Join(dir, Name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	if inode(dirs[0]) != inode(dirs[1]) {
		t.Skip("the two have different numbers")
	}
	hold(t, filepath.Join(dirs[0], Name), os.O_RDWR)
	info, err := os.Stat(filepath.Join(dirs[1], Name))
	if err != nil {
		t.Fatal(err)
	}
	if h := holderBy(info); h.PID != 0 {
		t.Errorf("the lock on another file system has the holder %v", h)
	}
}

// TestWhatReadersCanHold: another user locks everything that can be read.
func TestWhatReadersCanHold(t *testing.T) {
	otheruser.Need(t)
	dir := otheruser.Dir(t)
	name := filepath.Join(dir, Name)
	hold(t, dir, os.O_RDONLY)
	for _, mode := range []fs.FileMode{0o644, 0o666, 0o604} { // left by an older release or by another program
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		hold(t, name, os.O_RDONLY)
		l, err := Now(Options{Dir: dir})
		if err != nil {
			t.Fatalf("mode %v: %v", mode, err)
		}
		if info, err := os.Lstat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("the lock file has %v, %v", info, err)
		}
		_ = l.Release()
	}
	empty(t, dir)
}

// TestPlantedLockFiles puts other things in place of a lock file.
func TestPlantedLockFiles(t *testing.T) {
	otheruser.Need(t)
	dir := otheruser.Dir(t)
	name := filepath.Join(dir, Name)
	victim := filepath.Join(otheruser.Dir(t), "victim")
	if err := os.WriteFile(victim, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, plant := range map[string]func() error{
		"a link":              func() error { return os.Symlink(victim, name) },
		"a dangling link":     func() error { return os.Symlink(victim+".new", name) },
		"a pipe":              func() error { return unix.Mkfifo(name, 0o666) },
		"a directory":         func() error { return os.MkdirAll(filepath.Join(name, "deep"), 0o755) },
		"another file's name": func() error { return os.Link(victim, name) },
		"a socket":            func() error { return unix.Mknod(name, unix.S_IFSOCK|0o666, 0) },
		"a user's file": func() error {
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return err
			}
			return os.Lchown(name, otheruser.UID, otheruser.GID)
		},
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		l, err := Now(Options{Dir: dir})
		if err != nil {
			t.Errorf("%s stands in the way: %v", what, err)
			_ = os.RemoveAll(name)
			continue
		}
		if other, err := Now(Options{Dir: dir}); err == nil {
			t.Errorf("%s: two have it", what)
			_ = other.Release()
		}
		_ = l.Release()
		if what == "a directory" { // it may be one of root's that was given this name
			moved, err := filepath.Glob(filepath.Join(dir, Name+"-*", "deep"))
			if err != nil || len(moved) != 1 {
				t.Errorf("a directory was not kept under another name: %v, %v", moved, err)
				continue
			}
			_ = os.RemoveAll(filepath.Dir(moved[0]))
		}
		empty(t, dir)
	}
	if data, err := os.ReadFile(victim); string(data) != "root's" || err != nil {
		t.Errorf("the other file is %q, %v", data, err)
	}
	if _, err := os.Lstat(victim + ".new"); err == nil {
		t.Error("a file was made at the end of a link")
	}
}

// TestOwnerAndRoot: root's lock file is in the directory of another user, who can get the
// lock after a run of root that was killed, but not during one.
func TestOwnerAndRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		dir := filepath.Join(otheruser.Dir(t), "dir")
		makeDir(t, dir, 0o755)
		otheruser.Give(t, dir)
		stale := filepath.Join(otheruser.Dir(t), "dir")
		makeDir(t, stale, 0o755)
		old := filepath.Join(stale, Name)
		if err := os.WriteFile(old, nil, 0o600); err != nil { // root's, and closed
			t.Fatal(err)
		}
		if err := os.Chtimes(old, time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		otheruser.Give(t, stale)
		l, err := Now(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(filepath.Join(dir, Name))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != otheruser.UID {
			t.Errorf("the lock file is not the owner's: %v, %v", info, err)
		}
		otheruser.Rerun(t, "DIR="+dir, "STALE="+stale, fmt.Sprintf("HOLDER=%d", os.Getpid()))
		_ = l.Release()
		otheruser.Rerun(t, "DIR="+dir, "STALE="+stale, "HOLDER=")
		empty(t, dir)
		return
	}
	if os.Getenv("DIR") == "" {
		otheruser.Need(t)
	}
	l, err := Now(Options{Dir: os.Getenv("DIR")})
	if holder := os.Getenv("HOLDER"); holder != "" {
		if fault.ClassOf(err) != fault.Busy || !strings.Contains(err.Error(), "process "+holder+" (") {
			t.Errorf("during root's run: %v", err)
		}
	} else if err != nil {
		t.Error(err)
	}
	_ = l.Release()
	stale, err := Now(Options{Dir: os.Getenv("STALE")})
	if err != nil {
		t.Errorf("root's file that nobody holds: %v", err)
	}
	_ = stale.Release()
}
