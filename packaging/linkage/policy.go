package linkage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/elf"
)

// systemLibraries are the libraries on every Linux system that Python wheels support.
// The names are data of PEP 513, 571, 599 and 600 and of the policies that auditwheel
// publishes (https://github.com/pypa/auditwheel, manylinux-policy.json). Graphics
// libraries are left out, because no server needs them, and so is libexpat, which slim
// container images lack.
var systemLibraries = []string{
	"libc.so.6", "libm.so.6", "libmvec.so.1", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libresolv.so.2", "libutil.so.1",
	"libnsl.so.1", "libanl.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libatomic.so.1", "libz.so.1",
}

// policy is the Linux system that a tag stands for: the highest symbol versions of the
// libraries that came with the C library of its time.
type policy struct {
	glibc string // "2.17"; the tag is manylinux_2_17
	max   map[string]string
}

// policies are the published ones, oldest first. The values are the lowest of the
// published ones for all CPUs. PEP 600 permits tags between them, but resolvers and mirrors
// that list platforms list these only.
var policies = []policy{
	{"2.5", map[string]string{"GLIBCXX": "3.4.8", "CXXABI": "1.3.1", "GCC": "4.2.0"}},
	{"2.12", map[string]string{"GLIBCXX": "3.4.13", "CXXABI": "1.3.3", "GCC": "4.3.0", "ZLIB": "1.2.2.4"}},
	{"2.17", map[string]string{"GLIBCXX": "3.4.19", "CXXABI": "1.3.7", "GCC": "4.8.0", "ZLIB": "1.2.5.2"}},
	{"2.24", map[string]string{"GLIBCXX": "3.4.22", "CXXABI": "1.3.10", "GCC": "4.8.0", "ZLIB": "1.2.5.2", "LIBATOMIC": "1.2"}},
	{"2.26", map[string]string{"GLIBCXX": "3.4.22", "CXXABI": "1.3.10", "GCC": "4.8.0", "ZLIB": "1.2.5.2", "LIBATOMIC": "1.2"}},
	{"2.27", map[string]string{"GLIBCXX": "3.4.24", "CXXABI": "1.3.11", "GCC": "7.0.0", "ZLIB": "1.2.9", "LIBATOMIC": "1.2"}},
	{"2.28", map[string]string{"GLIBCXX": "3.4.24", "CXXABI": "1.3.11", "GCC": "7.0.0", "ZLIB": "1.2.9", "LIBATOMIC": "1.2"}},
	{"2.31", map[string]string{"GLIBCXX": "3.4.28", "CXXABI": "1.3.12", "GCC": "7.0.0", "ZLIB": "1.2.9", "LIBATOMIC": "1.2"}},
	{"2.34", map[string]string{"GLIBCXX": "3.4.29", "CXXABI": "1.3.13", "GCC": "7.0.0", "ZLIB": "1.2.9", "LIBATOMIC": "1.2"}},
	{"2.35", map[string]string{"GLIBCXX": "3.4.30", "CXXABI": "1.3.13", "GCC": "7.0.0", "ZLIB": "1.2.9", "LIBATOMIC": "1.2"}},
	{"2.36", map[string]string{"GLIBCXX": "3.4.30", "CXXABI": "1.3.13", "GCC": "7.0.0", "ZLIB": "1.2.9", "LIBATOMIC": "1.2"}},
	{"2.37", map[string]string{"GLIBCXX": "3.4.30", "CXXABI": "1.3.13", "GCC": "7.0.0", "ZLIB": "1.2.12", "LIBATOMIC": "1.2"}},
	{"2.38", map[string]string{"GLIBCXX": "3.4.30", "CXXABI": "1.3.13", "GCC": "7.0.0", "ZLIB": "1.2.12", "LIBATOMIC": "1.2"}},
	{"2.39", map[string]string{"GLIBCXX": "3.4.32", "CXXABI": "1.3.15", "GCC": "14.0.0", "ZLIB": "1.2.12", "LIBATOMIC": "1.2"}},
	{"2.40", map[string]string{"GLIBCXX": "3.4.33", "CXXABI": "1.3.15", "GCC": "14.0.0", "ZLIB": "1.2.12", "LIBATOMIC": "1.2"}},
	{"2.41", map[string]string{"GLIBCXX": "3.4.33", "CXXABI": "1.3.15", "GCC": "14.0.0", "ZLIB": "1.2.12", "LIBATOMIC": "1.2"}},
}

// legacy maps tags to their names from before PEP 600.
var legacy = map[string]string{"2.5": "manylinux1", "2.12": "manylinux2010", "2.17": "manylinux2014"}

// oldest is the C library of the first policy for a CPU.
var oldest = map[string]string{
	"aarch64": "2.17", "ppc64le": "2.17", "s390x": "2.17", "armv7l": "2.17", "riscv64": "2.31", "loongarch64": "2.36",
}

// Versions are the highest symbol versions that files require of the system's
// libraries, by family: "GLIBC": "2.34".
type Versions map[string]string

// ask adds the requirements of one file. Versions that are not numbers, such as
// GLIBC_PRIVATE and GLIBC_ABI_DT_RELR, get special treatment: the former is an error
// because no other system has it, and the latter came with glibc 2.36.
func (v Versions) ask(needs []elf.Need, system func(string) bool) error {
	for _, n := range needs {
		if !system(n.Library) {
			continue
		}
		for _, version := range n.Versions {
			family, number, ok := strings.Cut(version, "_")
			switch {
			case !ok || family == "FLOAT128" || family == "TM":
				continue
			case version == "GLIBC_PRIVATE":
				return fmt.Errorf("requires %s to have %s, which is private to that C library", n.Library, version)
			case strings.HasPrefix(number, "ABI_DT_RELR"):
				family, number = "GLIBC", "2.36" // https://sourceware.org/glibc/wiki/Release/2.36
			case strings.TrimLeft(number, "0123456789.") != "":
				continue
			}
			if v[family] == "" || elf.CompareVersions(number, v[family]) > 0 {
				v[family] = number
			}
		}
	}
	return nil
}

// glibc returns the oldest C library of a system that satisfies these requirements.
func (v Versions) glibc(machine string) (string, error) {
	glibc := "2.5"
	for _, low := range []string{oldest[machine], v["GLIBC"]} {
		if low != "" && elf.CompareVersions(low, glibc) > 0 {
			glibc = low
		}
	}
	parts := strings.Split(glibc, ".")
	glibc = strings.Join(parts[:min(2, len(parts))], ".") // 2.3.4 is below 2.5 anyway
	for family, wanted := range v {
		if family == "GLIBC" {
			continue
		}
		known := false
		for _, p := range policies {
			most, ok := p.max[family]
			known = known || ok
			if ok && elf.CompareVersions(wanted, most) <= 0 {
				if elf.CompareVersions(p.glibc, glibc) > 0 {
					glibc = p.glibc
				}
				known = true
				break
			}
			if p.glibc == policies[len(policies)-1].glibc && known {
				return "", fmt.Errorf("no known Linux system has %s_%s", family, wanted)
			}
		}
		if !known {
			return "", fmt.Errorf("no system is known to have %s_%s", family, wanted)
		}
	}
	return glibc, nil
}

// manylinux returns the tags of the first published policy whose C library is not older
// than glibc, with its name from before PEP 600. It returns none if that is newer than most,
// unless that is "". A C library that is newer than all policies has a tag of its own.
func manylinux(glibc, machine, most string) []string {
	for _, p := range policies {
		if elf.CompareVersions(p.glibc, glibc) >= 0 {
			glibc = p.glibc
			break
		}
	}
	if most != "" && elf.CompareVersions(glibc, most) > 0 {
		return nil
	}
	tags := []string{"manylinux_" + strings.ReplaceAll(glibc, ".", "_") + "_" + machine}
	if old := legacy[glibc]; old != "" {
		tags = append(tags, old+"_"+machine)
	}
	slices.Sort(tags)
	return tags
}

// musllinux returns the tag for a C library of that version, as in "musl 1.2.4" (PEP
// 656). The binaries do not contain it, because musl has no symbol versions.
func musllinux(libc, machine string) ([]string, error) {
	number, ok := strings.CutPrefix(libc, "musl ")
	parts := strings.Split(number, ".")
	if !ok || len(parts) < 2 {
		return nil, fmt.Errorf("the binaries are for musl, but its version was not recorded (%q)", libc)
	}
	for _, p := range parts[:2] {
		if _, err := strconv.Atoi(p); err != nil {
			return nil, fmt.Errorf("%q is not a version of musl", number)
		}
	}
	return []string{"musllinux_" + parts[0] + "_" + parts[1] + "_" + machine}, nil
}
