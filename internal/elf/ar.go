package elf

import (
	stdelf "debug/elf"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrNotArchive is wrapped by the error for a file that is not an ar archive.
var ErrNotArchive = errors.New("not an ar archive")

// maxMembers is the maximum number of members; libpython has about 170.
const maxMembers = 4096

// Archive describes a static library.
type Archive struct {
	Machine string // of its members
	Class   int    // 32 or 64
	Members int    // ELF members that were read
	PIC     bool   // every member can be linked into a shared object
	Culprit string // if PIC is false: "member: relocation against symbol"
}

// NewArchive examines a static library (ar format, with GNU or BSD member names; thin
// archives are rejected). PIC is false if there is a relocation that the linker rejects
// in a shared object. If the relocations of a machine are unknown, PIC is true, and the
// linker decides.
func NewArchive(r io.ReaderAt, size int64) (*Archive, error) {
	if size > MaxFile {
		return nil, ErrNotArchive
	}
	return readArchive(r, size)
}

const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

func readArchive(r io.ReaderAt, size int64) (*Archive, error) {
	out := &Archive{PIC: true}
	err := eachMember(r, size, func(name string, data *io.SectionReader) (more bool, err error) {
		return true, out.member(name, data)
	})
	if err != nil {
		return nil, err
	}
	if out.Members == 0 {
		return nil, errors.New("archive without ELF members")
	}
	return out, nil
}

// ArchiveMember opens one member of a static library.
func ArchiveMember(r io.ReaderAt, size int64, member string) (*File, error) {
	var found *File
	err := eachMember(r, size, func(name string, data *io.SectionReader) (more bool, err error) {
		if strings.TrimSuffix(name, "/") != member {
			return true, nil
		}
		found, err = parse(data, data.Size())
		return false, err
	})
	if err == nil && found == nil {
		err = fmt.Errorf("no member %s in the archive", member)
	}
	return found, err
}

// eachMember calls visit for every member of an archive until it returns false or
// an error. Names longer than 15 bytes are not resolved.
func eachMember(r io.ReaderAt, size int64, visit func(name string, data *io.SectionReader) (more bool, err error)) error {
	if size > MaxFile {
		return ErrNotArchive
	}
	magic := make([]byte, len(arMagic))
	if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != arMagic {
		return ErrNotArchive
	}
	offset := int64(len(arMagic))
	for n := 0; offset+arHeader <= size; n++ {
		if n == maxMembers {
			return fmt.Errorf("more than %d members", maxMembers)
		}
		head := make([]byte, arHeader)
		if _, err := r.ReadAt(head, offset); err != nil {
			return fmt.Errorf("read member header: %w", err)
		}
		length, err := strconv.ParseInt(strings.TrimRight(string(head[48:58]), " "), 10, 64)
		if err != nil || string(head[58:60]) != "`\n" || length < 0 || length > size-offset-arHeader {
			return fmt.Errorf("member header at byte %d is damaged", offset)
		}
		name := strings.TrimRight(string(head[:16]), " ")
		more, err := visit(name, io.NewSectionReader(r, offset+arHeader, length))
		if err != nil {
			return fmt.Errorf("member %q: %w", name, err)
		}
		if !more {
			return nil
		}
		offset += arHeader + length + length%2
	}
	return nil
}

func (a *Archive) member(name string, r *io.SectionReader) error {
	f, err := parse(r, r.Size())
	if errors.Is(err, ErrNotELF) {
		return nil // the symbol index, the table of long names
	}
	if err != nil {
		return err
	}
	class := 32
	if f.file.Class == stdelf.ELFCLASS64 {
		class = 64
	}
	m := machine(f.file)
	if a.Members > 0 && (m != a.Machine || class != a.Class) {
		return fmt.Errorf("is for %s, others are for %s", m, a.Machine)
	}
	a.Machine, a.Class = m, class
	a.Members++
	if !a.PIC {
		return nil
	}
	culprit, err := f.notPIC()
	if err != nil {
		return err
	}
	if culprit != "" {
		a.PIC, a.Culprit = false, strings.TrimSuffix(name, "/")+": "+culprit
	}
	return nil
}

// notPIC returns the first relocation in loaded sections that a shared object cannot
// have, or "".
func (f *File) notPIC() (string, error) {
	if f.file.Class != stdelf.ELFCLASS64 || (f.file.Machine != stdelf.EM_X86_64 && f.file.Machine != stdelf.EM_AARCH64) {
		return "", nil
	}
	symtab := f.file.SectionByType(stdelf.SHT_SYMTAB)
	if symtab != nil && symtab.Size/stdelf.Sym64Size > maxSymbols {
		return "", errors.New("symbol table is too long")
	}
	syms, err := f.file.Symbols()
	if err != nil && !errors.Is(err, stdelf.ErrNoSymbols) {
		return "", fmt.Errorf("read symbols: %w", err)
	}
	for _, s := range f.file.Sections {
		if s.Type != stdelf.SHT_RELA || int(s.Info) >= len(f.file.Sections) ||
			f.file.Sections[s.Info].Flags&stdelf.SHF_ALLOC == 0 {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return "", fmt.Errorf("read relocations: %w", err)
		}
		for ; len(data) >= 24; data = data[24:] {
			info := f.file.ByteOrder.Uint64(data[8:16])
			if bad := f.rejected(uint32(info), int(info>>32), syms); bad != "" {
				return bad, nil
			}
		}
	}
	return "", nil
}

// rejected reports whether a shared object cannot have a relocation. Absolute 32-bit
// addresses cannot be relocated at all. PC-relative ones are valid only for symbols that
// no other library can replace: code compiled with -fPIE uses them for all symbols, with
// -fPIC only for local ones.
func (f *File) rejected(kind uint32, index int, syms []stdelf.Symbol) string {
	absolute, relative, name := false, false, ""
	if f.file.Machine == stdelf.EM_X86_64 {
		t := stdelf.R_X86_64(kind)
		absolute = t == stdelf.R_X86_64_32 || t == stdelf.R_X86_64_32S
		relative = t == stdelf.R_X86_64_PC32
		name = t.String()
	} else {
		t := stdelf.R_AARCH64(kind)
		absolute = t >= stdelf.R_AARCH64_MOVW_UABS_G0 && t <= stdelf.R_AARCH64_MOVW_UABS_G3
		relative = t == stdelf.R_AARCH64_ADR_PREL_PG_HI21
		name = t.String()
	}
	// Index 0 is the null symbol, which debug/elf omits.
	var sym stdelf.Symbol
	if index > 0 && index <= len(syms) {
		sym = syms[index-1]
	}
	if n := int(sym.Section); sym.Name == "" && n > 0 && n < len(f.file.Sections) {
		sym.Name = f.file.Sections[n].Name
	}
	replaceable := stdelf.ST_BIND(sym.Info) != stdelf.STB_LOCAL && stdelf.ST_VISIBILITY(sym.Other) == stdelf.STV_DEFAULT
	if absolute || (relative && replaceable) {
		return name + " against " + sym.Name
	}
	return ""
}
