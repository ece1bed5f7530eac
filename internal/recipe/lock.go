package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// LockSchema is the version of the lock file's format.
const LockSchema = 1

const lockHeader = `# modwsgi.lock: the source archives that modwsgi built from, and how their hashes
# came to be known. Written by modwsgi; keep it under version control.
# With --locked, modwsgi takes exactly these archives or fails.
`

// Locked is one component's entry in the lock file.
type Locked struct {
	Component string   `toml:"component"`
	Version   string   `toml:"version"`
	File      string   `toml:"file"`
	Size      int64    `toml:"size,omitempty"` // bytes; 0 if unknown
	SHA256    string   `toml:"sha256"`
	Trust     Trust    `toml:"trust"`
	SignedBy  string   `toml:"signed_by,omitempty"` // fingerprint, upper case hex
	URLs      []string `toml:"urls,omitempty"`      // without credentials
}

// Archive returns the entry as an archive that can be fetched: the set's own if that has
// the same hash, otherwise one with only the data of the entry.
func (e Locked) Archive(s *Set) Archive {
	for _, a := range s.archives[e.Component] { // a version may have several archives
		if a.Version == e.Version && a.SHA256 == e.SHA256 {
			return a
		}
	}
	return Archive{
		Component: e.Component, Version: e.Version, File: e.File, Size: e.Size,
		SHA256: e.SHA256, URLs: slices.Clone(e.URLs), SignedBy: e.SignedBy, Trust: FromLock,
	}
}

// key is what no two entries have in common. One build may need the headers of several
// Pythons, but never two versions of another component.
func (e Locked) key() string {
	if e.Component == "cpython" {
		parts := strings.SplitN(e.Version, ".", 3)
		return e.Component + " " + strings.Join(parts[:min(2, len(parts))], ".")
	}
	return e.Component
}

// Lock is the content of a modwsgi.lock file: one entry per component, and of CPython one
// per minor version. The zero value is an empty one. It is not safe for concurrent use.
type Lock struct {
	entries  []Locked
	sysroots []LockedSysroot
}

// maxLock limits a lock file: 1 MiB is thousands of archives.
const maxLock = 1 << 20

// ReadLock reads a lock file. The error wraps fs.ErrNotExist if it does not exist.
func ReadLock(path string) (*Lock, error) {
	data, err := owned.ReadInput(path, maxLock)
	if err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	l, err := parseLock(string(data))
	if err == nil {
		err = l.check(Catalogue())
	}
	if err != nil {
		return nil, fault.New(fault.Usage, restoreLock, "read %s: %w", path, err)
	}
	return l, nil
}

const restoreLock = "restore it from version control, or remove it (or the entry) and run modwsgi again without --locked"

// check compares all entries with the catalogue, including those that are not needed. A
// version in the catalogue must have its hash, whatever the file is called and wherever
// it is listed. A hash in the catalogue must be of its version. And a different spelling
// does not make another version.
func (l *Lock) check(set *Set) error {
	for _, e := range l.Entries() {
		if len(set.archives[e.Component]) == 0 {
			return fmt.Errorf("entry %s %s: this release of modwsgi knows no component %q", e.Component, e.Version, e.Component)
		}
		if err := set.CheckVersion(e.Component, e.Version); err != nil {
			return fmt.Errorf("entry %s %s: %w (%s)", e.Component, e.Version, err, fault.HintOf(err))
		}
		if err := set.Contradicts(e.Component, e.Version, e.SHA256); err != nil {
			return fmt.Errorf("entry %s %s (%s): %w", e.Component, e.Version, e.File, err)
		}
	}
	return nil
}

func parseLock(text string) (*Lock, error) {
	var file struct {
		Schema  int             `toml:"schema"`
		Archive []Locked        `toml:"archive"`
		Sysroot []LockedSysroot `toml:"sysroot"`
	}
	if _, err := toml.Decode(text, &file); err != nil {
		return nil, err
	}
	if file.Schema != LockSchema {
		return nil, fmt.Errorf("it has schema %d, this program knows %d", file.Schema, LockSchema)
	}
	l := &Lock{}
	for _, e := range file.Archive {
		if err := e.Archive(&Set{}).check(); err != nil {
			return nil, fmt.Errorf("%s %s: %w", e.Component, e.Version, err)
		}
		if e.Trust.rank() == 0 {
			return nil, fmt.Errorf("%s %s: unknown trust %q", e.Component, e.Version, e.Trust)
		}
		if slices.ContainsFunc(l.entries, func(old Locked) bool { return old.key() == e.key() }) {
			return nil, fmt.Errorf("duplicate entry for %s", e.key())
		}
		l.entries = append(l.entries, e)
	}
	for _, s := range file.Sysroot {
		if err := s.check(); err != nil {
			return nil, err
		}
		if _, dup := l.FindSysroot(s.Target); dup {
			return nil, fmt.Errorf("duplicate sysroot for %s", s.Target)
		}
		l.PutSysroot(s)
	}
	return l, nil
}

// Find returns the entry of a component.
func (l *Lock) Find(component string) (Locked, bool) {
	for _, e := range l.entries {
		if e.Component == component {
			return e, true
		}
	}
	return Locked{}, false
}

// FindFor returns the entry of a component that a constraint is about: of several, the one
// that satisfies it, and a single one in any case.
func (l *Lock) FindFor(component, constraint string) (Locked, bool) {
	first, found := l.Find(component)
	if !found || first.key() == component {
		return first, found
	}
	for _, e := range l.entries {
		if ok, err := Satisfies(constraint, e.Version); e.Component == component && err == nil && ok {
			return e, true
		}
	}
	return Locked{}, false
}

// Entries returns all entries, sorted by component and version.
func (l *Lock) Entries() []Locked {
	out := slices.Clone(l.entries)
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].Component != out[j].Component {
			return out[i].Component < out[j].Component
		}
		return compare(out[i].Version, out[j].Version) < 0
	})
	return out
}

// Put replaces the entry of the archive's component. The signer is the fingerprint of the
// key whose signature was checked, or "".
func (l *Lock) Put(a Archive, trust Trust, signer string) {
	e := Locked{
		Component: a.Component, Version: a.Version, File: a.File, Size: a.Size,
		SHA256: a.SHA256, Trust: trust, SignedBy: signer,
	}
	if e.SignedBy == "" {
		e.SignedBy = a.SignedBy
	}
	same := func(old Locked) bool { return old.key() == e.key() }
	if k := slices.IndexFunc(l.entries, same); k >= 0 && trust == FromLock && l.entries[k].SHA256 == a.SHA256 {
		e.Trust, e.SignedBy = l.entries[k].Trust, l.entries[k].SignedBy // earlier proof
	}
	for _, raw := range a.URLs {
		if u, err := url.Parse(raw); err == nil && u.Scheme == "https" {
			u.User = nil
			e.URLs = append(e.URLs, u.String())
		}
	}
	l.entries = slices.DeleteFunc(l.entries, same)
	l.entries = append(l.entries, e)
}

// Encode returns the file's content: the same bytes for the same entries in any order.
func (l *Lock) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nschema = %d\n", lockHeader, LockSchema)
	for _, e := range l.Entries() {
		b.WriteString("\n[[archive]]\n")
		enc := toml.NewEncoder(&b)
		if err := enc.Encode(e); err != nil {
			panic(err) // strings and integers always encode
		}
	}
	l.encodeSysroots(&b)
	return b.Bytes()
}

// Write writes the lock file if its content changes; an equal file keeps its time.
// changed reports which.
func (l *Lock) Write(path string) (changed bool, err error) {
	data := l.Encode()
	old, err := owned.ReadInput(path, maxLock)
	if err == nil && bytes.Equal(old, data) {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read lock file: %w", err)
	}
	if err := atomicfile.Write(path, data, 0o644); err != nil {
		return false, fmt.Errorf("write lock file: %w", err)
	}
	return true, nil
}
