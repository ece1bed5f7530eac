// Package elf reads facts from ELF files (System V gABI, chapters 4 and 5): the CPU of a
// binary, the libraries that it needs and where it looks for them, the names that it
// exports, and whether a static library is position-independent. It never maps or runs
// anything. A hostile file results in an error, and never in a crash or in more memory
// than the size of the file. It does not know what the facts are for.
package elf

import (
	stdelf "debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// MaxFile is the maximum size of a file, in bytes.
const MaxFile = 1 << 30

// maxSymbols is the maximum size of a symbol table; a libpython with all modules built in
// has less than twenty thousand symbols.
const maxSymbols = 1 << 20

// ErrNotELF is wrapped by the error for a file of another format.
var ErrNotELF = errors.New("not an ELF file")

// Needs returns the first required library whose name has a prefix, otherwise "".
func (f *Facts) Needs(prefix string) string {
	for _, name := range f.Needed {
		if strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return ""
}

// Facts are the contents of the headers and the dynamic section.
type Facts struct {
	Machine string   // as uname -m prints it: "x86_64", "aarch64"
	Class   int      // 32 or 64
	Kind    string   // "executable", "shared", "relocatable" or "other"
	Soname  string   // DT_SONAME, "" if absent
	Needed  []string // DT_NEEDED, in order
	RunPath []string // DT_RUNPATH, else DT_RPATH, split at colons; $ORIGIN is not expanded
	Interp  string   // the program interpreter, "" if absent
	GLIBC   string   // the highest required GLIBC_x.y version; "" if none
}

// File is an open ELF file.
type File struct {
	file *stdelf.File
	src  io.Closer
	size int64
	syms []stdelf.Symbol
	got  bool
}

// Is reports whether the file is readable and begins with the ELF magic number.
func Is(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == stdelf.ELFMAG
}

// Open opens a regular file and checks its headers. The error wraps ErrNotELF
// for another format.
func Open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	// Check before opening: a FIFO would block, and a device could do anything.
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: %w (not a regular file)", path, ErrNotELF)
	}
	if info.Size() > MaxFile {
		return nil, fmt.Errorf("read %s: %d bytes are more than the %d allowed", path, info.Size(), int64(MaxFile))
	}
	src, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := New(src, info.Size())
	if err != nil {
		_ = src.Close()
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

// ReadAtCloser is an open file that can be read at any offset.
type ReadAtCloser interface {
	io.ReaderAt
	io.Closer
}

// New checks the headers of an open file of which size bytes may be read. Close closes
// it; if New fails, the caller has to close it.
func New(src ReadAtCloser, size int64) (*File, error) {
	if size > MaxFile {
		return nil, fmt.Errorf("%d bytes are more than the %d allowed", size, int64(MaxFile))
	}
	f, err := parse(src, size)
	if err != nil {
		return nil, err
	}
	f.src = src
	return f, nil
}

// Close closes the file. A member of an archive need not be closed.
func (f *File) Close() error {
	if f.src == nil {
		return nil
	}
	return f.src.Close()
}

// Read opens a file, reads its facts and closes it.
func Read(path string) (*Facts, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	facts, err := f.Facts()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return facts, nil
}

func parse(r io.ReaderAt, size int64) (*File, error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil || string(magic[:]) != stdelf.ELFMAG {
		return nil, ErrNotELF
	}
	ef, err := stdelf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("parse ELF headers: %w", err)
	}
	f := &File{file: ef, size: size}
	for _, s := range ef.Sections {
		switch s.Type {
		case stdelf.SHT_DYNSYM, stdelf.SHT_SYMTAB, stdelf.SHT_STRTAB, stdelf.SHT_DYNAMIC,
			stdelf.SHT_GNU_VERNEED, stdelf.SHT_GNU_VERSYM, stdelf.SHT_GNU_VERDEF, stdelf.SHT_RELA, stdelf.SHT_REL:
			if err := f.sane(s); err != nil {
				return nil, err
			}
		default:
		}
	}
	return f, nil
}

// sane rejects a section that would need more memory than the size of the file: one that
// claims to be longer, or a compressed one, which can be a bomb and which no tool creates
// for these sections.
func (f *File) sane(s *stdelf.Section) error {
	if s.Flags&stdelf.SHF_COMPRESSED != 0 {
		return fmt.Errorf("section %q is compressed", s.Name)
	}
	if s.Offset > uint64(f.size) || s.FileSize > uint64(f.size)-s.Offset {
		return fmt.Errorf("section %q reaches beyond the end of the file", s.Name)
	}
	return nil
}

// Facts reads the headers and the dynamic section.
func (f *File) Facts() (*Facts, error) {
	out := &Facts{Machine: machine(f.file), Class: 32, Kind: kind(f.file.Type)}
	if f.file.Class == stdelf.ELFCLASS64 {
		out.Class = 64
	}
	for _, p := range f.file.Progs {
		if p.Type == stdelf.PT_INTERP && p.Filesz < 4096 {
			data, err := io.ReadAll(p.Open())
			if err == nil {
				out.Interp = strings.TrimRight(string(data), "\x00")
			}
		}
	}
	if f.file.SectionByType(stdelf.SHT_DYNAMIC) == nil {
		return out, nil
	}
	var err error
	if out.Needed, err = f.file.DynString(stdelf.DT_NEEDED); err != nil {
		return nil, fmt.Errorf("read needed libraries: %w", err)
	}
	for _, tag := range []stdelf.DynTag{stdelf.DT_RPATH, stdelf.DT_RUNPATH} {
		values, err := f.file.DynString(tag)
		if err != nil {
			return nil, fmt.Errorf("read run path: %w", err)
		}
		if len(values) > 0 {
			out.RunPath = strings.Split(values[0], ":")
		}
	}
	names, err := f.file.DynString(stdelf.DT_SONAME)
	if err != nil {
		return nil, fmt.Errorf("read library name: %w", err)
	}
	if len(names) > 0 {
		out.Soname = names[0]
	}
	out.GLIBC, err = f.glibc()
	return out, err
}

// glibc returns the highest GLIBC version in the version requirements.
func (f *File) glibc() (string, error) {
	needs, err := f.file.DynamicVersionNeeds()
	if err != nil {
		// Static binaries and those for another libc do not have the table.
		if f.file.SectionByType(stdelf.SHT_GNU_VERNEED) == nil {
			return "", nil
		}
		return "", fmt.Errorf("read version requirements: %w", err)
	}
	best := ""
	for _, n := range needs {
		for _, d := range n.Needs {
			if v, ok := strings.CutPrefix(d.Dep, "GLIBC_"); ok && (best == "" || CompareVersions(v, best) > 0) {
				best = v
			}
		}
	}
	return best, nil
}

// CompareVersions compares dotted numbers ("2.9" < "2.34"): negative, zero or
// positive. A part that is not a number ("PRIVATE") is lower than any number.
func CompareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < max(len(as), len(bs)); i++ {
		if d := part(as, i) - part(bs, i); d != 0 {
			return d
		}
	}
	return 0
}

func part(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.ParseUint(parts[i], 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}

func (f *File) symbols() ([]stdelf.Symbol, error) {
	if f.got {
		return f.syms, nil
	}
	f.got = true
	s := f.file.SectionByType(stdelf.SHT_DYNSYM)
	if s == nil {
		return nil, nil
	}
	if s.Size/16 > maxSymbols {
		return nil, fmt.Errorf("symbol table of %d bytes is too long", s.Size)
	}
	syms, err := f.file.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read dynamic symbols: %w", err)
	}
	f.syms = syms
	return syms, nil
}

// lookup returns the definition of an exported name, or nil.
func (f *File) lookup(name string) *stdelf.Symbol {
	syms, err := f.symbols()
	if err != nil {
		return nil
	}
	for i := range syms {
		if syms[i].Name == name && syms[i].Section != stdelf.SHN_UNDEF {
			return &syms[i]
		}
	}
	return nil
}

// Exports reports whether the dynamic symbol table defines name.
func (f *File) Exports(name string) bool { return f.lookup(name) != nil }

// Bytes returns the first n bytes (at most 4096) of an exported object, as they are in
// the file, before relocation.
func (f *File) Bytes(name string, n int) ([]byte, error) {
	if n < 0 || n > 4096 {
		return nil, fmt.Errorf("read %d bytes of %s: out of range", n, name)
	}
	sym := f.lookup(name)
	if sym == nil {
		return nil, fmt.Errorf("symbol %s is not exported", name)
	}
	for _, p := range f.file.Progs {
		if p.Type != stdelf.PT_LOAD || sym.Value < p.Vaddr || sym.Value-p.Vaddr >= p.Filesz {
			continue
		}
		buf := make([]byte, n)
		if _, err := p.ReadAt(buf, int64(sym.Value-p.Vaddr)); err != nil {
			return nil, fmt.Errorf("read symbol %s: %w", name, err)
		}
		return buf, nil
	}
	return nil, fmt.Errorf("symbol %s is not in a loaded part of the file", name)
}

// Uint32 returns an exported 32-bit integer.
func (f *File) Uint32(name string) (uint32, error) {
	b, err := f.Bytes(name, 4)
	if err != nil {
		return 0, err
	}
	return f.file.ByteOrder.Uint32(b), nil
}

// Uint32Pair returns the two 32-bit integers at the beginning of an exported object.
func (f *File) Uint32Pair(name string) (first, second uint32, err error) {
	b, err := f.Bytes(name, 8)
	if err != nil {
		return 0, 0, err
	}
	return f.file.ByteOrder.Uint32(b), f.file.ByteOrder.Uint32(b[4:]), nil
}

// ReadOnlyData returns the content of the section .rodata, or nil if absent. An object
// file may have it in several parts (.rodata.str1.1).
func (f *File) ReadOnlyData() ([]byte, error) {
	var all []byte
	var size uint64
	for _, s := range f.file.Sections {
		if s.Name != ".rodata" && !strings.HasPrefix(s.Name, ".rodata.") || s.Type != stdelf.SHT_PROGBITS {
			continue
		}
		if err := f.sane(s); err != nil {
			return nil, err
		}
		if size += s.Size; size > uint64(f.size) {
			return nil, fmt.Errorf("section %q overlaps others", s.Name)
		}
		data, err := s.Data()
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = data
		} else {
			all = append(append(all, 0), data...)
		}
	}
	return all, nil
}

func kind(t stdelf.Type) string {
	switch t {
	case stdelf.ET_EXEC:
		return "executable"
	case stdelf.ET_DYN:
		return "shared"
	case stdelf.ET_REL:
		return "relocatable"
	default:
		return "other"
	}
}

// machine returns the CPU in the form of Linux's uname -m.
func machine(f *stdelf.File) string {
	switch f.Machine {
	case stdelf.EM_X86_64:
		return "x86_64"
	case stdelf.EM_AARCH64:
		return "aarch64"
	case stdelf.EM_386:
		return "i686"
	case stdelf.EM_ARM:
		return "armv7l"
	case stdelf.EM_PPC64:
		if f.Data == stdelf.ELFDATA2LSB {
			return "ppc64le"
		}
		return "ppc64"
	case stdelf.EM_S390:
		return "s390x"
	case stdelf.EM_RISCV:
		return "riscv" + map[bool]string{true: "64", false: "32"}[f.Class == stdelf.ELFCLASS64]
	case stdelf.EM_LOONGARCH:
		return "loongarch64"
	default:
		return strings.ToLower(strings.TrimPrefix(f.Machine.String(), "EM_"))
	}
}
