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
	"sync"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/flock"

	"modwsgi/internal/digest"
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
	if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
		return false, errors.Join(fmt.Errorf("build cache: %s is there already", dest), err)
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
	err = os.Rename(entry, filepath.Join(trash, "entry"))
	if errors.Is(err, fs.ErrNotExist) { // somebody else was faster
		err = nil
	}
	return errors.Join(err, os.RemoveAll(trash))
}

// temporary makes a directory for an entry under way. It is marked as ours, so
// that sweep can tell it from one whose process was killed.
func (c Cache) temporary() (dir string, release func(), err error) {
	for {
		if dir, err = os.MkdirTemp(c.Dir, ".store-"); err != nil {
			return "", nil, err
		}
		release, ok, err := flock.Try(dir)
		if ok {
			if _, err := os.Lstat(dir); err == nil {
				return dir, sync.OnceFunc(release), nil
			}
			release() // a sweep had it before us
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
}

// sweep removes what killed processes left. What cannot be removed stays.
func (c Cache) sweep() {
	entries, _ := os.ReadDir(c.Dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".store-") && !strings.HasPrefix(e.Name(), ".drop-") {
			continue
		}
		dir := filepath.Join(c.Dir, e.Name())
		if release, ok, _ := flock.Try(dir); ok {
			_ = os.RemoveAll(dir)
			release()
		}
	}
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
	c.sweep()
	temp, release, err := c.temporary()
	if err != nil {
		return err
	}
	defer func() { release(); _ = os.RemoveAll(temp) }()
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
	release() // Windows renames nothing that is open
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
			f.SHA256, err = digest.File(path)
		default:
			err = fmt.Errorf("%s is neither a file nor a directory", path)
		}
		out = append(out, f)
		return err
	})
	slices.SortFunc(out, func(a, b file) int { return strings.Compare(a.Path, b.Path) })
	return out, err
}

// damageError is a file of an entry that is not what the manifest says.
type damageError struct{ path string }

func (d *damageError) Error() string { return "damaged: " + d.path }

// copyFiles copies what a manifest lists and checks each hash on the way.
func copyFiles(ctx context.Context, files []file, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(to, 0o755); err != nil { // whatever the umask is: a server reads there as another user
		return err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.NumCPU()))
	made := map[string]bool{".": true}
	for _, f := range files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return errors.Join(&damageError{f.Path}, group.Wait())
		}
		if err := makeDir(root, filepath.Dir(filepath.FromSlash(f.Path)), made); err != nil {
			return errors.Join(err, group.Wait())
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

// makeDir makes a directory and those above it, readable for everybody.
func makeDir(root *os.Root, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := makeDir(root, filepath.Dir(dir), made); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	made[dir] = true
	return root.Chmod(dir, 0o755)
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
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(&damageError{f.Path}, err)
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.Mode.Perm()|0o200)
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
	return root.Chmod(name, f.Mode.Perm())
}
