// Package elftest creates small ELF files for tests. They contain what internal/elf
// reads, but no code.
package elftest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"maps"
	"slices"
)

// File describes the content of a 64-bit little-endian ELF file.
type File struct {
	Machine elf.Machine       // x86-64 if zero
	Soname  string            //
	Needed  []string          //
	RunPath string            //
	Exports map[string][]byte // name -> bytes of the object
	Text    string            // further read-only data
}

// Words are 32 bit integers as they are in a file.
func Words(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

const (
	headerSize  = 64
	segmentSize = 56
	sectionSize = 64
)

// Bytes returns the file: the header, one segment with the whole file, loaded at address
// 0, and the sections.
func (f File) Bytes() []byte {
	if f.Machine == elf.EM_NONE {
		f.Machine = elf.EM_X86_64
	}
	const begin = headerSize + segmentSize
	names, strings := newTable(), newTable()
	var data, symbols bytes.Buffer
	put(&symbols, elf.Sym64{})
	for _, name := range slices.Sorted(maps.Keys(f.Exports)) {
		value := f.Exports[name]
		put(&symbols, elf.Sym64{
			Name: strings.add(name), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_OBJECT), Shndx: 1, Value: uint64(begin + data.Len()), Size: uint64(len(value)),
		})
		data.Write(value)
		data.Write(make([]byte, 8-len(value)%8)) // an object may be empty
	}
	data.WriteString(f.Text + "\x00")
	var dynamic bytes.Buffer
	tag := func(t elf.DynTag, s string) {
		if s != "" {
			put(&dynamic, elf.Dyn64{Tag: int64(t), Val: uint64(strings.add(s))})
		}
	}
	for _, n := range f.Needed {
		tag(elf.DT_NEEDED, n)
	}
	tag(elf.DT_SONAME, f.Soname)
	tag(elf.DT_RUNPATH, f.RunPath)
	put(&dynamic, elf.Dyn64{})

	at := uint64(begin)
	var headers, contents bytes.Buffer
	put(&headers, elf.Section64{})
	section := func(name string, kind elf.SectionType, link, entry uint64, content []byte) {
		put(&headers, elf.Section64{
			Name: names.add(name), Type: uint32(kind), Flags: uint64(elf.SHF_ALLOC), Addr: at, Off: at, Size: uint64(len(content)),
			Link: uint32(link), Info: 1, Addralign: 1, Entsize: entry,
		})
		contents.Write(content)
		at += uint64(len(content))
	}
	for _, name := range []string{".dynsym", ".dynstr", ".dynamic", ".rodata", ".shstrtab"} {
		names.add(name) // all sections must be known before their table is written
	}
	section(".rodata", elf.SHT_PROGBITS, 0, 0, data.Bytes()) // first: symbols point into it
	section(".dynsym", elf.SHT_DYNSYM, 3, elf.Sym64Size, symbols.Bytes())
	section(".dynstr", elf.SHT_STRTAB, 0, 0, strings.Bytes())
	section(".dynamic", elf.SHT_DYNAMIC, 3, 16, dynamic.Bytes())
	section(".shstrtab", elf.SHT_STRTAB, 0, 0, names.Bytes())

	var out bytes.Buffer
	put(&out, elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_DYN), Machine: uint16(f.Machine), Version: uint32(elf.EV_CURRENT), Phoff: headerSize, Shoff: at,
		Ehsize: headerSize, Phentsize: segmentSize, Phnum: 1, Shentsize: sectionSize, Shnum: 6, Shstrndx: 5,
	})
	put(&out, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Filesz: at, Memsz: at, Align: 1})
	out.Write(contents.Bytes())
	out.Write(headers.Bytes())
	return out.Bytes()
}

// table is a string table.
type table struct {
	bytes.Buffer
	at map[string]uint32
}

func newTable() *table {
	t := &table{at: map[string]uint32{}}
	t.WriteByte(0)
	return t
}

func (t *table) add(s string) uint32 {
	if at, ok := t.at[s]; ok {
		return at
	}
	t.at[s] = uint32(t.Len())
	t.WriteString(s + "\x00")
	return t.at[s]
}

func put(b *bytes.Buffer, v any) {
	_ = binary.Write(b, binary.LittleEndian, v) // writing to a buffer never fails
}
