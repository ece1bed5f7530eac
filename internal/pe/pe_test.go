package pe_test

import (
	"bytes"
	stdpe "debug/pe"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/pe"
	"modwsgi/internal/pe/petest"
)

func read(data []byte) (*pe.Facts, error) {
	return pe.Read(bytes.NewReader(data), int64(len(data)))
}

func library() petest.File {
	return petest.File{Machine: stdpe.IMAGE_FILE_MACHINE_AMD64, DLL: true, Exports: []string{"Py_Main", "Py_InitializeEx"}, Version: [4]uint16{3, 12, 1150, 1013}}
}

func TestRead(t *testing.T) {
	facts, err := read(library().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if facts.Machine != "AMD64" || !facts.DLL || !slices.Equal(facts.Exports, []string{"Py_InitializeEx", "Py_Main"}) || facts.Version != [4]uint16{3, 12, 1150, 1013} {
		t.Errorf("%+v", facts)
	}
	if !facts.Exporting("Py_Main") || facts.Exporting("Py_Mai") {
		t.Error("exports are not looked up by their whole name")
	}
	for machine, want := range map[uint16]string{stdpe.IMAGE_FILE_MACHINE_ARM64: "ARM64", stdpe.IMAGE_FILE_MACHINE_I386: "x86", 0x1234: "0x1234"} {
		facts, err := read(petest.File{Machine: machine}.Bytes())
		if machine == 0x1234 {
			if err == nil {
				t.Errorf("an unknown CPU: %+v", facts)
			}
			continue
		}
		if err != nil || facts.Machine != want || facts.DLL || facts.Exports != nil || facts.Version != [4]uint16{} {
			t.Errorf("%#x: %+v, %v", machine, facts, err)
		}
	}
}

// Go's linker writes debugging information to sections whose long names are in the symbol
// table.
func TestLongSectionNames(t *testing.T) {
	data := library().Bytes()
	optional := int(binary.LittleEndian.Uint16(data[0x40+20:]))
	copy(data[0x40+24+optional:], "/15\x00\x00\x00\x00\x00")
	if facts, err := read(data); err != nil || facts.Machine != "AMD64" {
		t.Errorf("%+v, %v", facts, err)
	}
}

func TestDamaged(t *testing.T) {
	good := library().Bytes()
	patched := func(at int, value uint32) []byte {
		data := bytes.Clone(good)
		binary.LittleEndian.PutUint32(data[at:], value)
		return data
	}
	// The export directory is at the first data directory: after the signature,
	// the file header (20 bytes) and 112 bytes of the optional header.
	const directory = 0x40 + 4 + 20 + 112
	table := int(binary.LittleEndian.Uint32(good[directory:])) - 0x1000 + 0x400
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":                  {nil, "not a PE file"},
		"text":                   {bytes.Repeat([]byte("x"), 200), "not a PE file"},
		"DOS program":            {append([]byte("MZ"), make([]byte, 200)...), "not a PE file"},
		"header beyond the end":  {patched(0x3c, 0xfffffff0), "not a PE file"},
		"directory outside":      {patched(directory, 0xffff0000), "outside"},
		"names without an end":   {patched(table+24, 0xffff), "outside"},
		"too many names":         {patched(table+24, 0x7fffffff), "too many"},
		"names outside":          {patched(table+32, 0x10), "outside"},
		"cut off in the section": {good[:0x404], "export"},
	} {
		facts, err := read(tt.data)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v", name, facts, err)
		}
		if tt.want == "not a PE file" && !errors.Is(err, pe.ErrNotPE) {
			t.Errorf("%s: %v is not ErrNotPE", name, err)
		}
	}
	// A symbol table that claims to be huge is ignored.
	if _, err := read(patched(0x40+4+8, 0x100)); err != nil {
		t.Errorf("symbol table: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(library().Bytes())
	f.Add(petest.File{Machine: stdpe.IMAGE_FILE_MACHINE_I386}.Bytes())
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := read(data)
		if err != nil {
			return
		}
		total := 0
		for _, name := range facts.Exports {
			total += len(name)
		}
		if total > len(data) {
			t.Errorf("%d bytes of names out of %d", total, len(data))
		}
	})
}
