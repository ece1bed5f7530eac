package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// copier copies the staged items, several files concurrently. It writes through open
// directories below the hidden ones. It reads from the stage, a private scratch directory
// of this user.
type copier struct {
	ctx   context.Context
	group *errgroup.Group
	scope *scope
	spent bool
}

func copyAll(ctx context.Context, s *scope, list []staged, spent bool) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 + 2*runtime.GOMAXPROCS(0))
	c := &copier{ctx, group, s, spent}
	var err error
	for _, item := range list {
		if err = c.one(item); err != nil {
			break
		}
	}
	// If an error in the group stopped the walk, that error is the cause.
	if gerr := group.Wait(); gerr != nil {
		return gerr
	}
	return err
}

// one copies one item, which goes directly into a hidden directory.
func (c *copier) one(s staged) error {
	info, err := os.Lstat(s.source)
	if err != nil {
		return unreadable(s.source, err)
	}
	at, err := c.scope.at(s.to)
	if err != nil {
		return changeError("create", s.to, err)
	}
	home := &folder{dir: at.dir, keep: true}
	err = c.entry(home, s.source, at.name, info)
	if home.file != nil {
		_ = home.file.Close()
	}
	return err
}

// folder is a directory being filled. Once nothing is left to do in it, its attributes
// are set and its handle is closed, so that thousands are never open together.
type folder struct {
	dir  *owned.Dir
	info fs.FileInfo // its mode and time
	open atomic.Int64
	file *os.File // for links
	keep bool     // a hidden directory
}

func (f *folder) hold() { f.open.Add(1) }

func (f *folder) done() error {
	if f.open.Add(-1) > 0 || f.keep {
		return nil
	}
	defer func() { _ = f.dir.Close() }()
	if f.file != nil {
		_ = f.file.Close()
	}
	// Writing into it changed its time.
	err := f.dir.Root().Chmod(".", f.info.Mode().Perm()|0o700)
	if err == nil {
		err = f.dir.Root().Chtimes(".", f.info.ModTime(), f.info.ModTime())
	}
	if err != nil {
		return changeError("write", f.dir.Path(), err)
	}
	return nil
}

// entry copies the file at a path to a name in a folder.
func (c *copier) entry(to *folder, path, name string, info fs.FileInfo) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	full := filepath.Join(to.dir.Path(), name)
	switch mode := info.Mode(); {
	case mode.IsDir():
		return c.tree(to, path, name, info)
	case mode&fs.ModeSymlink != 0:
		link, err := os.Readlink(path)
		if err == nil {
			err = to.dir.Root().Symlink(link, name)
		}
		if err != nil {
			return changeError("create", full, err)
		}
		return nil
	case !mode.IsRegular():
		return fault.New(fault.Internal, "", "place: the staged %s is not a file, directory or link", path)
	}
	if c.linked(to, path, name, info) {
		return nil
	}
	to.hold()
	c.group.Go(func() error {
		err := c.file(to, path, name, info)
		return errors.Join(err, to.done())
	})
	return nil
}

func (c *copier) tree(to *folder, path, name string, info fs.FileInfo) error {
	full := filepath.Join(to.dir.Path(), name)
	if err := to.dir.Root().Mkdir(name, 0o700); err != nil {
		return changeError("create", full, err)
	}
	dir, err := to.dir.Enter(name)
	if err != nil {
		return changeError("create", full, err)
	}
	f := &folder{dir: dir, info: info}
	f.hold()
	err = c.entries(f, path)
	return errors.Join(err, f.done())
}

func (c *copier) entries(f *folder, path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return unreadable(path, err)
	}
	for _, e := range entries {
		from := filepath.Join(path, e.Name())
		info, err := e.Info()
		if err != nil {
			return unreadable(from, err)
		}
		if err := c.entry(f, from, e.Name(), info); err != nil {
			return err
		}
	}
	return nil
}

func unreadable(path string, err error) error {
	return fault.New(fault.Internal, "", "place: read the staged %s: %w", path, err)
}

// linked places a file of a spent stage as a hard link. It does not link a file of
// another user, who could write to it afterwards.
func (c *copier) linked(to *folder, path, name string, info fs.FileInfo) bool {
	if !c.spent || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 || owned.UID(info) != self() {
		return false
	}
	if to.file == nil {
		f, err := to.dir.Root().Open(".")
		if err != nil {
			return false
		}
		to.file = f
	}
	return link(path, to.file, name) == nil
}

// chunk is how much of a file is copied between checks of ctx.
const chunk = 8 << 20

func (c *copier) file(to *folder, from, name string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return unreadable(from, err)
	}
	defer func() { _ = in.Close() }()
	full := filepath.Join(to.dir.Path(), name)
	out, err := to.dir.Root().OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return changeError("create", full, err)
	}
	for err == nil {
		if c.ctx.Err() != nil {
			err = context.Cause(c.ctx)
			break
		}
		_, err = io.CopyN(out, in, chunk)
	}
	if errors.Is(err, io.EOF) {
		err = out.Chmod(info.Mode().Perm())
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = to.dir.Root().Chtimes(name, info.ModTime(), info.ModTime())
	}
	if err == nil || c.ctx.Err() != nil {
		return err
	}
	return changeError("write", full, fmt.Errorf("copy %s: %w", from, err))
}
