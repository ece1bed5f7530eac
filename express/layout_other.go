//go:build !windows

package express

import "modwsgi/internal/run"

// besideApache recognises the layout of the zip for Windows.
func besideApache(string) (*install, error) { return nil, nil }

// settleHere finds what only Windows has other places for.
func (in *install) settleHere([]string) (done bool, err error) { return false, nil }

// slashed writes a path as httpd wants it in its configuration.
func slashed(s string) string { return s }

const controlFile = "apachectl"

// controlStub is the script of a server root that controls its httpd.
func controlStub(launcher, root string) []byte {
	return []byte("#!/bin/sh\nexec " + run.Quote(launcher) + " apachectl " + run.Quote(root) + ` "$@"` + "\n")
}
