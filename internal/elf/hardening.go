package elf

import (
	stdelf "debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
)

// Hardening is what a linked file offers against exploitation, as far as its headers, its
// dynamic section and its notes show it (System V gABI; Linux Extensions to gABI, section
// ".note.gnu.property").
type Hardening struct {
	RELRO   bool `json:"relro"`    // data for the loader is read-only after start: PT_GNU_RELRO
	BindNow bool `json:"bind_now"` // all functions are resolved at start; with RELRO this is full RELRO
	// PIE means that the file can be loaded at any address: a shared object, or a
	// position-independent program.
	PIE bool `json:"pie"`
	// ExecStack and TextRel are weaknesses: an executable stack, and relocations that make
	// code writable.
	ExecStack bool `json:"executable_stack"`
	TextRel   bool `json:"text_relocations"`
	// Marks for the CPU. The linker sets one only if all of its inputs have it, those of the
	// C library included.
	IBT   bool `json:"ibt,omitempty"`   // x86: indirect branch tracking
	SHSTK bool `json:"shstk,omitempty"` // x86: shadow stack
	BTI   bool `json:"bti,omitempty"`   // arm64: branch target identification
	PAC   bool `json:"pac,omitempty"`   // arm64: return addresses are signed
}

// Missing lists in words what a file lacks of those in want.
func (h Hardening) Missing(want Hardening) []string {
	var out []string
	for _, c := range []struct {
		what      string
		want, got bool
	}{
		{"RELRO", want.RELRO, h.RELRO},
		{"immediate binding", want.BindNow, h.BindNow},
		{"position independence", want.PIE, h.PIE},
		{"a stack without execution", !want.ExecStack, !h.ExecStack},
		{"code without relocations", !want.TextRel, !h.TextRel},
		{"IBT", want.IBT, h.IBT},
		{"SHSTK", want.SHSTK, h.SHSTK},
		{"BTI", want.BTI, h.BTI},
		{"PAC", want.PAC, h.PAC},
	} {
		if c.want && !c.got {
			out = append(out, c.what)
		}
	}
	return out
}

// And returns what two files both have.
func (h Hardening) And(o Hardening) Hardening {
	return Hardening{
		RELRO: h.RELRO && o.RELRO, BindNow: h.BindNow && o.BindNow, PIE: h.PIE && o.PIE, ExecStack: h.ExecStack || o.ExecStack, TextRel: h.TextRel || o.TextRel,
		IBT: h.IBT && o.IBT, SHSTK: h.SHSTK && o.SHSTK, BTI: h.BTI && o.BTI, PAC: h.PAC && o.PAC,
	}
}

// Unmarked returns the same without the marks for the CPU.
func (h Hardening) Unmarked() Hardening {
	h.IBT, h.SHSTK, h.BTI, h.PAC = false, false, false, false
	return h
}

// ReadHardening opens a file, reads its hardening and closes it.
func ReadHardening(path string) (Hardening, error) {
	f, err := Open(path)
	if err != nil {
		return Hardening{}, err
	}
	defer func() { _ = f.Close() }()
	return f.Hardening()
}

// The program header and the note of properties, and the properties that are features of
// the CPU.
const (
	ptGNUProperty = stdelf.ProgType(0x6474e553)
	ntProperty    = 5
	x86Features   = 0xc0000002
	armFeatures   = 0xc0000000
)

// maxNote is the maximum size of a note of properties in bytes; a real one has less than
// a hundred.
const maxNote = 64 << 10

// Hardening reads the hardening of a program or a shared object.
func (f *File) Hardening() (Hardening, error) {
	h := Hardening{PIE: f.file.Type == stdelf.ET_DYN, ExecStack: stackDefault(f.file.Machine)}
	for _, p := range f.file.Progs {
		switch p.Type {
		case stdelf.PT_GNU_RELRO:
			h.RELRO = true
		case stdelf.PT_GNU_STACK:
			h.ExecStack = p.Flags&stdelf.PF_X != 0
		case ptGNUProperty:
			if p.Filesz > maxNote {
				return h, errors.New("note of properties is too long")
			}
			data := make([]byte, p.Filesz)
			if _, err := p.ReadAt(data, 0); err != nil {
				return h, err
			}
			h.properties(data, f.file)
		default:
		}
	}
	if f.file.SectionByType(stdelf.SHT_DYNAMIC) == nil {
		return h, nil
	}
	flag := func(tag stdelf.DynTag, bit uint64) bool {
		values, err := f.file.DynValue(tag)
		return err == nil && slices.ContainsFunc(values, func(v uint64) bool { return v&bit != 0 })
	}
	has := func(tag stdelf.DynTag) bool {
		values, err := f.file.DynValue(tag)
		return err == nil && len(values) > 0
	}
	h.BindNow = has(stdelf.DT_BIND_NOW) || flag(stdelf.DT_FLAGS, uint64(stdelf.DF_BIND_NOW)) || flag(stdelf.DT_FLAGS_1, uint64(stdelf.DF_1_NOW))
	h.TextRel = has(stdelf.DT_TEXTREL) || flag(stdelf.DT_FLAGS, uint64(stdelf.DF_TEXTREL))
	return h, nil
}

// stackDefault reports whether Linux makes the stack executable for a file without
// PT_GNU_STACK. Newer processors start without that.
func stackDefault(m stdelf.Machine) bool {
	return m == stdelf.EM_386 || m == stdelf.EM_X86_64 || m == stdelf.EM_ARM
}

// properties reads a note of properties: its name is "GNU", and its content a list of
// type, size and value, each padded to the size of a word.
func (h *Hardening) properties(note []byte, f *stdelf.File) {
	word := 4
	if f.Class == stdelf.ELFCLASS64 {
		word = 8
	}
	order := f.ByteOrder
	for len(note) >= 16 && order.Uint32(note) == 4 && string(note[12:16]) == "GNU\x00" {
		size, kind := uint64(order.Uint32(note[4:])), order.Uint32(note[8:])
		rest := note[16:]
		if size > uint64(len(rest)) {
			return
		}
		if kind == ntProperty {
			h.features(rest[:size], f.Machine, order, word)
		}
		note = rest[min(padded(size, word), uint64(len(rest))):]
	}
}

func (h *Hardening) features(list []byte, machine stdelf.Machine, order binary.ByteOrder, word int) {
	for len(list) >= 8 {
		kind, size := order.Uint32(list), uint64(order.Uint32(list[4:]))
		list = list[8:]
		if size > uint64(len(list)) {
			return
		}
		if size == 4 {
			bits := order.Uint32(list)
			switch {
			case kind == x86Features && (machine == stdelf.EM_X86_64 || machine == stdelf.EM_386):
				h.IBT, h.SHSTK = bits&1 != 0, bits&2 != 0
			case kind == armFeatures && machine == stdelf.EM_AARCH64:
				h.BTI, h.PAC = bits&1 != 0, bits&2 != 0
			}
		}
		list = list[min(padded(size, word), uint64(len(list))):]
	}
}

func padded(n uint64, word int) uint64 { return (n + uint64(word) - 1) / uint64(word) * uint64(word) }

// ntBuildID is the note with the build identifier.
const ntBuildID = 3

// BuildID returns the identifier that the linker made of a file's contents, in hexadecimal
// digits; "" if it has none.
func (f *File) BuildID() string {
	for _, p := range f.file.Progs {
		if p.Type != stdelf.PT_NOTE || p.Filesz > maxNote {
			continue
		}
		note := make([]byte, p.Filesz)
		if _, err := p.ReadAt(note, 0); err != nil {
			continue
		}
		order := f.file.ByteOrder
		for len(note) >= 12 {
			name, size, kind := uint64(order.Uint32(note)), uint64(order.Uint32(note[4:])), order.Uint32(note[8:])
			rest := note[12:]
			if padded(name, 4) > uint64(len(rest)) {
				break
			}
			owner := rest[:name]
			if rest = rest[padded(name, 4):]; size > uint64(len(rest)) {
				break
			}
			if kind == ntBuildID && string(owner) == "GNU\x00" {
				return hex.EncodeToString(rest[:size])
			}
			note = rest[min(padded(size, max(4, int(min(p.Align, 8)))), uint64(len(rest))):]
		}
	}
	return ""
}

// HasDebugInfo reports whether a file has debugging information (DWARF).
func (f *File) HasDebugInfo() bool {
	return f.file.Section(".debug_info") != nil || f.file.Section(".zdebug_info") != nil
}
