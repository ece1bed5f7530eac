package pe

import (
	stdpe "debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

const maxImports = 1 << 16 // names and libraries

// Import is one library that a file needs.
type Import struct {
	Library string   // as in the file
	Names   []string // names of imports by name, sorted
	Ordinal int      // number of imports by ordinal
}

// Imports returns the libraries that a file needs, with the names that it imports, in the
// order of the table, including delay-loaded libraries. The error wraps [ErrNotPE] for
// another format.
func Imports(r io.ReaderAt, size int64) ([]Import, error) {
	var head [0x40]byte
	if n, err := r.ReadAt(head[:], 0); n < len(head) || (err != nil && !errors.Is(err, io.EOF)) || !Is(head[:]) {
		return nil, ErrNotPE
	}
	file, err := parse(r, size, int64(binary.LittleEndian.Uint32(head[0x3c:])))
	if err != nil {
		return nil, err
	}
	img := &image{r: r, size: size, file: file}
	_, wide := file.OptionalHeader.(*stdpe.OptionalHeader64)
	var out []Import
	budget := maxImports
	// Entries of the normal table have 20 bytes: lookup table, …, name, address table.
	// Those of the delayed one have 32: attributes, name, module, address and lookup.
	for _, t := range []struct{ directory, entry, name, lookup int }{
		{stdpe.IMAGE_DIRECTORY_ENTRY_IMPORT, 20, 12, 0},
		{stdpe.IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT, 32, 4, 16},
	} {
		at := img.directory(t.directory).VirtualAddress
		for ; at != 0; at += uint32(t.entry) {
			if budget--; budget < 0 {
				return nil, errors.New("read imports: there are too many")
			}
			entry, err := img.bytes(at, int64(t.entry))
			if err != nil {
				return nil, fmt.Errorf("read imports: %w", err)
			}
			name, lookup := binary.LittleEndian.Uint32(entry[t.name:]), binary.LittleEndian.Uint32(entry[t.lookup:])
			if name == 0 {
				break
			}
			if lookup == 0 && t.entry == 20 {
				lookup = binary.LittleEndian.Uint32(entry[16:])
			}
			i := Import{}
			if i.Library, err = img.text(name); err != nil {
				return nil, fmt.Errorf("read imports: %w", err)
			}
			if err := img.lookups(&i, lookup, wide, &budget); err != nil {
				return nil, fmt.Errorf("read imports of %s: %w", i.Library, err)
			}
			slices.Sort(i.Names)
			out = append(out, i)
		}
	}
	return out, nil
}

// lookups reads the table of imports from one library.
func (img *image) lookups(i *Import, at uint32, wide bool, budget *int) error {
	step := uint32(4)
	if wide {
		step = 8
	}
	for ; ; at += step {
		if *budget--; *budget < 0 {
			return errors.New("there are too many names")
		}
		raw, err := img.bytes(at, int64(step))
		if err != nil {
			return err
		}
		value, ordinal := uint64(binary.LittleEndian.Uint32(raw)), uint64(1)<<31
		if wide {
			value, ordinal = binary.LittleEndian.Uint64(raw), 1<<63
		}
		switch {
		case value == 0:
			return nil
		case value&ordinal != 0:
			i.Ordinal++
		default:
			name, err := img.text(uint32(value) + 2) // after the hint
			if err != nil {
				return err
			}
			i.Names = append(i.Names, name)
		}
	}
}
