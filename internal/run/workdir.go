package run

import (
	"fmt"

	"modwsgi/internal/fault"
)

// NoDirectory is the error for a process whose current directory is unknown, usually
// because it was removed. Only the shell's name for it is left.
func NoDirectory(env []string, err error) error {
	name := "the current directory"
	if pwd := Getenv(env, "PWD"); pwd != "" {
		name += " " + pwd
	}
	return fault.New(fault.Environment, "change to a directory that exists (cd), and run the command again",
		"%s cannot be used, it may have been removed: %w", name, fmt.Errorf("find its path: %w", err))
}
