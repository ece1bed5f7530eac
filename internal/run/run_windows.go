package run

import (
	"errors"
	"os/exec"
	"syscall"
)

func setProcessAttributes(cmd *exec.Cmd, account *Account) (done func(), err error) {
	if account != nil {
		return nil, errors.New("running as another user is not supported on Windows")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
	return nil, nil
}

func killGroup(*exec.Cmd) {}

func prepareThread(*Account) (restore func()) { return func() {} }
