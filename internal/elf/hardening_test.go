package elf

import (
	"debug/elf"
	"encoding/binary"
	"runtime"
	"slices"
	"testing"
)

const program = "int main(void) { return 0; }\n"

func TestHardening(t *testing.T) {
	for name, c := range map[string]struct {
		flags         []string
		want, without Hardening
	}{
		"full":    {[]string{"-fPIE", "-pie", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"}, Hardening{RELRO: true, BindNow: true, PIE: true}, Hardening{}},
		"partial": {[]string{"-fPIE", "-pie", "-Wl,-z,relro", "-Wl,-z,lazy"}, Hardening{RELRO: true, PIE: true}, Hardening{BindNow: true}},
		"nothing": {[]string{"-fno-pie", "-no-pie", "-Wl,-z,norelro", "-Wl,-z,lazy", "-Wl,-z,execstack"}, Hardening{ExecStack: true}, Hardening{RELRO: true, BindNow: true, PIE: true}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadHardening(compile(t, program, "prog", c.flags...))
			if err != nil {
				t.Fatal(err)
			}
			if got.Unmarked() != c.want {
				t.Errorf("got %+v", got)
			}
			if missing := got.Missing(c.without); (len(missing) > 0) != (c.without != Hardening{} || c.want.ExecStack) {
				t.Errorf("missing: %q", missing)
			}
		})
	}
}

// Without the start files of the C library, only the compiler decides about the marks.
func TestMarksOfTheCPU(t *testing.T) {
	flag, want := "-fcf-protection", Hardening{IBT: true, SHSTK: true}
	switch runtime.GOARCH {
	case "amd64":
	case "arm64":
		flag, want = "-mbranch-protection=standard", Hardening{BTI: true, PAC: true}
	default:
		t.Skip("no marks for " + runtime.GOARCH)
	}
	got, err := ReadHardening(compile(t, "int f(void) { return 1; }\n", "lib.so", "-shared", "-fPIC", "-nostdlib", flag))
	if err != nil {
		t.Fatal(err)
	}
	if got.IBT != want.IBT || got.SHSTK != want.SHSTK || got.BTI != want.BTI || got.PAC != want.PAC {
		t.Errorf("got %+v", got)
	}
	got, err = ReadHardening(compile(t, "int f(void) { return 1; }\n", "lib.so", "-shared", "-fPIC", "-nostdlib", "-fcf-protection=none"))
	if runtime.GOARCH == "amd64" && (err != nil || got.IBT || got.SHSTK) {
		t.Errorf("without the flag: %+v, %v", got, err)
	}
}

func TestMissing(t *testing.T) {
	want := Hardening{RELRO: true, BindNow: true, PIE: true, IBT: true, SHSTK: true, BTI: true, PAC: true}
	if got := want.Missing(want); got != nil {
		t.Errorf("got %q", got)
	}
	got := Hardening{ExecStack: true, TextRel: true}.Missing(want)
	if wanted := []string{"RELRO", "immediate binding", "position independence", "a stack without execution", "code without relocations", "IBT", "SHSTK", "BTI", "PAC"}; !slices.Equal(got, wanted) {
		t.Errorf("got %q", got)
	}
	if got := (Hardening{ExecStack: true}).Missing(Hardening{ExecStack: true, TextRel: true}); got != nil {
		t.Errorf("got %q", got)
	}
}

// note returns a note of properties with one of four bytes.
func note(kind, bits uint32) []byte {
	var b []byte
	for _, v := range []uint32{4, 16, ntProperty, 0x00554e47, kind, 4, bits, 0} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func TestProperties(t *testing.T) {
	f := &elf.File{FileHeader: elf.FileHeader{Class: elf.ELFCLASS64, Machine: elf.EM_AARCH64, ByteOrder: binary.LittleEndian}}
	whole := append(note(0xc0008002, 1), note(armFeatures, 3)...)
	var h Hardening
	if h.properties(whole, f); !h.BTI || !h.PAC || h.IBT {
		t.Errorf("got %+v", h)
	}
	for n := range whole { // cut off anywhere
		var h Hardening
		if h.properties(whole[:n], f); h.IBT || h.SHSTK {
			t.Errorf("%d bytes: %+v", n, h)
		}
	}
	huge := slices.Clone(whole)
	binary.LittleEndian.PutUint32(huge[4:], 0xffffffff)
	var none Hardening
	if none.properties(huge, f); none != (Hardening{}) {
		t.Errorf("a size beyond the end: %+v", none)
	}
}
