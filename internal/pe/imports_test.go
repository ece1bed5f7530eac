package pe_test

import (
	"bytes"
	stdpe "debug/pe"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"modwsgi/internal/pe"
	"modwsgi/internal/pe/petest"
)

func TestImports(t *testing.T) {
	f := library()
	f.Imports = []petest.Import{{Library: "python311.dll", Names: []string{"Py_Main", "PyDict_New"}}, {Library: "WS2_32.dll", Ordinal: 2}}
	data := f.Bytes()
	got, err := pe.Imports(bytes.NewReader(data), int64(len(data)))
	want := []pe.Import{{Library: "python311.dll", Names: []string{"PyDict_New", "Py_Main"}}, {Library: "WS2_32.dll", Ordinal: 2}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	none := library().Bytes()
	if got, err := pe.Imports(bytes.NewReader(none), int64(len(none))); err != nil || got != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := pe.Imports(strings.NewReader("text"), 4); !errors.Is(err, pe.ErrNotPE) {
		t.Error(err)
	}
	// A file truncated anywhere, or with its directory anywhere, gives an error or a
	// result, never a panic.
	for n := range data {
		_, _ = pe.Imports(bytes.NewReader(data[:n]), int64(n))
	}
	const directory = 0x40 + 4 + 20 + 112 + 8*stdpe.IMAGE_DIRECTORY_ENTRY_IMPORT
	for at := range uint32(len(data)) {
		odd := bytes.Clone(data)
		binary.LittleEndian.PutUint32(odd[directory:], 0x1000+at)
		_, _ = pe.Imports(bytes.NewReader(odd), int64(len(odd)))
	}
}

// archive is an import library with one short import.
func archive(machine uint16, names ...string) []byte {
	var table, out bytes.Buffer
	text := strings.Join(names, "\x00") + "\x00"
	_ = binary.Write(&table, binary.BigEndian, uint32(len(names)))
	member := uint32(8 + 60 + 4 + 4*len(names) + len(text))
	for range names {
		_ = binary.Write(&table, binary.BigEndian, member)
	}
	table.WriteString(text)
	out.WriteString("!<arch>\n")
	header := func(name string, size int) {
		out.WriteString(name + strings.Repeat(" ", 48-len(name)))
		length := strings.Repeat(" ", 10)
		digits := []byte(length)
		copy(digits, itoa(size))
		out.Write(digits)
		out.WriteString("`\n")
	}
	header("/", table.Len())
	out.Write(table.Bytes())
	header("x", 20)
	_ = binary.Write(&out, binary.LittleEndian, []uint16{0, 0xffff, 0, machine, 0, 0})
	return out.Bytes()
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestReadLibrary(t *testing.T) {
	read := func(data []byte) (*pe.Library, error) {
		name := filepath.Join(t.TempDir(), "x.lib")
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return pe.ReadLibrary(name)
	}
	good := archive(stdpe.IMAGE_FILE_MACHINE_AMD64, "__IMPORT_DESCRIPTOR_x", "__imp_b", "a", "__imp_a", "b")
	l, err := read(good)
	if err != nil || l.Machine != "AMD64" || !reflect.DeepEqual(l.Names, []string{"a", "b"}) {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := read(archive(stdpe.IMAGE_FILE_MACHINE_I386, "__imp__a@4")); err != nil || l.Machine != "x86" {
		t.Errorf("%+v, %v", l, err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "text": bytes.Repeat([]byte("text"), 40), "cut": good[:90], "no table": append([]byte("!<arch>\nx"), make([]byte, 100)...),
		"too many names": append(append(bytes.Clone(good[:68]), 0x7f, 0xff, 0xff, 0xff), good[72:]...),
	} {
		if l, err := read(data); !errors.Is(err, pe.ErrNotLibrary) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	if _, err := pe.ReadLibrary(t.TempDir()); !errors.Is(err, pe.ErrNotLibrary) {
		t.Error(err)
	}
}
