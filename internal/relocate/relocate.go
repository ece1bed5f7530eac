// Package relocate makes a built tree independent of where it lies: it turns
// the absolute run path that a linker wrote into one relative to the file
// itself ($ORIGIN), and finds absolute prefixes that were left in files. It
// does not know what is in the tree.
package relocate

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// RunPath replaces the run path (DT_RUNPATH or DT_RPATH) of an ELF file by
// new, in place. It reports whether there was a run path: a file without one is
// left as it is. Each element of the present run path must be one that ours
// accepts, because another one would name a directory of the build machine that
// nobody knows of. new must not be longer than what is there: the room in the
// string table is what the linker made
// (https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html).
func RunPath(name, new string, ours func(element string) bool) (bool, error) {
	at, found, err := runPathAt(name)
	if err != nil || at < 0 {
		return false, err
	}
	if found == new {
		return true, nil
	}
	for _, element := range strings.Split(found, ":") {
		if !ours(element) {
			return false, fmt.Errorf("relocate %s: its run path has %q", name, element)
		}
	}
	if len(new) > len(found) {
		return false, fmt.Errorf("relocate %s: run path %q is longer than %q", name, new, found)
	}
	info, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) && os.Chmod(name, info.Mode()|0o200) == nil {
		f, err = os.OpenFile(name, os.O_RDWR, 0)
	}
	if err != nil {
		return false, err
	}
	padded := make([]byte, len(found))
	copy(padded, new)
	_, err = f.WriteAt(padded, at)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return true, err
}

// runPathAt returns the offset in the file and the value of the run path, or -1.
func runPathAt(name string) (int64, string, error) {
	f, err := elf.Open(name)
	if err != nil {
		return -1, "", fmt.Errorf("relocate %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	dynstr := f.SectionByType(elf.SHT_DYNAMIC)
	if dynstr == nil {
		return -1, "", nil // a static binary
	}
	values, err := f.DynValue(elf.DT_RUNPATH)
	if err == nil && len(values) == 0 {
		values, err = f.DynValue(elf.DT_RPATH)
	}
	if err != nil || len(values) == 0 {
		return -1, "", err
	}
	if int(dynstr.Link) >= len(f.Sections) {
		return -1, "", fmt.Errorf("relocate %s: damaged section table", name)
	}
	table := f.Sections[dynstr.Link]
	data, err := table.Data()
	if err != nil {
		return -1, "", fmt.Errorf("relocate %s: %w", name, err)
	}
	start := values[0]
	if start >= uint64(len(data)) {
		return -1, "", fmt.Errorf("relocate %s: run path outside its string table", name)
	}
	end := bytes.IndexByte(data[start:], 0)
	if end < 0 {
		return -1, "", fmt.Errorf("relocate %s: run path without an end", name)
	}
	value := string(data[start : start+uint64(end)])
	if err := alone(f, start, start+uint64(end)); err != nil {
		return -1, "", fmt.Errorf("relocate %s: %w", name, err)
	}
	return int64(table.Offset + start), value, nil
}

// alone makes sure that no other entry uses a tail of the run path's string:
// linkers share equal tails.
func alone(f *elf.File, from, to uint64) error {
	for _, tag := range []elf.DynTag{elf.DT_NEEDED, elf.DT_SONAME} {
		values, err := f.DynValue(tag)
		if err != nil {
			return err
		}
		for _, v := range values {
			if v >= from && v < to {
				return fmt.Errorf("the run path's string is shared with %v", tag)
			}
		}
	}
	symbols := f.SectionByType(elf.SHT_DYNSYM)
	if symbols == nil {
		return nil
	}
	data, err := symbols.Data()
	if err != nil {
		return err
	}
	size := 24 // Elf64_Sym; its first word is the name, as in Elf32_Sym
	if f.Class == elf.ELFCLASS32 {
		size = 16
	}
	for ; len(data) >= size; data = data[size:] {
		if v := uint64(f.ByteOrder.Uint32(data)); v >= from && v < to {
			return errors.New("the run path's string is shared with a symbol")
		}
	}
	return nil
}

// IsELF reports whether the file starts like an ELF file.
func IsELF(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	var magic [4]byte
	n, _ := f.Read(magic[:])
	return n == 4 && string(magic[:]) == elf.ELFMAG
}

// Tree applies RunPath to every regular ELF file below dir and returns how many
// had a run path.
func Tree(dir, new string, ours func(element string) bool) (int, error) {
	count := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !IsELF(path) {
			return err
		}
		had, err := RunPath(path, new, ours)
		if had {
			count++
		}
		return err
	})
	return count, err
}

// Leaks returns the files below dir that contain text, which is an absolute
// path of the build; names that end in one of except are passed over.
func Leaks(dir, text string, except ...string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		for _, e := range except {
			if strings.HasSuffix(path, e) {
				return nil
			}
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	return found, err
}
