package run

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func setProcessAttributes(cmd *exec.Cmd, account *Account) (done func(), err error) {
	// Setpgid makes the whole tree of a make or a configure reachable by one
	// signal; Pdeathsig ends it when we are killed in a way that leaves us no
	// time to do so ourselves.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: account.UID, Gid: account.GID}
		if c, ok := readAll(); ok && account.ReadAll {
			cmd.SysProcAttr.AmbientCaps = []uintptr{c}
			if done, err = execByDescriptor(cmd); err != nil {
				return nil, err
			}
		}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	return done, nil
}

// readAll is the capability to read everything that we can pass on: the narrow
// one, or the wide one, which is what root has in many containers; false where
// we have neither.
func readAll() (capability uintptr, ok bool) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, false
	}
	for _, c := range []uintptr{unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE} {
		if data[c/32].Permitted&(1<<(c%32)) != 0 {
			return c, true
		}
	}
	return 0, false
}

// secbitNoSetuidFixup is SECBIT_NO_SETUID_FIXUP (capabilities(7)).
const secbitNoSetuidFixup = 1 << 2

// prepareThread makes the capability that an account keeps count for access(2)
// too, by which mod_wsgi looks for pyvenv.cfg: the kernel takes it away there
// from everybody but root, unless the process does without fixes at a change of
// user. The bit is inherited from the thread that starts the tool, which must be
// locked, and is taken back with restore. Without the right to set it nothing
// changes.
func prepareThread(account *Account) (restore func()) {
	if account == nil || !account.ReadAll {
		return func() {}
	}
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil || unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits|secbitNoSetuidFixup), 0, 0, 0) != nil {
		return func() {}
	}
	return func() { _ = unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits), 0, 0, 0) }
}

// execByDescriptor has the program started through an open file: an ambient
// capability takes effect with the exec only (capabilities(7)), too late for
// finding a program below a directory that is closed to the account.
func execByDescriptor(cmd *exec.Cmd) (done func(), err error) {
	f, err := os.Open(cmd.Path)
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{f}
	cmd.Path = "/proc/self/fd/3"
	return func() { _ = f.Close() }, nil
}

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
