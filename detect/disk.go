package detect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// fileSystem is the set of operations that detection needs. Paths follow links unless
// stated otherwise. Nothing else in this package accesses files.
type fileSystem interface {
	// isAbs reports whether a path is absolute on the disk's system.
	isAbs(path string) bool
	stat(path string) (fs.FileInfo, error)
	// lstat describes a link itself.
	lstat(path string) (fs.FileInfo, error)
	// entries lists a directory, sorted; nothing if it cannot be read.
	entries(path string) []fs.DirEntry
	openAny(path string) (fs.File, error)
	// readLink returns the target of a link. The directory of the path has no links.
	readLink(path string) (string, error)
	// evalLinks follows the links of a path.
	evalLinks(path string) (string, error)
	// sameFile reports whether two paths lead to the same file.
	sameFile(a, b string) bool
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

// isName reports whether a path exists, if only as a link to nothing.
func (d *Disk) isName(p string) bool {
	_, err := d.lstat(p)
	return err == nil
}

// isExecutable reports whether a path is a file that may be executed. Windows decides
// by the name, which isProgram checks.
func (d *Disk) isExecutable(p string) bool {
	info, err := d.stat(p)
	return err == nil && info.Mode().IsRegular() && (d.windows() || executable(info))
}

// resolved follows the links of a path, and returns one that cannot be followed
// unchanged.
func (d *Disk) resolved(p string) string {
	if real, err := d.evalLinks(p); err == nil {
		return real
	}
	return p
}

// links lists a path, the same path with its directory resolved, and all further
// targets of its symbolic links, in order.
func (d *Disk) links(p string) []string {
	var list []string
	add := func(p string) {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	for range maxLinks {
		add(p)
		p = filepath.Join(d.resolved(filepath.Dir(p)), filepath.Base(p))
		add(p)
		target, err := d.readLink(p)
		if err != nil {
			break
		}
		if !d.isAbs(target) {
			// The directory is resolved by now, so ".." is lexical.
			target = filepath.Join(filepath.Dir(p), target)
		}
		p = target
	}
	return list
}

// slashes converts a Windows disk's path to this package's notation.
func (d *Disk) slashes(p string) string {
	if d.windows() {
		return strings.ReplaceAll(p, `\`, "/")
	}
	return p
}

// readConfig reads pyvenv.cfg: "key = value" lines, with keys in lowercase (PEP 405).
// An unreadable file has no keys.
func (d *Disk) readConfig(path string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(d.head(path, 64<<10))) {
		if key, value, ok := strings.Cut(line, "="); ok {
			out[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		}
	}
	return out
}
