package windows

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/pe"
)

// Expect has the requirements on a module.
type Expect struct {
	Python string // "3.11"
	// Resolve reports whether a library has a name, and whether the library is known
	// at all; nil if nothing is known.
	Resolve func(library, name string) (has, known bool)
	Paths   []string // of the build machine: the file must contain none of them
	Runtime []string // libraries with the compiler's own runtime, besides the Universal C Runtime
}

// systemLibraries are libraries of every Windows that a module may use, in lowercase;
// the Universal C Runtime is recognized by its prefix.
var systemLibraries = []string{"kernel32.dll", "psapi.dll"}

const ucrtPrefix = "api-ms-win-crt-"

// Check reads a module and reports where it violates these requirements: it is a
// library for AMD64, exports exactly wsgi_module and PyInit_mod_wsgi, needs only
// httpd's libraries, its Python's, the Universal C Runtime and the system's, all its
// imports exist, and it contains no path of the build machine. It returns the names of
// the required libraries, sorted.
func Check(path string, x Expect) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, size := bytes.NewReader(data), int64(len(data))
	facts, err := pe.Read(r, size)
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	if facts.Machine != "AMD64" || !facts.DLL {
		return nil, fmt.Errorf("the module is for %s (library: %v), not a library for AMD64", facts.Machine, facts.DLL)
	}
	if !slices.Equal(facts.Exports, exported) {
		return nil, fmt.Errorf("the module exports %q, not exactly %q", facts.Exports, exported)
	}
	imports, err := pe.Imports(r, size)
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	names, err := x.imports(imports)
	if err != nil {
		return nil, err
	}
	for _, p := range x.Paths {
		for _, spelling := range []string{p, filepath.ToSlash(p)} {
			if len(spelling) > 1 && bytes.Contains(data, []byte(spelling)) {
				return nil, fmt.Errorf("the module contains the path %s of this machine", spelling)
			}
		}
	}
	return names, nil
}

func (x *Expect) imports(imports []pe.Import) ([]string, error) {
	var names []string
	ours := append(slices.Clone(httpdNames), dllName(x.Python))
	crt, seen := false, map[string]bool{}
	for _, i := range imports {
		lower := strings.ToLower(i.Library)
		names = append(names, i.Library)
		seen[lower] = true
		mine := slices.ContainsFunc(ours, func(o string) bool { return strings.EqualFold(o, i.Library) })
		switch {
		case strings.HasPrefix(lower, ucrtPrefix):
			crt = true
			continue
		case slices.Contains(systemLibraries, lower), slices.Contains(x.Runtime, lower):
			continue
		case lower == "msvcrt.dll":
			return nil, fmt.Errorf("the module uses the old C runtime %s, but Python uses the universal one: a file opened by one is unknown to the other", i.Library)
		case !mine:
			return nil, fmt.Errorf("the module needs %s, which is neither httpd's nor Python %s's nor the system's", i.Library, x.Python)
		}
		if i.Ordinal > 0 {
			return nil, fmt.Errorf("the module imports %d functions of %s by number, which may change", i.Ordinal, i.Library)
		}
		if err := x.resolvable(i); err != nil {
			return nil, err
		}
	}
	for _, need := range []string{"libhttpd.dll", dllName(x.Python)} {
		if !seen[need] {
			return nil, fmt.Errorf("the module does not need %s: it was linked to something else", need)
		}
	}
	if !crt {
		return nil, fmt.Errorf("the module does not use the Universal C Runtime")
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (x *Expect) resolvable(i pe.Import) error {
	if x.Resolve == nil {
		return nil
	}
	var missing []string
	for _, name := range i.Names {
		if has, known := x.Resolve(i.Library, name); known && !has {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s of the SDK does not have %s", i.Library, strings.Join(missing[:min(5, len(missing))], ", "))
	}
	return nil
}
