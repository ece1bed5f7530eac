package packaging

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
)

// IndexName is the file of an output directory that lists its artifacts. It
// also marks the directory as one of ours.
const IndexName = "index.json"

// Index is the content of IndexName.
type Index struct {
	Schema    int        `json:"schema"` // 1
	Artifacts []Artifact `json:"artifacts"`
}

// Dist is a transaction over an output directory. What is written goes to a
// hidden directory in it and appears under its names at Commit; a run that fails
// or is killed leaves the directory as it was, but for the hidden one, which the
// next run removes. Artifacts of earlier runs stay and are listed again.
//
// What writes artifacts (Scratch, Path, Create, Add, Meta, Update) may be called
// side by side; the rest of a Dist is not safe for concurrent use.
type Dist struct {
	out       string
	part      string
	release   func()
	made      bool // the directory is new
	overwrite bool
	kept      []Artifact // of earlier runs
	mu        sync.Mutex // added and metas
	added     []Artifact
	metas     []string // further files, in the order in which they appear
	dropped   []string // files of earlier runs that go away
	done      bool
}

const (
	partPrefix = ".modwsgi-"
	partSuffix = ".part"
)

// Open begins a transaction. The directory is made if need be; one that holds
// files which are not ours is refused (class Usage), and so is one that another
// run works on (class Busy). With overwrite, artifacts of earlier runs may be
// replaced by others of the same name.
func Open(out string, overwrite bool) (*Dist, error) {
	return openDist(out, overwrite, flock.Now)
}

// OpenWaiting is Open that waits for the end of another run, until the limit or the
// end of ctx. waiting gets a text for who has to wait.
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
	held, err := lockOut(out, lock)
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
	if d.part, err = os.MkdirTemp(out, partPrefix+"*"+partSuffix); err != nil {
		return nil, fault.New(fault.Environment, "name a directory that can be written with --out", "write to the output directory: %w", err)
	}
	return d, nil
}

// lockOut makes the output directory and locks it. Another run may have made it, and
// take it away at its end.
func lockOut(out string, lock func(flock.Options) (*flock.Lock, error)) (held *flock.Lock, err error) {
	for range 20 {
		if err := os.MkdirAll(out, 0o755); err != nil {
			return nil, fault.New(fault.Environment, "name a directory that can be written with --out", "make the output directory: %w", err)
		}
		held, err = lock(flock.Options{
			Dir: out, Busy: "writes to it",
			Hint: "wait for its end, or name another directory with --out; --lock-timeout and " + flock.Variable + " set how long is waited",
		})
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil && fault.ClassOf(err) != fault.Busy {
		return nil, fault.New(fault.Environment, "name a directory that can be written with --out", "lock the output directory: %w", err)
	}
	return held, err
}

// readEarlier removes what killed runs left, and lists what earlier runs made.
func (d *Dist) readEarlier() error {
	entries, err := os.ReadDir(d.out)
	if err != nil {
		return err
	}
	foreign := ""
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), partPrefix) && strings.HasSuffix(e.Name(), partSuffix) {
			if err := os.RemoveAll(filepath.Join(d.out, e.Name())); err != nil {
				return err
			}
			continue
		}
		if foreign == "" && e.Name() != flock.Name {
			foreign = e.Name()
		}
	}
	data, err := os.ReadFile(filepath.Join(d.out, IndexName))
	if errors.Is(err, fs.ErrNotExist) {
		if foreign != "" {
			return fault.New(fault.Usage, "name an empty or a new directory with --out",
				"%s is no directory of artifacts: it holds %q and no %s", d.out, foreign, IndexName)
		}
		return nil
	}
	if err != nil {
		return err
	}
	var index Index
	if err := json.Unmarshal(data, &index); err != nil || index.Schema != 1 {
		return fault.New(fault.Usage, "name an empty or a new directory with --out", "%s is not an index of artifacts", filepath.Join(d.out, IndexName))
	}
	for _, a := range index.Artifacts {
		if a.Name == "" || filepath.Base(a.Name) != a.Name {
			return fault.New(fault.Usage, "name an empty or a new directory with --out", "%s lists %q", filepath.Join(d.out, IndexName), a.Name)
		}
		sum, err := digest.File(filepath.Join(d.out, a.Name))
		if err == nil && sum != a.SHA256 {
			err = errors.New("it is not as an earlier run made it")
		}
		if err != nil {
			return fault.New(fault.Environment, "restore it, or name a new directory with --out", "keep %s: %w", filepath.Join(d.out, a.Name), err)
		}
		d.kept = append(d.kept, a)
	}
	return nil
}

// Dir is the output directory.
func (d *Dist) Dir() string { return d.out }

// Path returns where a file of that name (slashes allowed) is to be written by a
// tool that writes by itself; its directory is there. Add or Meta takes it in.
func (d *Dist) Path(name string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("write artifact: %q is not a name", name)
	}
	path := filepath.Join(d.part, filepath.FromSlash(name))
	return path, os.MkdirAll(filepath.Dir(path), 0o755)
}

// Scratch makes a directory for files that go away with the transaction.
func (d *Dist) Scratch() (string, error) { return os.MkdirTemp(d.part, ".scratch-*") }

// Output is a file that is being written. Close must be called, and its error
// looked at.
type Output struct {
	file *os.File
	hash hash.Hash
	size int64
	name string
}

// Create starts the file of an artifact.
func (d *Dist) Create(name string) (*Output, error) {
	path, err := d.Path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, writing(name, err)
	}
	return &Output{file: f, hash: sha256.New(), name: name}, nil
}

func (o *Output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	o.hash.Write(b[:n])
	o.size += int64(n)
	if err != nil {
		err = writing(o.name, err)
	}
	return n, err
}

// Close makes the content durable.
func (o *Output) Close() error {
	err := o.file.Chmod(0o644)
	if serr := o.file.Sync(); err == nil {
		err = serr
	}
	if cerr := o.file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return writing(o.name, err)
	}
	return nil
}

// SHA256 is the digest of what was written so far, in lower case hex.
func (o *Output) SHA256() string { return hex.EncodeToString(o.hash.Sum(nil)) }

// Size is the number of bytes written so far.
func (o *Output) Size() int64 { return o.size }

func writing(name string, err error) error {
	return fault.New(fault.Environment, "see that the output directory is writable and its file system has room", "write %s: %w", name, err)
}

// Add takes a written file as an artifact; its size and digest are filled in.
func (d *Dist) Add(a *Artifact) error {
	path, err := d.Path(a.Name)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return writing(a.Name, err)
	}
	a.Size = info.Size()
	if a.SHA256, err = digest.File(path); err != nil {
		return err
	}
	if err := d.mayReplace(a); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.ContainsFunc(d.added, func(o Artifact) bool { return o.Name == a.Name }) {
		return fmt.Errorf("add %s: it is there twice", a.Name)
	}
	d.added = append(d.added, *a)
	return nil
}

// mayReplace refuses an artifact of a name that an earlier one has with another
// content: two files of one version that differ are a trap for who installs.
func (d *Dist) mayReplace(a *Artifact) error {
	present := filepath.Join(d.out, a.Name)
	if _, err := os.Lstat(present); err != nil || d.overwrite {
		return nil
	}
	if sum, err := digest.File(present); err != nil || sum != a.SHA256 {
		cure := "give --overwrite to replace it, or another directory with --out"
		if a.Kind == "wheel" {
			cure = "give --overwrite to replace it, --build-number to tell them apart, or another directory with --out"
		}
		return fault.New(fault.Usage, cure,
			"%s is there already, with another content", present)
	}
	return nil
}

// Update replaces what is recorded of an artifact of this run, by its name.
func (d *Dist) Update(a Artifact) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.added, func(o Artifact) bool { return o.Name == a.Name }); i >= 0 {
		d.added[i] = a
	}
}

// Added are the artifacts of this run.
func (d *Dist) Added() []Artifact { return slices.Clone(d.added) }

// Artifacts are those of this run and of earlier ones, sorted by name.
func (d *Dist) Artifacts() []Artifact {
	all := slices.Clone(d.added)
	for _, k := range d.kept {
		if !slices.ContainsFunc(d.added, func(a Artifact) bool { return a.Name == k.Name }) {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b Artifact) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Open opens a file of this run or of an earlier one.
func (d *Dist) Open(name string) (*os.File, error) {
	f, err := os.Open(filepath.Join(d.part, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(filepath.Join(d.out, filepath.FromSlash(name)))
	}
	return f, err
}

// Meta writes a file that describes artifacts; one of an earlier run is
// replaced. The files appear in the order of these calls, after the artifacts.
func (d *Dist) Meta(name string, data []byte) error {
	o, err := d.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(o, bytes.NewReader(data))
	if cerr := o.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		d.mu.Lock()
		d.metas = append(d.metas, name)
		d.mu.Unlock()
	}
	return err
}

// Drop takes a file that described artifacts away; it need not be there.
func (d *Dist) Drop(name string) { d.dropped = append(d.dropped, name) }

// Metas are the names given to Meta so far.
func (d *Dist) Metas() []string { return slices.Clone(d.metas) }

// Commit makes everything appear. On an error the directory is as it was.
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
	old, err := os.MkdirTemp(d.part, ".old-*")
	if err != nil {
		return err
	}
	for i, name := range d.dropped {
		to, aside := filepath.Join(d.out, filepath.FromSlash(name)), filepath.Join(old, fmt.Sprint("dropped", i))
		if err := os.Rename(to, aside); err == nil {
			undo = append(undo, func() { _ = os.Rename(aside, to) })
		} else if !errors.Is(err, fs.ErrNotExist) {
			return writing(name, err)
		}
	}
	var names []string
	for _, a := range d.added {
		names = append(names, a.Name)
	}
	for i, name := range append(names, d.metas...) {
		from, to := filepath.Join(d.part, filepath.FromSlash(name)), filepath.Join(d.out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return writing(name, err)
		}
		if info, lerr := os.Lstat(to); lerr == nil {
			if !info.Mode().IsRegular() {
				return writing(name, errors.New("there is something else than a file of that name"))
			}
			aside := filepath.Join(old, fmt.Sprint(i))
			if err := os.Link(to, aside); err != nil { // so that the name is never without a file
				if err := os.Rename(to, aside); err != nil {
					return writing(name, err)
				}
			}
			undo = append(undo, func() { _ = os.Rename(aside, to) })
		} else {
			undo = append(undo, func() { _ = os.Remove(to) })
		}
		if err := os.Rename(from, to); err != nil {
			return writing(name, err)
		}
	}
	d.made = false
	return nil
}

// Abort drops what was not committed. After Commit it does nothing.
func (d *Dist) Abort() {
	if d.done {
		return
	}
	d.done = true
	if d.part != "" {
		_ = os.RemoveAll(d.part)
	}
	d.release()
	if d.made {
		_ = os.Remove(d.out) // only where it is empty
	}
}

// CopyFile copies a regular file to a new one of that mode, whatever the umask.
func CopyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return writing(filepath.Base(to), err)
	}
	_, err = io.Copy(out, in)
	if merr := out.Chmod(mode); err == nil {
		err = merr
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return writing(filepath.Base(to), err)
	}
	return nil
}
