//go:build unix

package host

import (
	"os"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
)

// Command is a program that replaces the launcher.
type Command struct {
	Path  string
	Argv  []string // including the program's name, which may differ from its path
	Dir   string
	Env   []string
	Files []*os.File // unused by Become on Unix, where the program keeps the launcher's
	// Inherit are further descriptors, which follow Files.
	Inherit []int
	// Outlives lets the program continue when this process is killed.
	Outlives bool
}

// Become replaces this process with a program. It returns only if that fails.
func Become(c Command) (int, error) {
	if err := unix.Chdir(c.Dir); err != nil {
		return 1, fault.New(fault.Environment, "run setup-server again", "change to the working directory %s: %w", c.Dir, err)
	}
	LimitUmask()
	err := unix.Exec(c.Path, c.Argv, c.Env)
	return 1, fault.New(fault.Environment, "run modwsgi install and setup-server again", "start %s: %w", c.Path, err)
}
