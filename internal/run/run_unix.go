//go:build unix && !linux

package run

import (
	"os/exec"
	"syscall"
)

func setProcessAttributes(cmd *exec.Cmd, account *Account) (done func(), err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: account.UID, Gid: account.GID}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	return nil, nil
}

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

func prepareThread(*Account) (restore func()) { return func() {} }
