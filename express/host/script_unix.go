//go:build unix

package host

import "modwsgi/internal/run"

// ControlFile is the name of the script in a server root that controls its httpd.
const ControlFile = "apachectl"

// ShellWord quotes a path for the user's shell.
func ShellWord(s string) string { return run.Quote(s) }

// ControlStub returns the contents of ControlFile.
func ControlStub(launcher, root string) []byte {
	return []byte("#!/bin/sh\nexec " + run.Quote(launcher) + " apachectl " + run.Quote(root) + ` "$@"` + "\n")
}
