package detect

import (
	"slices"
)

// Python describes an interpreter and its environment. Paths are absolute. Symbolic
// links in them are not resolved unless stated.
type Python struct {
	Executable     string     `json:"executable"`               // the interpreter inside the environment
	Prefix         string     `json:"prefix"`                   // sys.prefix
	BasePrefix     string     `json:"base_prefix"`              // sys.base_prefix; differs from Prefix in a virtual environment
	ExecPrefix     string     `json:"exec_prefix"`              // sys.exec_prefix
	Kind           string     `json:"kind"`                     // "venv", "virtualenv", "conda", "pyenv", "standalone", "framework", "debian", "system", "plain"
	Version        string     `json:"version"`                  // "3.11.7"
	Major          int        `json:"major"`                    //
	Minor          int        `json:"minor"`                    //
	Implementation string     `json:"implementation"`           // "cpython"
	SOABI          string     `json:"soabi"`                    // "cpython-311-x86_64-linux-gnu"
	ExtSuffix      string     `json:"ext_suffix"`               // ".cpython-311-x86_64-linux-gnu.so"
	ABIFlags       string     `json:"abiflags"`                 // "", "d", "t", "m"
	Platform       string     `json:"platform"`                 // sysconfig.get_platform(), "linux-x86_64"
	Machine        string     `json:"machine"`                  // of the interpreter's own binary: "x86_64", "aarch64"
	Debug          bool       `json:"debug"`                    // Py_DEBUG
	FreeThreaded   bool       `json:"free_threaded"`            // Py_GIL_DISABLED
	Purelib        string     `json:"purelib"`                  // where pip puts pure distributions
	Platlib        string     `json:"platlib"`                  // where pip puts platform distributions
	Scripts        string     `json:"scripts"`                  // directory of Python.h, "" if it was not found
	Include        string     `json:"include"`                  // directory of pyconfig.h, if it is another one
	PlatInclude    string     `json:"platinclude"`              // directory that holds pyconfig.h, when another one
	SharedBuild    bool       `json:"shared_build"`             // Py_ENABLE_SHARED, as claimed
	LibPython      string     `json:"libpython"`                // the library that exists: preferably shared, else static; "" if none
	LibShared      bool       `json:"libpython_shared"`         // LibPython is a shared library
	LibPIC         bool       `json:"libpython_pic"`            // LibPython can be linked into a shared object
	ImportLibrary  string     `json:"import_library,omitempty"` // the import library if LibPython is a DLL (Windows)
	LinkLibs       string     `json:"link_libs"`                // LIBS and SYSLIBS, needed with a static LibPython
	Externally     string     `json:"externally_managed"`       // path of the PEP 668 marker that applies, "" if none
	Evidence       []Evidence `json:"evidence,omitempty"`

	refused struct{ path, why string } // the first library that was found but cannot be linked with
}

// Evidence is the source of a fact.
type Evidence struct {
	Fact   string `json:"fact"`   // "prefix", "libpython", …
	Source string `json:"source"` // a file, "interpreter", "sysconfig LIBDIR", …
	Value  string `json:"value"`
}

// HasPip and other facts come later; a missing fact is never guessed.

// unique drops empty and repeated strings and keeps the order.
func unique(in ...string) []string {
	var out []string
	for _, s := range in {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// IncludeDirs lists the directories of Python.h and pyconfig.h.
func (p *Python) IncludeDirs() []string {
	if p.PlatInclude == "" || p.PlatInclude == p.Include {
		return []string{p.Include}
	}
	return []string{p.Include, p.PlatInclude}
}
