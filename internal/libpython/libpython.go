// Package libpython reads the version of Python from a shared or static libpython or an
// interpreter. It runs nothing, and ignores file names, which have no patch version. It
// supports only ELF files; for other files, and for those without a version, the result
// is "".
package libpython

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/elf"
)

// Version returns the version in a shared library or an interpreter. Since 3.11, it is
// the constant Py_Version. For older versions, Version searches for the text that
// Py_GetVersion returns; if there are several candidates, the expected version want
// ("3.10.13", or just "3.10") decides.
func Version(f *elf.File, want string) string {
	if hex, err := f.Uint32("Py_Version"); err == nil {
		return versionOf(hex)
	}
	data, err := f.ReadOnlyData()
	if err != nil || data == nil {
		return ""
	}
	return inText(data, want)
}

// VersionInArchive returns the version in a static library, from the member that defines
// Py_GetVersion.
func VersionInArchive(r io.ReaderAt, size int64, want string) string {
	f, err := elf.ArchiveMember(r, size, "getversion.o")
	if err != nil {
		return ""
	}
	data, err := f.ReadOnlyData()
	if err != nil || data == nil {
		return ""
	}
	return inText(data, want)
}

// VersionOf returns the version in a file.
func VersionOf(path, want string) string {
	if filepath.Ext(path) != ".a" {
		f, err := elf.Open(path)
		if err != nil {
			return ""
		}
		defer func() { _ = f.Close() }()
		return Version(f, want)
	}
	f, size, err := openRegular(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	return VersionInArchive(f, size, want)
}

func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	return f, info.Size(), err
}

// Same reports whether two versions of Python are equal, as far as both are known. A
// suffix of the release number ("+" for a build from version control) is ignored, because
// it is not recorded everywhere.
func Same(a, b string) bool {
	a, b = strings.TrimSuffix(a, "+"), strings.TrimSuffix(b, "+")
	return strings.Count(a, ".") < 2 || strings.Count(b, ".") < 2 || a == b
}

// Minor shortens "3.11.7" to "3.11".
func Minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func inText(data []byte, want string) string {
	versions := elf.VersionsIn(data, "", Minor(want)+".")
	switch {
	case len(versions) == 0:
		return ""
	case slices.Contains(versions, want):
		return want
	default:
		return versions[0]
	}
}

// versionOf formats PY_VERSION_HEX
// (https://docs.python.org/3/c-api/apiabiversion.html).
func versionOf(hex uint32) string {
	v := fmt.Sprintf("%d.%d.%d", hex>>24, hex>>16&0xff, hex>>8&0xff)
	serial := hex & 0xf
	switch hex >> 4 & 0xf {
	case 0xa:
		v += fmt.Sprintf("a%d", serial)
	case 0xb:
		v += fmt.Sprintf("b%d", serial)
	case 0xc:
		v += fmt.Sprintf("rc%d", serial)
	}
	return v
}
