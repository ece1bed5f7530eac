package fetch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/internal/owned"
)

// held gives a file of the cache a second name in Options.Hold while its entry is still
// locked: the cache may be cleared while a run uses the archive. A file that cannot be
// held stays where it is.
func (f *Fetcher) held(file *File, err error) (*File, error) {
	if err != nil || file == nil || f.opts.Hold == "" {
		return file, err
	}
	dir := filepath.Join(f.opts.Hold, file.Archive.SHA256)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, cacheFault(f.opts.CacheDir, err)
	}
	name := filepath.Join(dir, file.Archive.File)
	if err := linkOrCopy(file.Path, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, cacheFault(f.opts.CacheDir, err)
	}
	file.Path = name
	return file, nil
}

// linkOrCopy gives a file another name, or copies it if links are not supported or the
// target is on another file system.
func linkOrCopy(from, to string) error {
	if err := os.Link(from, to); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := fill(out, in); err != nil {
		_ = owned.RemoveAll(to)
		return err
	}
	return nil
}
