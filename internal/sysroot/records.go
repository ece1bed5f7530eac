package sysroot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A sysroot made of Debian's packages has the records of dpkg, like a system in which they
// are installed: which package a file belongs to, since which version a library has a
// symbol, and the versions of the packages. Formats compute dependencies, licences and
// bills of materials from them (packaging/linuxpkg, packaging/linkage). Compilers do not
// read them, and they follow from the packages, whose hashes the digest has.

// recordsDir is where dpkg has its records (dpkg(1), "FILES").
const recordsDir = "var/lib/dpkg/info"

// HasRecords reports whether a directory that is "/" on a system has the records of dpkg.
func HasRecords(root string) bool {
	info, err := os.Stat(filepath.Join(root, filepath.FromSlash(recordsDir)))
	return err == nil && info.IsDir()
}

// records are the records of one package.
type records struct {
	of      Package
	control map[string][]byte // the files of its control archive
	files   []string          // all files of the package, where they are in the sysroot
}

// symbolFiles are the files of a control archive that describe libraries
// (deb-symbols(5), deb-shlibs(5)).
var symbolFiles = []string{"symbols", "shlibs"}

// write adds the records to those of a root directory.
func (r records) write(root string) error {
	dir := filepath.Join(root, filepath.FromSlash(recordsDir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := r.of.Name
	if r.of.Arch != "all" {
		name += ":" + r.of.Arch
	}
	list := "/.\n"
	for _, file := range r.files {
		list += "/" + file + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, name+".list"), []byte(list), 0o644); err != nil {
		return err
	}
	for _, file := range symbolFiles {
		data, has := r.control[file]
		if !has {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name+"."+file), data, 0o644); err != nil {
			return err
		}
	}
	return r.addStatus(filepath.Join(filepath.Dir(dir), "status"))
}

// addStatus adds the package to the list of installed ones.
func (r records) addStatus(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("Package: %s\nStatus: install ok installed\nArchitecture: %s\nVersion: %s\n", r.of.Name, r.of.Arch, r.of.Version)
	for line := range strings.Lines(string(r.control["control"])) {
		if strings.HasPrefix(line, "Multi-Arch:") {
			text += line
		}
	}
	_, err = f.WriteString(text + "\n")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
