package sysroot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
)

// encode writes the library as an ELF file without code (System V gABI; the version
// sections are described in the Linux Standard Base, "Symbol Versioning"). Linkers read
// the dynamic symbols with their versions, the SONAME and the header. Addresses and sizes
// are those of the real library, because linkers recognize other names of a variable by
// its address and copy as many bytes as it has.
func (l *library) encode() []byte {
	e := &encoder{lib: l, wide: elf.Class(l.header[elf.EI_CLASS]) == elf.ELFCLASS64, order: binary.ByteOrder(binary.LittleEndian)}
	if elf.Data(l.header[elf.EI_DATA]) == elf.ELFDATA2MSB {
		e.order = binary.BigEndian
	}
	return e.file()
}

type encoder struct {
	lib   *library
	wide  bool
	order binary.ByteOrder
	names bytes.Buffer // .dynstr
}

// The sections, in the order of their headers.
const (
	secNull = iota
	secSymbols
	secNames
	secVersions
	secDefinitions
	secDynamic
	secCode
	secData
	secSectionNames
	sections
)

var sectionNames = [sections]string{"", ".dynsym", ".dynstr", ".gnu.version", ".gnu.version_d", ".dynamic", ".text", ".bss", ".shstrtab"}

// section is a section header.
type section struct {
	kind                             elf.SectionType
	flags                            elf.SectionFlag
	size, entry, align, offset, addr uint64
	link, info                       uint32
	data                             []byte
}

func (e *encoder) text(s string) uint32 {
	at := uint32(e.names.Len())
	e.names.WriteString(s)
	e.names.WriteByte(0)
	return at
}

// put appends numbers in the file's byte order.
func (e *encoder) put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if word, ok := v.(uint64); ok && !e.wide {
			v = uint32(word)
		}
		_ = binary.Write(b, e.order, v)
	}
}

func (e *encoder) file() []byte {
	e.text("")
	soname := e.text(e.lib.soname)
	versions := e.versions()
	var s [sections]section
	symbols, table, end := e.symbols(versions)
	s[secSymbols] = section{kind: elf.SHT_DYNSYM, flags: elf.SHF_ALLOC, entry: e.pick(24, 16), align: e.pick(8, 4), link: secNames, info: 1, data: symbols}
	s[secVersions] = section{kind: elf.SHT_GNU_VERSYM, flags: elf.SHF_ALLOC, entry: 2, align: 2, link: secSymbols, data: table}
	s[secDefinitions] = section{kind: elf.SHT_GNU_VERDEF, flags: elf.SHF_ALLOC, align: 4, link: secNames, info: uint32(len(versions) + 1), data: e.definitions(soname, versions)}
	if len(versions) == 0 { // musl
		s[secVersions], s[secDefinitions] = section{kind: elf.SHT_NULL}, section{kind: elf.SHT_NULL}
	}
	s[secNames] = section{kind: elf.SHT_STRTAB, flags: elf.SHF_ALLOC, align: 1, data: e.names.Bytes()}
	s[secCode] = section{kind: elf.SHT_NOBITS, flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, align: 16, size: end}
	s[secData] = section{kind: elf.SHT_NOBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, align: 64, size: end}
	s[secDynamic] = section{kind: elf.SHT_DYNAMIC, flags: elf.SHF_ALLOC | elf.SHF_WRITE, entry: e.pick(16, 8), align: e.pick(8, 4), link: secNames, data: e.dynamic(soname, nil)}
	var titles bytes.Buffer
	at := [sections]uint32{}
	for i, name := range sectionNames {
		at[i] = uint32(titles.Len())
		titles.WriteString(name + "\x00")
	}
	s[secSectionNames] = section{kind: elf.SHT_STRTAB, align: 1, data: titles.Bytes()}
	offset := e.layOut(&s)
	s[secDynamic].data = e.dynamic(soname, &s) // with addresses; the same size
	var out bytes.Buffer
	e.header(&out, offset)
	e.segments(&out, &s)
	for i := range s {
		if s[i].data != nil {
			out.Write(make([]byte, s[i].offset-uint64(out.Len())))
			out.Write(s[i].data)
		}
	}
	out.Write(make([]byte, offset-uint64(out.Len())))
	for i := range s {
		if s[i].kind == elf.SHT_NULL {
			e.sectionHeader(&out, 0, section{})
			continue
		}
		e.sectionHeader(&out, at[i], s[i])
	}
	return out.Bytes()
}

// layOut gives each section its place in the file, and returns the place of the table of
// sections.
func (e *encoder) layOut(s *[sections]section) uint64 {
	offset := e.pick(64, 52) + 2*e.pick(56, 32)
	for i := range s {
		offset = (offset + 15) &^ 15
		s[i].offset = offset
		if s[i].data != nil {
			s[i].size = uint64(len(s[i].data))
			offset += s[i].size
		}
		if s[i].flags&elf.SHF_ALLOC != 0 && s[i].kind != elf.SHT_NOBITS {
			s[i].addr = s[i].offset
		}
	}
	return (offset + 15) &^ 15
}

func (e *encoder) pick(wide, narrow uint64) uint64 {
	if e.wide {
		return wide
	}
	return narrow
}

// versions returns the versions of the symbols, sorted.
func (e *encoder) versions() []string {
	var out []string
	for _, s := range e.lib.symbols {
		for _, d := range s.defs {
			if d.version != "" {
				out = append(out, d.version)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// symbols returns the contents of .dynsym and .gnu.version, and the end of the addresses.
func (e *encoder) symbols(versions []string) (symbols, table []byte, end uint64) {
	var syms, vers bytes.Buffer
	syms.Write(make([]byte, e.pick(24, 16)))
	e.put(&vers, uint16(0))
	for _, s := range e.lib.symbols {
		name := e.text(s.name)
		for _, d := range s.defs {
			section := uint16(secCode)
			kind := elf.ST_TYPE(d.Info)
			switch kind {
			case elf.STT_OBJECT, elf.STT_COMMON:
				section, kind = secData, elf.STT_OBJECT
			case elf.STT_GNU_IFUNC:
				kind = elf.STT_FUNC
			}
			bind := elf.ST_BIND(d.Info)
			if bind != elf.STB_WEAK {
				bind = elf.STB_GLOBAL
			}
			info := byte(bind)<<4 | byte(kind)
			end = max(end, d.Value+d.Size)
			if e.wide {
				e.put(&syms, name, info, d.Other, section, d.Value, d.Size)
			} else {
				e.put(&syms, name, d.Value, d.Size, info, d.Other, section)
			}
			index := uint16(1) // the base: no version
			if i, ok := slices.BinarySearch(versions, d.version); ok {
				index = uint16(i + 2)
			}
			if d.hidden {
				index |= 0x8000
			}
			e.put(&vers, index)
		}
	}
	return syms.Bytes(), vers.Bytes(), end
}

// definitions returns the contents of .gnu.version_d: the library itself, then its
// versions.
func (e *encoder) definitions(soname uint32, versions []string) []byte {
	var b bytes.Buffer
	add := func(flags, index uint16, name string, at uint32, last bool) {
		next := uint32(28)
		if last {
			next = 0
		}
		e.put(&b, uint16(1), flags, index, uint16(1), hash(name), uint32(20), next) // Elfxx_Verdef
		e.put(&b, at, uint32(0))                                                    // Elfxx_Verdaux
	}
	add(1, 1, e.lib.soname, soname, len(versions) == 0) // VER_FLG_BASE
	for i, v := range versions {
		add(0, uint16(i+2), v, e.text(v), i == len(versions)-1)
	}
	return b.Bytes()
}

// hash is the ELF hash of a name.
func hash(name string) (h uint32) {
	for _, c := range []byte(name) {
		h = h<<4 + uint32(c)
		g := h & 0xf0000000
		h ^= g >> 24
		h &^= g
	}
	return h
}

// dynamic returns the contents of .dynamic, without addresses if the sections have none
// yet.
func (e *encoder) dynamic(soname uint32, s *[sections]section) []byte {
	var b bytes.Buffer
	addr := func(i int) uint64 {
		if s == nil {
			return 0
		}
		return s[i].addr
	}
	size := uint64(e.names.Len())
	e.put(&b, uint64(elf.DT_SONAME), uint64(soname), uint64(elf.DT_STRTAB), addr(secNames), uint64(elf.DT_STRSZ), size,
		uint64(elf.DT_SYMTAB), addr(secSymbols), uint64(elf.DT_SYMENT), e.pick(24, 16))
	if s == nil || s[secVersions].kind != elf.SHT_NULL {
		count := uint64(0)
		if s != nil {
			count = uint64(s[secDefinitions].info)
		}
		e.put(&b, uint64(elf.DT_VERSYM), addr(secVersions), uint64(elf.DT_VERDEF), addr(secDefinitions), uint64(elf.DT_VERDEFNUM), count)
	} else {
		for range 6 { // DT_NULL: the size stays the same
			e.put(&b, uint64(0))
		}
	}
	e.put(&b, uint64(elf.DT_NULL), uint64(0))
	return b.Bytes()
}

// header writes the ELF header: that of the real library, with the places of the tables.
func (e *encoder) header(out *bytes.Buffer, sectionTable uint64) {
	ident := slices.Clone(e.lib.header[:16])
	ident[elf.EI_OSABI], ident[elf.EI_ABIVERSION] = 0, 0
	flags := e.order.Uint32(e.lib.header[e.pick(48, 36):])
	out.Write(ident)
	e.put(out, uint16(elf.ET_DYN), e.order.Uint16(e.lib.header[18:]), uint32(1), uint64(0), e.pick(64, 52), sectionTable, flags,
		uint16(e.pick(64, 52)), uint16(e.pick(56, 32)), uint16(2), uint16(e.pick(64, 40)), uint16(sections), uint16(secSectionNames))
}

// segments writes the program headers.
func (e *encoder) segments(out *bytes.Buffer, s *[sections]section) {
	one := func(kind elf.ProgType, flags elf.ProgFlag, offset, size, align uint64) {
		if e.wide {
			e.put(out, uint32(kind), uint32(flags), offset, offset, offset, size, size, align)
		} else {
			e.put(out, uint32(kind), offset, offset, offset, size, size, uint32(flags), align)
		}
	}
	one(elf.PT_LOAD, elf.PF_R|elf.PF_W, 0, s[secCode].offset, 0x10000)
	one(elf.PT_DYNAMIC, elf.PF_R|elf.PF_W, s[secDynamic].offset, uint64(len(s[secDynamic].data)), e.pick(8, 4))
}

func (e *encoder) sectionHeader(out *bytes.Buffer, name uint32, s section) {
	e.put(out, name, uint32(s.kind), uint64(s.flags), s.addr, s.offset, s.size, s.link, s.info, s.align, s.entry)
}
