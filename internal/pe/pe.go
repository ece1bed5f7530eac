// Package pe reads facts from Portable Executable files, the format of Windows programs
// and libraries (https://learn.microsoft.com/windows/win32/debug/pe-format): the CPU,
// whether it is a library, the exported names, and the version in the resources. It never
// maps or runs anything. A hostile file results in an error, and never in a crash or in
// more memory than the size of the file. It does not know what the facts are for.
package pe

import (
	"bytes"
	stdpe "debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// MaxFile is the maximum size of a file, in bytes.
const MaxFile = 1 << 30

const (
	maxExports  = 1 << 16 // names; a python3XX.dll has two thousand
	maxName     = 512     // bytes of one exported name
	maxResource = 1 << 16 // bytes of a version resource
	maxHeader   = 1 << 20 // bytes before the sections, without the symbol table of debug builds
)

// ErrNotPE is wrapped by the error for a file of another format.
var ErrNotPE = errors.New("not a PE file")

// Facts are the contents of the headers, the export table and the version resource.
type Facts struct {
	Machine string    // "AMD64", "ARM64" or "x86", as in PROCESSOR_ARCHITECTURE; otherwise the number in hex
	DLL     bool      // a library, not a program
	Exports []string  // exported names, sorted; nil without a table
	Version [4]uint16 // FileVersion of the VS_VERSIONINFO resource; zeros if absent
}

// Exporting reports whether a name is exported.
func (f *Facts) Exporting(name string) bool {
	_, found := slices.BinarySearch(f.Exports, name)
	return found
}

// Is reports whether data begins like a PE file, as DOS programs do, too.
func Is(data []byte) bool { return bytes.HasPrefix(data, []byte("MZ")) }

// Read reads the facts of a file of which size bytes may be read. The error wraps
// [ErrNotPE] for another format.
func Read(r io.ReaderAt, size int64) (*Facts, error) {
	var head [0x40]byte
	if n, err := r.ReadAt(head[:], 0); n < len(head) || (err != nil && !errors.Is(err, io.EOF)) || !Is(head[:]) {
		return nil, ErrNotPE
	}
	if size > MaxFile {
		return nil, fmt.Errorf("%d bytes are more than the %d allowed", size, int64(MaxFile))
	}
	file, err := parse(r, size, int64(binary.LittleEndian.Uint32(head[0x3c:])))
	if err != nil {
		return nil, err
	}
	facts := &Facts{Machine: machine(file.Machine), DLL: file.Characteristics&stdpe.IMAGE_FILE_DLL != 0}
	img := &image{r: r, size: size, file: file}
	if facts.Exports, err = img.exports(); err != nil {
		return nil, fmt.Errorf("read exports: %w", err)
	}
	if facts.Version, err = img.version(); err != nil {
		return nil, fmt.Errorf("read version resource: %w", err)
	}
	return facts, nil
}

// parse reads the headers. It hides the COFF symbol table from debug/pe, which would read
// all of it: it is not needed, and the file claims its length. This also hides the table
// for long section names ("/15"), which programs with debugging information have.
func parse(r io.ReaderAt, size, at int64) (*stdpe.File, error) {
	if at < 0x40 || at > size-24 || at > maxHeader {
		return nil, ErrNotPE
	}
	header := make([]byte, min(size, maxHeader))
	if n, err := r.ReadAt(header, 0); n < len(header) {
		return nil, fmt.Errorf("read headers: %w", err)
	}
	if string(header[at:at+4]) != "PE\x00\x00" {
		return nil, ErrNotPE
	}
	for i := at + 12; i < at+20; i++ { // PointerToSymbolTable, NumberOfSymbols
		header[i] = 0
	}
	sections := at + 24 + int64(binary.LittleEndian.Uint16(header[at+20:]))
	for k := range int64(binary.LittleEndian.Uint16(header[at+6:])) {
		if name := sections + 40*k; name < int64(len(header)) && header[name] == '/' {
			header[name] = '_'
		}
	}
	file, err := stdpe.NewFile(bytes.NewReader(header))
	if err != nil {
		return nil, fmt.Errorf("parse PE headers: %w", err)
	}
	return file, nil
}

func machine(m uint16) string {
	switch m {
	case stdpe.IMAGE_FILE_MACHINE_AMD64:
		return "AMD64"
	case stdpe.IMAGE_FILE_MACHINE_ARM64:
		return "ARM64"
	case stdpe.IMAGE_FILE_MACHINE_I386:
		return "x86"
	default:
		return fmt.Sprintf("%#x", m)
	}
}

// image reads a file by the addresses at which it would be loaded.
type image struct {
	r    io.ReaderAt
	size int64
	file *stdpe.File
}

var errOutside = errors.New("an address is outside the file")

// offset returns the file offset of a relative virtual address, and the number of bytes
// that follow in its section.
func (i *image) offset(rva uint32) (offset, room int64, err error) {
	for _, s := range i.file.Sections {
		if rva < s.VirtualAddress || rva-s.VirtualAddress >= s.Size {
			continue
		}
		offset = int64(s.Offset) + int64(rva-s.VirtualAddress)
		room = min(int64(s.Size)-int64(rva-s.VirtualAddress), i.size-offset)
		if offset < 0 || room <= 0 {
			return 0, 0, errOutside
		}
		return offset, room, nil
	}
	return 0, 0, errOutside
}

// bytes returns n bytes at an address.
func (i *image) bytes(rva uint32, n int64) ([]byte, error) {
	offset, room, err := i.offset(rva)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > room {
		return nil, errOutside
	}
	out := make([]byte, n)
	if got, err := i.r.ReadAt(out, offset); got < len(out) {
		return nil, err
	}
	return out, nil
}

// text returns the zero-terminated name at an address.
func (i *image) text(rva uint32) (string, error) {
	_, room, err := i.offset(rva)
	if err != nil {
		return "", err
	}
	data, err := i.bytes(rva, min(room, maxName))
	if err != nil {
		return "", err
	}
	name, _, ended := bytes.Cut(data, []byte{0})
	if !ended {
		return "", errors.New("a name has no end")
	}
	return string(name), nil
}

// directory returns the location of a data directory, or 0 if absent.
func (i *image) directory(n int) stdpe.DataDirectory {
	switch h := i.file.OptionalHeader.(type) {
	case *stdpe.OptionalHeader64:
		if uint32(n) < h.NumberOfRvaAndSizes {
			return h.DataDirectory[n]
		}
	case *stdpe.OptionalHeader32:
		if uint32(n) < h.NumberOfRvaAndSizes {
			return h.DataDirectory[n]
		}
	}
	return stdpe.DataDirectory{}
}

func (i *image) exports() ([]string, error) {
	place := i.directory(stdpe.IMAGE_DIRECTORY_ENTRY_EXPORT)
	if place.VirtualAddress == 0 {
		return nil, nil
	}
	table, err := i.bytes(place.VirtualAddress, 40)
	if err != nil {
		return nil, err
	}
	count := binary.LittleEndian.Uint32(table[24:])
	if count > maxExports {
		return nil, fmt.Errorf("%d names are too many", count)
	}
	pointers, err := i.bytes(binary.LittleEndian.Uint32(table[32:]), 4*int64(count))
	if err != nil && count > 0 {
		return nil, err
	}
	names, total := make([]string, 0, count), int64(0)
	for ; len(pointers) >= 4; pointers = pointers[4:] {
		name, err := i.text(binary.LittleEndian.Uint32(pointers))
		if err != nil {
			return nil, err
		}
		if total += int64(len(name)); total > i.size {
			return nil, errors.New("the names are longer than the file")
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// version searches the resource section for VS_FIXEDFILEINFO, which begins with a
// signature
// (https://learn.microsoft.com/windows/win32/api/verrsrc/ns-verrsrc-vs_fixedfileinfo). It
// does not walk the tree of resources: the version resource is near the end, and its key
// in UTF-16 is right before the signature.
func (i *image) version() (v [4]uint16, err error) {
	place := i.directory(stdpe.IMAGE_DIRECTORY_ENTRY_RESOURCE)
	if place.VirtualAddress == 0 {
		return v, nil
	}
	offset, room, err := i.offset(place.VirtualAddress)
	if err != nil {
		return v, err
	}
	key := []byte("V\x00S\x00_\x00V\x00E\x00R\x00S\x00I\x00O\x00N\x00_\x00I\x00N\x00F\x00O\x00\x00\x00")
	signature := []byte{0xbd, 0x04, 0xef, 0xfe}
	buffer := make([]byte, min(room, maxResource))
	for at := int64(0); at < room; at += maxResource / 2 { // overlapping windows
		n, err := i.r.ReadAt(buffer[:min(int64(len(buffer)), room-at)], offset+at)
		if err != nil && !errors.Is(err, io.EOF) {
			return v, err
		}
		_, after, found := bytes.Cut(buffer[:n], key)
		if !found {
			continue
		}
		if begin := bytes.Index(after[:min(len(after), 64)], signature); begin >= 0 && begin+16 <= len(after) {
			info := after[begin:]
			high, low := binary.LittleEndian.Uint32(info[8:]), binary.LittleEndian.Uint32(info[12:])
			return [4]uint16{uint16(high >> 16), uint16(high), uint16(low >> 16), uint16(low)}, nil
		}
	}
	return v, nil
}
