package run

import (
	"fmt"

	"modwsgi/internal/fault"
)

// NoDirectory is the error for a process whose current directory cannot be told,
// mostly because it was removed. The shell's own name for it is all that is left.
func NoDirectory(env []string, err error) error {
	name := "the current directory"
	if pwd := Getenv(env, "PWD"); pwd != "" {
		name += " " + pwd
	}
	return fault.New(fault.Environment, "change to a directory that exists (cd), and run the command again",
		"%s cannot be used, it may have been removed: %w", name, fmt.Errorf("find its path: %w", err))
}
