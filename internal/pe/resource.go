package pe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Resources of a finished program or library: a block with its version, which Windows
// shows in the properties of a file, and a manifest. They are written into the finished
// file, in a new section at its end, so that no linker has to know of them. A signature
// is made afterwards.

// Version describes a program or library (VS_VERSIONINFO,
// https://learn.microsoft.com/windows/win32/menurc/vs-versioninfo).
type Version struct {
	File, Product string // versions in any form; their numbers also become four numbers of 16 bits
	Library       bool   // not a program
	// Strings are names such as "FileDescription" with their values, in addition to
	// FileVersion and ProductVersion. Empty values are left out.
	Strings [][2]string
}

// Manifest is the manifest of a console program that needs no privileges, for Windows 10
// and later: it is not virtualized, and paths may be longer than 260 characters
// (https://learn.microsoft.com/windows/win32/sbscs/application-manifests).
const Manifest = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
  <trustInfo xmlns="urn:schemas-microsoft-com:asm.v3">
    <security>
      <requestedPrivileges>
        <requestedExecutionLevel level="asInvoker" uiAccess="false"/>
      </requestedPrivileges>
    </security>
  </trustInfo>
  <compatibility xmlns="urn:schemas-microsoft-com:compatibility.v1">
    <application>
      <supportedOS Id="{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}"/>
    </application>
  </compatibility>
  <application xmlns="urn:schemas-microsoft-com:asm.v3">
    <windowsSettings>
      <longPathAware xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">true</longPathAware>
    </windowsSettings>
  </application>
</assembly>
`

// Errors for files that stay as they are: one has resources, or a change would make its
// signature invalid.
var (
	ErrHasResources = errors.New("the file has resources")
	ErrSigned       = errors.New("the file is signed")
)

// Types of resources (winuser.h), and the language that AddResources uses.
const (
	typeVersion  = 16
	typeManifest = 24
	english      = 0x0409
)

// numbers are the first four numbers of a version: "2.4.68-dev" is 2.4.68.0.
func numbers(version string) (out [4]uint16) {
	version, _, _ = strings.Cut(version, "+")
	version, _, _ = strings.Cut(version, "-")
	for i, part := range strings.SplitN(version, ".", 5) {
		if i == len(out) {
			break
		}
		end := strings.IndexFunc(part+"x", func(r rune) bool { return r < '0' || r > '9' })
		if n, err := strconv.ParseUint(part[:end], 10, 16); err == nil {
			out[i] = uint16(n)
		}
		if end < len(part) {
			break
		}
	}
	return out
}

// block is one nested structure of a version resource: length, length of the value,
// type, name, value, children, each aligned to four bytes.
func block(name string, text bool, value []byte, children ...[]byte) []byte {
	valueLength, kind := len(value), uint16(0)
	if text {
		valueLength, kind = len(value)/2, 1
	}
	out := make([]byte, 6)
	binary.LittleEndian.PutUint16(out[2:], uint16(valueLength))
	binary.LittleEndian.PutUint16(out[4:], kind)
	out = pad(append(out, wide(name)...), 4)
	out = append(out, value...)
	for _, child := range children {
		out = append(pad(out, 4), child...)
	}
	binary.LittleEndian.PutUint16(out, uint16(len(out)))
	return out
}

// wide is a text in UTF-16 with a zero at its end.
func wide(text string) []byte {
	var out []byte
	for _, unit := range append(utf16.Encode([]rune(text)), 0) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

func pad(data []byte, to int) []byte {
	for len(data)%to != 0 {
		data = append(data, 0)
	}
	return data
}

// encode returns the resource.
func (v Version) encode() ([]byte, error) {
	file, product := numbers(v.File), numbers(v.Product)
	flags, kind := uint32(0), uint32(1) // VFT_APP
	if strings.Contains(v.File, "-") {
		flags = 2 // VS_FF_PRERELEASE
	}
	if v.Library {
		kind = 2 // VFT_DLL
	}
	var fixed []byte
	for _, n := range []uint32{
		0xfeef04bd, 0x10000,
		uint32(file[0])<<16 | uint32(file[1]), uint32(file[2])<<16 | uint32(file[3]),
		uint32(product[0])<<16 | uint32(product[1]), uint32(product[2])<<16 | uint32(product[3]),
		0x3f, flags, 0x40004 /* VOS_NT_WINDOWS32 */, kind, 0, 0, 0,
	} {
		fixed = binary.LittleEndian.AppendUint32(fixed, n)
	}
	var texts [][]byte
	pairs := append(slices.Clone(v.Strings), [2]string{"FileVersion", v.File}, [2]string{"ProductVersion", v.Product})
	slices.SortFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	for _, p := range pairs {
		if len(p[1]) > 1<<12 {
			return nil, fmt.Errorf("%s is too long", p[0])
		}
		if p[1] != "" {
			texts = append(texts, block(p[0], true, wide(p[1])))
		}
	}
	return block("VS_VERSION_INFO", false, fixed,
		block("StringFileInfo", true, nil, block("040904b0", true, nil, texts...)),
		block("VarFileInfo", true, nil, block("Translation", false, []byte{english & 0xff, english >> 8, 0xb0, 0x04}))), nil
}

// resource is the data of one resource.
type resource struct {
	kind uint32
	data []byte
}

// section returns a section with resources, which must be sorted by kind, for a relative
// virtual address (https://learn.microsoft.com/windows/win32/debug/pe-format#the-rsrc-section).
// Each has the number 1 and the language English.
func section(all []resource, at uint32) []byte {
	const directory, entry, data = 16, 8, 16
	put := binary.LittleEndian
	dir := func(entries int) []byte { return append(make([]byte, 12), 0, 0, byte(entries), 0) }
	ids := directory + entry*len(all)            // directories of numbers
	langs := ids + (directory+entry)*len(all)    // of languages
	leaves := langs + (directory+entry)*len(all) // descriptions of data
	content := (leaves + data*len(all) + 7) &^ 7 // the data
	out, tail := dir(len(all)), []byte(nil)
	const below = 1 << 31 // the entry is a directory
	for k, r := range all {
		out = put.AppendUint32(put.AppendUint32(out, r.kind), below|uint32(ids+k*(directory+entry)))
	}
	for k := range all {
		out = put.AppendUint32(put.AppendUint32(append(out, dir(1)...), 1), below|uint32(langs+k*(directory+entry)))
	}
	for k := range all {
		out = put.AppendUint32(put.AppendUint32(append(out, dir(1)...), english), uint32(leaves+k*data))
	}
	for _, r := range all {
		out = put.AppendUint32(put.AppendUint32(out, at+uint32(content+len(tail))), uint32(len(r.data)))
		out = append(out, 0, 0, 0, 0, 0, 0, 0, 0) // code page, reserved
		tail = pad(append(tail, r.data...), 8)
	}
	return append(pad(out, 8), tail...)
}

// AddResources returns a 64-bit program or library with a version and, unless it is "", a
// manifest. The result depends on the arguments alone. The error is [ErrHasResources] or
// [ErrSigned] for a file that must stay as it is.
func AddResources(file []byte, v Version, manifest string) ([]byte, error) {
	version, err := v.encode()
	if err != nil {
		return nil, err
	}
	all := []resource{{typeVersion, version}}
	if manifest != "" {
		all = append(all, resource{typeManifest, []byte(manifest)})
	}
	h, err := readHeader(file)
	if err != nil {
		return nil, err
	}
	return h.append(file, all)
}

// header are the places in a file that a new section changes.
type header struct {
	coff, optional      int // offsets
	table               int // of the first free entry of the section table
	sections            int
	alignMem, alignFile uint32
	next                uint32 // relative virtual address of the new section
}

// Offsets in an optional header of 64 bits, and the directories that matter.
const (
	optInitialized = 8
	optImageSize   = 56
	optSum         = 64
	optDirectories = 112
	dirResources   = 2
	dirSecurity    = 4
)

func readHeader(file []byte) (*header, error) {
	short := errors.New("the headers are incomplete")
	put := binary.LittleEndian
	if len(file) < 0x40 || !Is(file) {
		return nil, ErrNotPE
	}
	h := &header{coff: int(put.Uint32(file[0x3c:])) + 4}
	h.optional = h.coff + 20
	if h.coff < 4 || h.optional+optDirectories+8*(dirSecurity+1) > len(file) || string(file[h.coff-4:h.coff]) != "PE\x00\x00" {
		return nil, short
	}
	if put.Uint16(file[h.optional:]) != 0x20b || put.Uint32(file[h.optional+108:]) <= dirSecurity {
		return nil, errors.New("not a program or library of 64 bits")
	}
	if put.Uint32(file[h.optional+optDirectories+8*dirResources:]) != 0 {
		return nil, ErrHasResources
	}
	if put.Uint32(file[h.optional+optDirectories+8*dirSecurity:]) != 0 {
		return nil, ErrSigned
	}
	h.sections = int(put.Uint16(file[h.coff+2:]))
	first := h.optional + int(put.Uint16(file[h.coff+16:]))
	h.table = first + 40*h.sections
	h.alignMem, h.alignFile = put.Uint32(file[h.optional+32:]), put.Uint32(file[h.optional+36:])
	headers := int(put.Uint32(file[h.optional+60:]))
	if h.alignMem == 0 || h.alignFile == 0 || h.alignMem > 1<<24 || h.alignFile > 1<<16 || headers > len(file) || h.table > headers {
		return nil, short
	}
	if h.table+40 > headers {
		return nil, errors.New("no space for another section in the headers")
	}
	for at := first; at < h.table; at += 40 {
		size := max(put.Uint32(file[at+8:]), put.Uint32(file[at+16:]))
		h.next = max(h.next, put.Uint32(file[at+12:])+size)
		if raw := int(put.Uint32(file[at+20:])); raw != 0 && raw < h.table+40 {
			return nil, errors.New("no space for another section in the headers")
		}
	}
	h.next = roundUp(h.next, h.alignMem)
	return h, nil
}

func roundUp(n, to uint32) uint32 { return (n + to - 1) / to * to }

// append adds the section.
func (h *header) append(file []byte, all []resource) ([]byte, error) {
	put := binary.LittleEndian
	data := section(all, h.next)
	raw := roundUp(uint32(len(data)), h.alignFile)
	out := pad(slices.Clone(file), int(h.alignFile))
	entry := out[h.table : h.table+40]
	copy(entry, ".rsrc\x00\x00\x00")
	put.PutUint32(entry[8:], uint32(len(data)))
	put.PutUint32(entry[12:], h.next)
	put.PutUint32(entry[16:], raw)
	put.PutUint32(entry[20:], uint32(len(out)))
	clear(entry[24:36])
	put.PutUint32(entry[36:], 0x40000040) // initialized data, readable
	put.PutUint16(out[h.coff+2:], uint16(h.sections+1))
	opt := out[h.optional:]
	put.PutUint32(opt[optInitialized:], put.Uint32(opt[optInitialized:])+raw)
	put.PutUint32(opt[optImageSize:], roundUp(h.next+uint32(len(data)), h.alignMem))
	put.PutUint32(opt[optDirectories+8*dirResources:], h.next)
	put.PutUint32(opt[optDirectories+8*dirResources+4:], uint32(len(data)))
	out = append(out, data...)
	out = append(out, make([]byte, int(raw)-len(data))...)
	put.PutUint32(out[h.optional+optSum:], 0)
	put.PutUint32(out[h.optional+optSum:], checksum(out))
	return out, nil
}

// checksum is the sum that ImageHlp's CheckSumMappedFile computes; its own field must be
// zero.
func checksum(file []byte) uint32 {
	sum := uint32(0)
	for at := 0; at < len(file); at += 2 {
		word := uint32(file[at])
		if at+1 < len(file) {
			word |= uint32(file[at+1]) << 8
		}
		sum += word
		sum = sum>>16 + sum&0xffff
	}
	return sum + uint32(len(file))
}
