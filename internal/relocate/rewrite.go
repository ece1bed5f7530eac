package relocate

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"modwsgi/internal/atomicfile"
)

// Edit describes the changes that [Rewrite] makes to a shared library or a dynamic program.
type Edit struct {
	// RunPath is the new run path; nil keeps it, and "" removes it.
	RunPath *string
	// Soname is the new name of the library; "" keeps it.
	Soname string
	// Needed maps names of needed libraries to new ones.
	Needed map[string]string
	// Drop is a library that the file no longer names: who loads it loads that one first.
	// Its symbols must have no versions.
	Drop string
	// Symbols are the names that get Prefix, whether the file defines or imports them. A
	// library with unique names can neither be confused with another copy in the same
	// process, nor have its calls resolved by that copy.
	Symbols map[string]bool
	Prefix  string
}

// errELF is the error for a file that no linker writes.
var errELF = errors.New("its tables do not have the form that linkers write")

const maxRewrite = 512 << 20

// Rewrite changes the dynamic section of an ELF file, even if the linker left no space:
// new strings and a new dynamic section are written to a new segment at the end of the
// file, with a copy of the program headers (System V gABI, chapter 5). Everything else
// stays where it is. The file is replaced by a new one with the same mode. After an
// error, it is unchanged.
func Rewrite(name string, e Edit) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.Size() > maxRewrite {
		return fmt.Errorf("rewrite %s: it is too long", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	out, err := rewrite(data, e)
	if err != nil {
		return fmt.Errorf("rewrite %s: %w", name, err)
	}
	if err := atomicfile.Write(name, out, info.Mode().Perm()); err != nil {
		return fmt.Errorf("rewrite %s: %w", name, err)
	}
	return nil
}

// image is a file that is being changed.
type image struct {
	data    []byte
	order   binary.ByteOrder
	progs   []elf.Prog64 // in 64-bit form
	dynamic []elf.Dyn64
	strings []byte // of the dynamic section, including appended ones
	at      map[string]uint64
	hash    []uint32 // a new DT_HASH; nil if the existing one is still valid
	file    *elf.File
}

func rewrite(data []byte, e Edit) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if f.Class != elf.ELFCLASS64 {
		return nil, errors.New("only 64-bit files can be rewritten")
	}
	if f.Type != elf.ET_DYN && f.Type != elf.ET_EXEC {
		return nil, errors.New("it is neither a library nor a program")
	}
	im := &image{data: bytes.Clone(data), order: f.ByteOrder, at: map[string]uint64{}, file: f}
	if err := im.read(); err != nil {
		return nil, err
	}
	if err := im.edit(e); err != nil {
		return nil, err
	}
	if err := im.editNeeds(e); err != nil {
		return nil, err
	}
	if err := im.editSymbols(e); err != nil {
		return nil, err
	}
	return im.write()
}

// slice returns a part of the file, with bounds checks.
func (im *image) slice(off, size uint64) ([]byte, error) {
	if off > uint64(len(im.data)) || size > uint64(len(im.data))-off {
		return nil, errELF
	}
	return im.data[off : off+size], nil
}

// fileOffset returns the file offset of an address.
func (im *image) fileOffset(addr, size uint64) (uint64, error) {
	for _, p := range im.progs {
		if elf.ProgType(p.Type) == elf.PT_LOAD && addr >= p.Vaddr && addr-p.Vaddr <= p.Filesz && size <= p.Filesz-(addr-p.Vaddr) {
			return p.Off + addr - p.Vaddr, nil
		}
	}
	return 0, errELF
}

// read reads the program headers, the dynamic section and its strings.
func (im *image) read() error {
	for _, p := range im.file.Progs {
		im.progs = append(im.progs, elf.Prog64{
			Type: uint32(p.Type), Flags: uint32(p.Flags), Off: p.Off, Vaddr: p.Vaddr, Paddr: p.Paddr, Filesz: p.Filesz, Memsz: p.Memsz, Align: p.Align,
		})
	}
	i := slices.IndexFunc(im.progs, func(p elf.Prog64) bool { return elf.ProgType(p.Type) == elf.PT_DYNAMIC })
	if i < 0 {
		return errors.New("it has no dynamic section")
	}
	raw, err := im.slice(im.progs[i].Off, im.progs[i].Filesz)
	if err != nil {
		return err
	}
	for ; len(raw) >= 16; raw = raw[16:] {
		d := elf.Dyn64{Tag: int64(im.order.Uint64(raw)), Val: im.order.Uint64(raw[8:])}
		if elf.DynTag(d.Tag) == elf.DT_NULL {
			break
		}
		im.dynamic = append(im.dynamic, d)
	}
	tab, size := im.value(elf.DT_STRTAB), im.value(elf.DT_STRSZ)
	if tab == nil || size == nil {
		return errELF
	}
	off, err := im.fileOffset(tab.Val, size.Val)
	if err != nil {
		return err
	}
	raw, err = im.slice(off, size.Val)
	if err != nil {
		return err
	}
	im.strings = bytes.Clone(raw)
	return nil
}

// value returns an entry of the dynamic section.
func (im *image) value(tag elf.DynTag) *elf.Dyn64 {
	for i := range im.dynamic {
		if elf.DynTag(im.dynamic[i].Tag) == tag {
			return &im.dynamic[i]
		}
	}
	return nil
}

// text reads a string of the dynamic section.
func (im *image) text(off uint64) (string, error) {
	if off >= uint64(len(im.strings)) {
		return "", errELF
	}
	end := bytes.IndexByte(im.strings[off:], 0)
	if end < 0 {
		return "", errELF
	}
	return string(im.strings[off : off+uint64(end)]), nil
}

// add appends a string and returns its offset.
func (im *image) add(s string) uint64 {
	if at, ok := im.at[s]; ok {
		return at
	}
	at := uint64(len(im.strings))
	im.strings = append(append(im.strings, s...), 0)
	im.at[s] = at
	return at
}

// edit changes names and the run path.
func (im *image) edit(e Edit) error {
	for _, s := range append([]string{e.Soname, e.Prefix}, mapValues(e.Needed)...) {
		if strings.ContainsRune(s, 0) {
			return errors.New("a name has a zero byte")
		}
	}
	for i := range im.dynamic {
		d := &im.dynamic[i]
		switch elf.DynTag(d.Tag) {
		case elf.DT_NEEDED:
			name, err := im.text(d.Val)
			if err != nil {
				return err
			}
			if to, ok := e.Needed[name]; ok {
				d.Val = im.add(to)
			}
		case elf.DT_SONAME:
			if e.Soname != "" {
				d.Val = im.add(e.Soname)
			}
		default:
		}
	}
	im.dynamic = slices.DeleteFunc(im.dynamic, func(d elf.Dyn64) bool {
		name, err := im.text(d.Val)
		return elf.DynTag(d.Tag) == elf.DT_NEEDED && err == nil && name == e.Drop
	})
	if e.RunPath == nil {
		return nil
	}
	for _, d := range im.dynamic { // the old one is a path of the build machine
		if t := elf.DynTag(d.Tag); t == elf.DT_RUNPATH || t == elf.DT_RPATH {
			im.wipe(d.Val)
		}
	}
	im.dynamic = slices.DeleteFunc(im.dynamic, func(d elf.Dyn64) bool {
		return elf.DynTag(d.Tag) == elf.DT_RUNPATH || elf.DynTag(d.Tag) == elf.DT_RPATH
	})
	if *e.RunPath != "" {
		im.dynamic = append(im.dynamic, elf.Dyn64{Tag: int64(elf.DT_RUNPATH), Val: im.add(*e.RunPath)})
	}
	return nil
}

func mapValues(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// wipe clears a string that is no longer needed, unless another name uses a part of it.
func (im *image) wipe(at uint64) {
	value, err := im.text(at)
	if err != nil || value == "" || alone(im.file, at, value) != nil {
		return
	}
	if at > 0 && im.strings[at-1] != 0 {
		return
	}
	clear(im.strings[at : at+uint64(len(value))])
	// The old table stays in the file. Nothing reads it, but it would still reveal the
	// string.
	if tab := im.value(elf.DT_STRTAB); tab != nil {
		if off, err := im.fileOffset(tab.Val+at, uint64(len(value))); err == nil {
			if raw, err := im.slice(off, uint64(len(value))); err == nil {
				clear(raw)
			}
		}
	}
}
