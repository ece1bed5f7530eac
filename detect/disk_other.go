package detect

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// otherMachine is another machine's file system, available as data.
type otherMachine struct {
	fsys    fs.FS
	windows bool
}

func (d *otherMachine) isAbs(p string) bool {
	if d.windows {
		return len(p) > 2 && p[1] == ':' && p[2] == '/'
	}
	return path.IsAbs(p)
}

var errTooManyLinks = errors.New("too many symbolic links")

// name follows every link in a path and returns the corresponding name in fs.FS.
func (d *otherMachine) name(p string) (string, error) {
	pending, done, links := strings.Split(p, "/"), []string(nil), 0
	for len(pending) > 0 {
		element := pending[0]
		pending = pending[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			done = done[:max(0, len(done)-1)]
			continue
		}
		here := path.Join(append(slices.Clone(done), element)...)
		info, err := fs.Lstat(d.fsys, here)
		if err != nil && d.windows {
			element = d.findIgnoringCase(path.Join(done...), element)
			here = path.Join(append(slices.Clone(done), element)...)
			info, err = fs.Lstat(d.fsys, here)
		}
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = append(done, element)
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: p, Err: errTooManyLinks}
		}
		target, err := fs.ReadLink(d.fsys, here)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			done = nil
		}
		pending = append(strings.Split(target, "/"), pending...)
	}
	if len(done) == 0 {
		return ".", nil
	}
	return strings.Join(done, "/"), nil
}

// findIgnoringCase finds a name in a directory ignoring case, as Windows does.
func (d *otherMachine) findIgnoringCase(dir, name string) string {
	if dir == "" {
		dir = "."
	}
	entries, _ := fs.ReadDir(d.fsys, dir)
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			return e.Name()
		}
	}
	return name
}

func (d *otherMachine) stat(p string) (fs.FileInfo, error) {
	name, err := d.name(p)
	if err != nil {
		return nil, err
	}
	return fs.Stat(d.fsys, name)
}

func (d *otherMachine) entries(p string) []fs.DirEntry {
	name, err := d.name(p)
	if err != nil {
		return nil
	}
	entries, _ := fs.ReadDir(d.fsys, name)
	return entries
}

func (d *otherMachine) openAny(p string) (fs.File, error) {
	name, err := d.name(p)
	if err != nil {
		return nil, err
	}
	return d.fsys.Open(name)
}

func (d *otherMachine) evalLinks(p string) (string, error) {
	name, err := d.name(p)
	switch {
	case err != nil:
		return "", err
	case name == ".":
		return "/", nil
	case d.windows:
		return name, nil
	}
	return "/" + name, nil
}

func (d *otherMachine) readLink(p string) (string, error) {
	return fs.ReadLink(d.fsys, strings.TrimPrefix(p, "/"))
}

func (d *otherMachine) lstat(p string) (fs.FileInfo, error) {
	dir, err := d.name(path.Dir(p))
	if err != nil {
		return nil, err
	}
	info, err := fs.Lstat(d.fsys, path.Join(dir, path.Base(p)))
	if err != nil && d.windows {
		info, err = fs.Lstat(d.fsys, path.Join(dir, d.findIgnoringCase(dir, path.Base(p))))
	}
	return info, err
}

func (d *otherMachine) sameFile(a, b string) bool {
	na, erra := d.name(a)
	nb, errb := d.name(b)
	return erra == nil && errb == nil && na == nb
}
