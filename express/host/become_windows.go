package host

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"

	"modwsgi/internal/fault"
)

// Command is a program that replaces the launcher.
type Command struct {
	Path  string
	Argv  []string // including the program's name
	Dir   string
	Env   []string
	Files []*os.File // standard streams
	// Inherit is for other systems.
	Inherit []int
	// Outlives lets the program continue when this process is killed.
	Outlives bool
}

// Start starts a program. With group, the program does not receive Ctrl-C from the
// console. It is stopped only through its event.
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

// Become runs a program and returns its exit code. Windows cannot replace a process, so
// Become waits for it to end.
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
