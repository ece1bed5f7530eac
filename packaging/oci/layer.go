package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"modwsgi/internal/fault"
)

// layer is a finished layer in a file; it is a v1.Layer.
type layer struct {
	file   string
	digest v1.Hash // of the file
	diffID v1.Hash // of the archive in it
	size   int64   // of the file, in bytes
	media  types.MediaType
	about  string // for the history
}

func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.diffID, nil }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return l.media, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return os.Open(l.file) }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return openLayer(l.file) }

// openLayer returns the archive in a layer's file, whatever its compression.
func openLayer(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	var magic [4]byte
	n, _ := f.ReadAt(magic[:], 0)
	switch {
	case n >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		z, err := gzip.NewReader(f)
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		return readClosers{z, f}, nil
	case n == 4 && bytes.Equal(magic[:], []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		return readClosers{z.IOReadCloser(), f}, nil
	}
	return f, nil
}

type readClosers struct {
	io.ReadCloser
	below io.Closer
}

func (r readClosers) Close() error { return errors.Join(r.ReadCloser.Close(), r.below.Close()) }

func newHash(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

func hashOf(data []byte) v1.Hash {
	h := sha256.New()
	h.Write(data)
	return newHash(h)
}

// makeLayer writes a layer; the same entries produce the same bytes.
func (m *maker) makeLayer(about string, all []entry, onBase bool) (l *layer, err error) {
	all, err = complete(all, onBase)
	if err != nil {
		return nil, err
	}
	m.count++
	l = &layer{file: filepath.Join(m.scratch, fmt.Sprintf("layer-%d", m.count)), about: about}
	f, err := os.OpenFile(l.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			err = writing("a layer", err)
		}
	}()
	outer, inner := sha256.New(), sha256.New()
	counted := &counter{w: io.MultiWriter(f, outer)}
	z, media, err := m.compressor(counted)
	if err != nil {
		return nil, err
	}
	if err := writeTar(m.ctx, io.MultiWriter(z, inner), all, m.o.Time); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	l.digest, l.diffID, l.size, l.media = newHash(outer), newHash(inner), counted.n, media
	return l, nil
}

func (m *maker) compressor(w io.Writer) (io.WriteCloser, types.MediaType, error) {
	if m.o.Zstd {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
		return z, types.OCILayerZStd, err
	}
	z, err := gzip.NewWriterLevel(w, 6)
	if m.o.Docker {
		return z, types.DockerLayer, err
	}
	return z, types.OCILayer, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func writing(what string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.New(fault.Environment, "check that the output directory is writable and its file system has free space", "write %s: %w", what, err)
}

// writeTar writes an archive that depends only on content, names, modes and owners.
func writeTar(ctx context.Context, w io.Writer, all []entry, at time.Time) error {
	t := tar.NewWriter(w)
	for _, e := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := writeEntry(t, e, at); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return t.Close()
}

func writeEntry(t *tar.Writer, e entry, at time.Time) error {
	h := &tar.Header{Name: e.name, Mode: int64(e.mode.Perm()), ModTime: at, Uid: e.uid, Gid: e.gid, Format: tar.FormatPAX}
	if e.mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	var content io.Reader
	switch {
	case e.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
	case e.mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
	case e.source == "":
		h.Typeflag, h.Size, content = tar.TypeReg, int64(len(e.data)), bytes.NewReader(e.data)
	default:
		f, err := os.Open(e.source)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		h.Typeflag, h.Size, content = tar.TypeReg, info.Size(), f
	}
	if err := t.WriteHeader(h); err != nil || content == nil {
		return err
	}
	// If the file grows or shrinks meanwhile, this or the next header fails.
	_, err := io.Copy(t, content)
	return err
}
