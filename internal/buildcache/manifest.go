package buildcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/digest"
	"modwsgi/internal/owned"
)

// Schema is the version of the manifest's format.
const Schema = 3

// Limits of one entry. A manifest that exceeds them is invalid.
const (
	MaxFiles    = 50_000
	MaxSize     = 2 << 30  // bytes of all files together
	MaxManifest = 16 << 20 // bytes of the manifest itself
)

// About describes an entry, for people and for uses without its sources. It is the same
// for the same key, wherever the entry was built.
type About struct {
	Kind    string            `json:"kind"`              // "httpd", "module"
	Name    string            `json:"name"`              // "httpd 2.4.68 with tls"
	Details map[string]string `json:"details,omitempty"` // build settings
	Parts   []Part            `json:"parts,omitempty"`   // sources of the build: hashes of what was unpacked
	// Inputs is the text whose SHA-256 is the entry's key: everything that went into the
	// build, including the hashes of the archives. It allows checking the key against the
	// entry's description. "" if unknown.
	Inputs string `json:"inputs,omitempty"`
}

// Part is a source archive of an entry.
type Part struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Trust   string `json:"trust"`
	Signer  string `json:"signer,omitempty"`
}

// Manifest describes an entry; it is written last.
type Manifest struct {
	Schema int    `json:"schema"`
	Key    string `json:"key"`
	About
	Files []File `json:"files"` // sorted by path

	Origin Origin `json:"-"` // for Import: zero means "built here, now"
}

// File is one regular file or symbolic link of a tree.
type File struct {
	Path   string      `json:"path"` // with slashes
	Mode   fs.FileMode `json:"mode"` // permission bits
	Size   int64       `json:"size"` // bytes
	SHA256 string      `json:"sha256,omitempty"`
	Link   string      `json:"link,omitempty"` // target, for a symbolic link
}

// Size returns the sum of the files' sizes in bytes.
func (m *Manifest) Size() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// Encode returns the manifest as it is stored; equal manifests give equal bytes.
func (m *Manifest) Encode() ([]byte, error) { return json.Marshal(m) }

// Decode reads a manifest of a key and checks that nothing in it leads out of a directory
// or exceeds the limits of an entry. Its errors are damage.
func Decode(data []byte, key string) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, otherFormat(data)
	}
	if err := m.check(key); err != nil {
		return nil, err
	}
	return &m, nil
}

// readManifest reads the manifest of an entry.
func readManifest(entry *owned.Dir, key string) (*Manifest, error) {
	info, err := entry.Lstat(manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := entry.Root().Stat("."); gone == nil {
			return nil, &damageError{manifestName}
		}
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxManifest {
		return nil, &damageError{manifestName}
	}
	data, err := entry.ReadFile(manifestName, MaxManifest)
	if err != nil {
		return nil, err
	}
	return Decode(data, key)
}

func (m *Manifest) check(key string) error {
	if m.Schema > 0 && m.Schema != Schema {
		return &formatError{m.Schema, m.Name}
	}
	if m.Schema != Schema || m.Key != key || len(m.Files) > MaxFiles {
		return &damageError{manifestName}
	}
	if m.Inputs != "" && KeyOf(m.Inputs) != key {
		return &damageError{"inputs"}
	}
	var total int64
	kinds := map[string]bool{} // path -> is a directory
	for i, f := range m.Files {
		local := filepath.FromSlash(f.Path)
		if f.Path == "." || path.Clean(f.Path) != f.Path || !filepath.IsLocal(local) || i > 0 && m.Files[i-1].Path >= f.Path {
			return &damageError{f.Path}
		}
		if total += f.Size; f.Size < 0 || f.Size > MaxSize || total > MaxSize {
			return &damageError{f.Path}
		}
		if f.Link != "" && !localLink(f) || f.Link == "" && !IsKey(f.SHA256) {
			return &damageError{f.Path}
		}
		if _, there := kinds[f.Path]; there {
			return &damageError{f.Path}
		}
		kinds[f.Path] = false
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			if isDir, there := kinds[dir]; there && !isDir { // below a file or a link
				return &damageError{f.Path}
			}
			kinds[dir] = true
		}
	}
	return nil
}

// localLink reports whether a symbolic link stays in its tree.
func localLink(f File) bool {
	return f.Size == 0 && !path.IsAbs(f.Link) && !strings.Contains(f.Link, "\\") && filepath.IsLocal(filepath.FromSlash(path.Join(path.Dir(f.Path), f.Link)))
}

// damageError is a file of an entry that does not match the manifest.
type damageError struct{ path string }

func (d *damageError) Error() string { return fmt.Sprintf("damaged: %q", d.path) }

// formatError is an entry written by another version of the program: it cannot be used as
// it is, but it is not damaged.
type formatError struct {
	schema int
	name   string
}

func (f *formatError) Error() string {
	return fmt.Sprintf("written by another version of modwsgi (format %d, this one has %d)", f.schema, Schema)
}

// otherFormat returns the error for a manifest in another format, of which only the
// format number can be read.
func otherFormat(data []byte) error {
	var m struct {
		Schema int `json:"schema"`
	}
	if json.Unmarshal(data, &m) != nil || m.Schema <= 0 || m.Schema == Schema {
		return &damageError{manifestName}
	}
	return &formatError{schema: m.Schema}
}

// IsOtherFormat reports whether an error means that another version of the program wrote
// an entry.
func IsOtherFormat(err error) bool {
	var f *formatError
	return errors.As(err, &f)
}

// IsDamage reports whether an error means that an entry is damaged or in an unreadable
// format.
func IsDamage(err error) bool {
	var d *damageError
	return errors.As(err, &d) || IsOtherFormat(err)
}

// sameNames compares names and types of a tree with the manifest before anything in it is
// opened: a pipe would block a reader for ever.
func (m *Manifest) sameNames(tree *os.Root) error {
	found := 0
	err := fs.WalkDir(tree.FS(), ".", func(rel string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return &damageError{path.Base(rel)}
			}
			return err
		}
		if d.IsDir() {
			return nil
		}
		i, there := slices.BinarySearchFunc(m.Files, rel, func(f File, path string) int { return strings.Compare(f.Path, path) })
		if !there {
			return &damageError{rel}
		}
		f := m.Files[i]
		switch {
		case f.Link == "" && !d.Type().IsRegular(), f.Link != "" && d.Type()&fs.ModeSymlink == 0:
			return &damageError{rel}
		case f.Link != "":
			if target, err := tree.Readlink(filepath.FromSlash(rel)); err != nil || target != f.Link {
				return &damageError{rel}
			}
		}
		found++
		return nil
	})
	if err == nil && found != len(m.Files) {
		return &damageError{"a missing file"}
	}
	return err
}

// list reads a tree: regular files and symbolic links, sorted. Directories are implied by
// the files in them.
func list(ctx context.Context, root *os.Root) ([]File, error) {
	var out []File
	err := fs.WalkDir(root.FS(), ".", func(rel string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := File{Path: rel, Mode: info.Mode().Perm(), Size: info.Size()}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			f.Link, err = root.Readlink(filepath.FromSlash(rel))
			f.Size = 0
		case !d.Type().IsRegular():
			err = fmt.Errorf("%s is not a file or directory", filepath.Join(root.Name(), filepath.FromSlash(rel)))
		}
		out = append(out, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers())
	for i := range out {
		if f := &out[i]; f.Link == "" {
			group.Go(func() (err error) {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				f.SHA256, err = hashOf(root, f.Path)
				return err
			})
		}
	}
	return out, group.Wait()
}

func hashOf(root *os.Root, path string) (string, error) {
	in, err := root.OpenFile(filepath.FromSlash(path), os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	return digest.Of(in)
}

// Walk calls do for every file of a tree in the manifest's order, with an open
// reader for regular files.
func (m *Manifest) Walk(tree string, do func(f File, r io.Reader) error) error {
	dir, err := owned.OpenDir(tree)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := m.sameNames(dir.Root()); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := walkOne(dir.Root(), f, do); err != nil {
			return err
		}
	}
	return nil
}

func walkOne(tree *os.Root, f File, do func(File, io.Reader) error) error {
	if f.Link != "" {
		return do(f, nil)
	}
	in, err := tree.OpenFile(filepath.FromSlash(f.Path), os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return do(f, in)
}

// Open returns the manifest of an entry and the path of its tree. The error wraps
// fs.ErrNotExist if the entry does not exist.
func (c Cache) Open(key string) (*Manifest, string, error) {
	entry, err := c.entry(key)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = entry.Close() }()
	m, err := readManifest(entry, key)
	if err != nil {
		return nil, "", err
	}
	m.Origin = readOrigin(entry)
	tree, err := openTree(entry)
	if err != nil {
		return nil, "", err
	}
	return m, tree.Path(), tree.Close()
}
