package remote

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/owned"
)

// window is how far back the compressor looks, which determines how much memory either
// side needs.
const window = 4 << 20

// packTree writes the tree of an entry to a file in scratch. The same tree gives the same
// bytes: in the order of the manifest, with times 0 and owners 0.
func packTree(ctx context.Context, m *buildcache.Manifest, tree string, scratch *owned.Dir) (name string, d descriptor, err error) {
	name = filepath.Join(scratch.Path(), "layer")
	f, err := scratch.Root().OpenFile("layer", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", d, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	counted := &counter{w: io.MultiWriter(f, h)}
	// One encoder goroutine: the division into blocks must not depend on timing.
	z, err := zstd.NewWriter(counted, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(window))
	if err != nil {
		return "", d, err
	}
	t := tar.NewWriter(z)
	err = m.Walk(tree, func(e buildcache.File, r io.Reader) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return packFile(t, e, r)
	})
	if err == nil {
		err = t.Close()
	}
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	return name, descriptor{MediaType: treeType, Digest: "sha256:" + hex.EncodeToString(h.Sum(nil)), Size: counted.n}, err
}

func packFile(t *tar.Writer, e buildcache.File, r io.Reader) error {
	h := &tar.Header{Name: e.Path, ModTime: time.Unix(0, 0), Mode: int64(e.Mode.Perm()), Typeflag: tar.TypeReg, Size: e.Size, Format: tar.FormatPAX}
	if e.Link != "" {
		h.Typeflag, h.Linkname, h.Mode, h.Size = tar.TypeSymlink, e.Link, 0o777, 0
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if e.Link != "" {
		return nil
	}
	// What is pushed is checked like what is restored.
	sum := sha256.New()
	n, err := io.Copy(t, io.TeeReader(io.LimitReader(r, e.Size), sum))
	if err != nil {
		return err
	}
	if n != e.Size || hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("the entry is damaged: %s", e.Path)
	}
	return nil
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

// contentError is a layer that does not match the manifest.
type contentError struct{ why string }

func (e *contentError) Error() string { return e.why }

func isContent(err error) bool {
	var c *contentError
	return errors.As(err, &c) || buildcache.IsDamage(err)
}

// unpackTree writes the contents of a layer to a directory. They must be exactly what the
// manifest lists, in its order. Nothing else is ever written, and no more is decompressed
// than the total size of the files.
func unpackTree(r io.Reader, m *buildcache.Manifest, to string) error {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(2*window), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer z.Close()
	w, err := buildcache.NewWriter(to)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	// A header, its extension and the padding have some kilobytes at most.
	limit := m.Size() + int64(len(m.Files))*(16<<10) + 64<<10
	t := tar.NewReader(io.LimitReader(z, limit))
	for _, f := range m.Files {
		h, err := t.Next()
		if err != nil {
			return &contentError{fmt.Sprintf("it ends before %q (%v)", f.Path, err)}
		}
		link := h.Typeflag == tar.TypeSymlink
		if h.Name != f.Path || link != (f.Link != "") || !link && h.Typeflag != tar.TypeReg || h.Linkname != f.Link || h.Size != f.Size {
			return &contentError{fmt.Sprintf("it has %q instead of %q in its manifest", h.Name, f.Path)}
		}
		if err := w.Write(f, t); err != nil {
			return err
		}
	}
	if h, err := t.Next(); err == nil {
		return &contentError{fmt.Sprintf("it has %q, which its manifest does not list", h.Name)}
	} else if !errors.Is(err, io.EOF) {
		return &contentError{fmt.Sprintf("its end is invalid (%v)", err)}
	}
	// Read to the end, so that the digest of the whole is checked; the rest is padding.
	if n, err := io.Copy(io.Discard, io.LimitReader(z, 64<<10)); err != nil || n == 64<<10 {
		return &contentError{"it continues after its end"}
	}
	return nil
}
