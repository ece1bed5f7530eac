//go:build !windows

package express

import (
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// installHint is what to do about a prefix in which there is no mod_wsgi, or none that
// works.
func installHint(prefix string) string { return "run modwsgi install --python " + run.Quote(prefix) }

// besideApache recognises the layout of the zip for Windows.
func besideApache(string) (*install, error) { return nil, nil }

// settleHere finds what only Windows has other places for.
func (in *install) settleHere([]string) (done bool, err error) { return false, nil }

// noHTTPD is the error for an httpd that is not where the record says.
func noHTTPD(httpd, prefix string) error {
	return fault.New(fault.Environment, installHint(prefix)+", or name one with --httpd-executable", "the httpd %s, which the module was built for, is not there", httpd)
}

// modulesOf is the directory of modules that is meant by one that was named.
func modulesOf(dir string) string { return dir }

// modulesBeside is where the modules of an httpd lie that was named, "" where
// that cannot be told from its place.
func modulesBeside(string) string { return "" }

// slashed writes a path as httpd wants it in its configuration.
func slashed(s string) string { return s }

const controlFile = "apachectl"

// shellWord writes a path as one word of the shell that people type into.
func shellWord(s string) string { return run.Quote(s) }

// controlStub is the script of a server root that controls its httpd.
func controlStub(launcher, root string) []byte {
	return []byte("#!/bin/sh\nexec " + run.Quote(launcher) + " apachectl " + run.Quote(root) + ` "$@"` + "\n")
}
