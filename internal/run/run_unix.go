//go:build unix && !linux

package run

import (
	"errors"
	"os/exec"
	"syscall"
)

func setProcessAttributes(cmd *exec.Cmd, account *Account) (done func(), err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if account != nil {
		if account.ReadAll {
			return nil, errors.New("a capability to read every file exists on Linux only")
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: account.UID, Gid: account.GID}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	return nil, nil
}

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
