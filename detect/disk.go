package detect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"modwsgi/internal/elf"
)

// Disk is the file system that facts are read from: this machine's own, or the
// one of another machine, a container image or a chroot, which lies somewhere
// as data. On the latter, a path means what it means to a process that has the
// disk as its root: absolute symbolic links stay inside. The paths of a Windows
// disk are written with slashes here ("C:/Python312").
type Disk struct {
	other fs.FS  // nil for this machine's own
	goos  string // the system that the disk belongs to, as runtime.GOOS says it
}

// ThisDisk is the file system of this machine.
func ThisDisk() *Disk { return &Disk{goos: runtime.GOOS} }

// NewDisk is a file system that lies in fsys, which should give links
// (fs.ReadLinkFS) and files that can be read at any place (io.ReaderAt), as
// os.Root.FS does. goos is the system that it belongs to: "linux", "darwin",
// "windows".
func NewDisk(fsys fs.FS, goos string) *Disk { return &Disk{other: fsys, goos: goos} }

func (d *Disk) windows() bool { return d.goos == "windows" }

// isAbs knows absolute paths of the disk's own system.
func (d *Disk) isAbs(p string) bool {
	if d.other == nil {
		return filepath.IsAbs(p)
	}
	if d.windows() {
		return len(p) > 2 && p[1] == ':' && p[2] == '/'
	}
	return path.IsAbs(p)
}

var errTooManyLinks = errors.New("too many symbolic links")

// name follows every link in a path and returns how fs.FS calls the place.
func (d *Disk) name(p string) (string, error) {
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
		info, err := fs.Lstat(d.other, here)
		if err != nil && d.windows() {
			element = d.otherCase(path.Join(done...), element)
			here = path.Join(append(slices.Clone(done), element)...)
			info, err = fs.Lstat(d.other, here)
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
		target, err := fs.ReadLink(d.other, here)
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

// otherCase finds a name in a directory whatever the case of its letters, as
// Windows does.
func (d *Disk) otherCase(dir, name string) string {
	if dir == "" {
		dir = "."
	}
	entries, _ := fs.ReadDir(d.other, dir)
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			return e.Name()
		}
	}
	return name
}

// stat is os.Stat.
func (d *Disk) stat(p string) (fs.FileInfo, error) {
	if d.other == nil {
		return os.Stat(p)
	}
	name, err := d.name(p)
	if err != nil {
		return nil, err
	}
	return fs.Stat(d.other, name)
}

// readDir lists the names in a directory, sorted; none for what cannot be read.
func (d *Disk) readDir(p string) []string {
	var entries []fs.DirEntry
	if d.other == nil {
		entries, _ = os.ReadDir(p)
	} else if name, err := d.name(p); err == nil {
		entries, _ = fs.ReadDir(d.other, name)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// file is an open regular file.
type file struct {
	io.ReaderAt
	io.Closer
	size int64
}

// open opens a regular file; what is something else (a FIFO would block) is an
// error.
func (d *Disk) open(p string) (*file, error) {
	info, err := d.stat(p)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: p, Err: errors.New("not a regular file")}
	}
	if d.other == nil {
		f, err := os.Open(p)
		if err != nil {
			return nil, err
		}
		return &file{f, f, info.Size()}, nil
	}
	name, err := d.name(p)
	if err != nil {
		return nil, err
	}
	f, err := d.other.Open(name)
	if err != nil {
		return nil, err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		_ = f.Close()
		return nil, &fs.PathError{Op: "open", Path: p, Err: errors.New("cannot be read at any place")}
	}
	return &file{at, f, info.Size()}, nil
}

// head returns at most n bytes from a regular file's start.
func (d *Disk) head(p string, n int64) []byte {
	f, err := d.open(p)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	data, _ := io.ReadAll(io.NewSectionReader(f, 0, n))
	return data
}

// elf opens an ELF file. The caller closes it.
func (d *Disk) elf(p string) (*elf.File, error) {
	f, err := d.open(p)
	if err != nil {
		return nil, err
	}
	e, err := elf.New(f, f.size)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	return e, nil
}

// elfFacts reads the facts of an ELF file.
func (d *Disk) elfFacts(p string) (*elf.Facts, error) {
	f, err := d.elf(p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return f.Facts()
}

func (d *Disk) exists(p string) bool {
	_, err := d.stat(p)
	return err == nil
}

func (d *Disk) isFile(p string) bool {
	info, err := d.stat(p)
	return err == nil && info.Mode().IsRegular()
}

func (d *Disk) isDir(p string) bool {
	info, err := d.stat(p)
	return err == nil && info.IsDir()
}

func (d *Disk) isProgram(p string) bool {
	info, err := d.stat(p)
	switch {
	case err != nil || !info.Mode().IsRegular():
		return false
	case d.windows():
		return strings.EqualFold(path.Ext(p), ".exe")
	}
	return executable(info)
}

// resolved follows the links of a path; one that cannot be followed stays.
func (d *Disk) resolved(p string) string {
	if d.other == nil {
		return resolved(p)
	}
	name, err := d.name(p)
	switch {
	case err != nil:
		return p
	case name == ".":
		return "/"
	case d.windows():
		return name
	}
	return "/" + name
}

// sameFile says whether two paths lead to one file.
func (d *Disk) sameFile(a, b string) bool {
	if d.other == nil {
		return sameFile(a, b)
	}
	na, erra := d.name(a)
	nb, errb := d.name(b)
	return erra == nil && errb == nil && na == nb
}

// links lists a path, the same path with its directory resolved, and all
// further places that its symbolic links lead to, in order.
func (d *Disk) links(p string) []string {
	if d.other == nil {
		return steps(p)
	}
	var list []string
	for range maxLinks {
		for _, s := range []string{p, path.Join(d.resolved(path.Dir(p)), path.Base(p))} {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
		p = list[len(list)-1]
		target, err := fs.ReadLink(d.other, strings.TrimPrefix(p, "/"))
		if err != nil {
			break
		}
		if !d.isAbs(target) {
			target = path.Join(path.Dir(p), target)
		}
		p = target
	}
	return list
}
