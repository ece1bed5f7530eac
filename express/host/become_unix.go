//go:build unix

package host

import (
	"os"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
)

// Command is a program that takes the launcher's place.
type Command struct {
	Path  string
	Argv  []string // with the program's name, which may be another one
	Dir   string
	Env   []string
	Files []*os.File // the first descriptors; on Unix it keeps the launcher's
}

// Become makes this process another program: the exit code is that of the program.
func Become(c Command) (int, error) {
	if err := unix.Chdir(c.Dir); err != nil {
		return 1, fault.New(fault.Environment, "run setup-server again", "go to the working directory %s: %w", c.Dir, err)
	}
	LimitUmask()
	err := unix.Exec(c.Path, c.Argv, c.Env)
	return 1, fault.New(fault.Environment, "run modwsgi install and setup-server again", "start %s: %w", c.Path, err)
}
