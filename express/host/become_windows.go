package host

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"

	"modwsgi/internal/fault"
)

// Command is a program that takes the launcher's place.
type Command struct {
	Path  string
	Argv  []string // with the program's name
	Dir   string
	Env   []string
	Files []*os.File // its streams
}

// Start starts a program. With group it does not get the console's Ctrl-C: it is
// told by its event, once.
func (c Command) Start(group bool) (*os.Process, error) {
	attr := &os.ProcAttr{Dir: c.Dir, Env: c.Env, Files: c.Files}
	if group {
		attr.Sys = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	}
	proc, err := os.StartProcess(c.Path, c.Argv, attr)
	if err != nil {
		return nil, fault.New(fault.Environment, "", "start %s: %w", c.Path, err)
	}
	return proc, nil
}

// Become runs a program in our place. Windows cannot exchange one for another, so
// it is waited for.
func Become(c Command) (int, error) {
	proc, err := c.Start(false)
	if err != nil {
		return 1, err
	}
	state, err := proc.Wait()
	if err != nil {
		return 1, err
	}
	return state.ExitCode(), nil
}
