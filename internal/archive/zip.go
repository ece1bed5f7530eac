package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	kzip "github.com/klauspost/compress/zip"
	"github.com/mholt/archiver/v3"

	"modwsgi/internal/digest"
)

// zipSource reads a zip file by its central directory.
type zipSource struct {
	file  *os.File
	zip   *archiver.Zip
	meter *meter
	known string // required hash of the file; "" if none
	temp  string // name of the file, if it is a private copy
}

// openZip reads a zip file. If a hash is required, it reads a private copy that is hashed
// while it is made: entries are read in any order, and some twice, so a hash computed
// while reading would not cover exactly what is unpacked.
func openZip(in *hashed, name, scratch string, o Options, m *meter) (source, error) {
	if o.SHA256 == "" {
		return newZipSource(in.file, m)
	}
	temp, err := os.CreateTemp(scratch, ".zip-*.unpack")
	if err != nil {
		return nil, localError("create a file in", scratch, err)
	}
	src, err := copyZip(in, temp, name, o, m)
	if err != nil {
		_ = temp.Close()
		_ = os.Remove(temp.Name())
		return nil, err
	}
	in.close()
	return src, nil
}

func copyZip(in *hashed, temp *os.File, name string, o Options, m *meter) (source, error) {
	if _, err := io.Copy(temp, in); err != nil {
		return nil, err
	}
	sum, err := in.finish()
	if err != nil {
		return nil, err
	}
	if sum != o.SHA256 {
		return nil, &digest.Changed{File: name, Want: o.SHA256, Got: sum}
	}
	src, err := newZipSource(temp, m)
	if err != nil {
		return nil, err
	}
	src.known, src.temp = sum, temp.Name()
	return src, nil
}

func newZipSource(f *os.File, m *meter) (*zipSource, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkZipEnd(f, info.Size()); err != nil {
		return nil, err
	}
	z := archiver.NewZip()
	if err := z.Open(f, info.Size()); err != nil {
		return nil, err
	}
	return &zipSource{file: f, zip: z, meter: m}, nil
}

// checkZipEnd refuses a zip file that does not end with its end record: a reader that
// searches for the record would miss what follows it (APPNOTE 4.3.16).
func checkZipEnd(f *os.File, size int64) error {
	const record, maxComment = 22, 1<<16 - 1
	tail := make([]byte, min(size, record+maxComment))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for i := len(tail) - record; i >= 0; i-- {
		if bytes.HasPrefix(tail[i:], magicNoZip) {
			comment := int(tail[i+20]) | int(tail[i+21])<<8
			if i+record+comment != len(tail) {
				return &RefusedError{Reason: "there is data after the end of the archive"}
			}
			return nil
		}
	}
	return fmt.Errorf("the archive has no end record: %w", io.ErrUnexpectedEOF)
}

func (s *zipSource) next() (*entry, error) {
	file, err := s.zip.Read()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, err
	}
	h, ok := file.Header.(kzip.FileHeader)
	if !ok {
		return nil, fmt.Errorf("zip entry with a header of type %T", file.Header)
	}
	s.meter.name = h.Name
	e := &entry{name: h.Name, mode: h.Mode().Perm(), modTime: h.Modified, body: file.ReadCloser}
	e.size = int64(min(h.UncompressedSize64, 1<<62))
	switch mode := h.Mode(); {
	case h.Flags&1 != 0:
		e.kind, e.what = other, "encrypted"
	case h.Method != kzip.Store && h.Method != kzip.Deflate:
		e.kind, e.what = other, fmt.Sprintf("compressed by method %d", h.Method)
	case mode.IsDir():
		e.kind = directory
	case mode.IsRegular():
		e.kind = regular
	case mode&fs.ModeSymlink != 0:
		e.kind = symlink
		e.link, err = readLink(e)
	case mode&fs.ModeDevice != 0:
		e.kind, e.what = other, "a device node"
	default:
		e.kind, e.what = other, "of the type "+mode.Type().String()
	}
	return e, err
}

// readLink reads the target of a symbolic link, which a zip file stores as content.
func readLink(e *entry) (string, error) {
	const maxTarget = 4096
	data, err := io.ReadAll(io.LimitReader(e.body, maxTarget+1))
	if err != nil {
		return "", fmt.Errorf("read link %q: %w", e.name, err)
	}
	if len(data) > maxTarget {
		return "", &RefusedError{Entry: e.name, Reason: fmt.Sprintf("its link target is longer than %d bytes", maxTarget)}
	}
	return string(data), nil
}

func (s *zipSource) sum() (string, error) { return s.known, nil }

func (s *zipSource) close() {
	_ = s.zip.Close()
	_ = s.file.Close()
	if s.temp != "" {
		_ = os.Remove(s.temp)
	}
}
