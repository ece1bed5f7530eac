package linkage

import (
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
)

// A build for an older system than the build machine's is only right if no file requires
// a symbol of a newer C library. A compiler with wrong headers, or a library that was
// bundled from elsewhere, gets in without an error, so every file is checked, and the tag
// of the target is claimed only afterwards.

// muslLibc is the name under which musl's linker knows its C library, besides that of
// Alpine (libc.musl-x86_64.so.1). Its loader finds itself by both.
const muslLibc = "libc.so"

// musl reports whether a file is for musl.
func (o *object) musl() bool {
	return strings.Contains(o.facts.Interp, "ld-musl-") ||
		slices.ContainsFunc(o.facts.Needed, func(n string) bool { return strings.HasPrefix(n, "libc.musl-") || n == muslLibc })
}

// checkLimit refuses a file that requires another or a newer C library than the limit.
func (t *tree) checkLimit(o *object, bad *problems) {
	libc, most, _ := strings.Cut(t.Limit, " ")
	switch gnu := slices.Contains(o.facts.Needed, "libc.so.6"); {
	case t.Limit == "":
		return
	case libc == "musl" && gnu:
		bad.add("%s needs libc.so.6, the GNU C library, not musl", o.rel)
		return
	case libc == "glibc" && o.musl():
		bad.add("%s is for musl, not for the GNU C library", o.rel)
		return
	case libc != "glibc":
		return
	}
	newer := map[string]bool{} // versions
	for _, n := range o.needs {
		for _, version := range n.Versions {
			if t.system(n.Library) && newerGlibc(version, most) {
				newer[version] = true
			}
		}
	}
	for _, version := range slices.Sorted(keys(newer)) {
		bad.add("%s requires %s, which glibc %s does not have", o.rel, t.requirement(o, version), most)
	}
}

// newerGlibc reports whether a symbol version is of a newer glibc.
func newerGlibc(version, most string) bool {
	number, ok := strings.CutPrefix(version, "GLIBC_")
	if ok && strings.HasPrefix(number, "ABI_DT_RELR") {
		number = "2.36" // https://sourceware.org/glibc/wiki/Release/2.36
	}
	return ok && number != "" && strings.Trim(number, "0123456789.") == "" && elf.CompareVersions(number, most) > 0
}

// requirement names the symbols of a version that a file imports.
func (t *tree) requirement(o *object, version string) string {
	f, err := elf.Open(filepath.Join(t.root, filepath.FromSlash(o.rel)))
	if err != nil {
		return version
	}
	defer func() { _ = f.Close() }()
	all, err := f.Requirements()
	if err != nil {
		return version
	}
	var names []string
	for _, r := range all {
		if r.Version == version && !slices.Contains(names, r.Symbol+"@"+version) {
			names = append(names, r.Symbol+"@"+version)
		}
	}
	if len(names) == 0 { // the link editor requires it for a format of relocations
		return version
	}
	slices.Sort(names)
	return strings.Join(few(names), ", ")
}

// limitHint is the hint for files that exceed a limit.
func limitHint(limit string) string {
	if limit == "" {
		return ""
	}
	return "build for a newer system, leave out the feature that needs it, or use a sysroot with an older C library and libraries that were built for it"
}

// manylinux returns the tags that the files support, by their symbols and the limit.
func (t *tree) manylinux() ([]string, error) {
	r := t.result
	glibc, err := r.Versions.glibc(r.Machine)
	if err != nil {
		return nil, err
	}
	_, most, _ := strings.Cut(t.Limit, " ")
	if most != "" && elf.CompareVersions(glibc, most) > 0 { // because of a library of the compiler
		return nil, fault.New(fault.Environment, limitHint(t.Limit), "its files cannot be packaged for glibc %s: they require libraries of the compiler that only systems with glibc %s have (%s)",
			most, glibc, strings.Join(r.Versions.List(), ", "))
	}
	return manylinux(glibc, r.Machine, most), nil
}

// claim adds the tags of the target to those that the files support. It is called when
// every file has been checked.
func (t *tree) claim() error {
	r := t.result
	if t.Limit == "" || len(r.Foreign) > 0 {
		return nil
	}
	for _, tag := range t.Targets {
		if !slices.Contains(r.Tags, tag) {
			r.Tags = append(r.Tags, tag)
		}
	}
	slices.Sort(r.Tags)
	return nil
}

// List returns the requirements as text, sorted: "GLIBC_2.14".
func (v Versions) List() []string {
	var all []string
	for family, version := range v {
		all = append(all, family+"_"+version)
	}
	slices.Sort(all)
	return all
}
