package sysroot

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/target"
)

// libcLibraries are the libraries that belong to glibc, by the name that linkers search
// for and by the name that programs then need.
var libcLibraries = []struct{ link, soname string }{
	{"libc", "libc.so.6"},
	{"libm", "libm.so.6"},
	{"libpthread", "libpthread.so.0"},
	{"libdl", "libdl.so.2"},
	{"librt", "librt.so.1"},
	{"libutil", "libutil.so.1"},
	{"libresolv", "libresolv.so.2"},
	{"libanl", "libanl.so.1"},
	{"libcrypt", "libcrypt.so.1"},
}

// symbol is a name that a library exports, with all its versions.
type symbol struct {
	name string
	defs []definition
}

// definition is one version of a symbol.
type definition struct {
	version string // "GLIBC_2.17", "" for none
	hidden  bool   // not the version that programs are linked with
	elf.Symbol
}

// library is the symbol table of a shared library.
type library struct {
	path    string
	soname  string
	header  []byte // the ELF header, for the fields that debug/elf leaves out
	symbols []symbol
}

// maxLibrary is the maximum size of a library that is read as a whole, in bytes.
const maxLibrary = 64 << 20

// readLibrary reads the symbol table of a library.
func readLibrary(name string) (*library, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxLibrary {
		return nil, fmt.Errorf("%s: not a library of a libc", name)
	}
	f, err := elf.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	lib := &library{path: name, soname: filepath.Base(name), header: make([]byte, 64)}
	if names, err := f.DynString(elf.DT_SONAME); err == nil && len(names) == 1 {
		lib.soname = names[0]
	}
	raw, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Close() }()
	if _, err := raw.ReadAt(lib.header, 0); err != nil {
		return nil, err
	}
	all, err := f.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	at := map[string]int{}
	for _, s := range all {
		bind := elf.ST_BIND(s.Info)
		if s.Section == elf.SHN_UNDEF || s.Section == elf.SHN_ABS || s.Name == "" || bind != elf.STB_GLOBAL && bind != elf.STB_WEAK && bind != elf.STB_LOOS {
			continue
		}
		i, seen := at[s.Name]
		if !seen {
			i = len(lib.symbols)
			at[s.Name] = i
			lib.symbols = append(lib.symbols, symbol{name: s.Name})
		}
		lib.symbols[i].defs = append(lib.symbols[i].defs, definition{version: s.Version, hidden: s.HasVersion && s.VersionIndex.IsHidden(), Symbol: s})
	}
	return lib, nil
}

// age returns the version of glibc in a symbol version: "2.17" of "GLIBC_2.17".
func age(version string) (string, bool) {
	v, ok := strings.CutPrefix(version, "GLIBC_")
	if !ok || strings.Trim(v, "0123456789.") != "" {
		return "", false
	}
	return v, true
}

// until returns the symbol as a glibc of that version has it, with the newest definition
// as the default; ok is false if that has no such symbol. Private symbols are left out.
// Versions that are not glibc's (libcrypt's XCRYPT_2.0) are the default only where glibc
// has none, so that programs also work with glibc's own libcrypt.
func (s symbol) until(wanted string) (out symbol, ok bool) {
	out.name = s.name
	public := slices.ContainsFunc(s.defs, func(d definition) bool { return !d.hidden })
	var best, foreign int = -1, -1
	for _, d := range s.defs {
		if elf.ST_TYPE(d.Info) == elf.STT_TLS {
			continue
		}
		v, glibc := age(d.version)
		switch {
		case glibc && target.Compare(v, wanted) > 0:
			continue
		case glibc:
			if b, _ := ageAt(out.defs, best); best < 0 || target.Compare(v, b) > 0 {
				best = len(out.defs)
			}
		case d.version == "" || strings.HasPrefix(d.version, "XCRYPT_"):
			if !d.hidden {
				foreign = len(out.defs)
			}
		default: // GLIBC_PRIVATE, GCC_3.0
			continue
		}
		d.hidden = true
		out.defs = append(out.defs, d)
	}
	if i := cmp.Or(best+1, foreign+1) - 1; i >= 0 && public {
		out.defs[i].hidden = false
	}
	return out, len(out.defs) > 0
}

func ageAt(defs []definition, i int) (string, bool) {
	if i < 0 {
		return "", false
	}
	return age(defs[i].version)
}

// filtered returns the library as the target's libc has it, and the names of functions and
// variables that it lacks.
func (l *library) filtered(t target.Target) (*library, []string) {
	out := &library{path: l.path, soname: l.soname, header: l.header}
	var missing []string
	for _, s := range l.symbols {
		if t.Libc == target.Musl {
			if since := muslSince[s.name]; since != "" && target.Compare(since, t.LibcVersion) > 0 {
				missing = append(missing, s.name)
			} else {
				out.symbols = append(out.symbols, s)
			}
			continue
		}
		if kept, ok := s.until(t.LibcVersion); ok {
			out.symbols = append(out.symbols, kept)
		} else if slices.ContainsFunc(s.defs, func(d definition) bool { _, public := age(d.version); return public && !d.hidden }) {
			missing = append(missing, s.name)
		}
	}
	return out, missing
}

// makeStubs writes the stubs for all libraries of the libc.
func (s *Sysroot) makeStubs() error {
	if err := os.Mkdir(s.Stubs, 0o755); err != nil {
		return err
	}
	lacking := map[string]bool{}
	if s.Target.Libc == target.Musl {
		lib, err := s.stub(filepath.Join(s.Dir, "usr", "lib", "libc.so"), s.Target.MuslName(), lacking)
		if err != nil {
			return err
		}
		s.newer = sortedTrue(lacking)
		// Who looks for what programs need finds it, as on Alpine.
		if err := os.Symlink("libc.so", filepath.Join(s.Dir, "usr", "lib", s.Target.MuslName())); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(s.Stubs, "libc.so"), lib, 0o644)
	}
	dir := s.libDir()
	loader := filepath.Base(s.Target.Loader())
	for _, l := range append(libcLibraries, struct{ link, soname string }{"", loader}) {
		data, err := s.stub(filepath.Join(dir, l.soname), l.soname, lacking)
		if errors.Is(err, fs.ErrNotExist) && l.soname != "libc.so.6" && l.soname != loader {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.Stubs, l.soname), data, 0o644); err != nil {
			return err
		}
		if l.link != "" && l.link != "libc" {
			if err := os.Symlink(l.soname, filepath.Join(s.Stubs, l.link+".so")); err != nil {
				return err
			}
		}
	}
	s.newer = sortedTrue(lacking)
	// What the libc has only as a static library is linked from there (ld(1), "GROUP").
	script := fmt.Sprintf("/* GNU ld script */\nGROUP ( %q %q AS_NEEDED ( %q ) )\n",
		filepath.Join(s.Stubs, "libc.so.6"), filepath.Join(dir, "libc_nonshared.a"), filepath.Join(s.Stubs, loader))
	return os.WriteFile(filepath.Join(s.Stubs, "libc.so"), []byte(script), 0o644)
}

func sortedTrue(set map[string]bool) []string {
	maps.DeleteFunc(set, func(_ string, in bool) bool { return !in })
	return slices.Sorted(maps.Keys(set))
}

// stub returns the stub for one library, and adds what it lacks.
func (s *Sysroot) stub(name, soname string, lacking map[string]bool) ([]byte, error) {
	if filepath.Base(name) == filepath.Base(s.Target.Loader()) {
		name = filepath.Join(s.Dir, s.Target.Loader())
	}
	lib, err := readLibrary(name)
	if err != nil {
		return nil, err
	}
	lib.soname = soname
	kept, missing := lib.filtered(s.Target)
	for _, m := range missing {
		if _, elsewhere := lacking[m]; !elsewhere {
			lacking[m] = true
		}
	}
	for _, k := range kept.symbols { // another library of the libc may have it
		lacking[k.name] = false
	}
	if len(kept.symbols) == 0 && soname == "libc.so.6" {
		return nil, fault.New(fault.Source, "name another suite of Debian", "%s has no symbols of glibc %s", name, s.Target.LibcVersion)
	}
	return kept.encode(), nil
}

// Newer returns the functions and variables that the sysroot's libc has only in versions
// newer than the target's, sorted.
func (s *Sysroot) Newer() []string { return slices.Clone(s.newer) }

// Answers returns what configure scripts must be told about the target, whatever this
// machine's libc has: "ac_cv_func_X" is "no" for each function that is newer. With the
// stubs, scripts find the same by themselves.
func (s *Sysroot) Answers() map[string]string {
	out := map[string]string{}
	for _, name := range s.newer {
		if !strings.HasPrefix(name, "_") {
			out["ac_cv_func_"+name] = "no"
		}
	}
	return out
}

// never is later than every release.
const never = "9"

// muslSince has the functions that musl has had since a release after 1.2.0. Those of
// 1.2.2 are from its release notes, the later ones from the symbol tables of Debian's
// packages of 1.2.2, 1.2.3, 1.2.5 and 1.2.6. Debian's 1.2.3 also has fts(3), which no
// release of musl has. Not every musl has crypt(3): Debian's has not since 1.2.3.
var muslSince = map[string]string{
	"_Fork": "1.2.2", "gettid": "1.2.2", "reallocarray": "1.2.2",
	"pthread_getname_np": "1.2.3", "qsort_r": "1.2.3",
	"preadv2": "1.2.5", "pwritev2": "1.2.5", "renameat2": "1.2.5", "statx": "1.2.5",
	"__getauxval": "1.2.6", "posix_getdents": "1.2.6",
	"crypt": never, "crypt_r": never, "encrypt": never, "setkey": never,
	"fts_children": never, "fts_close": never, "fts_open": never, "fts_read": never, "fts_set": never,
}
