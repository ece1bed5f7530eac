package linuxpkg

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"modwsgi/internal/atomicfile"
)

// nfpm gives the files of an rpm absolute names in its payload. rpm does not mind, but
// "rpm2cpio | cpio -id", which rpmlint also uses, then overwrites files of the machine
// it runs on. relativePayload gives them the names that rpmbuild gives, "./usr/…", and
// corrects the digests that depend on them. The format:
// https://rpm-software-management.github.io/rpm/manual/format_v4.html.

// Tags of a package's headers.
const (
	tagRequireFlags  = 1048
	tagRequireName   = 1049
	tagPayloadDigest = 5092
	sigTagSize       = 1000
	sigTagSHA256     = 273
	rpmLead          = 96
)

var errRPM = errors.New("unexpected contents of the rpm file")

// rpmHeader is one of the two headers of a package.
type rpmHeader struct{ raw []byte }

// cutHeader splits a header off the front of data.
func cutHeader(data []byte) (*rpmHeader, []byte, error) {
	if len(data) < 16 || !bytes.HasPrefix(data, []byte{0x8e, 0xad, 0xe8, 1}) {
		return nil, nil, errRPM
	}
	n := 16 + 16*int64(binary.BigEndian.Uint32(data[8:])) + int64(binary.BigEndian.Uint32(data[12:]))
	if n > int64(len(data)) {
		return nil, nil, errRPM
	}
	return &rpmHeader{data[:n]}, data[n:], nil
}

// scripts are the flags of a dependency (rpmsenseFlags) of scripts. Without them, rpm
// may install or remove what a script needs in the same transaction as the package, but
// on the wrong side of the script. nfpm has no words for them, so that they are set in
// the finished header.
var scripts = map[string]uint32{"preinstall": 1 << 9, "postinstall": 1 << 10, "preremove": 1 << 11, "postremove": 1 << 12}

// scriptNeeds are the programs of an rpm's scripts, with the flags of the scripts.
func scriptNeeds(p *pkg) map[string]uint32 {
	needs := map[string]uint32{}
	for script, flag := range scripts {
		if p.Scripts[script] != "" {
			needs["/bin/sh"] |= flag
		}
	}
	for _, program := range accountPrograms {
		needs[program] = scripts["preinstall"]
	}
	return needs
}

// require sets the flags of dependencies.
func (h *rpmHeader) require(needs map[string]uint32) error {
	entries := int(binary.BigEndian.Uint32(h.raw[8:]))
	for i := range entries {
		e := h.raw[16+16*i:]
		if binary.BigEndian.Uint32(e) != tagRequireName {
			continue
		}
		count := int(binary.BigEndian.Uint32(e[12:]))
		flags, err := h.value(tagRequireFlags, 4*count)
		if err != nil {
			return err
		}
		names := h.raw[16+16*entries:]
		if at := int(binary.BigEndian.Uint32(e[8:])); at < len(names) {
			names = names[at:]
		}
		for i := range count {
			name, rest, ended := bytes.Cut(names, []byte{0})
			if !ended {
				return errRPM
			}
			flag := flags[4*i:]
			binary.BigEndian.PutUint32(flag, binary.BigEndian.Uint32(flag)|needs[string(name)])
			names = rest
		}
	}
	return nil
}

// value returns the n bytes of a tag, to be changed in place.
func (h *rpmHeader) value(tag uint32, n int) ([]byte, error) {
	entries := int(binary.BigEndian.Uint32(h.raw[8:]))
	store := h.raw[16+16*entries:]
	for i := range entries {
		e := h.raw[16+16*i:]
		if binary.BigEndian.Uint32(e) == tag {
			at := int(binary.BigEndian.Uint32(e[8:]))
			if at+n > len(store) {
				return nil, errRPM
			}
			return store[at : at+n], nil
		}
	}
	return nil, fmt.Errorf("%w: tag %d is missing", errRPM, tag)
}

func (h *rpmHeader) setDigest(tag uint32, content []byte) error {
	v, err := h.value(tag, 2*sha256.Size)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	copy(v, hex.EncodeToString(sum[:]))
	return nil
}

// relativePayload changes a package that is unsigned, or whose signatures were made
// for what it returns. needs are the dependencies of scripts.
func relativePayload(file []byte, needs map[string]uint32) (changed, header, payload []byte, err error) {
	file = bytes.Clone(file)
	if len(file) < rpmLead {
		return nil, nil, nil, errRPM
	}
	signature, rest, err := cutHeader(file[rpmLead:])
	if err != nil {
		return nil, nil, nil, err
	}
	padding := (8 - len(signature.raw)%8) % 8
	if len(rest) < padding {
		return nil, nil, nil, errRPM
	}
	main, old, err := cutHeader(rest[padding:])
	if err != nil {
		return nil, nil, nil, err
	}
	if payload, err = prefixed(old); err != nil {
		return nil, nil, nil, err
	}
	if err := main.require(needs); err != nil {
		return nil, nil, nil, err
	}
	if err := main.setDigest(tagPayloadDigest, payload); err != nil {
		return nil, nil, nil, err
	}
	if err := signature.setDigest(sigTagSHA256, main.raw); err != nil {
		return nil, nil, nil, err
	}
	size, err := signature.value(sigTagSize, 4)
	if err != nil {
		return nil, nil, nil, err
	}
	binary.BigEndian.PutUint32(size, uint32(len(main.raw)+len(payload)))
	head := file[:len(file)-len(old)]
	return append(bytes.Clone(head), payload...), main.raw, payload, nil
}

// RelativePayload rewrites an unsigned rpm that nfpm wrote, so that it unpacks below the
// current directory and not over the files of the machine.
func RelativePayload(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	changed, _, _, err := relativePayload(data, nil)
	if err != nil {
		return fmt.Errorf("correct the names in %s: %w", filepath.Base(name), err)
	}
	return atomicfile.Write(name, changed, 0o644)
}

// prefixed rewrites the names in a compressed archive of kind newc (cpio(5)).
func prefixed(compressed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	in, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	const head = 110
	align := func(n int) int { return (n + 3) &^ 3 }
	for {
		if len(in) < head || string(in[:6]) != "070701" {
			return nil, errRPM
		}
		size, err1 := strconv.ParseUint(string(in[54:62]), 16, 31)
		length, err2 := strconv.ParseUint(string(in[94:102]), 16, 16)
		data := align(head + int(length))
		if err := errors.Join(err1, err2); err != nil || length < 1 || len(in) < data+align(int(size)) {
			return nil, errRPM
		}
		name := string(in[head : head+int(length)-1])
		last := name == "TRAILER!!!"
		if !last && name[0] == '/' {
			name = "." + name
		}
		entry := make([]byte, align(head+len(name)+1))
		copy(entry, in[:94])
		copy(entry[94:], fmt.Sprintf("%08X", len(name)+1))
		copy(entry[102:], in[102:head])
		copy(entry[head:], name)
		if _, err := w.Write(append(entry, in[data:data+align(int(size))]...)); err != nil {
			return nil, err
		}
		if in = in[data+align(int(size)):]; last {
			break
		}
	}
	err = w.Close()
	return out.Bytes(), err
}
