package pe_test

import (
	"bytes"
	stdpe "debug/pe"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"modwsgi/internal/pe"
)

// signed appends a table with one signature to a library.
func signed(message string, kind uint16) []byte {
	data := library().Bytes()
	const directory = 0x40 + 4 + 20 + 112 + 8*stdpe.IMAGE_DIRECTORY_ENTRY_SECURITY
	binary.LittleEndian.PutUint32(data[directory:], uint32(len(data)))
	binary.LittleEndian.PutUint32(data[directory+4:], uint32(8+len(message)))
	data = binary.LittleEndian.AppendUint32(data, uint32(8+len(message)))
	data = binary.LittleEndian.AppendUint16(data, 0x200)
	return append(binary.LittleEndian.AppendUint16(data, kind), message...)
}

func TestSignature(t *testing.T) {
	signature := func(data []byte) ([]byte, error) {
		return pe.Signature(bytes.NewReader(data), int64(len(data)))
	}
	data := signed("message", 2)
	if got, err := signature(data); err != nil || string(got) != "message" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := signature(library().Bytes()); err != nil || got != nil {
		t.Errorf("unsigned: %q, %v", got, err)
	}
	if got, err := signature(signed("message", 1)); err == nil {
		t.Errorf("of another kind: %q", got)
	}
	if _, err := signature([]byte(strings.Repeat("text", 40))); !errors.Is(err, pe.ErrNotPE) {
		t.Error(err)
	}
	for n := range data { // every cut is an error
		if got, err := signature(data[:n]); err == nil && got != nil {
			t.Errorf("of %d bytes: %q", n, got)
		}
	}
	const directory = 0x40 + 4 + 20 + 112 + 8*stdpe.IMAGE_DIRECTORY_ENTRY_SECURITY
	for _, length := range []uint32{0, 7, 1 << 31, 1<<32 - 1} {
		odd := bytes.Clone(data)
		binary.LittleEndian.PutUint32(odd[directory+4:], length)
		if got, err := signature(odd); err == nil {
			t.Errorf("a table of %d bytes: %q", length, got)
		}
	}
}
