//go:build unix

package flock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/internal/owned"
)

// tryPath locks a directory by its path. If another process has it, everything but the
// holder is nil or zero.
func tryPath(dir string) (*Lock, Holder, error) {
	f, err := openDir(dir)
	if err != nil {
		return nil, Holder{}, err
	}
	info, err := f.Stat()
	if err == nil && private(info) {
		lock, holder, err := take(&Lock{f: f}, func() (fs.FileInfo, error) { return os.Stat(dir) })
		if !unlockable(err) {
			return lock, holder, err
		}
	}
	_ = f.Close()
	if err != nil {
		return nil, Holder{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, Holder{}, err
	}
	lock, holder, err := tryIn(root, dir)
	_ = root.Close()
	return lock, holder, err
}

// tryBoth locks the directory, and the file in it if there should be one. That way it
// also notices a process that opens the directory to other users later, or that holds
// only the file.
func tryBoth(dir string) ([]*Lock, error) {
	f, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	var locks []*Lock
	own, _, err := take(&Lock{f: f}, func() (fs.FileInfo, error) { return os.Stat(dir) })
	switch {
	case unlockable(err):
	case err != nil || own == nil:
		return nil, err
	default:
		locks = append(locks, own)
		if private(info) {
			return locks, nil
		}
	}
	root, err := os.OpenRoot(dir)
	if err == nil {
		var file *Lock
		file, _, err = tryIn(root, dir)
		_ = root.Close()
		if file != nil {
			return append(locks, file), nil
		}
	}
	for _, l := range locks {
		_ = l.Release()
	}
	return nil, err
}

func openDir(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
}

// private reports whether only its owner and root can open a directory.
func private(info fs.FileInfo) bool { return info.Mode().Perm()&0o044 == 0 }

// unlockable reports a file system on which directories cannot be locked. NFS implements
// flock as a byte-range lock, which needs a file that is open for writing.
func unlockable(err error) bool {
	for _, e := range []error{unix.EBADF, unix.ENOLCK, unix.ENOTSUP, unix.EISDIR, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// take locks the open file of a lock, which it closes on failure. look describes what the
// name leads to: another process may have removed or moved the file between open and
// lock, and then nobody else would see the lock.
func take(l *Lock, look func() (fs.FileInfo, error)) (*Lock, Holder, error) {
	err := lockNow(l.f)
	if err == nil {
		mine, merr := l.f.Stat()
		there, terr := look()
		if merr == nil && terr == nil && os.SameFile(mine, there) {
			return l, Holder{}, nil
		}
		_ = l.f.Close()
		if errors.Is(terr, fs.ErrNotExist) && l.in == nil {
			return nil, Holder{}, terr
		}
		return nil, Holder{}, errAgain
	}
	var holder Holder
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, err = holderOf(l.f), nil
	}
	name := l.f.Name()
	_ = l.f.Close()
	if err != nil {
		err = &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	return nil, holder, err
}

func lockNow(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// hook is called between the steps of tryIn. Tests interfere there.
var hook = func(string) {}

// tryIn locks the file in an open directory.
func tryIn(dir *os.Root, path string) (*Lock, Holder, error) {
	own, err := dir.OpenRoot(".")
	if err != nil {
		return nil, Holder{}, err
	}
	lock, holder, err := tryFile(own, path)
	if lock == nil {
		_ = own.Close()
	}
	return lock, holder, err
}

func tryFile(dir *os.Root, path string) (*Lock, Holder, error) {
	about, err := dir.Stat(".")
	if err != nil {
		return nil, Holder{}, err
	}
	info, err := dir.Lstat(Name)
	var f *os.File
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hook("missing")
		f, err = create(dir, about)
		if errors.Is(err, fs.ErrExist) {
			err = errAgain
		}
	case err != nil:
	case !fits(info, about):
		return nil, Holder{}, replace(dir, path, info)
	default:
		hook("found")
		f, err = dir.OpenFile(Name, os.O_RDWR|unix.O_NONBLOCK, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = errAgain
		case errors.Is(err, fs.ErrPermission):
			return closed(dir, path, info)
		}
	}
	if err != nil {
		return nil, Holder{}, err
	}
	if now, err := f.Stat(); err != nil || info != nil && !os.SameFile(now, info) {
		_ = f.Close()
		return nil, Holder{}, errors.Join(err, errAgain)
	}
	lock, holder, err := take(&Lock{f: f, in: dir}, func() (fs.FileInfo, error) { return dir.Lstat(Name) })
	if lock != nil {
		now := time.Now()
		_ = unix.Futimes(int(f.Fd()), []unix.Timeval{unix.NsecToTimeval(now.UnixNano()), unix.NsecToTimeval(now.UnixNano())})
	}
	return lock, holder, err
}

// rights returns the mode of the file in a directory: for those who may write there.
func rights(about fs.FileInfo) fs.FileMode {
	write := about.Mode().Perm() & 0o022
	return 0o600 | write | write<<1
}

// fits reports whether a file can be the lock file.
func fits(info, about fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Nlink != 1 || info.Mode().Perm()&^rights(about) != 0 {
		return false
	}
	uid := owned.UID(info)
	return uid == 0 || uid == os.Geteuid() || uid == owned.UID(about) || about.Mode().Perm()&0o022 != 0
}

// create creates the file. Root gives it to the directory's owner; everybody tries to
// give it to the directory's group.
func create(dir *os.Root, about fs.FileInfo) (*os.File, error) {
	f, err := dir.OpenFile(Name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if st, ok := about.Sys().(*syscall.Stat_t); ok {
		if os.Geteuid() == 0 {
			_ = f.Chown(int(st.Uid), int(st.Gid))
		} else {
			_ = f.Chown(-1, int(st.Gid))
		}
	}
	_ = f.Chmod(rights(about))
	return f, nil
}

// replace removes what has the name of the lock file but cannot be one. errAgain makes
// the next attempt create a new one.
func replace(dir *os.Root, path string, seen fs.FileInfo) error {
	now, err := dir.Lstat(Name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(now, seen) {
		return errAgain
	}
	if err == nil {
		err = dir.Remove(Name)
	}
	if err != nil && seen.IsDir() {
		// Anyone who may write here could have given a directory of root that name: it is
		// moved aside, not emptied.
		err = dir.Rename(Name, Name+"-was-a-directory-"+owned.RandomName())
	}
	if err != nil {
		return &planted{Path: filepath.Join(path, Name), Owner: owned.Owner(seen), Err: err}
	}
	return errAgain
}

// stale is the age of a lock file that cannot be opened and that nobody holds: its
// creator needs a moment to give it the directory's owner.
const stale = time.Second

// closed handles a valid lock file that cannot be opened: root's, left by a killed run,
// or one of a user who may write here through an access control list.
func closed(dir *os.Root, path string, info fs.FileInfo) (*Lock, Holder, error) {
	if holder := holderBy(info); holder.PID != 0 {
		return nil, holder, nil
	}
	if time.Since(info.ModTime()) < stale {
		return nil, Holder{}, nil
	}
	return nil, Holder{}, replace(dir, path, info)
}

func (l *Lock) release() error {
	if l.in != nil {
		// Check while holding it, so that it cannot be the next process's already.
		if info, err := l.f.Stat(); err == nil {
			if there, err := l.in.Lstat(Name); err == nil && os.SameFile(info, there) {
				_ = l.in.Remove(Name)
			}
		}
	}
	return l.f.Close()
}
