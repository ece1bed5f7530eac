package packaging

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
	"modwsgi/internal/scratch"
)

// IndexName is the file of an output directory that lists its artifacts. It also marks
// the directory as an output directory of modwsgi.
const IndexName = "index.json"

// SumsName is the file with the checksums of every other file, in the format of
// sha256sum(1). Its signatures have its name and a suffix.
const SumsName = "SHA256SUMS"

// ShardName is the file that tells which part of a release a directory has, if a machine
// made only that.
const ShardName = "shard.json"

// PagesDir is the directory of the package index.
const PagesDir = "simple"

// Index is the content of IndexName.
type Index struct {
	Schema    int        `json:"schema"` // 1
	Artifacts []Artifact `json:"artifacts"`
}

// Dist is a transaction over an output directory. Files are written to a hidden
// directory in it and appear under their names at Commit. A run that fails or is
// killed leaves the directory unchanged except for the hidden one, which the next run
// removes. Artifacts of earlier runs stay and are listed again.
//
// The methods that write artifacts (Scratch, Create, Add, Meta, Update) may be called
// concurrently; the rest of a Dist is not safe for concurrent use.
//
// The directory may be inside another user's. That user can then change its contents,
// but cannot make this user read or write anything else (owned.OutputDir): everything
// in it is accessed through its handle, links in it are not followed, and tools work
// elsewhere (Scratch).
type Dist struct {
	out       string
	dir       *owned.Dir // out
	part      *owned.Dir // in it; nil before it is made
	scratches []*scratch.Dir
	release   func()
	made      bool // the directory is new
	overwrite bool
	kept      []Artifact // of earlier runs
	mu        sync.Mutex // added and metas
	added     []Artifact
	metas     []string // further files, in the order in which they appear
	dropped   []string // files of earlier runs to remove
	done      bool
}

const (
	partPrefix = ".modwsgi-"
	partSuffix = ".part"
)

// Open begins a transaction. It creates the directory if necessary. It refuses a
// directory with files of other origin (class Usage), and one that another run uses
// (class Busy). With overwrite, artifacts of earlier runs may be replaced.
func Open(out string, overwrite bool) (*Dist, error) {
	return openDist(out, overwrite, flock.Now)
}

// OpenWaiting is Open, but waits for another run to end, until the limit or the end of
// ctx. waiting receives a text for the user who has to wait.
func OpenWaiting(ctx context.Context, out string, overwrite bool, limit time.Duration, waiting func(text string)) (*Dist, error) {
	return openDist(out, overwrite, func(o flock.Options) (*flock.Lock, error) {
		o.Limit, o.Waiting = limit, waiting
		return flock.Wait(ctx, o)
	})
}

func openDist(out string, overwrite bool, lock func(flock.Options) (*flock.Lock, error)) (_ *Dist, err error) {
	d := &Dist{out: out, overwrite: overwrite}
	if _, serr := os.Lstat(out); errors.Is(serr, fs.ErrNotExist) {
		d.made = true
	}
	held, err := d.lockOut(lock)
	if err != nil {
		return nil, err
	}
	d.release = func() { _ = held.Release() }
	defer func() {
		if err != nil {
			d.Abort()
		}
	}()
	if err := d.readEarlier(); err != nil {
		return nil, err
	}
	if d.part, err = makePart(d.dir); err != nil {
		return nil, fault.New(fault.Environment, fault.HintOr(err, outHint), "write to the output directory: %w", err)
	}
	return d, nil
}

// makePart makes the hidden directory. Its suffix marks it for removal.
func makePart(dir *owned.Dir) (*owned.Dir, error) {
	for {
		part, err := dir.MakeSub(partPrefix+strings.ToLower(rand.Text()[:12])+partSuffix, 0o700)
		if !errors.Is(err, fs.ErrExist) {
			return part, err
		}
	}
}

// maxIndex is the maximum size in bytes of an index.
const maxIndex = 64 << 20

// lockOut creates the output directory, opens it and locks it. Another run may have
// created it, and remove it when it ends.
func (d *Dist) lockOut(lock func(flock.Options) (*flock.Lock, error)) (held *flock.Lock, err error) {
	for range 20 {
		if d.dir, err = owned.MakeOutputDir(d.out); err != nil {
			return nil, fault.New(fault.Environment, fault.HintOr(err, outHint), "make the output directory: %w", err)
		}
		held, err = lock(flock.Options{
			Dir: d.dir.Path(), Busy: "writes to it",
			Hint: "wait until it ends, or name another directory with --out; --lock-timeout and " + flock.Variable + " set how long to wait",
		})
		if err == nil {
			return held, nil
		}
		_ = d.dir.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if fault.ClassOf(err) != fault.Busy {
		return nil, fault.New(fault.Environment, outHint, "lock the output directory: %w", err)
	}
	return nil, err
}

const outHint = "name a writable directory with --out"

// sumOf returns the digest and the size of a file.
func sumOf(dir *owned.Dir, name string) (sum string, size int64, err error) {
	f, err := dir.OpenAny(name)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// MaySign returns an error if another user can change the output directory: a
// signature of the checksums would vouch for that user's files.
func (d *Dist) MaySign() error {
	if !d.dir.Shared() {
		return nil
	}
	why := owned.Check(d.dir.Path())
	return fault.New(fault.Environment, fault.HintOr(why, "name a directory that only you and root can write to with --out"), "sign the artifacts: %w", why)
}

// Dir is the output directory.
func (d *Dist) Dir() string { return d.out }

// local converts the name of a file (slashes allowed) to the system's form.
func local(name string) (string, error) {
	file := filepath.FromSlash(name)
	if !filepath.IsLocal(file) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("write artifact: invalid name %q", name)
	}
	return file, nil
}

// Scratch makes a directory for files that are removed with the transaction. If
// another user could replace the output directory, it is among the temporary files,
// because tools open its files by name.
func (d *Dist) Scratch() (string, error) {
	if d.dir.Shared() {
		s, err := scratch.Make("", scratch.Package)
		if err != nil {
			return "", fault.New(fault.Environment, fault.HintOf(err), "create a temporary directory: %w", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.scratches = append(d.scratches, s)
		return s.Path(), nil
	}
	s, err := d.part.Temp(".scratch-")
	if err != nil {
		return "", err
	}
	return s.Path(), s.Close()
}

// Create starts the file of an artifact.
func (d *Dist) Create(name string) (*Output, error) {
	file, err := local(name)
	if err != nil {
		return nil, err
	}
	if err := d.part.Root().MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, writing(name, err)
	}
	f, err := d.part.Root().OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, writing(name, err)
	}
	return &Output{file: f, hash: sha256.New(), name: name}, nil
}

// Add adds a written file as an artifact, and fills in its size and digest.
func (d *Dist) Add(a *Artifact) error {
	file, err := local(a.Name)
	if err != nil {
		return err
	}
	if a.SHA256, a.Size, err = sumOf(d.part, file); err != nil {
		return writing(a.Name, err)
	}
	if err := d.mayReplace(a); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.ContainsFunc(d.added, func(o Artifact) bool { return o.Name == a.Name }) {
		return fmt.Errorf("add %s: duplicate name", a.Name)
	}
	d.added = append(d.added, *a)
	return nil
}

// mayReplace refuses an artifact whose name an earlier one with other contents has:
// two different files with the same version are a trap for users.
func (d *Dist) mayReplace(a *Artifact) error {
	present := filepath.Join(d.out, a.Name)
	if _, err := d.dir.Root().Lstat(a.Name); err != nil || d.overwrite {
		return nil
	}
	if sum, _, err := sumOf(d.dir, a.Name); err != nil || sum != a.SHA256 {
		cure := "pass --overwrite to replace it, or another directory with --out"
		if a.Kind == "wheel" {
			cure = "pass --overwrite to replace it, --build-number to distinguish them, or another directory with --out"
		}
		return fault.New(fault.Usage, cure,
			"%s already exists with different contents", present)
	}
	return nil
}

// Update replaces the record of an artifact of this run, by name.
func (d *Dist) Update(a Artifact) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.added, func(o Artifact) bool { return o.Name == a.Name }); i >= 0 {
		d.added[i] = a
	}
}

// Added lists the artifacts of this run.
func (d *Dist) Added() []Artifact { return slices.Clone(d.added) }

// Artifacts lists those of this run and of earlier ones, sorted by name.
func (d *Dist) Artifacts() []Artifact {
	all := slices.Clone(d.added)
	for _, k := range d.kept {
		if !slices.ContainsFunc(d.added, func(a Artifact) bool { return a.Name == k.Name }) {
			all = append(all, k)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// Open opens a file of this run or of an earlier one.
func (d *Dist) Open(name string) (*os.File, error) {
	f, err := openBelow(d.part, name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = openBelow(d.dir, name)
	}
	return f, err
}

// openBelow opens a file in a directory or below it, without following links.
func openBelow(dir *owned.Dir, name string) (*os.File, error) {
	first, rest, below := strings.Cut(name, "/")
	if !below {
		return dir.OpenAny(name)
	}
	sub, err := dir.Enter(first)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Close() }()
	return openBelow(sub, rest)
}

// Take moves a written file of another transaction into this one. Add or Meta must
// still be called for it.
func (d *Dist) Take(from *Dist, name string) error {
	file, err := local(name)
	if err != nil {
		return err
	}
	if !d.dir.Shared() && !from.dir.Shared() { // nobody else can replace the names
		to := filepath.Join(d.part.Path(), file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return writing(name, err)
		}
		return os.Rename(filepath.Join(from.part.Path(), file), to)
	}
	in, err := openBelow(from.part, name)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return d.Put(name, in)
}

// Put writes the contents of r to a file, as Create does.
func (d *Dist) Put(name string, r io.Reader) error {
	out, err := d.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

// Meta writes a file that describes artifacts, and replaces that of an earlier run.
// The files appear in the order of the calls, after the artifacts.
func (d *Dist) Meta(name string, data []byte) error { return d.PutMeta(name, bytes.NewReader(data)) }

// PutMeta is Meta for a file that is read.
func (d *Dist) PutMeta(name string, r io.Reader) error {
	err := d.Put(name, r)
	if err == nil {
		d.mu.Lock()
		d.metas = append(d.metas, name)
		d.mu.Unlock()
	}
	return err
}

// Drop removes a descriptive file at Commit; it need not exist.
func (d *Dist) Drop(name string) error {
	d.dropped = append(d.dropped, name)
	return nil
}

// Metas lists the names passed to Meta so far.
func (d *Dist) Metas() []string { return slices.Clone(d.metas) }

// Commit makes everything appear. If it fails, the directory is unchanged.
func (d *Dist) Commit() (err error) {
	defer d.Abort()
	var undo []func()
	defer func() {
		if err != nil {
			for _, u := range slices.Backward(undo) {
				u()
			}
		}
	}()
	// Both directories are accessed through the handle of the outer one.
	root, part := d.dir.Root(), filepath.Base(d.part.Path())
	old := filepath.Join(part, ".old")
	if err := root.Mkdir(old, 0o700); err != nil {
		return err
	}
	for i, name := range d.dropped {
		to, aside := filepath.FromSlash(name), filepath.Join(old, fmt.Sprint("dropped", i))
		if err := root.Rename(to, aside); err == nil {
			undo = append(undo, func() { _ = root.Rename(aside, to) })
		} else if !errors.Is(err, fs.ErrNotExist) {
			return writing(name, err)
		}
	}
	var names []string
	for _, a := range d.added {
		names = append(names, a.Name)
	}
	for i, name := range append(names, d.metas...) {
		to := filepath.FromSlash(name)
		back, err := place(root, filepath.Join(part, to), to, filepath.Join(old, fmt.Sprint(i)))
		if back != nil {
			undo = append(undo, back)
		}
		if err != nil {
			return writing(name, err)
		}
	}
	d.made = false
	return nil
}

// place gives a file its name and moves an existing file of that name aside. undo, if
// not nil, reverts it.
func place(root *os.Root, from, to, aside string) (undo func(), err error) {
	if err := root.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return nil, err
	}
	info, err := root.Lstat(to)
	switch {
	case err != nil:
		undo = func() { _ = root.Remove(to) }
	case !info.Mode().IsRegular():
		return nil, errors.New("something other than a file has that name")
	default:
		if err := root.Link(to, aside); err != nil { // so that the name always has a file
			if err := root.Rename(to, aside); err != nil {
				return nil, err
			}
		}
		undo = func() { _ = root.Rename(aside, to) }
	}
	return undo, root.Rename(from, to)
}

// Abort discards what was not committed. After Commit it does nothing.
func (d *Dist) Abort() {
	if d.done {
		return
	}
	d.done = true
	for _, s := range d.scratches {
		_ = s.Discard()
	}
	if d.part != nil {
		_ = d.part.Close()
		_ = d.dir.RemoveAll(filepath.Base(d.part.Path()))
	}
	d.release()
	_ = d.dir.Close()
	if !d.made {
		return
	}
	if above, err := owned.OutputDir(filepath.Dir(d.dir.Path())); err == nil {
		_ = above.Remove(filepath.Base(d.dir.Path())) // only if it is empty
		_ = above.Close()
	}
}
