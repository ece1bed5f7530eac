package pe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// ErrNotLibrary is wrapped by the error for a file that is not a library in COFF's
// archive format.
var ErrNotLibrary = errors.New("not a library in archive format")

const maxSymbols = 8 << 20 // bytes of a library's symbol table

// Library describes an import library.
type Library struct {
	Machine string   // of its members: "AMD64", …
	Names   []string // importable names, sorted, without "__imp_"
}

// ReadLibrary reads the first linker member of a library, which has the names, and the
// CPU of the member that one of them refers to
// (https://learn.microsoft.com/windows/win32/debug/pe-format#archive-library-file-format).
// The import libraries of Microsoft's linker and of dlltool both have this form.
func ReadLibrary(path string) (*Library, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxFile {
		return nil, ErrNotLibrary
	}
	return readLibrary(f, info.Size())
}

func readLibrary(r io.ReaderAt, size int64) (*Library, error) {
	head := make([]byte, 8+60)
	if n, err := r.ReadAt(head, 0); n < len(head) {
		return nil, errors.Join(ErrNotLibrary, err)
	}
	if string(head[:8]) != "!<arch>\n" || strings.TrimRight(string(head[8:24]), " ") != "/" {
		return nil, ErrNotLibrary
	}
	var length int64
	if _, err := fmt.Sscanf(strings.TrimSpace(string(head[8+48:8+58])), "%d", &length); err != nil || length < 4 || length > maxSymbols || 68+length > size {
		return nil, fmt.Errorf("the symbol table has an invalid length: %w", ErrNotLibrary)
	}
	table := make([]byte, length)
	if n, err := r.ReadAt(table, 68); n < len(table) {
		return nil, errors.Join(ErrNotLibrary, err)
	}
	count := int64(binary.BigEndian.Uint32(table))
	if count > (length-4)/5 { // four bytes for the offset, and one for the end of the name
		return nil, fmt.Errorf("the symbol table has no room for %d names: %w", count, ErrNotLibrary)
	}
	l := &Library{}
	for name := range strings.SplitSeq(string(bytes.TrimRight(table[4+4*count:], "\x00")), "\x00") {
		if len(name) > maxName {
			return nil, fmt.Errorf("a name is %d bytes long: %w", len(name), ErrNotLibrary)
		}
		if imported, ok := strings.CutPrefix(name, "__imp_"); ok {
			l.Names = append(l.Names, imported)
		}
	}
	slices.Sort(l.Names)
	l.Names = slices.Compact(l.Names)
	if count > 0 {
		l.Machine = memberMachine(r, int64(binary.BigEndian.Uint32(table[4:])))
	}
	return l, nil
}

// memberMachine returns the CPU of the member at an offset: an object, whose header
// begins with it, or a short import, which has it after a signature.
func memberMachine(r io.ReaderAt, at int64) string {
	head := make([]byte, 60+8)
	if n, _ := r.ReadAt(head, at); n < len(head) {
		return "unknown"
	}
	body := head[60:]
	if binary.LittleEndian.Uint32(body) == 0xffff0000 {
		return machine(binary.LittleEndian.Uint16(body[6:]))
	}
	return machine(binary.LittleEndian.Uint16(body))
}
