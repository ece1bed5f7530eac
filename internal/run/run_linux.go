package run

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func setProcessAttributes(cmd *exec.Cmd, account *Account) (done func(), err error) {
	// Setpgid makes the whole tree of a make or a configure reachable by one signal.
	// Pdeathsig ends it if this process is killed without time to end it itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: account.UID, Gid: account.GID}
		if account.ReadAll {
			if !CanReadAll() {
				return nil, errors.New("the capability to read every file (CAP_DAC_READ_SEARCH) is missing")
			}
			cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_DAC_READ_SEARCH}
			if done, err = execByDescriptor(cmd); err != nil {
				return nil, err
			}
		}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	return done, nil
}

// execByDescriptor starts the program through an open file: an ambient capability takes
// effect only with the exec (capabilities(7)), too late to find a program in a directory
// that is closed to the account.
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
