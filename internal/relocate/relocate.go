// Package relocate makes a built tree independent of its location. It replaces the
// linker's absolute run paths with paths relative to the file ($ORIGIN), and finds
// absolute prefixes that remain in files. It does not know what is in the tree.
package relocate

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/owned"
)

// RunPath replaces the run path (DT_RUNPATH and DT_RPATH) of an ELF file with new, in
// place. It reports whether there was a run path; a file without one stays unchanged.
// ours must accept each element of the existing run path, because any other would name an
// unknown directory of the build machine. new must not be longer than the existing run
// path, whose space in the string table it uses
// (https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html). After an error, the
// file is unchanged.
func RunPath(name, new string, ours func(element string) bool) (bool, error) {
	paths, err := runPaths(name)
	if err != nil || len(paths) == 0 {
		return false, err
	}
	var changes []runPath
	for _, p := range paths {
		if p.value == new {
			continue
		}
		for element := range strings.SplitSeq(p.value, ":") {
			if !ours(element) {
				return false, fmt.Errorf("relocate %s: its run path has %q", name, element)
			}
		}
		if len(new) > len(p.value) {
			return false, fmt.Errorf("relocate %s: run path %q is longer than %q", name, new, p.value)
		}
		changes = append(changes, p)
	}
	if len(changes) == 0 {
		return true, nil
	}
	if err := write(name, new, changes); err != nil {
		return false, fmt.Errorf("relocate %s: %w", name, err)
	}
	return true, nil
}

// runPath is a run path of a file.
type runPath struct {
	at    int64 // offset in the file
	value string
}

// write overwrites the run paths with new. A read-only file stays read-only.
func write(name, new string, paths []runPath) (err error) {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) && owned.Chmod(name, info.Mode()|0o200) == nil {
		defer func() { err = errors.Join(err, owned.Chmod(name, info.Mode())) }()
		f, err = os.OpenFile(name, os.O_RDWR, 0)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, p := range paths {
		// A wrong section table must not make this overwrite something else.
		present := make([]byte, len(p.value))
		if _, err := f.ReadAt(present, p.at); err != nil || string(present) != p.value {
			return errors.New("damaged section table")
		}
	}
	for _, p := range paths {
		padded := make([]byte, len(p.value))
		copy(padded, new)
		if _, err := f.WriteAt(padded, p.at); err != nil {
			return err
		}
	}
	return nil
}

// runPaths returns the run paths of a file. A static binary has none.
func runPaths(name string) ([]runPath, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, fmt.Errorf("relocate %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	dynamic := f.SectionByType(elf.SHT_DYNAMIC)
	if dynamic == nil {
		if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_DYNAMIC }) {
			return nil, fmt.Errorf("relocate %s: it has no section table", name)
		}
		return nil, nil
	}
	offsets, err := dynamicStrings(f, elf.DT_RUNPATH, elf.DT_RPATH)
	if err != nil || len(offsets) == 0 {
		return nil, err
	}
	if int(dynamic.Link) >= len(f.Sections) {
		return nil, fmt.Errorf("relocate %s: damaged section table", name)
	}
	table := f.Sections[dynamic.Link]
	data, err := table.Data()
	if err != nil {
		return nil, fmt.Errorf("relocate %s: %w", name, err)
	}
	var found []runPath
	for _, start := range offsets {
		if start >= uint64(len(data)) {
			return nil, fmt.Errorf("relocate %s: run path outside its string table", name)
		}
		end := bytes.IndexByte(data[start:], 0)
		if end < 0 {
			return nil, fmt.Errorf("relocate %s: run path without an end", name)
		}
		value := string(data[start : start+uint64(end)])
		if start > 0 && data[start-1] != 0 {
			return nil, fmt.Errorf("relocate %s: the run path's string is the end of another one", name)
		}
		if err := alone(f, start, value); err != nil {
			return nil, fmt.Errorf("relocate %s: %w", name, err)
		}
		found = append(found, runPath{at: int64(table.Offset + start), value: value})
	}
	return found, nil
}

// dynamicStrings returns the offsets in the string table of all entries with one of the
// tags, without duplicates.
func dynamicStrings(f *elf.File, tags ...elf.DynTag) ([]uint64, error) {
	var all []uint64
	for _, tag := range tags {
		values, err := f.DynValue(tag)
		if err != nil {
			return nil, err
		}
		all = append(all, values...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// alone checks that no other entry uses a tail of the run path's string, because linkers
// share equal tails.
func alone(f *elf.File, from uint64, value string) error {
	to := from + uint64(len(value))
	others, err := dynamicStrings(f, elf.DT_NEEDED, elf.DT_SONAME, elf.DT_AUXILIARY, elf.DT_FILTER, elf.DT_AUDIT, elf.DT_DEPAUDIT)
	if err != nil {
		return err
	}
	for _, v := range others {
		if v >= from && v < to {
			return errors.New("the run path's string is shared with the name of a library")
		}
	}
	if err := noVersionIn(f, value); err != nil {
		return err
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

// noVersionIn refuses a run path that ends in the name of a symbol version. It compares
// names, because debug/elf does not provide their offsets.
func noVersionIn(f *elf.File, value string) error {
	if f.SectionByType(elf.SHT_GNU_VERSYM) == nil {
		return nil
	}
	needs, err := f.DynamicVersionNeeds()
	if err != nil {
		return err
	}
	var names []string
	for _, n := range needs {
		for _, v := range n.Needs {
			names = append(names, v.Dep)
		}
	}
	defined, err := f.DynamicVersions()
	if err != nil {
		return err
	}
	for _, v := range defined {
		names = append(append(names, v.Name), v.Deps...)
	}
	for _, n := range names {
		if n != "" && strings.HasSuffix(value, n) {
			return fmt.Errorf("the run path's string may be shared with the symbol version %s", n)
		}
	}
	return nil
}

// IsELF reports whether the file is readable and begins like an ELF file.
func IsELF(name string) bool {
	is, err := isELF(name)
	return is && err == nil
}

func isELF(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // too short for one
	}
	return string(magic[:]) == elf.ELFMAG, err
}

// Tree applies [RunPath] to every regular ELF file below dir and returns how many had a
// run path.
func Tree(dir, new string, ours func(element string) bool) (int, error) {
	count := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if is, err := isELF(path); err != nil || !is {
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

// Leaks returns the files and symbolic links below dir that contain text, an absolute
// path of the build. It skips names that end in one of except.
func Leaks(dir, text string, except ...string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		for _, e := range except {
			if strings.HasSuffix(path, e) {
				return nil
			}
		}
		var data []byte
		switch {
		case d.Type().IsRegular():
			data, err = os.ReadFile(path)
		case d.Type()&fs.ModeSymlink != 0:
			var target string
			target, err = os.Readlink(path)
			data = []byte(target)
		}
		if err == nil && bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	return found, err
}
