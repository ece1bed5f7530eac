package dnfrepo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Tags of headers (https://rpm-software-management.github.io/rpm/manual/tags.html).
const (
	tagName, tagVersion, tagRelease, tagEpoch          = 1000, 1001, 1002, 1003
	tagSummary, tagDescription                         = 1004, 1005
	tagBuildTime, tagBuildHost, tagSize                = 1006, 1007, 1009
	tagVendor, tagLicense, tagPackager, tagGroup       = 1011, 1014, 1015, 1016
	tagURL, tagArch, tagSourceRPM                      = 1020, 1022, 1044
	tagFileModes, tagFileFlags                         = 1030, 1037
	tagChangeTime, tagChangeName, tagChangeText        = 1080, 1081, 1082
	tagDirIndexes, tagBaseNames, tagDirNames           = 1116, 1117, 1118
	tagLongSize                                        = 5009
	sigPayloadSize, sigLongArchiveSize                 = 1007, 271
	leadSize, maxHeader                          int64 = 96, 64 << 20 // bytes
)

// header is one of the two headers of a package
// (https://rpm-software-management.github.io/rpm/manual/format_v4.html).
type header struct {
	index map[uint32]entry
	store []byte
	size  int64 // of all of it
}

type entry struct{ kind, offset, count uint32 }

var errHeader = errors.New("it is damaged: unexpected contents of a header")

// readHeader reads a header at an offset.
func readHeader(r io.ReaderAt, at int64) (*header, error) {
	head := make([]byte, 16)
	if _, err := r.ReadAt(head, at); err != nil || !bytes.HasPrefix(head, []byte{0x8e, 0xad, 0xe8, 1}) {
		return nil, errors.New("it is not an rpm package")
	}
	n, size := int64(binary.BigEndian.Uint32(head[8:])), int64(binary.BigEndian.Uint32(head[12:]))
	if 16*n+size > maxHeader {
		return nil, errHeader
	}
	data := make([]byte, 16*n+size)
	if _, err := r.ReadAt(data, at+16); err != nil {
		return nil, errHeader
	}
	h := &header{index: map[uint32]entry{}, store: data[16*n:], size: 16 + 16*n + size}
	for i := range n {
		e := data[16*i:]
		h.index[binary.BigEndian.Uint32(e)] = entry{binary.BigEndian.Uint32(e[4:]), binary.BigEndian.Uint32(e[8:]), binary.BigEndian.Uint32(e[12:])}
	}
	return h, nil
}

// texts returns the values of a tag with strings.
func (h *header) texts(tag uint32) []string {
	e, ok := h.index[tag]
	if !ok || e.kind != 6 && e.kind != 8 && e.kind != 9 || int64(e.offset) > int64(len(h.store)) {
		return nil
	}
	var out []string
	rest := h.store[e.offset:]
	for range e.count {
		text, more, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return out
		}
		out, rest = append(out, string(text)), more
	}
	return out
}

func (h *header) text(tag uint32) string {
	if all := h.texts(tag); len(all) > 0 {
		return all[0]
	}
	return ""
}

// numbers returns the values of a tag with integers.
func (h *header) numbers(tag uint32) []uint64 {
	e, ok := h.index[tag]
	width := map[uint32]int64{2: 1, 3: 2, 4: 4, 5: 8}[e.kind]
	if !ok || width == 0 || int64(e.offset)+width*int64(e.count) > int64(len(h.store)) {
		return nil
	}
	var out []uint64
	for i := range int64(e.count) {
		b := h.store[int64(e.offset)+i*width:]
		switch width {
		case 1:
			out = append(out, uint64(b[0]))
		case 2:
			out = append(out, uint64(binary.BigEndian.Uint16(b)))
		case 4:
			out = append(out, uint64(binary.BigEndian.Uint32(b)))
		case 8:
			out = append(out, binary.BigEndian.Uint64(b))
		}
	}
	return out
}

// number returns the first value of the first tag that has one.
func (h *header) number(tags ...uint32) uint64 {
	for _, tag := range tags {
		if all := h.numbers(tag); len(all) > 0 {
			return all[0]
		}
	}
	return 0
}

// rpmFile is a file, a directory or a ghost (a file that the package owns but does not
// contain).
type rpmFile struct{ name, kind string }

// dependency is a name with an optional version.
type dependency struct {
	name, flags, epoch, version, release string
	script                               bool // needed by a script before or after the installation
}

// rpm is what the repository's indexes contain of a package.
type rpm struct {
	main           *header
	start, end     int64 // of the main header in the file
	archive        uint64
	files          []rpmFile
	dependencies   map[string][]dependency // by element
	version, epoch string
}

// readRPM reads the headers of a package.
func readRPM(r io.ReaderAt) (*rpm, error) {
	lead := make([]byte, 4)
	if _, err := r.ReadAt(lead, 0); err != nil || !bytes.Equal(lead, []byte{0xed, 0xab, 0xee, 0xdb}) {
		return nil, errors.New("it is not an rpm package")
	}
	signature, err := readHeader(r, leadSize)
	if err != nil {
		return nil, err
	}
	p := &rpm{start: leadSize + (signature.size+7)/8*8}
	if p.main, err = readHeader(r, p.start); err != nil {
		return nil, err
	}
	p.end = p.start + p.main.size
	p.archive = signature.number(sigLongArchiveSize, sigPayloadSize)
	p.epoch = fmt.Sprint(p.main.number(tagEpoch))
	p.version = p.main.text(tagVersion)
	if p.main.text(tagName) == "" || p.version == "" || p.main.text(tagArch) == "" {
		return nil, errHeader
	}
	if err := p.readFiles(); err != nil {
		return nil, err
	}
	p.readDependencies()
	return p, nil
}

// key identifies a package: two files with the same key are a conflict.
func (p *rpm) key() string {
	return nevra(p.main.text(tagName), p.epoch, p.version, p.main.text(tagRelease), p.arch())
}

func nevra(name, epoch, version, release, arch string) string {
	return name + "-" + epoch + ":" + version + "-" + release + "." + arch
}

// arch is the architecture; a source package has that of its build in its header.
func (p *rpm) arch() string {
	if p.main.text(tagSourceRPM) == "" {
		return "src"
	}
	return p.main.text(tagArch)
}

func (p *rpm) readFiles() error {
	bases, dirs := p.main.texts(tagBaseNames), p.main.texts(tagDirNames)
	of, modes, flags := p.main.numbers(tagDirIndexes), p.main.numbers(tagFileModes), p.main.numbers(tagFileFlags)
	if len(of) != len(bases) || len(modes) != len(bases) || len(flags) != len(bases) {
		return errHeader
	}
	for i, base := range bases {
		if of[i] >= uint64(len(dirs)) {
			return errHeader
		}
		f := rpmFile{name: dirs[of[i]] + base}
		switch {
		case modes[i]&0o170000 == 0o040000:
			f.kind = "dir"
		case flags[i]&(1<<6) != 0: // RPMFILE_GHOST
			f.kind = "ghost"
		}
		p.files = append(p.files, f)
	}
	return nil
}

// relations are the dependencies of a package: the element in the index, and the tags of
// names, flags and versions.
var relations = []struct {
	element               string
	names, flags, version uint32
}{
	{"provides", 1047, 1112, 1113},
	{"requires", 1049, 1048, 1050},
	{"conflicts", 1054, 1053, 1055},
	{"obsoletes", 1090, 1114, 1115},
	{"suggests", 5049, 5051, 5050},
	{"enhances", 5055, 5057, 5056},
	{"recommends", 5046, 5048, 5047},
	{"supplements", 5052, 5054, 5053},
}

// comparisons are the names of the lower bits of a dependency's flags, shifted by one.
var comparisons = [8]string{"", "LT", "GT", "", "EQ", "LE", "GE", ""}

// scriptFlags are RPMSENSE_PREREQ, RPMSENSE_SCRIPT_PRE and RPMSENSE_SCRIPT_POST.
const scriptFlags = 1<<6 | 1<<9 | 1<<10

func (p *rpm) readDependencies() {
	p.dependencies = map[string][]dependency{}
	for _, r := range relations {
		flags, versions := p.main.numbers(r.flags), p.main.texts(r.version)
		seen := map[dependency]bool{}
		for i, name := range p.main.texts(r.names) {
			d := dependency{name: name}
			if i < len(flags) {
				d.flags = comparisons[flags[i]>>1&7]
				d.script = r.element == "requires" && flags[i]&scriptFlags != 0
			}
			if i < len(versions) && d.flags != "" {
				d.epoch, d.version, d.release = splitVersion(versions[i])
			}
			// What rpm itself must be able to do is not for the solver.
			if seen[d] || r.element == "requires" && strings.HasPrefix(name, "rpmlib(") {
				continue
			}
			seen[d] = true
			p.dependencies[r.element] = append(p.dependencies[r.element], d)
		}
	}
}

// splitVersion splits EPOCH:VERSION-RELEASE.
func splitVersion(text string) (epoch, version, release string) {
	epoch = "0"
	if before, after, ok := strings.Cut(text, ":"); ok {
		epoch, text = before, after
	}
	version, release, _ = strings.Cut(text, "-")
	return epoch, version, release
}
