//go:build unix

package logwriter

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A file is a log file that several programs may append to, and that any of them, or
// logrotate, may rename.
//
// The name without a suffix is always the current file. A full file is renamed, to its
// name and the time of its last line. Before each write, a program compares the open
// file with the one of that name. If they differ, it was rotated, and the program
// opens the new one. So no program has to be notified, and no line is written to a
// file that was compressed or removed in the meantime.
//
// A lock in the server root makes comparison, rotation and write one step for the
// programs of an instance. It is not on the log file, which other users may be able to
// read and therefore to lock. Without the lock nothing is lost either: writes append,
// and a line in a file just renamed is still a line in that log.
type file struct {
	path  string
	limit int64
	every string
	keep  int
	lock  *os.File // may be nil
	now   func() time.Time

	open    *os.File
	regular bool  // otherwise a device or pipe, which is only written to
	within  int64 // interval of the file's last line
}

// lockWait is how long to wait for the lock, which others hold only during a write.
const lockWait = 2 * time.Second

// coarse is the imprecision of a file's time: the kernel takes it from its last tick.
const coarse = 10 * time.Millisecond

// write appends complete lines and returns how many bytes of them are in the log. If that
// is not all, the file ends with a complete line, and the rest can be written later.
func (f *file) write(lines []byte) (written int, err error) {
	for written < len(lines) {
		n, err := f.append(lines[written:])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// append writes as many lines as fit into the current file, at least one.
func (f *file) append(lines []byte) (int, error) {
	locked := f.acquire()
	if locked {
		defer func() { _ = unix.Flock(int(f.lock.Fd()), unix.LOCK_UN) }()
	}
	size, err := f.current()
	if err != nil {
		return 0, err
	}
	if !f.regular {
		return f.open.Write(lines)
	}
	now := interval(f.every, f.now())
	if size > 0 && (now != f.within || f.limit > 0 && fitting(lines, f.limit-size) == 0) {
		// If that fails, the log grows in the file that it has.
		if f.rotate() == nil {
			if size, err = f.current(); err != nil {
				return 0, err
			}
		}
	}
	f.within = now
	if n := fitting(lines, f.limit-size); f.limit > 0 && n > 0 {
		lines = lines[:n]
	} else if f.limit > 0 {
		lines = lines[:bytes.IndexByte(lines, '\n')+1]
	}
	n, err := f.open.Write(lines)
	if err == nil {
		return n, nil
	}
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	if n > whole {
		if !locked || f.open.Truncate(size+int64(whole)) != nil {
			// The torn line remains. What follows must not be joined to it.
			_, _ = f.open.Write([]byte{'\n'})
		}
	}
	return whole, err
}

// fitting returns the length of the complete lines that fit into some space.
func fitting(lines []byte, space int64) int {
	if space >= int64(len(lines)) {
		return len(lines)
	}
	if space <= 0 {
		return 0
	}
	return bytes.LastIndexByte(lines[:space], '\n') + 1
}

// acquire locks the log against the other programs of the instance.
func (f *file) acquire() bool {
	if f.lock == nil {
		return false
	}
	for last := time.Now().Add(lockWait); ; time.Sleep(time.Millisecond) {
		switch err := unix.Flock(int(f.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return true
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR), time.Now().After(last):
			return false
		}
	}
}

// current opens the file of the log's name unless it is already open, and returns its
// size. If it cannot be opened, the open one remains.
func (f *file) current() (size int64, err error) {
	if f.open != nil {
		is, err := f.open.Stat()
		if err != nil {
			return 0, err
		}
		if !f.regular {
			return 0, nil
		}
		if named, err := os.Stat(f.path); err == nil && os.SameFile(is, named) {
			return is.Size(), nil
		}
	}
	next, err := openLog(f.path, os.O_CREATE)
	if err != nil {
		if f.open == nil {
			return 0, err
		}
		is, err := f.open.Stat()
		if err != nil {
			return 0, err
		}
		return is.Size(), nil
	}
	if f.open != nil {
		_ = f.open.Close()
	}
	f.open = next
	is, err := next.Stat()
	if err != nil {
		return 0, err
	}
	f.regular = is.Mode().IsRegular()
	f.within = interval(f.every, is.ModTime().Add(coarse))
	return is.Size(), nil
}

// openLog opens a log file as httpd does, but no link of another user's, nor a file that
// another user may have given a second name in its own directory.
func openLog(path string, create int) (*os.File, error) {
	f, err := followOwn(path, os.O_WRONLY|os.O_APPEND|create)
	if err != nil {
		return nil, err
	}
	is, err := f.Stat()
	if err == nil && is.Mode().IsRegular() && is.Sys().(*syscall.Stat_t).Nlink > 1 {
		if dir, statErr := os.Stat(filepath.Dir(path)); statErr != nil || !ours(dir) {
			err = errors.New("it has other names, and the directory is another user's")
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// ours reports whether a file belongs to root or to this user.
func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

func followOwn(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW, 0o666)
	if !errors.Is(err, unix.ELOOP) {
		return f, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !ours(info) {
		return nil, errors.New("it is a symbolic link of another user's")
	}
	return os.OpenFile(path, flags, 0o666)
}

// Check returns why a log cannot be written. It creates nothing.
func Check(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return errors.New("it is a directory")
	case err == nil && info.Mode().IsRegular():
		f, err := openLog(path, 0)
		if err != nil {
			return err
		}
		return f.Close()
	case errors.Is(err, fs.ErrNotExist):
		dir := filepath.Dir(path)
		if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("a file cannot be created in %s: %w", dir, err)
		}
		return nil
	}
	return err
}

// suffix is the layout of what is added to the name of a full file, as upstream's.
const suffix = "2006-01-02-15_04_05"

// rotate renames the current file and removes the oldest ones.
func (f *file) rotate() error {
	is, err := f.open.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Lstat(f.path); err != nil || !os.SameFile(is, named) {
		return nil // a link, or another program has rotated it
	}
	base := f.path + "." + is.ModTime().Local().Format(suffix)
	to := base
	for n := 1; ; n++ {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = base + "." + strconv.Itoa(n)
	}
	if err := os.Rename(f.path, to); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another program was faster
		}
		return err
	}
	f.prune()
	return nil
}

// full matches what follows the name of the log in that of a full file, possibly
// compressed.
var full = regexp.MustCompile(`^\.(\d{4}-\d\d-\d\d-\d\d_\d\d_\d\d)(?:\.(\d+))?(?:\.(?:gz|bz2|xz|zst))?$`)

// prune removes the oldest full files.
func (f *file) prune() {
	if f.keep < 1 {
		return
	}
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		return
	}
	type old struct {
		name, stamp string
		n           int
	}
	var list []old
	base := filepath.Base(f.path)
	for _, e := range entries {
		rest, ok := bytes.CutPrefix([]byte(e.Name()), []byte(base))
		if m := full.FindSubmatch(rest); ok && m != nil && e.Type().IsRegular() {
			n, _ := strconv.Atoi(string(m[2]))
			list = append(list, old{e.Name(), string(m[1]), n})
		}
	}
	slices.SortFunc(list, func(a, b old) int {
		if a.stamp != b.stamp {
			return bytes.Compare([]byte(a.stamp), []byte(b.stamp))
		}
		return a.n - b.n
	})
	for _, o := range list[:max(0, len(list)-f.keep)] {
		_ = os.Remove(filepath.Join(filepath.Dir(f.path), o.name))
	}
}
