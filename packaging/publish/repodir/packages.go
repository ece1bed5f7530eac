package repodir

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"modwsgi/packaging"
	"modwsgi/packaging/publish"
)

// What apt and dnf repositories have in common: packages are added to a directory, and
// then one file switches readers to the new indexes.

// Repository is the common part of a [publish.Destination] in a directory.
type Repository struct {
	Dir Options
	Dry bool // read only, without a lock
	Set *publish.Set
	*Tree
}

// Open opens the directory, and locks it unless the run is dry.
func (r *Repository) Open(ctx context.Context) (err error) {
	if r.Dry {
		r.Tree, err = Read(r.Dir)
	} else {
		r.Tree, err = Write(ctx, r.Dir)
	}
	return err
}

// Close implements [publish.Destination].
func (r *Repository) Close() {
	if r.Tree != nil {
		r.Tree.Close()
		r.Tree = nil
	}
}

// Address implements [publish.Destination].
func (r *Repository) Address() string { return r.Dir.Path }

// Package is an artifact to publish.
type Package struct {
	Artifact packaging.Artifact
	Where    string // its name in the repository
	State    publish.State
	Reason   string // of a conflict
	There    bool   // the file is in the repository
}

func (p *Package) change() publish.Change {
	return publish.Change{Name: p.Artifact.Name, State: p.State, Where: p.Where, Size: p.Artifact.Size, SHA256: p.Artifact.SHA256, Reason: p.Reason}
}

// Compare sets the state of each package, with examine, which also returns what identifies
// the package: two of the same are a conflict. changed reports whether one is to be added.
func (r *Repository) Compare(all []*Package, examine func(i int) (key string, err error)) (changes []publish.Change, changed bool, err error) {
	seen := map[string]bool{}
	for i, p := range all {
		key, err := examine(i)
		if err != nil {
			return nil, false, err
		}
		if seen[key] {
			p.State, p.Reason = publish.Conflict, "another artifact is the same package, "+key
		}
		seen[key] = true
		changed = changed || p.State == publish.Add
		changes = append(changes, p.change())
	}
	return changes, changed, nil
}

// Add copies the packages that are to be added, and calls added for each when its file is
// there.
func (r *Repository) Add(ctx context.Context, all []*Package, added func(i int), done func(publish.Change)) error {
	for i, p := range all {
		if p.State != publish.Add {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.add(p); err != nil {
			return err
		}
		added(i)
		done(p.change())
	}
	return nil
}

func (r *Repository) add(p *Package) error {
	if p.There {
		return nil
	}
	if err := r.Sweep(path.Dir(p.Where), nil); err != nil {
		return err
	}
	f, err := r.Set.Open(p.Artifact.Name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, _, err = r.Put(p.Where, f.Checked())
	return err
}

// PutData is [Tree.Put] for contents in memory.
func (t *Tree) PutData(name string, data []byte) error {
	_, _, err := t.Put(name, bytes.NewReader(data))
	return err
}

// keepOld is how long the previous indexes stay, for readers that have the file that names
// them.
const keepOld = 24 * time.Hour

// SweepOld removes from a directory of indexes what killed runs left, and the indexes that
// no reader needs any more: those with a name of that form, except for current ones.
func (t *Tree) SweepOld(name string, form *regexp.Regexp, current map[string]bool, now time.Time) error {
	return t.Sweep(name, func(e fs.DirEntry) bool {
		info, err := e.Info()
		return err == nil && form.MatchString(e.Name()) && !current[e.Name()] && now.Sub(info.ModTime()) > keepOld
	})
}

// Decompress reads what a file name's suffix stands for; "" is not compressed.
func Decompress(r io.Reader, suffix string) (io.ReadCloser, error) {
	switch suffix {
	case "":
		return io.NopCloser(r), nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		x, err := xz.NewReader(r)
		return io.NopCloser(x), err
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("its compression %q is unknown", suffix)
}

// Expand is [Decompress] for an index of at most limit bytes.
func Expand(data []byte, suffix string, limit int64) ([]byte, error) {
	in, err := Decompress(bytes.NewReader(data), suffix)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	out, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(out)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return out, err
}
