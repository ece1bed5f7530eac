// Package python holds the Python part of the tool's wheel: the package modwsgi,
// with the build backend modwsgi.build (PEP 517, PEP 660). It is data to Go.
package python

import "embed"

// Files are the Python files by their path in site-packages.
//
//go:embed modwsgi/*.py
var Files embed.FS
