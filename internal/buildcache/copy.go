package buildcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/owned"
)

// workers is how many files are copied concurrently: reading and hashing alternate, so
// there are a few more than processors.
func workers() int { return min(16, 2+2*runtime.GOMAXPROCS(0)) }

// Writer writes a tree, file by file, and checks each against its hash. Nothing can be
// written outside its directory. It is safe for concurrent use.
type Writer struct {
	dir    *owned.Dir
	root   *os.Root // of dir
	mu     sync.Mutex
	made   map[string]bool
	noCopy atomic.Bool // the file system does not share extents
}

// NewWriter starts a tree in a directory that it creates.
func NewWriter(dir string) (*Writer, error) {
	d, err := owned.MakeDir(dir)
	if err != nil {
		return nil, err
	}
	if err := d.Root().Chmod(".", 0o755); err != nil { // whatever the umask is: a server reads it as another user
		return nil, errors.Join(err, d.Close())
	}
	return &Writer{dir: d, root: d.Root(), made: map[string]bool{".": true}}, nil
}

// Close ends the writing.
func (w *Writer) Close() error { return w.dir.Close() }

// makeDir creates a directory and its parents, readable for everybody.
func (w *Writer) makeDir(dir string) error {
	if w.made[dir] {
		return nil
	}
	if err := w.makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := w.root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	w.made[dir] = true
	return w.root.Chmod(dir, 0o755)
}

// Write creates one file of a manifest with the contents of r, or a symbolic link.
// Contents that do not match the manifest are damage.
func (w *Writer) Write(f File, r io.Reader) error {
	name := filepath.FromSlash(f.Path)
	if !filepath.IsLocal(name) {
		return &damageError{f.Path}
	}
	w.mu.Lock()
	err := w.makeDir(filepath.Dir(name))
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if f.Link != "" {
		return w.root.Symlink(f.Link, name)
	}
	out, err := w.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, f.Mode.Perm()|0o200)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := w.content(out, r, h, f.Size)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if n != f.Size || hex.EncodeToString(h.Sum(nil)) != f.SHA256 {
		return &damageError{f.Path}
	}
	return w.root.Chmod(name, f.Mode.Perm())
}

// content fills a file, by sharing the extents of the other one if the file system
// supports that (btrfs, xfs). The hash is always of what was written.
func (w *Writer) content(out *os.File, r io.Reader, h hash.Hash, size int64) (int64, error) {
	if in, ok := r.(*os.File); ok && !w.noCopy.Load() {
		if cloneFile(out, in) == nil {
			return io.Copy(h, out)
		}
		w.noCopy.Store(true)
	}
	// One byte more than the size in the manifest is enough to notice.
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	return io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(out, h)}, struct{ io.Reader }{io.LimitReader(r, size+1)}, *buffer)
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// copyFiles copies the files in a manifest and checks each hash on the way.
func copyFiles(ctx context.Context, files []File, from *os.Root, to string) error {
	w, err := NewWriter(to)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers())
	for _, f := range files {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return w.copyFile(f, from)
		})
	}
	return group.Wait()
}

func (w *Writer) copyFile(f File, from *os.Root) error {
	if f.Link != "" {
		return w.Write(f, nil)
	}
	in, err := from.OpenFile(filepath.FromSlash(f.Path), os.O_RDONLY|nonBlock, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return &damageError{f.Path}
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(&damageError{f.Path}, err)
	}
	return w.Write(f, in)
}
