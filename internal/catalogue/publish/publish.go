// Package publish makes a repository of catalogues: files in a directory that any server
// of static files can offer, signed as The Update Framework describes
// (https://theupdateframework.github.io/specification/latest/). Clients are package
// internal/catalogue.
//
// Keys are files outside of the repository, one or more for each role: ROLE.pem,
// ROLE-2.pem, ... with an Ed25519 private key in PKCS #8. Only those of the roles that an
// operation signs with need to be there, so that the keys of root stay offline, and the
// machine that renews the timestamp has no other key.
//
// Files of other versions are never changed, and timestamp.json is written last. A client
// that reads during an update sees the old state or the new one.
package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/catalogue"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
)

// Lifetimes are how long signatures are valid.
type Lifetimes struct {
	Root      time.Duration
	Catalogue time.Duration // of targets and snapshot: how long a client may use a catalogue
	Timestamp time.Duration // how long an old state can be passed off as the newest
}

// Day is the unit of lifetimes.
const Day = 24 * time.Hour

// Default are lifetimes for a repository whose timestamp is renewed daily.
var Default = Lifetimes{Root: 365 * Day, Catalogue: 90 * Day, Timestamp: 7 * Day}

// Repository is a directory with the files to offer.
type Repository struct {
	Dir   string
	Lives Lifetimes
	Now   func() time.Time
}

const maxFile = 8 << 20

func (r *Repository) path(name string) string { return filepath.Join(r.Dir, filepath.FromSlash(name)) }

func (r *Repository) read(name string) ([]byte, error) {
	return owned.ReadInput(r.path(name), maxFile)
}

// writeNew writes a file that does not exist yet, or exists with the same contents: a
// version that a client may have seen never changes.
func (r *Repository) writeNew(name string, data []byte) error {
	old, err := r.read(name)
	if err == nil && !bytes.Equal(old, data) {
		return fault.New(fault.Environment, "look at what wrote it; files of a version are never changed", "write %s: it exists with other contents", r.path(name))
	}
	if err == nil {
		return nil
	}
	return atomicfile.Write(r.path(name), data, 0o644)
}

// root returns the newest root.
func (r *Repository) root() (*metadata.Metadata[metadata.RootType], error) {
	var newest *metadata.Metadata[metadata.RootType]
	for n := 1; ; n++ {
		data, err := r.read(fmt.Sprintf("%d.root.json", n))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		if newest, err = metadata.Root().FromBytes(data); err != nil {
			return nil, fmt.Errorf("read %d.root.json: %w", n, err)
		}
	}
	if newest == nil {
		return nil, fault.New(fault.Usage, "make one with modwsgi-catalogue init", "%s is not a repository: it has no 1.root.json", r.Dir)
	}
	return newest, nil
}

// Init makes a repository: the first root, which lists the keys of every role. threshold
// is how many keys of root must sign a root. It returns the path of the root, which users
// need once.
func (r *Repository) Init(keys *Keys, threshold int) (string, error) {
	if _, err := r.read("1.root.json"); err == nil {
		return "", fault.New(fault.Usage, "rotate its keys with modwsgi-catalogue rotate", "%s is a repository already", r.Dir)
	}
	if err := os.MkdirAll(r.path("targets"), 0o755); err != nil {
		return "", err
	}
	root := metadata.Root(r.Now().Add(r.Lives.Root).UTC().Truncate(time.Second))
	root.Signed.ConsistentSnapshot = true
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err := setKeys(root, role, keys); err != nil {
			return "", err
		}
	}
	root.Signed.Roles[metadata.ROOT].Threshold = threshold
	return r.path("1.root.json"), r.writeRoot(root, root, keys)
}

// Rotate writes the next root: valid anew, and with the keys of newKeys for each role of
// which that has any. It is signed with the keys of root in both, so that clients that
// trust the old root accept it. A role with other keys must sign again: Publish follows.
func (r *Repository) Rotate(oldKeys, newKeys *Keys, threshold int) (string, error) {
	old, err := r.root()
	if err != nil {
		return "", err
	}
	data, err := old.ToBytes(false)
	if err != nil {
		return "", err
	}
	root, err := metadata.Root().FromBytes(data)
	if err != nil {
		return "", err
	}
	root.ClearSignatures()
	root.Signed.Version++
	root.Signed.Expires = r.Now().Add(r.Lives.Root).UTC().Truncate(time.Second)
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if newKeys.has(role) {
			if err := setKeys(root, role, newKeys); err != nil {
				return "", err
			}
		}
	}
	if threshold > 0 {
		root.Signed.Roles[metadata.ROOT].Threshold = threshold
	}
	name := fmt.Sprintf("%d.root.json", root.Signed.Version)
	return r.path(name), r.writeRoot(old, root, oldKeys, newKeys)
}

// writeRoot signs a root and checks that clients that trust old will accept it.
func (r *Repository) writeRoot(old, root *metadata.Metadata[metadata.RootType], keys ...*Keys) error {
	for _, k := range keys {
		if err := sign(root, metadata.ROOT, k); err != nil {
			return err
		}
	}
	for _, by := range []*metadata.Metadata[metadata.RootType]{old, root} {
		if err := by.VerifyDelegate(metadata.ROOT, root); err != nil {
			return fault.New(fault.Usage, "sign with enough keys of the old root and of the new one", "the root would not be accepted: %w", err)
		}
	}
	data, err := root.ToBytes(true)
	if err != nil {
		return err
	}
	return r.writeNew(fmt.Sprintf("%d.root.json", root.Signed.Version), append(data, '\n'))
}

// Publish signs a catalogue and makes it the repository's newest. A catalogue that is
// older than the published one, lacks one of its versions or changes one is refused.
func (r *Repository) Publish(keys *Keys, d *recipe.Document) error {
	root, err := r.root()
	if err != nil {
		return err
	}
	before, err := r.state()
	if err != nil {
		return err
	}
	if before.document != nil {
		if err := Successor(before.document, d); err != nil {
			return err
		}
	}
	content := d.Encode()
	sum := sha256.Sum256(content)
	file, err := metadata.TargetFile().FromBytes(catalogue.Target, content, "sha256")
	if err != nil {
		return err
	}
	until := r.Now().Add(r.Lives.Catalogue).UTC().Truncate(time.Second)
	targets := metadata.Targets(until)
	targets.Signed.Version = before.targets + 1
	targets.Signed.Targets[catalogue.Target] = file
	snapshot := metadata.Snapshot(until)
	snapshot.Signed.Version = before.snapshot + 1
	targetsData, err := signed(root, targets, metadata.TARGETS, keys)
	if err != nil {
		return err
	}
	snapshot.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": meta(targets.Signed.Version, targetsData)}
	snapshotData, err := signed(root, snapshot, metadata.SNAPSHOT, keys)
	if err != nil {
		return err
	}
	timestamp, err := r.timestamp(root, before.timestamp+1, meta(snapshot.Signed.Version, snapshotData), keys)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"targets/" + hex.EncodeToString(sum[:]) + "." + catalogue.Target, content},
		{fmt.Sprintf("%d.targets.json", targets.Signed.Version), targetsData},
		{fmt.Sprintf("%d.snapshot.json", snapshot.Signed.Version), snapshotData},
	} {
		if err := r.writeNew(f.name, f.data); err != nil {
			return err
		}
	}
	return atomicfile.Write(r.path("timestamp.json"), timestamp, 0o644)
}

// Renew signs the timestamp again, for the same state.
func (r *Repository) Renew(keys *Keys) error {
	root, err := r.root()
	if err != nil {
		return err
	}
	before, err := r.state()
	if err != nil {
		return err
	}
	if before.meta == nil {
		return fault.New(fault.Usage, "publish a catalogue first with modwsgi-catalogue publish", "%s has no timestamp.json", r.Dir)
	}
	data, err := r.timestamp(root, before.timestamp+1, before.meta, keys)
	if err != nil {
		return err
	}
	return atomicfile.Write(r.path("timestamp.json"), data, 0o644)
}

func (r *Repository) timestamp(root *metadata.Metadata[metadata.RootType], version int64, snapshot *metadata.MetaFiles, keys *Keys) ([]byte, error) {
	t := metadata.Timestamp(r.Now().Add(r.Lives.Timestamp).UTC().Truncate(time.Second))
	t.Signed.Version = version
	t.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": snapshot}
	return signed(root, t, metadata.TIMESTAMP, keys)
}

// meta describes a file of metadata with its length and hash, so that no other file of
// that version is accepted.
func meta(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// present is the published state; zero for a new repository.
type present struct {
	timestamp, snapshot, targets int64
	meta                         *metadata.MetaFiles
	document                     *recipe.Document
}

// state reads the published state.
func (r *Repository) state() (present, error) {
	var p present
	data, err := r.read("timestamp.json")
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	timestamp, err := metadata.Timestamp().FromBytes(data)
	if err != nil {
		return p, fmt.Errorf("read timestamp.json: %w", err)
	}
	p.timestamp, p.meta = timestamp.Signed.Version, timestamp.Signed.Meta["snapshot.json"]
	if p.meta == nil {
		return p, errors.New("read timestamp.json: it names no snapshot")
	}
	p.snapshot = p.meta.Version
	if data, err = r.read(fmt.Sprintf("%d.snapshot.json", p.snapshot)); err != nil {
		return p, err
	}
	snapshot, err := metadata.Snapshot().FromBytes(data)
	if err != nil || snapshot.Signed.Meta["targets.json"] == nil {
		return p, fmt.Errorf("read %d.snapshot.json: %w", p.snapshot, errors.Join(err, errors.New("it names no targets")))
	}
	p.targets = snapshot.Signed.Meta["targets.json"].Version
	if data, err = r.read(fmt.Sprintf("%d.targets.json", p.targets)); err != nil {
		return p, err
	}
	targets, err := metadata.Targets().FromBytes(data)
	if err != nil || targets.Signed.Targets[catalogue.Target] == nil {
		return p, fmt.Errorf("read %d.targets.json: %w", p.targets, errors.Join(err, errors.New("it lacks "+catalogue.Target)))
	}
	sum := hex.EncodeToString(targets.Signed.Targets[catalogue.Target].Hashes["sha256"])
	if data, err = r.read("targets/" + sum + "." + catalogue.Target); err != nil {
		return p, err
	}
	p.document, err = recipe.ParseDocument(data)
	return p, err
}

// Successor returns an error unless d may follow the published catalogue: it is not
// older, and it has every archive of it, with the same hash.
func Successor(published, d *recipe.Document) error {
	const hint = "a published version stays as it is: add an advisory to a version that must not be used"
	if d.Date.Before(published.Date) {
		return fault.New(fault.Usage, "set the date in sources.toml", "the catalogue is of %s, older than the published one of %s", d.Date.Format(time.DateTime), published.Date.Format(time.DateTime))
	}
	for _, was := range published.Archives {
		found := false
		for _, is := range d.Archives {
			switch same := is.Component == was.Component && is.Version == was.Version && is.File == was.File; {
			case same && is.SHA256 != was.SHA256:
				return fault.New(fault.Usage, hint, "%s (%s) has sha256 %s, but it was published with %s", is, is.File, is.SHA256, was.SHA256)
			case same:
				found = true
			}
		}
		if !found {
			return fault.New(fault.Usage, hint, "%s (%s) is missing, but it was published", was, was.File)
		}
	}
	return nil
}
