//go:build unix

package place

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// tryLock returns a lock, or nil and who holds it.
func tryLock(dir string) (*lockFile, int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, 0, err
	}
	lock := &lockFile{f: f}
	err = flock(f)
	// NFS makes a byte-range lock of it, which needs a file open for writing.
	if errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		_ = f.Close()
		return tryLockFile(dir)
	}
	return finish(lock, dir, err)
}

func tryLockFile(dir string) (*lockFile, int, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, 0, err
	}
	return finish(&lockFile{f: f, file: true}, name, flock(f))
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func finish(lock *lockFile, name string, err error) (*lockFile, int, error) {
	if err == nil && same(lock.f, name) {
		return lock, 0, nil
	}
	holder := 0
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, err = holderOf(lock.f), nil
	}
	_ = lock.f.Close()
	if err != nil {
		err = &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	return nil, holder, err
}

func (l *lockFile) release() error {
	if l.file {
		// While we hold it, so that it cannot be the next one's already.
		_ = os.Remove(l.f.Name())
	}
	return l.f.Close()
}

// holderOf looks the holder up in proc_locks(5); 0 where there is no such
// file, or it does not show the holder (another container).
func holderOf(f *os.File) int {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer locks.Close()
	suffix := fmt.Sprintf(":%d", st.Ino)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 7: FLOCK  ADVISORY  WRITE 4242 08:01:131073 0 EOF
		fields := strings.Fields(lines.Text())
		if len(fields) >= 6 && fields[1] == "FLOCK" && strings.HasSuffix(fields[5], suffix) {
			if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 {
				return pid
			}
		}
	}
	return 0
}
