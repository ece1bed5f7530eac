package pe_test

import (
	"bytes"
	stdpe "debug/pe"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"modwsgi/internal/pe"
)

// plain is a small library without resources.
func plain() []byte {
	f := library()
	f.Version = [4]uint16{}
	return f.Bytes()
}

func utf16le(text string) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

func TestAddResources(t *testing.T) {
	before := plain()
	v := pe.Version{File: "5.0.2", Product: "0.1.0-dev+abc", Library: true, Strings: [][2]string{{"FileDescription", "mod_wsgi für Apache"}, {"Comments", ""}}}
	out, err := pe.AddResources(before, v, pe.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pe.AddResources(before, v, pe.Manifest)
	if err != nil || !bytes.Equal(out, again) || !bytes.Equal(before, plain()) {
		t.Errorf("made again, it differs, or the original was changed: %v", err)
	}
	f, err := stdpe.NewFile(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Section(".rsrc")
	if s == nil || s.Offset%0x200 != 0 || s.VirtualAddress%0x1000 != 0 || len(out) != int(s.Offset+s.Size) {
		t.Fatalf("section %+v of %d bytes", s, len(out))
	}
	optional := f.OptionalHeader.(*stdpe.OptionalHeader64)
	if d := optional.DataDirectory[stdpe.IMAGE_DIRECTORY_ENTRY_RESOURCE]; d.VirtualAddress != s.VirtualAddress || d.Size != s.VirtualSize ||
		optional.SizeOfImage != (s.VirtualAddress+s.VirtualSize+0xfff)&^0xfff || optional.CheckSum == 0 {
		t.Errorf("headers %+v", optional)
	}
	for _, want := range []string{"mod_wsgi für Apache\x00", "FileDescription", "0.1.0-dev+abc", "040904b0"} {
		if !bytes.Contains(out, utf16le(want)) {
			t.Errorf("%q is missing", want)
		}
	}
	if bytes.Contains(out, utf16le("Comments")) || !bytes.Contains(out, []byte("longPathAware")) {
		t.Error("an empty text is there, or the manifest is not")
	}
	facts, err := pe.Read(bytes.NewReader(out), int64(len(out)))
	if err != nil || facts.Version != [4]uint16{5, 0, 2} || !slices.Equal(facts.Exports, []string{"Py_InitializeEx", "Py_Main"}) {
		t.Errorf("read %+v, %v", facts, err)
	}
	if _, err := pe.AddResources(out, v, ""); !errors.Is(err, pe.ErrHasResources) {
		t.Errorf("a second time: %v", err)
	}
}

func TestAddResourcesRefuses(t *testing.T) {
	good := plain()
	coff := int(binary.LittleEndian.Uint32(good[0x3c:])) + 4
	for want, change := range map[string]func(data []byte){
		"signed":           func(data []byte) { data[coff+20+112+8*4] = 1 },
		"64 bits":          func(data []byte) { data[coff+21] = 1 },
		"incomplete":       func(data []byte) { binary.LittleEndian.PutUint32(data[coff+20+60:], 1<<30) },
		"no space":         func(data []byte) { binary.LittleEndian.PutUint32(data[coff+20+60:], uint32(coff+20+240+40)) },
		"not a Windows":    func(data []byte) { data[0] = 'X' },
		"FileVersion is t": nil,
	} {
		data, v := bytes.Clone(good), pe.Version{File: "1.0"}
		if change == nil {
			v.File = strings.Repeat("1", 5000)
		} else {
			change(data)
		}
		if _, err := pe.AddResources(data, v, ""); err == nil || !strings.Contains(err.Error(), want) && !errors.Is(err, pe.ErrNotPE) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for n := range good { // a truncated file gives an error or a result, never a panic
		_, _ = pe.AddResources(good[:n:n], pe.Version{File: "1.0"}, "")
	}
	for at := range 0x200 {
		odd := bytes.Clone(good)
		odd[at] ^= 0xff
		_, _ = pe.AddResources(odd, pe.Version{File: "1.0"}, "")
	}
}
