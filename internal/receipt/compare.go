package receipt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/libpython"
)

// A module is stale if it no longer fits what it runs with. Only this file decides that:
// install builds such a module again, doctor reports it, and the launcher refuses to
// serve with it.
//
// The interpreter that the module runs and the standard library that it finds must be of
// one version. A module linked to a shared libpython runs whatever is at that path today,
// so a newer patch version at the same path is fine as long as the environment's Python
// is that one too. A module that contains the interpreter always runs the version that it
// was built with. Python's minor version and ABI must be the same in any case.
//
// For httpd, the module magic number (MMN) decides, which is what httpd itself checks. A
// newer patch version of the same httpd does not need a new module.

// Today is what is on this machine now. Empty or zero fields are unknown and not
// compared.
type Today struct {
	Python  Python   // of the environment's interpreter
	Library *Library // the library that the module loads as libpython; nil if none
	HTTPD   HTTPD    // the server
	// HTTPDGone reports that the file of the recorded httpd no longer exists.
	HTTPDGone bool
}

// Library is the shared libpython that a module loads.
type Library struct {
	Path    string
	Gone    bool
	Version string
}

// Fact names what differs.
type Fact string

// The facts that Compare compares.
const (
	FactPython    Fact = "python"    // the minor version or the ABI
	FactLibPython Fact = "libpython" // the interpreter that the module runs
	FactHTTPD     Fact = "httpd"     // another program
	FactMMN       Fact = "mmn"       // its module magic number
)

// Difference is one reason why a module is stale.
type Difference struct {
	Fact Fact   `json:"fact"`
	Was  string `json:"was"` // recorded value
	Now  string `json:"now"` // today's value; "" if it no longer exists
	Text string `json:"text"`
}

// Static reports whether the module contains the interpreter, instead of loading a shared
// libpython.
func (p *Python) Static() bool {
	return p.Soname == "" && (p.LibPython == "" || filepath.Ext(p.LibPython) == ".a")
}

// Loads returns the path of the shared libpython that the module loads in an environment
// whose prefix is now the given one ("" for the recorded one). It returns "" for a module
// that loads none or finds it by name. A libpython inside the environment moves with it,
// and so does the module's path to it (conda).
func (p *Python) Loads(prefix string) string {
	if p.LibPython == "" || p.Static() {
		return ""
	}
	if rest, inside := strings.CutPrefix(p.LibPython, p.Prefix+string(filepath.Separator)); inside && p.Prefix != "" && prefix != "" {
		return filepath.Join(prefix, rest)
	}
	return p.LibPython
}

// Look reads from the disk the facts that only files can show: the library that the
// module loads, and whether the httpd still exists. python is what else is known about
// the environment's interpreter.
func Look(r *Receipt, python Python) Today {
	t := Today{Python: python}
	if lib := r.Python.Loads(python.Prefix); lib != "" {
		t.Library = &Library{Path: lib}
		// A path that may not be examined still exists.
		if _, err := os.Stat(lib); errors.Is(err, fs.ErrNotExist) {
			t.Library.Gone = true
		} else {
			t.Library.Version = libpython.VersionOf(lib, first(python.Version, r.Python.Version))
		}
	}
	if r.HTTPD.Executable != "" {
		info, err := os.Stat(r.HTTPD.Executable)
		t.HTTPDGone = errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir()
	}
	return t
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// Compare returns why the module of a receipt is stale today, or nothing.
func Compare(r *Receipt, today Today) []Difference {
	if d := compareABI(&r.Python, &today.Python); d != nil {
		return append([]Difference{*d}, compareHTTPD(r, &today)...) // another interpreter follows from it
	}
	var out []Difference
	if d := compareInterpreter(&r.Python, &today); d != nil {
		out = append(out, *d)
	}
	return append(out, compareHTTPD(r, &today)...)
}

func compareABI(was, now *Python) *Difference {
	abi := was.SOABI != "" && now.SOABI != ""
	switch {
	case was.Version != "" && now.Version != "" && libpython.Minor(was.Version) != libpython.Minor(now.Version):
	case abi && was.SOABI != now.SOABI:
	case abi && was.FreeThreaded != now.FreeThreaded:
	default:
		return nil
	}
	old, new := described(was), described(now)
	return &Difference{FactPython, old, new, fmt.Sprintf("the module was built for Python %s, the environment's is %s", old, new)}
}

// described formats a Python with its variant: "3.13.1 (cpython-313t-x86_64-linux-gnu)".
func described(p *Python) string {
	switch {
	case p.SOABI == "":
		return p.Version
	case p.FreeThreaded && !strings.Contains(p.SOABI, "t-"):
		return p.Version + " (" + p.SOABI + ", free-threaded)"
	}
	return p.Version + " (" + p.SOABI + ")"
}

// compareInterpreter compares Pythons of one ABI.
func compareInterpreter(was *Python, today *Today) *Difference {
	now, lib := &today.Python, today.Library
	switch {
	case was.Static() && !libpython.Same(was.Version, now.Version):
		return &Difference{FactLibPython, was.Version, now.Version, fmt.Sprintf(
			"the module contains the interpreter of Python %s, but the environment's standard library is now %s", was.Version, now.Version)}
	case lib == nil:
		return nil
	case lib.Gone:
		return &Difference{FactLibPython, lib.Path, "", fmt.Sprintf("the libpython that the module loads no longer exists: %s", lib.Path)}
	case !libpython.Same(lib.Version, now.Version):
		return &Difference{FactLibPython, lib.Version, now.Version, fmt.Sprintf(
			"the module loads the libpython of Python %s (%s), but the environment's standard library is now %s", lib.Version, lib.Path, now.Version)}
	case now.LibPython != "" && filepath.Ext(now.LibPython) != ".a" && !sameFile(now.LibPython, lib.Path):
		return &Difference{FactLibPython, lib.Path, now.LibPython, fmt.Sprintf(
			"the module loads %s, but the environment's Python has %s", lib.Path, now.LibPython)}
	}
	return nil
}

func compareHTTPD(r *Receipt, today *Today) []Difference {
	was, now := &r.HTTPD, &today.HTTPD
	switch {
	case now.Executable != "" && was.Executable != "" && !sameFile(now.Executable, was.Executable):
		return []Difference{{FactHTTPD, was.Executable, now.Executable, fmt.Sprintf(
			"the module was built for httpd %s (%s), but this is %s (%s)", was.Version, was.Executable, now.Version, now.Executable)}}
	case today.HTTPDGone:
		return []Difference{{FactHTTPD, was.Executable, "", "the httpd that the module was built for no longer exists: " + was.Executable}}
	case was.MMN > 0 && now.MMN > 0 && was.MMN != now.MMN:
		return []Difference{{FactMMN, fmt.Sprint(was.MMN), fmt.Sprint(now.MMN), fmt.Sprintf(
			"the module was built for MMN %d, but httpd now has %d", was.MMN, now.MMN)}}
	}
	return nil
}

// sameFile reports whether two paths lead to one file. They may be spelled differently,
// with a link in either.
func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}
