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

// Disk is the file system that facts are read from: this machine's, or that of another
// machine, a container image or a chroot, available as data. On the latter, a path has
// the meaning that it has to a process whose root is the disk: absolute symbolic links
// stay inside. Paths of a Windows disk are written with slashes here ("C:/Python312").
type Disk struct {
	fileSystem
	goos string // the disk's system, in terms of runtime.GOOS
}

// fileSystem is the set of operations that detection needs. All paths follow links.
type fileSystem interface {
	// isAbs reports whether a path is absolute on the disk's system.
	isAbs(path string) bool
	stat(path string) (fs.FileInfo, error)
	// entries lists a directory, sorted; nothing if it cannot be read.
	entries(path string) []fs.DirEntry
	openAny(path string) (fs.File, error)
	// resolved follows the links of a path, and returns one that cannot be followed
	// unchanged.
	resolved(path string) string
	// sameFile reports whether two paths lead to the same file.
	sameFile(a, b string) bool
	// links lists a path, the same path with its directory resolved, and all further
	// targets of its symbolic links, in order.
	links(path string) []string
}

// ThisDisk is the file system of this machine.
func ThisDisk() *Disk { return &Disk{thisMachine{}, runtime.GOOS} }

// NewDisk returns the file system in fsys, which should support links (fs.ReadLinkFS)
// and files with random access (io.ReaderAt), as os.Root.FS does. goos is its system:
// "linux", "darwin", "windows".
func NewDisk(fsys fs.FS, goos string) *Disk {
	return &Disk{&otherMachine{fsys, goos == "windows"}, goos}
}

func (d *Disk) windows() bool { return d.goos == "windows" }

// thisMachine is the file system that the process sees.
type thisMachine struct{}

func (thisMachine) isAbs(p string) bool                   { return filepath.IsAbs(p) }
func (thisMachine) stat(p string) (fs.FileInfo, error)    { return os.Stat(p) }
func (thisMachine) openAny(p string) (fs.File, error)     { return os.Open(p) }
func (thisMachine) resolved(p string) string              { return resolved(p) }
func (thisMachine) sameFile(a, b string) bool             { return sameFile(a, b) }
func (thisMachine) links(p string) []string               { return steps(p) }
func (thisMachine) entries(p string) (list []fs.DirEntry) { list, _ = os.ReadDir(p); return list }

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

// readDir lists the names in a directory, sorted; nothing if it cannot be read.
func (d *Disk) readDir(p string) []string {
	entries := d.entries(p)
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

// open opens a regular file. Anything else is an error, as a FIFO would block.
func (d *Disk) open(p string) (*file, error) {
	info, err := d.stat(p)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: p, Err: errors.New("not a regular file")}
	}
	f, err := d.openAny(p)
	if err != nil {
		return nil, err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		_ = f.Close()
		return nil, &fs.PathError{Op: "open", Path: p, Err: errors.New("does not support random access")}
	}
	return &file{at, f, info.Size()}, nil
}

// head returns at most n bytes from the start of a regular file.
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

func (d *otherMachine) resolved(p string) string {
	name, err := d.name(p)
	switch {
	case err != nil:
		return p
	case name == ".":
		return "/"
	case d.windows:
		return name
	}
	return "/" + name
}

func (d *otherMachine) sameFile(a, b string) bool {
	na, erra := d.name(a)
	nb, errb := d.name(b)
	return erra == nil && errb == nil && na == nb
}

func (d *otherMachine) links(p string) []string {
	var list []string
	for range maxLinks {
		for _, s := range []string{p, path.Join(d.resolved(path.Dir(p)), path.Base(p))} {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
		p = list[len(list)-1]
		target, err := fs.ReadLink(d.fsys, strings.TrimPrefix(p, "/"))
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
