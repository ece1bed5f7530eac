// Package buildcache keeps finished trees by the hash of everything that went
// into them, so that nothing is compiled twice. An entry is verified file by
// file when it is restored; a damaged one is dropped. It does not know what is
// in a tree, and it never decides what a key is made of.
package buildcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Cache is a directory of entries. It may be used by several processes at once
// and survives their end at any moment.
type Cache struct{ Dir string }

// manifest describes an entry; it is written last.
type manifest struct {
	Schema int    `json:"schema"`
	Files  []file `json:"files"` // sorted by path
}

type file struct {
	Path   string      `json:"path"` // with slashes
	Mode   fs.FileMode `json:"mode"` // permission bits
	Size   int64       `json:"size"`
	SHA256 string      `json:"sha256,omitempty"`
	Link   string      `json:"link,omitempty"` // target, for a symbolic link
}

const schema = 1

var keyForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (c Cache) entry(key string) (string, error) {
	if !keyForm.MatchString(key) {
		return "", fmt.Errorf("build cache: %q is not a key", key)
	}
	return filepath.Join(c.Dir, key[:2], key), nil
}

// Restore copies the tree of a key to dest, which must not exist, and reports
// whether there was one. A damaged entry is removed and counts as none. On an
// error nothing is left at dest.
func (c Cache) Restore(ctx context.Context, key, dest string) (bool, error) {
	entry, err := c.entry(key)
	if err != nil {
		return false, err
	}
	data, err := os.ReadFile(filepath.Join(entry, "manifest.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil || m.Schema != schema {
		return false, c.drop(entry)
	}
	err = copyFiles(ctx, m.Files, filepath.Join(entry, "tree"), dest)
	if err == nil {
		return true, nil
	}
	_ = os.RemoveAll(dest)
	var damage *damageError
	if errors.As(err, &damage) {
		return false, c.drop(entry)
	}
	return false, err
}

// drop removes an entry, out of everybody's sight at once.
func (c Cache) drop(entry string) error {
	trash, err := os.MkdirTemp(c.Dir, ".drop-")
	if err != nil {
		return err
	}
	if err := os.Rename(entry, filepath.Join(trash, "entry")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(trash)
}

// Store keeps a copy of the tree under a key. A tree that is there already stays.
func (c Cache) Store(ctx context.Context, key, tree string) error {
	entry, err := c.entry(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(entry), 0o700); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(c.Dir, ".store-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	files, err := list(tree)
	if err != nil {
		return err
	}
	if err := copyFiles(ctx, files, tree, filepath.Join(temp, "tree")); err != nil {
		return err
	}
	data, err := json.Marshal(manifest{Schema: schema, Files: files})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(temp, "manifest.json"), data, 0o600); err != nil {
		return err
	}
	if err := os.Rename(temp, entry); err != nil && !errors.Is(err, fs.ErrExist) && !isNotEmpty(entry) {
		return err
	}
	return nil
}

func isNotEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// list reads a tree: regular files and symbolic links, sorted; directories come
// back as the parents of what is in them.
func list(root string) ([]file, error) {
	var out []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := file{Path: filepath.ToSlash(rel), Mode: info.Mode().Perm(), Size: info.Size()}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			f.Link, err = os.Readlink(path)
			f.Size = 0
		case d.Type().IsRegular():
			f.SHA256, err = hash(path)
		default:
			err = fmt.Errorf("%s is neither a file nor a directory", path)
		}
		out = append(out, f)
		return err
	})
	slices.SortFunc(out, func(a, b file) int { return strings.Compare(a.Path, b.Path) })
	return out, err
}

func hash(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// damageError is a file of an entry that is not what the manifest says.
type damageError struct{ path string }

func (d *damageError) Error() string { return "damaged: " + d.path }

// copyFiles copies what a manifest lists and checks each hash on the way.
func copyFiles(ctx context.Context, files []file, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.NumCPU()))
	for _, f := range files {
		if dir := filepath.Dir(filepath.FromSlash(f.Path)); dir != "." {
			if err := root.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return copyFile(root, f, filepath.Join(from, filepath.FromSlash(f.Path)))
		})
	}
	return group.Wait()
}

func copyFile(root *os.Root, f file, from string) error {
	name := filepath.FromSlash(f.Path)
	if f.Link != "" {
		return root.Symlink(f.Link, name)
	}
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return &damageError{f.Path}
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.Mode|0o200)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if n != f.Size || hex.EncodeToString(h.Sum(nil)) != f.SHA256 {
		return &damageError{f.Path}
	}
	return root.Chmod(name, f.Mode)
}
