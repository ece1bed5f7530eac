//go:build unix

package host

import "modwsgi/internal/run"

// ControlFile is the name of the script of a server root that controls its httpd.
const ControlFile = "apachectl"

// ShellWord writes a path as one word of the shell that people type into.
func ShellWord(s string) string { return run.Quote(s) }

// ControlStub is that script.
func ControlStub(launcher, root string) []byte {
	return []byte("#!/bin/sh\nexec " + run.Quote(launcher) + " apachectl " + run.Quote(root) + ` "$@"` + "\n")
}
