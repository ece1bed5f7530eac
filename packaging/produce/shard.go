package produce

// A release can be made by several machines, each with the same release.toml and a
// different part of its cells. What a machine makes must not depend on which part it has:
// the sysroots have the Pythons of all cells, and the names of artifacts tell apart what
// the whole release has. What it made for which part is recorded beside the artifacts, so
// that merging notices a part that is missing or was made from something else.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
	"modwsgi/packaging"
	"modwsgi/packaging/matrix"
)

// shardRecord is the content of [packaging.ShardName].
type shardRecord struct {
	Schema int          `json:"schema"` // 1
	Matrix string       `json:"matrix"` // SHA-256 of the release.toml
	Shard  matrix.Shard `json:"shard"`
	Cells  []string     `json:"cells"`            // what it was to make
	Failed []string     `json:"failed,omitempty"` // what it could not make
	// Archives are those of the lock file, which all parts must have in common.
	Archives []lockedArchive `json:"archives,omitempty"`
}

type lockedArchive struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	SHA256    string `json:"sha256"`
}

// choose leaves the cells of this machine.
func (o *Release) choose() error {
	if o.Shard.Count > 0 && len(o.Only) > 0 {
		return fault.New(fault.Usage, "leave one of them out", "--shard and --only cannot be combined: the parts would not be those of the other machines")
	}
	var conditions []matrix.Only
	for _, text := range o.Only {
		condition, err := o.m.ParseOnly(text, o.all)
		if err != nil {
			return err
		}
		conditions = append(conditions, condition)
	}
	left, err := o.m.Select(o.all, conditions)
	if err == nil {
		o.chosen = o.Shard.Divide(left, host)
		o.cells, o.elsewhere = slices.Clone(o.chosen), notOurs(left, o.chosen)
	}
	return err
}

// notOurs returns what the machine of the first cell of each httpd makes for all others,
// if that is another machine: by sharedKey.
func notOurs(all, ours []matrix.Cell) map[string]bool {
	others := map[string]bool{}
	known := map[string]bool{}
	for _, c := range all {
		key := sharedKey(c)
		if !known[key] && !slices.Contains(ours, c) {
			others[key] = true
		}
		known[key] = true
	}
	return others
}

// shardRecord is the record of this machine's part; nil for the whole release.
func (o *Release) shardRecord() *shardRecord {
	if o.Shard.Count == 0 {
		return nil
	}
	r := &shardRecord{Schema: 1, Matrix: o.digest, Shard: o.Shard, Cells: []string{}}
	for _, c := range o.cells {
		r.Cells = append(r.Cells, c.String())
	}
	return r
}

// record returns the file about the part that was made, if it is only a part.
func (l *line) record(o order) (map[string][]byte, error) {
	if l.shard == nil {
		// A part that an earlier run has left there is now among other things.
		return nil, l.dist.Drop(packaging.ShardName)
	}
	for _, f := range o.failed() {
		l.shard.Failed = append(l.shard.Failed, f.Cell)
	}
	lock, err := recipe.ReadLock(l.lockFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		for _, e := range lock.Entries() {
			l.shard.Archives = append(l.shard.Archives, lockedArchive{e.Component, e.Version, e.SHA256})
		}
	}
	data, err := json.MarshalIndent(l.shard, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("describe the part of the release: %w", err)
	}
	return map[string][]byte{packaging.ShardName: append(data, '\n')}, nil
}
