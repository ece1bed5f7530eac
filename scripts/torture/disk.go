//go:build linux

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// disk fills the file system of the environment, or of the cache and the temporary
// directory, or makes it read-only, at a random moment of an install.
func (t *torture) disk() {
	if os.Geteuid() != 0 {
		t.skipped = "only root can mount a small file system"
		return
	}
	var took time.Duration
	made := 0
	for t.more() {
		kind := []string{"environment full", "cache full", "environment read-only"}[(t.rounds-1)%3]
		env := t.path("disk/env")
		if kind == "cache full" {
			env = t.path("env-disk")
		}
		ended, err := t.mounted()
		if err != nil {
			t.skipped = err.Error()
			return
		}
		done, spent := t.diskRound(kind, env, t.moment(max(took, 2*time.Second)))
		took = max(took, spent)
		if done {
			made++
		}
		ended()
		_ = os.RemoveAll(t.path("env-disk"))
	}
	t.figure("%d of the installs succeeded all the same", made)
}

// mounted gives the round a file system of its own, which has room for the builds in the
// cache and for an environment.
func (t *torture) mounted() (func(), error) {
	at := t.path("disk")
	_ = os.Mkdir(at, 0o755)
	bytes, files := int64(120<<20), 20000
	err := filepath.WalkDir(filepath.Join(t.cache, "builds"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes, files = bytes+info.Size()+4096, files+1
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, fmt.Sprintf("size=%d,nr_inodes=%d,mode=755", bytes, files)); err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	return func() { _ = unix.Unmount(at, unix.MNT_DETACH) }, nil
}

// diskRound reports whether the install succeeded, and how long a whole one takes.
func (t *torture) diskRound(kind, env string, after time.Duration) (bool, time.Duration) {
	if r := t.do(t.ctx, t.python, "-m", "venv", "--without-pip", env); r.code != 0 {
		t.fail("%v", r)
		return false, 0
	}
	before := snapshot(env)
	argv := t.install(env)
	if kind == "cache full" {
		_ = os.Mkdir(t.path("disk/cache"), 0o755)
		if r := t.do(t.ctx, "cp", "-a", filepath.Join(t.cache, "builds"), t.path("disk/cache")); r.code != 0 {
			t.fail("%v", r)
		}
		argv = append(argv, "--cache-dir", t.path("disk/cache"))
	}
	hit := func(int) { fill(t.path("disk")) }
	if kind == "environment read-only" {
		hit = func(int) { t.readOnly(true) }
	}
	began := time.Now()
	r := t.interrupted(after, hit, argv...)
	when := fmt.Sprintf("%s after %s", kind, after)
	if kind == "environment read-only" {
		t.readOnly(false)
	}
	if d := differences(before, snapshot(env)); r.code != 0 && len(d) > 0 && kind != "environment read-only" {
		t.fail("%s: the install failed and has changed %q\n%v", when, d, r)
	}
	if r.code == 1 || r.code == -1 {
		t.fail("%s: an error without a class: %v", when, r)
	}
	for i := range 30000 {
		if os.Remove(filepath.Join(t.path("disk"), fmt.Sprintf("fill-%d", i))) != nil {
			break
		}
	}
	if again := t.do(t.ctx, argv...); again.code != 0 {
		t.fail("%s, then with room again: %v", when, again)
	}
	t.whole(when, env)
	t.clean(when, env)
	return r.code == 0, time.Since(began)
}

// readOnly makes the file system read-only, as soon as nobody has a file open for
// writing, or writable again.
func (t *torture) readOnly(on bool) {
	flags := uintptr(unix.MS_REMOUNT)
	if on {
		flags |= unix.MS_RDONLY
	}
	for range 200 {
		if err := unix.Mount("", t.path("disk"), "", flags, ""); err != syscall.EBUSY {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// fill takes all the room there is.
func fill(dir string) {
	block := make([]byte, 1<<20)
	for i := 0; ; i++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("fill-%d", i)))
		if err != nil {
			return
		}
		for size := len(block); size > 0; {
			if _, err := f.Write(block[:size]); err != nil {
				size /= 2
			}
		}
		_ = f.Close()
	}
}
