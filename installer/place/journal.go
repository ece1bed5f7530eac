package place

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/fault"
)

const (
	journalName   = "journal.json"
	journalSchema = 1
)

// The states of a journal. moving and undoing are taken back; in the others the
// environment is as before (staging, undone) or complete (placed).
const (
	staging = "staging" // the hidden directories are being filled
	moving  = "moving"  // any number of operations may have been done
	placed  = "placed"  // all of them have
	undoing = "undoing" // any number of them may have been taken back
	undone  = "undone"  // all of them have
)

// journal is what Recover needs to know. Paths are relative to the anchor,
// with slashes.
type journal struct {
	Schema int      `json:"schema"`
	Label  string   `json:"label"`
	State  string   `json:"state"`
	Sides  []string `json:"sides,omitempty"` // hidden directories outside of the anchor
	Made   []string `json:"made,omitempty"`  // directories made for targets, outer ones first
	Ops    []op     `json:"ops"`
}

// The kinds of operations.
const (
	put  = "put"  // Staged becomes Target, which is not there
	take = "take" // Target becomes Saved
	swap = "swap" // both
)

// op is one step of the change.
type op struct {
	Kind   string `json:"op"`
	Target string `json:"target"`
	Staged string `json:"staged,omitempty"`
	Saved  string `json:"saved,omitempty"`
	New    *mark  `json:"new,omitempty"` // of what is staged, for swap
}

// mark tells a staged thing from the one that it replaces: after an exchange
// the names alone do not.
type mark struct {
	Inode uint64 `json:"inode"` // 0 where there are none
	Mtime int64  `json:"mtime_ns"`
	Size  int64  `json:"size"`
	Mode  uint32 `json:"mode"`
}

var hidden = regexp.MustCompile(`^\.modwsgi-[0-9a-f]{16}$`)

func hiddenName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return ".modwsgi-" + hex.EncodeToString(b[:])
}

func (t *Transaction) save() error {
	t.j.Schema = journalSchema
	data, err := json.MarshalIndent(t.j, "", " ")
	if err != nil {
		return err
	}
	name := filepath.Join(t.dir, journalName)
	if err := atomicfile.Write(name, append(data, '\n'), 0o600); err != nil {
		return changeError("write", name, err)
	}
	return nil
}

// load reads the journal of a hidden directory; nil where there is none.
func load(dir string) (*journal, error) {
	name := filepath.Join(dir, journalName)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, changeError("read", name, err)
	}
	var j journal
	err = json.Unmarshal(data, &j)
	if err == nil && j.Schema != journalSchema {
		err = fmt.Errorf("it has schema %d, this program knows %d", j.Schema, journalSchema)
	}
	if err != nil {
		return nil, fault.New(fault.Place,
			"an install was interrupted and its journal cannot be read: look at that directory, remove it, and install again",
			"read %s: %w", name, err)
	}
	return &j, nil
}

func (t *Transaction) path(rel string) string {
	if filepath.IsAbs(rel) { // another drive of Windows
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

// Outcome is what Recover found and did.
type Outcome struct {
	Undone    []string // labels of changes that had not been finished and were taken back
	Completed []string // labels of changes that had been made and were only tidied up
	Cleared   int      // hidden directories of which nothing had become visible
}

// Recover brings an environment that a killed process left into the state
// before its change or after it, and clears hidden directories. Nothing to do
// is no error; doing it twice, or being killed in it, does no harm.
func (l *Locked) Recover() (Outcome, error) {
	var out Outcome
	if l.active != nil {
		return out, errors.New("place: recover during a transaction")
	}
	entries, err := os.ReadDir(l.anchor)
	if err != nil {
		return out, changeError("read", l.anchor, err)
	}
	for _, e := range entries {
		if !e.IsDir() || !hidden.MatchString(e.Name()) {
			continue
		}
		if err := l.recoverOne(filepath.Join(l.anchor, e.Name()), &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (l *Locked) recoverOne(dir string, out *Outcome) error {
	j, err := load(dir)
	if err != nil {
		return err
	}
	t := &Transaction{locked: l, dir: dir}
	if j != nil {
		t.j = *j
	}
	switch t.j.State {
	case moving, undoing:
		if err := t.undo(); err != nil {
			return err
		}
		out.Undone = append(out.Undone, t.j.Label)
	case placed:
		out.Completed = append(out.Completed, t.j.Label)
	default:
		out.Cleared++
	}
	return t.drop()
}
