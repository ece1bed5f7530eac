// Package detect finds Python environments and Apache httpds and reports for which
// ones a mod_wsgi module can be built, with the source of each fact. Facts come from
// files, or from the interpreter itself, which is started once. Claims of a tool are
// checked against the disk. The package writes nothing, uses no network, and never
// runs a script of an environment.
package detect

import (
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/run"
)

// Request is what to find.
type Request struct {
	Python string   // --python as given: an interpreter, an environment, a program in its bin directory; "" to detect one
	HTTPD  string   // "" or "auto", "bundled", "system", or a path: apxs, httpd executable or root of a tree
	Env    []string // the caller's environment ("NAME=value")
	Dir    string   // the caller's working directory, absolute
}

func (r Request) env(name string) string { return run.Getenv(r.Env, name) }

// abs makes a path absolute against the working directory. A ".." after a symbolic
// link means the parent of the link's target, as it does for the kernel; filepath.Abs
// would use the parent of the link.
func (r Request) abs(d *Disk, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && r.env("HOME") != "" {
		path = filepath.Join(r.env("HOME"), rest)
	}
	if !filepath.IsAbs(path) {
		path = r.Dir + string(filepath.Separator) + path
	}
	volume := filepath.VolumeName(path)
	current := volume + string(filepath.Separator)
	for _, element := range strings.FieldsFunc(path[len(volume):], isSeparator) {
		switch element {
		case ".":
		case "..":
			current = filepath.Dir(d.resolved(current))
		default:
			current = filepath.Join(current, element)
		}
	}
	return current
}

func isSeparator(c rune) bool { return c < 0x80 && os.IsPathSeparator(uint8(c)) }
