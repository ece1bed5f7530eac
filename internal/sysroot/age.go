package sysroot

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ourelf "modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/target"
)

// Symbol is a symbol of a binary that the target does not have.
type Symbol struct {
	File    string
	Name    string
	Version string // "GLIBC_2.34"; for musl the release that has it first
	Library string // "libc.so.6"
}

func (s Symbol) String() string {
	where := ""
	if s.Library != "" {
		where = " of " + s.Library
	}
	return fmt.Sprintf("%s needs %s (%s%s)", s.File, s.Name, s.Version, where)
}

// TooNew returns the symbols of an ELF file that the target's libc does not have: those
// with a newer version of glibc, or those that an older musl lacks.
func TooNew(t target.Target, file string) ([]Symbol, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer func() { _ = f.Close() }()
	if class, machine, _ := t.ELF(); f.Machine != machine || f.Class != class {
		return nil, fault.New(fault.Build, "", "%s is for %s, not for %s", file, strings.TrimPrefix(f.Machine.String(), "EM_"), t)
	}
	all, err := f.ImportedSymbols()
	if err != nil {
		return nil, nil // no dynamic symbols: a static program or an object file
	}
	var out []Symbol
	for _, s := range all {
		version := s.Version
		if t.Libc == target.Musl {
			version = muslSince[s.Name]
			switch {
			case version == "" || s.Version != "": // musl has no versions: it is another library's
			case version == never:
				out = append(out, Symbol{file, s.Name, "not every musl has it", ""})
			case target.Compare(version, t.LibcVersion) > 0:
				out = append(out, Symbol{file, s.Name, "musl " + version, s.Library})
			}
			continue
		}
		if v, ok := age(version); ok && target.Compare(v, t.LibcVersion) > 0 {
			out = append(out, Symbol{file, s.Name, version, s.Library})
		}
	}
	if t.Libc == target.Glibc && target.Compare(t.LibcVersion, "2.36") < 0 {
		needs, err := f.DynamicVersionNeeds()
		for _, n := range needs {
			if slices.ContainsFunc(n.Needs, func(d elf.DynamicVersionDep) bool { return d.Dep == "GLIBC_ABI_DT_RELR" }) && err == nil {
				out = append(out, Symbol{file, "packed relocations", "GLIBC_2.36", n.Name})
			}
		}
	}
	return out, nil
}

// HasTooNew reports whether a library of the sysroot needs a newer C library than the
// target's: the libraries of Debian are as new as its C library.
func (s *Sysroot) HasTooNew(soname string) bool {
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return false
	}
	defer func() { _ = root.Close() }()
	dir := inRoot(root, LibraryDirs(s.Target), soname)
	if dir == "" {
		return false
	}
	found, err := TooNew(s.Target, filepath.Join(s.Dir, dir, soname))
	return err == nil && len(found) > 0
}

// CheckTree reports all binaries in a directory that are for another processor, need
// symbols that the target's libc does not have, or belong to another libc.
func CheckTree(t target.Target, dir string) error {
	var problems []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !ourelf.Is(name) {
			return err
		}
		found, err := TooNew(t, name)
		if err != nil {
			problems = append(problems, err.Error())
			return nil
		}
		for _, s := range found {
			problems = append(problems, s.String())
		}
		if why := otherLibc(t, name); why != "" {
			problems = append(problems, name+" "+why)
		}
		return nil
	})
	if err != nil || len(problems) == 0 {
		return err
	}
	return fault.New(fault.Build, "name a target with a newer libc, or report this as a bug with the log of the build", "the result does not run on %s:\n  %s", t, strings.Join(problems, "\n  "))
}

// otherLibc returns why a binary does not belong to the target's libc, or "".
func otherLibc(t target.Target, name string) string {
	facts, err := ourelf.Read(name)
	if err != nil {
		return ""
	}
	if facts.Interp != "" && facts.Interp != t.Loader() {
		return "has the loader " + facts.Interp + ", not " + t.Loader()
	}
	for _, n := range facts.Needed {
		if t.Libc == target.Musl && n == "libc.so.6" || t.Libc == target.Glibc && (n == "libc.so" || strings.HasPrefix(n, "libc.musl-")) {
			return "needs " + n + ", the library of another libc"
		}
	}
	return ""
}
