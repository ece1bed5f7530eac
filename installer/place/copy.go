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
	"slices"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/fault"
)

// copyAll copies the staged things, several files at a time.
func copyAll(ctx context.Context, list []staged, spent bool) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 + 2*runtime.GOMAXPROCS(0))
	dirs := map[string]fs.FileInfo{}
	var err error
	for _, s := range list {
		if err = copyOne(ctx, group, s, dirs, spent); err != nil {
			break
		}
	}
	// The group's error is the cause where one made the walk stop.
	if gerr := group.Wait(); gerr != nil {
		return gerr
	}
	if err != nil {
		return err
	}
	// Inner directories first; writing into them has changed their times.
	for _, dir := range slices.Backward(sorted(dirs)) {
		info := dirs[dir]
		if err := os.Chmod(dir, info.Mode().Perm()|0o700); err != nil {
			return changeError("write", dir, err)
		}
		if err := os.Chtimes(dir, info.ModTime(), info.ModTime()); err != nil {
			return changeError("write", dir, err)
		}
	}
	return nil
}

func copyOne(ctx context.Context, group *errgroup.Group, s staged, dirs map[string]fs.FileInfo, spent bool) error {
	return filepath.WalkDir(s.source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fault.New(fault.Internal, "", "place: read the staged %s: %w", path, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel, err := filepath.Rel(s.source, path)
		if err != nil {
			return err
		}
		to := filepath.Join(s.to, rel)
		info, err := d.Info()
		if err != nil {
			return fault.New(fault.Internal, "", "place: read the staged %s: %w", path, err)
		}
		switch {
		case d.IsDir():
			dirs[to] = info
			if err := os.Mkdir(to, 0o700); err != nil {
				return changeError("create", to, err)
			}
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err == nil {
				err = os.Symlink(link, to)
			}
			if err != nil {
				return changeError("create", to, err)
			}
		case d.Type().IsRegular():
			if spent && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) == 0 && os.Link(path, to) == nil {
				return nil
			}
			group.Go(func() error { return copyFile(ctx, path, to, info) })
		default:
			return fault.New(fault.Internal, "", "place: the staged %s is neither a file nor a directory nor a link", path)
		}
		return nil
	})
}

// chunk is how much of a file is copied before ctx is looked at again.
const chunk = 8 << 20

func copyFile(ctx context.Context, from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return fault.New(fault.Internal, "", "place: read the staged %s: %w", from, err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return changeError("create", to, err)
	}
	for err == nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
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
		err = os.Chtimes(to, info.ModTime(), info.ModTime())
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return changeError("write", to, fmt.Errorf("copy %s: %w", from, err))
}
