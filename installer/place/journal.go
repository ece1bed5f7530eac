package place

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"

	"modwsgi/internal/fault"
)

const (
	journalName   = "journal.json"
	journalSchema = 1
	journalLimit  = 64 << 20
)

// The states of a journal. moving and undoing are rolled back; in the others the
// environment is as before (staging, undone) or complete (placed).
const (
	staging = "staging" // the hidden directories are being filled
	moving  = "moving"  // any number of operations may be done
	placed  = "placed"  // all of them are
	undoing = "undoing" // any number of them may be reverted
	undone  = "undone"  // all of them are
)

// journal is the information that Recover needs. Paths are relative to the anchor, with
// slashes.
type journal struct {
	Schema int      `json:"schema"`
	Label  string   `json:"label"`
	State  string   `json:"state"`
	Sides  []string `json:"sides,omitempty"` // hidden directories outside the anchor
	Made   []string `json:"made,omitempty"`  // directories created for targets, outer ones first
	Ops    []op     `json:"ops"`
	// Home is the inode of the hidden directory, by which a copy of it is recognized.
	Home uint64 `json:"home_inode,omitempty"`
	// Merging is set before a directory is moved file by file.
	Merging bool `json:"merging,omitempty"`
}

// The kinds of operations.
const (
	put  = "put"  // Staged becomes Target, which does not exist
	take = "take" // Target becomes Saved
	swap = "swap" // both
)

// op is one step of the change.
type op struct {
	Kind   string `json:"op"`
	Target string `json:"target"`
	Staged string `json:"staged,omitempty"`
	Saved  string `json:"saved,omitempty"`
	New    *mark  `json:"new,omitempty"` // the staged file
	Old    *mark  `json:"old,omitempty"` // the replaced file
}

// mark distinguishes a staged file from the one that it replaces: after an exchange the
// names alone do not.
type mark struct {
	Inode uint64 `json:"inode"` // 0 on systems without inodes
	Mtime int64  `json:"mtime_ns"`
	Size  int64  `json:"size"`
	Mode  uint32 `json:"mode"`
}

// Hidden directories of changes, and those that Writable makes and removes at once. The
// latter are made without a lock: a recovery of another run may remove them first, and
// must not take them for a change.
var (
	hidden = regexp.MustCompile(`^\.modwsgi-[0-9a-f]{16}$`)
	probed = regexp.MustCompile(`^\.modwsgi-probe-[0-9a-f]{16}$`)
)

// IsHidden reports whether a name is that of a change's hidden directory.
func IsHidden(name string) bool { return hidden.MatchString(name) }

func hiddenName() string { return ".modwsgi-" + randomPart() }

func probeName() string { return ".modwsgi-probe-" + randomPart() }

func randomPart() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// preparedName is the name of the journal for a later state, written in advance.
func preparedName(state string) string { return "next-" + state + ".json" }

var preparedForm = regexp.MustCompile(`^next-(placed|undoing|undone)\.json$`)

// prepare writes the journals of all later states.
func (t *Transaction) prepare() error {
	home := t.scope.homes[t.dir]
	for _, state := range []string{placed, undoing, undone} {
		j := t.j
		j.State = state
		data, err := j.encode()
		if err != nil {
			return err
		}
		if err := home.WriteFile(preparedName(state), data, 0o600); err != nil {
			return changeError("write", filepath.Join(t.dir, preparedName(state)), err)
		}
	}
	return nil
}

// advance records another state by renaming a prepared journal, which needs no space.
// Only a change begun by another version of this package lacks one.
func (t *Transaction) advance(state string) error {
	t.j.State = state
	home := t.scope.homes[t.dir]
	info, err := home.Lstat(preparedName(state))
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return t.save()
	}
	next, now := spot{dir: home, name: preparedName(state)}, spot{dir: home, name: journalName}
	if err := again(func() error { return rename(next, now) }); err != nil {
		return changeError("write", filepath.Join(t.dir, journalName), err)
	}
	syncDir(spot{dir: home, name: "."})
	return nil
}

func (j journal) encode() ([]byte, error) {
	j.Schema = journalSchema
	data, err := json.MarshalIndent(j, "", " ")
	return append(data, '\n'), err
}

func (t *Transaction) save() error {
	data, err := t.j.encode()
	if err != nil {
		return err
	}
	home := t.scope.homes[t.dir]
	if err := again(func() error { return home.WriteFile(journalName, data, 0o600) }); err != nil {
		return changeError("write", filepath.Join(t.dir, journalName), err)
	}
	return nil
}

// load reads the journal of a hidden directory; nil if it has none. doubt is why the
// journal is not trusted. A trusted journal that cannot be read is an error.
func (t *Transaction) load() (j *journal, doubt, err error) {
	data, err := t.scope.homes[t.dir].ReadFile(journalName, journalLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, err, nil
	}
	j = new(journal)
	err = json.Unmarshal(data, j)
	if err == nil && j.Schema != journalSchema {
		err = fmt.Errorf("it has schema %d, this program knows %d", j.Schema, journalSchema)
	}
	if err != nil {
		return nil, nil, fault.New(fault.Place,
			"an install was interrupted and its journal cannot be read: check that directory, remove it, and install again",
			"read %s: %w", filepath.Join(t.dir, journalName), err)
	}
	return j, nil, nil
}

func (t *Transaction) path(rel string) string {
	if filepath.IsAbs(rel) { // another drive on Windows
		return rel
	}
	return filepath.Join(t.locked.anchor, filepath.FromSlash(rel))
}

func (t *Transaction) paths(rel []string) []string {
	abs := make([]string, len(rel))
	for i, r := range rel {
		abs[i] = t.path(r)
	}
	return abs
}
