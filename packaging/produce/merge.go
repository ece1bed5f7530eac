package produce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/release"
)

// Merge is a request to join output directories, such as those of the machines that each
// made a part of a release. Artifacts and the files that describe them are taken as they
// are; the indexes, the sums and the signatures are made again, as one run makes them.
type Merge struct {
	Settings
	Dirs []string // paths of the directories, absolute
	// Incomplete accepts parts that are missing, or that could not be made.
	Incomplete bool
}

// Merged is the outcome.
type Merged struct {
	Dir       string
	Artifacts []packaging.Artifact // of all that are in Dir then, sorted by name
	Taken     int                  // how many were not there before
	Missing   []string             // texts about what is missing, with Incomplete
}

// from is one directory that was verified.
type from struct {
	*release.Finished
	shard *shardRecord // nil for a whole run
}

// Run verifies the directories and joins them. If two have files of the same name with
// different contents, or do not belong together, nothing is changed; the error names all
// of them.
func (o *Merge) Run(ctx context.Context) (*Merged, error) {
	var all []*from
	for _, dir := range o.Dirs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := readFinished(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	missing, err := together(all)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 && !o.Incomplete {
		return nil, fault.New(fault.Usage, "run modwsgi package --matrix with the missing --shard and name its directory, too; --incomplete publishes without them",
			"the release is incomplete: %s", strings.Join(missing, "; "))
	}
	signers, err := o.Keys.Signers(o.Now)
	if err != nil {
		return nil, err
	}
	at, err := sourceDate(o.Build.Env)
	if err != nil {
		return nil, err
	}
	d, err := packaging.OpenWaiting(ctx, o.Out, o.Overwrite, o.LockLimit, o.events().Note)
	if err != nil {
		return nil, err
	}
	defer d.Abort()
	if err := o.agree(d, all); err != nil {
		return nil, err
	}
	taken, err := takeAll(ctx, d, all)
	if err != nil {
		return nil, err
	}
	if err := d.Drop(packaging.ShardName); err != nil {
		return nil, err
	}
	if err := release.List(d, release.Options{Time: at, Signers: signers}); err != nil {
		return nil, err
	}
	r := &Merged{Dir: d.Dir(), Artifacts: d.Artifacts(), Taken: taken, Missing: missing}
	return r, d.Commit()
}

// agree also compares the directories with what is in the output directory already.
func (o *Merge) agree(d *packaging.Dist, all []*from) error {
	if o.Overwrite {
		return agree(all)
	}
	there := &from{Finished: &release.Finished{Dir: d.Dir(), Sums: map[string]string{}, Index: packaging.Index{Artifacts: d.Artifacts()}}}
	for i := range there.Index.Artifacts {
		a := &there.Index.Artifacts[i]
		a.Sidecars = slices.DeleteFunc(slices.Clone(a.Sidecars), release.Remade)
		for _, name := range append([]string{a.Name}, a.Sidecars...) {
			in, err := d.Open(name)
			if err != nil {
				return err
			}
			there.Sums[name], err = digest.Of(in)
			if err = errors.Join(err, in.Close()); err != nil {
				return fault.New(fault.Environment, mergeHint, "read %s: %w", filepath.Join(d.Dir(), name), err)
			}
		}
	}
	return agree(append([]*from{there}, all...))
}

const mergeHint = "name the output directory of modwsgi package, complete and unchanged"

// readFinished verifies a finished output directory.
func readFinished(dir string) (*from, error) {
	done, err := release.ReadFinished(dir)
	switch {
	case errors.Is(err, release.ErrNoIndex):
		return nil, fault.Wrap(fault.Usage, mergeHint, err)
	case fault.ClassOf(err) != fault.Internal:
		return nil, err
	case err != nil:
		return nil, fault.Wrap(fault.Verify, mergeHint, err)
	}
	f := &from{Finished: done}
	for i := range f.Index.Artifacts {
		a := &f.Index.Artifacts[i]
		a.Sidecars = slices.DeleteFunc(a.Sidecars, release.Remade)
	}
	if f.Sums[packaging.ShardName] == "" {
		return f, nil
	}
	data, err := f.Read(packaging.ShardName)
	if err != nil {
		return nil, fault.Wrap(fault.Verify, mergeHint, err)
	}
	if err := json.Unmarshal(data, &f.shard); err != nil || f.shard.Schema != 1 || f.shard.Shard.Index < 1 || f.shard.Shard.Index > f.shard.Shard.Count {
		return nil, fault.New(fault.Usage, mergeHint, "%s is not the record of a part of a release", filepath.Join(dir, packaging.ShardName))
	}
	return f, nil
}

// together checks that the parts are those of one release, and returns texts about what
// is missing.
func together(all []*from) (missing []string, err error) {
	var first *from
	have := map[int]bool{}
	for _, f := range all {
		if f.shard == nil {
			continue
		}
		if first == nil {
			first = f
		}
		if f.shard.Matrix != first.shard.Matrix || f.shard.Shard.Count != first.shard.Shard.Count {
			return nil, fault.New(fault.Usage, "make all parts from the same file, with the same number of parts",
				"%s and %s are not parts of the same release: %s of the matrix file %.12s, and %s of %.12s", first.Dir, f.Dir, first.shard.Shard, first.shard.Matrix, f.shard.Shard, f.shard.Matrix)
		}
		have[f.shard.Shard.Index] = true
		for _, what := range f.shard.Failed {
			missing = append(missing, fmt.Sprintf("part %s could not make %s", f.shard.Shard, what))
		}
	}
	if first == nil {
		return nil, nil
	}
	for i := 1; i <= first.shard.Shard.Count; i++ {
		if !have[i] {
			missing = append(missing, "part "+matrix.Shard{Index: i, Count: first.shard.Shard.Count}.String()+" is missing")
		}
	}
	return missing, nil
}

// agree refuses parts that were made from different archives, and files of the same name
// with different contents.
func agree(all []*from) error {
	var conflicts []string
	archives, files := map[string]*from{}, map[string]*from{}
	versions := map[string]lockedArchive{}
	for _, f := range all {
		if f.shard != nil {
			for _, a := range f.shard.Archives {
				key := a.key()
				if other := archives[key]; other != nil && versions[key] != a {
					conflicts = append(conflicts, fmt.Sprintf("%s was made from %s %s, %s from %s", other.Dir, a.Component, versions[key].name(a), f.Dir, a.name(versions[key])))
					continue
				}
				archives[key], versions[key] = f, a
			}
		}
		for _, a := range f.Index.Artifacts {
			for _, name := range append([]string{a.Name}, a.Sidecars...) {
				if other := files[name]; other != nil && other.Sums[name] != f.Sums[name] {
					conflicts = append(conflicts, fmt.Sprintf("%s differs: SHA-256 %s in %s, %s in %s", name, other.Sums[name], other.Dir, f.Sums[name], f.Dir))
					continue
				}
				files[name] = f
			}
		}
	}
	if len(conflicts) == 0 {
		return nil
	}
	slices.Sort(conflicts)
	return fault.New(fault.Verify, "make the parts with the same modwsgi, the same compiler and the same modwsgi.lock (--locked), or name only one of the directories",
		"the directories contradict each other:\n  %s", strings.Join(slices.Compact(conflicts), "\n  "))
}

// key is what no two archives of a lock file have in common.
func (a lockedArchive) key() string {
	if a.Component != "cpython" {
		return a.Component
	}
	parts := strings.SplitN(a.Version, ".", 3)
	return a.Component + " " + strings.Join(parts[:min(2, len(parts))], ".")
}

// name tells an archive from another one.
func (a lockedArchive) name(other lockedArchive) string {
	if a.Version != other.Version {
		return a.Version
	}
	return a.Version + " with SHA-256 " + a.SHA256
}

// takeAll copies what the directories have into the output directory, and returns the
// number of artifacts.
func takeAll(ctx context.Context, d *packaging.Dist, all []*from) (int, error) {
	taken := map[string]bool{}
	for _, f := range all {
		if same(f.Dir, d.Dir()) { // its artifacts are kept
			continue
		}
		for _, a := range f.Index.Artifacts {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			if taken[a.Name] {
				continue
			}
			taken[a.Name] = true
			for _, name := range append([]string{a.Name}, a.Sidecars...) {
				if err := f.copyTo(d, name, name == a.Name); err != nil {
					return 0, err
				}
			}
			if err := d.Add(&a); err != nil {
				return 0, err
			}
		}
	}
	return len(taken), nil
}

func same(a, b string) bool {
	one, err1 := os.Stat(a)
	two, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, two)
}

// copyTo copies a file, which must still have the contents that were verified.
func (f *from) copyTo(d *packaging.Dist, name string, artifact bool) error {
	in, err := digest.Open(filepath.Join(f.Dir, name))
	if err != nil {
		return fault.New(fault.Environment, mergeHint, "read %s: %w", filepath.Join(f.Dir, name), err)
	}
	defer func() { _ = in.Close() }()
	r := digest.NewReader(in)
	put := d.Put
	if !artifact {
		put = d.PutMeta
	}
	if err := put(name, r); err != nil {
		return err
	}
	if r.Sum() != f.Sums[name] {
		return fault.New(fault.Verify, mergeHint, "%s was changed while it was read", filepath.Join(f.Dir, name))
	}
	return nil
}
