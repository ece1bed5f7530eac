package owned

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const nonBlock = 0

type final struct {
	file, dir, sticky, create, output, theirs bool
	also                                      int
}

type handle struct {
	file    *os.File
	real    string
	exposed bool
}

func (h *handle) close() {
	if h.file != nil {
		_ = h.file.Close()
	}
}

func (h *handle) open() (*Dir, error) {
	root, err := os.OpenRoot(h.real)
	if err != nil {
		return nil, err
	}
	return &Dir{path: h.real, root: root}, nil
}

// walk trusts every path: access control lists are not read.
func walk(path string, want final) (*handle, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if want.create {
		perm := fs.FileMode(0o700)
		if want.output {
			perm = 0o755
		}
		if err := os.MkdirAll(full, perm); err != nil {
			return nil, err
		}
	}
	real, err := filepath.EvalSymlinks(full)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	switch {
	case want.dir && !info.IsDir():
		return nil, &fs.PathError{Op: "open", Path: full, Err: errors.New("it is not a directory")}
	case want.file && !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "open", Path: full, Err: errors.New("it is not a regular file")}
	}
	h := &handle{real: real}
	if want.file {
		h.file, err = os.Open(real)
	}
	return h, err
}

func judge(string, string, fs.FileInfo) error { return nil }

func ownerOf(fs.FileInfo) int { return -1 }
