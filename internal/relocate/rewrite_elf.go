package relocate

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Sizes of records: gABI, chapter 4, and Linux Standard Base Core, "Symbol
// Versioning".
const (
	verneedSize = 16 // Elfxx_Verneed
	maxVersions = 1 << 16
	symbolSize  = 24 // Elf64_Sym
	maxSymbols  = 1 << 20
)

// table is a version table in the file.
func (im *image) table(at, count elf.DynTag) (raw []byte, n uint64, err error) {
	addr, num := im.value(at), im.value(count)
	if addr == nil || num == nil {
		return nil, 0, nil
	}
	if num.Val > maxVersions {
		return nil, 0, errELF
	}
	off, err := im.fileOffset(addr.Val, 1)
	if err != nil {
		return nil, 0, err
	}
	return im.data[off:], num.Val, nil
}

// part returns a record of a table.
func part(raw []byte, at uint64, size int) ([]byte, error) {
	if at > uint64(len(raw)) || uint64(size) > uint64(len(raw))-at {
		return nil, errELF
	}
	return raw[at : at+uint64(size)], nil
}

// editNeeds renames the libraries in the table of version requirements to match
// DT_NEEDED, as the loader requires.
func (im *image) editNeeds(e Edit) error {
	raw, count, err := im.table(elf.DT_VERNEED, elf.DT_VERNEEDNUM)
	if err != nil {
		return err
	}
	at := uint64(0)
	for range count {
		need, err := part(raw, at, verneedSize)
		if err != nil {
			return err
		}
		library, err := im.text(uint64(im.order.Uint32(need[4:])))
		if err != nil {
			return err
		}
		if to, ok := e.Needed[library]; ok {
			im.order.PutUint32(need[4:], uint32(im.add(to)))
		}
		at += uint64(im.order.Uint32(need[12:]))
	}
	return nil
}

// symbolHash is the gABI's hash function (chapter 5, "Hash Table").
func symbolHash(name string) uint32 {
	var h uint32
	for i := range len(name) {
		h = h<<4 + uint32(name[i])
		if g := h & 0xf0000000; g != 0 {
			h ^= g >> 24
			h &^= g
		}
	}
	return h
}

// editSymbols renames symbols. If one of them is a definition, it creates a new hash
// table for the loader, in the plain form, which does not require an order of symbols.
func (im *image) editSymbols(e Edit) error {
	if e.Prefix == "" || len(e.Symbols) == 0 {
		return nil
	}
	raw, err := im.symbolTable()
	if err != nil {
		return err
	}
	var names []string
	defined := false
	for ; len(raw) >= symbolSize; raw = raw[symbolSize:] {
		name, err := im.text(uint64(im.order.Uint32(raw)))
		if err != nil {
			return err
		}
		if e.Symbols[name] && name != "" {
			name = e.Prefix + name
			im.order.PutUint32(raw, uint32(im.add(name)))
			defined = defined || elf.SectionIndex(im.order.Uint16(raw[6:])) != elf.SHN_UNDEF
		}
		if elf.SectionIndex(im.order.Uint16(raw[6:])) == elf.SHN_UNDEF {
			name = "" // an import is not looked up here
		}
		names = append(names, name)
	}
	if defined {
		im.hash = hashTable(names)
	}
	return nil
}

// symbolTable returns the table of dynamic symbols in the file. Only the section headers
// contain its length.
func (im *image) symbolTable() ([]byte, error) {
	s := im.file.SectionByType(elf.SHT_DYNSYM)
	at := im.value(elf.DT_SYMTAB)
	if s == nil || at == nil || at.Val != s.Addr || s.Size > maxSymbols*symbolSize {
		return nil, errELF
	}
	return im.slice(s.Offset, s.Size)
}

// hashTable returns the content of DT_HASH (gABI, chapter 5): the numbers of buckets and
// symbols, the buckets, the chains.
func hashTable(names []string) []uint32 {
	buckets := uint32(max(1, len(names)/2)) | 1
	table := make([]uint32, 2+int(buckets)+len(names))
	table[0], table[1] = buckets, uint32(len(names))
	chains := table[2+buckets:]
	for i, name := range names {
		if name == "" {
			continue
		}
		b := &table[2+symbolHash(name)%buckets]
		chains[i], *b = *b, uint32(i)
	}
	return table
}

// write appends the new segment to the file.
func (im *image) write() ([]byte, error) {
	align, end, base := uint64(0x1000), uint64(0), uint64(math.MaxUint64)
	for _, p := range im.progs {
		if elf.ProgType(p.Type) == elf.PT_LOAD {
			align, end, base = max(align, p.Align), max(end, p.Vaddr+p.Memsz), min(base, p.Vaddr-p.Off)
		}
	}
	if align&(align-1) != 0 || align > 1<<24 || base&(align-1) != 0 || end < base || end-base > 1<<28 {
		return nil, errELF
	}
	up := func(v, to uint64) uint64 { return (v + to - 1) &^ (to - 1) }
	// Address and offset have the same distance from the beginning: kernels before 5.18
	// compute the address of a program's headers from the offset alone
	// (https://bugzilla.kernel.org/show_bug.cgi?id=197921).
	off := up(max(uint64(len(im.data)), end-base), align)
	addr := base + off
	headers := uint64(len(im.progs)+1) * 56
	if im.hash != nil {
		im.dynamic = slices.DeleteFunc(im.dynamic, func(d elf.Dyn64) bool {
			return elf.DynTag(d.Tag) == elf.DT_HASH || elf.DynTag(d.Tag) == elf.DT_GNU_HASH
		})
		im.dynamic = append(im.dynamic, elf.Dyn64{Tag: int64(elf.DT_HASH)})
	}
	dynamicAt := up(headers, 16)
	hashAt := dynamicAt + uint64(len(im.dynamic)+1)*16
	stringsAt := hashAt + uint64(len(im.hash))*4
	size := stringsAt + uint64(len(im.strings))

	im.value(elf.DT_STRTAB).Val = addr + stringsAt
	im.value(elf.DT_STRSZ).Val = uint64(len(im.strings))
	if im.hash != nil {
		im.value(elf.DT_HASH).Val = addr + hashAt
	}
	im.moveHeaders(off, addr, headers, dynamicAt, size, align)

	var seg bytes.Buffer
	for _, part := range []any{im.progs, make([]byte, dynamicAt-headers), im.dynamic, elf.Dyn64{}, im.hash, im.strings} {
		if err := binary.Write(&seg, im.order, part); err != nil {
			return nil, err
		}
	}
	if uint64(seg.Len()) != size {
		return nil, fmt.Errorf("the new segment has %d bytes, not %d", seg.Len(), size)
	}
	if err := im.moveSections(off, addr, dynamicAt, hashAt, stringsAt); err != nil {
		return nil, err
	}
	if err := im.moveSymbol(addr + dynamicAt); err != nil {
		return nil, err
	}
	im.order.PutUint64(im.data[32:], off)                   // e_phoff
	im.order.PutUint16(im.data[56:], uint16(len(im.progs))) // e_phnum
	out := append(im.data, make([]byte, off-uint64(len(im.data)))...)
	out = append(out, seg.Bytes()...)
	_, err := elf.NewFile(bytes.NewReader(out))
	return out, err
}

// moveHeaders adds the segment to the program headers. PT_LOAD entries must be sorted by
// address, so the new one comes last.
func (im *image) moveHeaders(off, addr, headers, dynamicAt, size, align uint64) {
	last := 0
	for i := range im.progs {
		p := &im.progs[i]
		switch elf.ProgType(p.Type) {
		case elf.PT_LOAD:
			last = i
		case elf.PT_PHDR:
			p.Off, p.Vaddr, p.Paddr, p.Filesz, p.Memsz = off, addr, addr, headers, headers
		case elf.PT_DYNAMIC:
			n := uint64(len(im.dynamic)+1) * 16
			p.Off, p.Vaddr, p.Paddr, p.Filesz, p.Memsz = off+dynamicAt, addr+dynamicAt, addr+dynamicAt, n, n
		default:
		}
	}
	load := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), // the loader writes to the dynamic section
		Off: off, Vaddr: addr, Paddr: addr, Filesz: size, Memsz: size, Align: align,
	}
	im.progs = append(im.progs[:last+1], append([]elf.Prog64{load}, im.progs[last+1:]...)...)
}

// moveSections updates the section headers of the dynamic section and its strings, which
// tools use. A file without section headers needs no update.
func (im *image) moveSections(off, addr, dynamicAt, hashAt, stringsAt uint64) error {
	at, size, count := im.order.Uint64(im.data[40:]), uint64(im.order.Uint16(im.data[58:])), uint64(im.order.Uint16(im.data[60:]))
	if at == 0 || count == 0 {
		return nil
	}
	if size < 64 {
		return errors.New("its section headers are too short")
	}
	table, err := im.slice(at, size*count)
	if err != nil {
		return err
	}
	for i := range count {
		h := table[i*size:]
		switch elf.SectionType(im.order.Uint32(h[4:])) {
		case elf.SHT_GNU_HASH, elf.SHT_HASH:
			if im.hash != nil {
				im.order.PutUint32(h[4:], uint32(elf.SHT_HASH))
				im.order.PutUint64(h[56:], 4) // entry size
				im.place(h, addr+hashAt, off+hashAt, uint64(len(im.hash))*4)
			}
			continue
		case elf.SHT_DYNAMIC:
		default:
			continue
		}
		link := uint64(im.order.Uint32(h[40:]))
		if link >= count {
			return errELF
		}
		im.place(h, addr+dynamicAt, off+dynamicAt, uint64(len(im.dynamic)+1)*16)
		im.place(table[link*size:], addr+stringsAt, off+stringsAt, uint64(len(im.strings)))
	}
	return nil
}

// place sets the address, offset and size in a section header.
func (im *image) place(header []byte, addr, off, size uint64) {
	im.order.PutUint64(header[16:], addr)
	im.order.PutUint64(header[24:], off)
	im.order.PutUint64(header[32:], size)
}

// moveSymbol corrects the symbol _DYNAMIC of an unstripped file, for debuggers.
func (im *image) moveSymbol(addr uint64) error {
	s := im.file.SectionByType(elf.SHT_SYMTAB)
	if s == nil || s.Link >= uint32(len(im.file.Sections)) {
		return nil
	}
	table, err := im.slice(s.Offset, s.Size)
	if err != nil {
		return err
	}
	names := im.file.Sections[s.Link]
	text, err := im.slice(names.Offset, names.Size)
	if err != nil {
		return err
	}
	for ; len(table) >= symbolSize; table = table[symbolSize:] {
		if at := uint64(im.order.Uint32(table)); at < uint64(len(text)) && bytes.HasPrefix(text[at:], []byte("_DYNAMIC\x00")) {
			im.order.PutUint64(table[8:], addr)
		}
	}
	return nil
}
