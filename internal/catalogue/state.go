package catalogue

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
)

// fileName is the file that a catalogue and its proofs are kept in.
const fileName = "trusted.json"

// Target is the name of the catalogue in a repository.
const Target = "catalogue.json"

// The maximum sizes in bytes. The embedded catalogue has 20 KB.
const (
	maxCatalogue = 8 << 20
	maxState     = 4 * maxCatalogue
)

const stateSchema = 1

// state is the content of the file. Metadata is kept as the texts that were signed.
type state struct {
	Schema     int       `json:"schema"`
	Repository string    `json:"repository"` // address or directory, without credentials
	Checked    time.Time `json:"checked"`    // the last successful update
	Anchor     string    `json:"anchor"`     // the root that the user or the program trusted first
	Root       string    `json:"root"`
	// The newest verified metadata, which a repository must not go behind; "" for none.
	Timestamp string `json:"timestamp,omitempty"`
	Snapshot  string `json:"snapshot,omitempty"`
	Targets   string `json:"targets,omitempty"`
	// Catalogue is the complete set of the last successful update; nil before it.
	Catalogue *published `json:"catalogue,omitempty"`
}

// published is a catalogue with the metadata that vouches for it.
type published struct {
	Timestamp string `json:"timestamp"`
	Snapshot  string `json:"snapshot"`
	Targets   string `json:"targets"`
	Content   string `json:"content"`
}

// errNone is for a state without a catalogue: no update has been successful yet.
var errNone = &fs.PathError{Op: "read", Path: Target, Err: fs.ErrNotExist}

// readState reads the file in a directory. The error is fs.ErrNotExist if it does not
// exist, or has no catalogue yet; then the state is returned, too.
func readState(dir *owned.Dir) (*state, error) {
	data, err := dir.ReadFile(fileName, maxState)
	if err != nil {
		return nil, err
	}
	st := &state{}
	if err := json.Unmarshal(data, st); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if st.Schema != stateSchema {
		return nil, fmt.Errorf("it has schema %d, this program knows %d", st.Schema, stateSchema)
	}
	if st.Catalogue == nil {
		return st, errNone
	}
	return st, nil
}

func (st *state) write(dir *owned.Dir) error {
	st.Schema = stateSchema
	data, err := json.MarshalIndent(st, "", " ")
	if err != nil {
		return err
	}
	return dir.WriteFile(fileName, append(data, '\n'), 0o644)
}

// verified is what the signatures of a catalogue prove.
type verified struct {
	document *recipe.Document
	version  int64
	expires  time.Time // of targets or root, whichever is first
	signers  []string
}

// verify checks the signatures, versions, lengths and hashes of the kept catalogue, from
// the newest root down. Whether it has expired is the caller's business: the reference
// time is the beginning of time.
func (st *state) verify() (*verified, error) {
	c := st.Catalogue
	if c == nil {
		return nil, errNone
	}
	trusted, err := trustedmetadata.New([]byte(st.Root))
	if err != nil {
		return nil, err
	}
	trusted.RefTime = time.Time{}
	if _, err := trusted.UpdateTimestamp([]byte(c.Timestamp)); err != nil {
		return nil, err
	}
	if _, err := trusted.UpdateSnapshot([]byte(c.Snapshot), false); err != nil {
		return nil, err
	}
	targets, err := trusted.UpdateTargets([]byte(c.Targets))
	if err != nil {
		return nil, err
	}
	file, ok := targets.Signed.Targets[Target]
	if !ok {
		return nil, errors.New("the signed list of files lacks " + Target)
	}
	if err := proves(file, []byte(c.Content)); err != nil {
		return nil, err
	}
	out := &verified{version: targets.Signed.Version, expires: targets.Signed.Expires, signers: signers(trusted.Root, targets)}
	if root := trusted.Root.Signed.Expires; root.Before(out.expires) {
		out.expires = root
	}
	out.document, err = recipe.ParseDocument([]byte(c.Content))
	return out, err
}

// proves checks the contents of a file. The library accepts a file without any hash.
func proves(file *metadata.TargetFiles, content []byte) error {
	if len(file.Hashes["sha256"]) == 0 && len(file.Hashes["sha512"]) == 0 {
		return errors.New("the signed list of files has no SHA-256 or SHA-512 of " + Target)
	}
	return file.VerifyLengthHashes(content)
}

// signers returns the identifiers of the keys whose signatures on targets are valid.
func signers(root *metadata.Metadata[metadata.RootType], targets *metadata.Metadata[metadata.TargetsType]) []string {
	role := root.Signed.Roles[metadata.TARGETS]
	if role == nil {
		return nil
	}
	var out []string
	for _, id := range role.KeyIDs {
		one := metadata.Metadata[metadata.RootType]{Signed: root.Signed}
		one.Signed.Roles = map[string]*metadata.Role{metadata.TARGETS: {KeyIDs: []string{id}, Threshold: 1}}
		if one.VerifyDelegate(metadata.TARGETS, targets) == nil {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
