package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/mholt/archiver/v3"

	"modwsgi/internal/digest"
)

// entry is an entry of an archive.
type entry struct {
	name    string // as in the archive
	kind    kind
	what    string // description of an entry of another type
	link    string
	size    int64 // as declared
	mode    fs.FileMode
	modTime time.Time
	body    io.ReadCloser
}

// source returns the entries of an archive in order, then io.EOF once the archive was
// read and found intact to the last byte.
type source interface {
	next() (*entry, error)
	// sum reads the archive's file to the end and returns the SHA-256 of everything that
	// was read, or "" if unknown. No entry can be read afterwards.
	sum() (string, error)
	close()
}

// maxDictionary limits the memory of decoders that let the archive choose: it is the
// limit of zstd's window. xz's reader has the same limit built in.
const maxDictionary = 64 << 20

var (
	magicGzip  = []byte{0x1f, 0x8b}
	magicBzip2 = []byte("BZh")
	magicXZ    = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	magicZstd  = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicZip   = []byte("PK\x03\x04")
	magicNoZip = []byte("PK\x05\x06") // the end record of a zip without entries
	magicTar   = []byte("ustar")
)

// open detects the format of a file and starts reading it. A zip file with a required
// hash is copied to scratch, an existing directory.
func open(name, scratch string, o Options) (source, error) {
	f, err := digest.Open(name)
	if err != nil {
		return nil, err
	}
	src, err := sniff(f, name, scratch, o)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return src, nil
}

func sniff(f *os.File, name, scratch string, o Options) (source, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	in := newHashed(f, info.Size())
	head, err := in.Peek(262)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(head) == 0 {
		return nil, in.orChanged(name, o.SHA256, &RefusedError{Reason: "the file is empty"})
	}
	m := newMeter(o.Limits, info.Size())
	switch {
	case bytes.HasPrefix(head, magicGzip):
		// The parallel reader's goroutines still use the file after an error.
		return newTarSource(in, &archiver.Gz{SingleThreaded: true}, m)
	case bytes.HasPrefix(head, magicBzip2):
		return newTarSource(in, archiver.NewBz2(), m)
	case bytes.HasPrefix(head, magicXZ):
		return newTarSource(in, archiver.NewXz(), m)
	case bytes.HasPrefix(head, magicZstd):
		return newTarSource(in, zstdDecompressor{}, m)
	case bytes.HasPrefix(head, magicZip), bytes.HasPrefix(head, magicNoZip):
		return openZip(in, name, scratch, o, m)
	case o.Deb && bytes.HasPrefix(head, magicAr):
		src, err := openDeb(in, m, o.Control)
		if err != nil {
			return nil, in.orChanged(name, o.SHA256, err)
		}
		return src, nil
	case len(head) == 262 && bytes.Equal(head[257:], magicTar):
		return newTarSource(in, plain{}, m)
	}
	return nil, in.orChanged(name, o.SHA256, &RefusedError{Reason: "neither a tar file (plain, gzip, bzip2, xz, zstd) nor a zip file"})
}

// plain is the decompressor of an uncompressed tar.
type plain struct{}

func (plain) Decompress(in io.Reader, out io.Writer) error {
	_, err := io.Copy(out, in)
	return err
}

// zstdDecompressor replaces archiver's, which does not limit its memory.
type zstdDecompressor struct{}

func (zstdDecompressor) Decompress(in io.Reader, out io.Writer) error {
	r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDictionary))
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(out, r)
	return err
}

// tarSource reads a tar stream that a goroutine decompresses into a pipe. Unlike
// archiver's own combination of both, the pipe gives access to the whole stream, to
// measure it, detect a missing end, and read on to the checksum and anything that follows
// the archive.
type tarSource struct {
	file   *hashed
	pipe   *io.PipeReader
	stream *watched
	tar    *archiver.Tar
	done   chan struct{}
	meter  *meter
}

type decompressor interface {
	Decompress(in io.Reader, out io.Writer) error
}

func newTarSource(f *hashed, d decompressor, m *meter) (source, error) {
	r, w := io.Pipe()
	s := &tarSource{file: f, pipe: r, tar: archiver.NewTar(), done: make(chan struct{}), meter: m}
	s.stream = &watched{r: r, meter: m}
	go func() {
		defer close(s.done)
		defer func() {
			// A panic of a decoder of untrusted data is reported instead of ending the
			// program.
			if p := recover(); p != nil {
				_ = w.CloseWithError(fmt.Errorf("decompress: %v", p))
			}
		}()
		err := d.Decompress(f, w)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		_ = w.CloseWithError(err)
	}()
	if err := s.tar.Open(s.stream, 0); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *tarSource) next() (*entry, error) {
	for {
		s.stream.seen = 0
		file, err := s.tar.Read()
		if errors.Is(err, io.EOF) {
			return nil, s.finish()
		}
		if err != nil {
			return nil, s.failed(err)
		}
		h, ok := file.Header.(*tar.Header)
		if !ok {
			return nil, fmt.Errorf("tar entry with a header of type %T", file.Header)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			// git stores the commit there; it does not affect the files.
			if reason := s.meter.entry(); reason != "" {
				return nil, &RefusedError{Entry: h.Name, Reason: reason}
			}
			continue
		}
		s.meter.name = h.Name
		return tarEntry(h, file.ReadCloser), nil
	}
}

// finish reads what follows the last entry: there must be an end mark (at least one block
// of zeros, which the reader has consumed), then only zeros, and the compressed stream
// must end properly.
func (s *tarSource) finish() error {
	if s.stream.seen < 512 {
		return fmt.Errorf("the archive has no end mark: %w", io.ErrUnexpectedEOF)
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := s.stream.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return &RefusedError{Reason: "there is data after the end of the archive"}
		}
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			return s.failed(err)
		}
	}
}

// failed adds the name of the last entry to the error of a stream.
func (s *tarSource) failed(err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) || s.meter.name == "" {
		return err
	}
	return fmt.Errorf("read after entry %q: %w", s.meter.name, err)
}

func (s *tarSource) stop() {
	_ = s.pipe.Close()
	<-s.done
}

func (s *tarSource) sum() (string, error) {
	s.stop() // from here on, nothing else reads the file
	return s.file.finish()
}

func (s *tarSource) close() {
	s.stop()
	_ = s.tar.Close()
	s.file.close()
}

func tarEntry(h *tar.Header, body io.ReadCloser) *entry {
	e := &entry{name: h.Name, link: h.Linkname, size: h.Size, mode: fs.FileMode(h.Mode & 0o777), modTime: h.ModTime, body: body}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		e.kind = regular
	case tar.TypeDir:
		e.kind = directory
	case tar.TypeSymlink:
		e.kind = symlink
	case tar.TypeLink:
		e.kind = hardlink
	case tar.TypeChar, tar.TypeBlock:
		e.kind, e.what = other, "a device node"
	case tar.TypeFifo:
		e.kind, e.what = other, "a named pipe"
	default:
		e.kind, e.what = other, fmt.Sprintf("of the unknown type %q", h.Typeflag)
	}
	return e
}
