package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/mholt/archiver/v3"
)

// A Debian binary package (deb(5)) is an ar archive of three members: debian-binary,
// control.tar.* and data.tar.*. The last one has the files, and only that is unpacked. The
// one before has a few small ones about the package, which are read on request.

var magicAr = []byte("!<arch>\n")

const (
	arHeader   = 60
	maxControl = 16 << 20 // bytes of the members before the files, also unpacked
)

// openDeb starts reading data.tar of a Debian package. control, if it is not nil, gets the
// files of control.tar.
func openDeb(in *hashed, m *meter, control map[string][]byte) (source, error) {
	if _, err := in.Discard(len(magicAr)); err != nil {
		return nil, err
	}
	for skipped := int64(0); skipped < maxControl; {
		name, size, err := arMember(in)
		if err != nil {
			return nil, err
		}
		if skipped == 0 && name != "debian-binary" {
			return nil, &RefusedError{Entry: name, Reason: "it is not the first member of a Debian package"}
		}
		if strings.HasPrefix(name, "data.tar") {
			return openData(in, m, size)
		}
		if size > maxControl {
			break
		}
		rest := &io.LimitedReader{R: in, N: size + size&1} // members begin at even offsets
		skipped += rest.N + arHeader
		if control != nil && strings.HasPrefix(name, "control.tar") {
			if err := readControl(io.LimitReader(rest, size), control); err != nil {
				return nil, err
			}
		}
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return nil, err
		}
		if rest.N > 0 {
			return nil, fmt.Errorf("read the members of the Debian package: %w", io.ErrUnexpectedEOF)
		}
	}
	return nil, &RefusedError{Reason: "the Debian package has no data.tar where it belongs"}
}

// arMember reads the header of a member.
func arMember(in io.Reader) (name string, size int64, err error) {
	var h [arHeader]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return "", 0, fmt.Errorf("read the members of the Debian package: %w", io.ErrUnexpectedEOF)
	}
	name = strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
	size, err = strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
	if err != nil || size < 0 || string(h[58:]) != "`\n" || badText(name) != "" {
		return "", 0, &RefusedError{Reason: "a header in the Debian package is damaged"}
	}
	return name, size, nil
}

// openData starts reading the member with the files, which may be compressed with what
// dpkg supports.
func openData(in *hashed, m *meter, size int64) (source, error) {
	head, err := in.Peek(6)
	if err != nil {
		return nil, err
	}
	return newTarSource(in, member{decompressorOf(head), size}, m)
}

// decompressorOf returns the decompressor for a member that begins with head.
func decompressorOf(head []byte) decompressor {
	switch {
	case bytes.HasPrefix(head, magicGzip):
		return &archiver.Gz{SingleThreaded: true}
	case bytes.HasPrefix(head, magicBzip2):
		return archiver.NewBz2()
	case bytes.HasPrefix(head, magicXZ):
		return archiver.NewXz()
	case bytes.HasPrefix(head, magicZstd):
		return zstdDecompressor{}
	}
	return plain{}
}

// readControl reads the files of control.tar. It needs little memory however much the
// member claims to contain.
func readControl(in io.Reader, files map[string][]byte) error {
	refuse := func(reason string) error { return &RefusedError{Entry: "control.tar", Reason: reason} }
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	plain := &limited{most: maxControl}
	if err := decompressorOf(data).Decompress(bytes.NewReader(data), plain); err != nil {
		return refuse(err.Error())
	}
	for entries := tar.NewReader(bytes.NewReader(plain.data)); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return refuse(err.Error())
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || strings.Contains(name, "/") || badText(name) != "" {
			continue
		}
		if files[name], err = io.ReadAll(entries); err != nil {
			return refuse(err.Error())
		}
	}
}

// limited is a buffer that refuses more than a number of bytes.
type limited struct {
	data []byte
	most int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(l.data)+len(p) > l.most {
		return 0, fmt.Errorf("it is larger than %d bytes", l.most)
	}
	l.data = append(l.data, p...)
	return len(p), nil
}

// member decompresses one member only.
type member struct {
	decompressor
	size int64
}

func (m member) Decompress(in io.Reader, out io.Writer) error {
	limited := &io.LimitedReader{R: in, N: m.size}
	if err := m.decompressor.Decompress(limited, out); err != nil {
		return err
	}
	if limited.N > 0 && m.decompressor == (plain{}) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// relative turns an absolute target of the link at name into one that stays inside the
// tree: packages link to where they will be installed.
func relative(name, target string) string {
	up := strings.Repeat("../", strings.Count(name, "/"))
	return up + strings.TrimPrefix(path.Clean(target), "/")
}
