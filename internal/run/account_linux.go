package run

import (
	"errors"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// CanSwitch reports whether this process can run tools as another user, and end them.
// Root in a container may lack the right.
func CanSwitch() bool {
	return os.Geteuid() == 0 && effective(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN, unix.CAP_KILL)
}

// CanReadAll reports whether this process can give Account.ReadAll to a tool. The wider
// capability that root has in many containers (CAP_DAC_OVERRIDE) is never given: it also
// allows writing every file.
func CanReadAll() bool {
	bound, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_DAC_READ_SEARCH, 0, 0, 0)
	if err != nil || bound != 1 || !effective(unix.CAP_DAC_READ_SEARCH) {
		return false
	}
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	return err == nil && bits&secbitNoCapAmbientRaise == 0
}

func effective(all ...uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	for _, c := range all {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// Bits of PR_SET_SECUREBITS (capabilities(7)).
const (
	secbitNoSetuidFixup     = 1 << 2
	secbitNoCapAmbientRaise = 1 << 6
)

// prepareThread prepares the locked thread that starts a tool as another user. The tool,
// and every program that it starts, cannot gain rights (setuid programs, file
// capabilities). This cannot be undone: spoilt is true, and the thread must not be used
// for anything else.
//
// With ReadAll, the capability also counts for access(2), by which mod_wsgi looks for
// pyvenv.cfg. The kernel ignores it there for everybody but root, unless the process has
// disabled such fixes at a change of user. Without the right to set that bit nothing
// changes. restore clears it: Go keeps the first thread of a process even when its
// goroutine has ended.
func prepareThread(account *Account) (restore func(), spoilt bool) {
	restore = func() {}
	if account == nil {
		return restore, false
	}
	_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) // since Linux 3.5
	if !account.ReadAll {
		return restore, true
	}
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil || unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits|secbitNoSetuidFixup), 0, 0, 0) != nil {
		return restore, true
	}
	return func() { _ = unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits), 0, 0, 0) }, true
}

// Closed returns the first of the paths that the account cannot open for reading without
// ReadAll, by the kernel's own rules, or "". A path that does not exist is not closed.
func (a *Account) Closed(paths ...string) (closed string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with this goroutine, unless it is the first one
		// of the process. So its rights are restored as well.
		runtime.LockOSThread()
		closed, err = a.closed(paths)
	}()
	<-done
	return closed, err
}

// closed gives this thread the account's rights on files. The raw calls change only this
// thread; those of package syscall would change all of them.
func (a *Account) closed(paths []string) (string, error) {
	before, err := unix.Getgroups()
	if err != nil {
		return "", err
	}
	if err := unix.Setgroups(nil); err != nil {
		return "", &fs.PathError{Op: "setgroups", Path: "(none)", Err: err}
	}
	defer func() {
		_ = unix.Setfsuid(os.Geteuid())
		_ = unix.Setfsgid(os.Getegid())
		_ = unix.Setgroups(before)
	}()
	_ = unix.Setfsgid(int(a.GID))
	_ = unix.Setfsuid(int(a.UID))
	// These two never fail. A second call returns what they did.
	if now, _ := unix.SetfsuidRetUid(-1); now != int(a.UID) {
		return "", errors.New("this process cannot act as another user (CAP_SETUID)")
	}
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			_ = unix.Close(fd)
		case errors.Is(err, fs.ErrPermission):
			return path, nil
		}
	}
	return "", nil
}
