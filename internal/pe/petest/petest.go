// Package petest creates small Portable Executable files for tests. They contain what
// internal/pe reads, but no code.
package petest

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"slices"
)

// File describes the content of a file.
type File struct {
	Machine uint16 // pe.IMAGE_FILE_MACHINE_AMD64, …
	DLL     bool
	Exports []string
	Version [4]uint16 // zeros for no version resource
	Imports []Import
	Text    string // further bytes
}

// Import is the imports from one library.
type Import struct {
	Library string
	Names   []string
	Ordinal int // number of imports by ordinal
}

const (
	address = 0x1000 // address of the only section
	start   = 0x400  // its offset in the file
)

// Bytes returns the file's content.
func (f File) Bytes() []byte {
	var section bytes.Buffer
	exports, length := f.exports(&section)
	resource := section.Len()
	if f.Version != ([4]uint16{}) {
		for _, c := range "VS_VERSION_INFO\x00" {
			put(&section, uint16(c))
		}
		section.Write(make([]byte, 2)) // padding
		put(&section, uint32(0xfeef04bd), uint32(0x10000), f.Version[1], f.Version[0], f.Version[3], f.Version[2])
		section.Write(make([]byte, 40))
	}
	imports := f.imports(&section)
	section.WriteString(f.Text)
	size := uint32(section.Len() + 0x10)
	optional := pe.OptionalHeader64{Magic: 0x20b, NumberOfRvaAndSizes: 16, SectionAlignment: address, FileAlignment: 0x200, SizeOfHeaders: start, ImageBase: 0x180000000}
	if len(f.Exports) > 0 {
		optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT] = pe.DataDirectory{VirtualAddress: address + exports, Size: length}
	}
	if f.Version != ([4]uint16{}) {
		optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_RESOURCE] = pe.DataDirectory{VirtualAddress: address + uint32(resource), Size: uint32(section.Len() - resource)}
	}
	if imports > 0 {
		optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_IMPORT] = pe.DataDirectory{VirtualAddress: address + imports, Size: uint32(20 * (len(f.Imports) + 1))}
	}
	header := pe.FileHeader{Machine: f.Machine, NumberOfSections: 1, SizeOfOptionalHeader: uint16(binary.Size(optional)), Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE}
	if f.DLL {
		header.Characteristics |= pe.IMAGE_FILE_DLL
	}
	var out bytes.Buffer
	out.WriteString("MZ")
	out.Write(make([]byte, 0x3a))
	put(&out, uint32(0x40))
	out.WriteString("PE\x00\x00")
	put(&out, header, optional, pe.SectionHeader32{
		Name: [8]uint8{'.', 'd', 'a', 't', 'a'}, VirtualSize: size, VirtualAddress: address, SizeOfRawData: size, PointerToRawData: start,
	})
	out.Write(make([]byte, start-out.Len()))
	out.Write(section.Bytes())
	out.Write(make([]byte, 0x10))
	return out.Bytes()
}

// exports writes the names and the export directory, and returns the directory's offset
// and length.
func (f File) exports(section *bytes.Buffer) (offset, length uint32) {
	names := slices.Sorted(slices.Values(f.Exports))
	var pointers []uint32
	for _, name := range names {
		pointers = append(pointers, address+uint32(section.Len()))
		section.WriteString(name + "\x00")
	}
	table := address + uint32(section.Len())
	put(section, pointers)
	offset = uint32(section.Len())
	directory := make([]uint32, 10)
	directory[6], directory[8] = uint32(len(names)), table
	put(section, directory)
	return offset, 40
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic(err) // encoding integers never fails
		}
	}
}

// imports writes names, lookup tables and the import directory, and returns the
// directory's offset, or 0 for none.
func (f File) imports(section *bytes.Buffer) uint32 {
	if len(f.Imports) == 0 {
		return 0
	}
	place := func() uint32 { return address + uint32(section.Len()) }
	directory := make([]uint32, 0, 5*(len(f.Imports)+1))
	for _, i := range f.Imports {
		var entries []uint64
		for _, name := range i.Names {
			entries = append(entries, uint64(place()))
			section.WriteString("\x00\x00" + name + "\x00")
		}
		for n := range i.Ordinal {
			entries = append(entries, 1<<63|uint64(n+1))
		}
		library := place()
		section.WriteString(i.Library + "\x00")
		lookup := place()
		put(section, append(entries, 0))
		directory = append(directory, lookup, 0, 0, library, lookup)
	}
	offset := uint32(section.Len())
	put(section, append(directory, 0, 0, 0, 0, 0))
	return offset
}
