package packaging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/owned"
	"modwsgi/internal/pydist"
)

// What earlier runs left in an output directory is listed and signed again, so that it
// must be theirs: every file is one that the index names, with the hash that it had
// then. A file of another origin would be published unlisted, and the directories of
// several machines, copied into one, have an index of only one of them.

// readEarlier removes leftovers of killed runs, and lists the artifacts of earlier
// runs.
func (d *Dist) readEarlier() error {
	entries, err := d.dir.Entries()
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), partPrefix) && strings.HasSuffix(e.Name(), partSuffix) {
			if err := d.dir.RemoveAll(e.Name()); err != nil {
				return err
			}
			continue
		}
		if e.Name() != flock.Name {
			names = append(names, e.Name())
		}
	}
	data, err := readAny(d.dir, IndexName)
	if errors.Is(err, fs.ErrNotExist) {
		if len(names) > 0 {
			return fault.New(fault.Usage, "name an empty or a new directory with --out",
				"%s is not a directory of artifacts: it contains %q but no %s", d.out, names[0], IndexName)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := d.keep(data); err != nil {
		return err
	}
	return d.foreign(names)
}

func readAny(dir *owned.Dir, name string) ([]byte, error) {
	f, err := dir.OpenAny(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxIndex))
}

// keep takes over the artifacts in the index of earlier runs.
func (d *Dist) keep(data []byte) error {
	index, err := ParseIndex(data)
	if err != nil {
		return fault.New(fault.Usage, "name an empty or a new directory with --out", "%s %w", filepath.Join(d.out, IndexName), err)
	}
	listed, err := d.sums()
	if err != nil {
		return err
	}
	for _, a := range index.Artifacts {
		if err := d.unchanged(a.Name, a.SHA256); err != nil {
			return err
		}
		for _, name := range a.Sidecars {
			if err := d.unchanged(name, listed[name]); err != nil {
				return err
			}
		}
		d.kept = append(d.kept, a)
	}
	return nil
}

// ParseIndex reads an index and refuses one with names that leave its directory. The
// text of the error continues a sentence that begins with the file's path.
func ParseIndex(data []byte) (Index, error) {
	var index Index
	if err := json.Unmarshal(data, &index); err != nil || index.Schema != 1 {
		return index, errors.New("is not an index of artifacts")
	}
	for _, a := range index.Artifacts {
		for _, name := range append([]string{a.Name}, a.Sidecars...) {
			if name == "" || path.Base(name) != name || filepath.Base(name) != name {
				return index, fmt.Errorf("lists %q", name)
			}
		}
	}
	return index, nil
}

// unchanged refuses a file of an earlier run with another hash. Without a hash the file
// must exist.
func (d *Dist) unchanged(name, want string) error {
	sum, _, err := sumOf(d.dir, name)
	if err == nil && want != "" && sum != want {
		err = errors.New("it has changed since an earlier run made it")
	}
	if err != nil {
		return fault.New(fault.Environment, "restore it, or name a new directory with --out", "keep %s: %w", filepath.Join(d.out, name), err)
	}
	return nil
}

// sums reads the checksums of the earlier run: lower case hex by name.
func (d *Dist) sums() (map[string]string, error) {
	data, err := readAny(d.dir, SumsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sums, err := ParseSums(data)
	if err != nil {
		return nil, fault.New(fault.Environment, "restore it, or name a new directory with --out", "keep %s: %w", filepath.Join(d.out, SumsName), err)
	}
	return sums, nil
}

// foreign refuses files that no earlier run made: names at the top, and pages of the
// package index.
func (d *Dist) foreign(names []string) error {
	ours, projects := map[string]bool{IndexName: true, SumsName: true, ShardName: true}, map[string]bool{}
	for _, a := range d.kept {
		ours[a.Name], projects[pydist.NormalName(a.Project)] = true, true
		for _, name := range a.Sidecars {
			ours[name] = true
		}
	}
	var others []string
	for _, name := range names {
		switch {
		case ours[name], strings.HasPrefix(name, SumsName+"."):
		case name == PagesDir:
			more, err := d.foreignPages(projects)
			if err != nil {
				return err
			}
			others = append(others, more...)
		default:
			others = append(others, name)
		}
	}
	if len(others) == 0 {
		return nil
	}
	slices.Sort(others)
	return fault.New(fault.Usage, "move them away, or name a new directory with --out; the artifacts of another run or machine are taken in with modwsgi package merge",
		"%s contains what no run of modwsgi has listed there: %s", d.out, Some(others, 5))
}

// foreignPages lists what is in the package index but not a page of a project.
func (d *Dist) foreignPages(projects map[string]bool) ([]string, error) {
	page := func(name string) bool { return name == "index.html" || name == "index.json" }
	var others []string
	visit := func(dir *owned.Dir, prefix string, fine func(e fs.DirEntry) bool) error {
		entries, err := dir.Entries()
		for _, e := range entries {
			if !fine(e) {
				others = append(others, path.Join(prefix, e.Name()))
			}
		}
		return err
	}
	pages, err := d.dir.Enter(PagesDir)
	if err != nil { // a file or a link
		return []string{PagesDir}, nil
	}
	defer func() { _ = pages.Close() }()
	err = visit(pages, PagesDir, func(e fs.DirEntry) bool {
		if !e.IsDir() {
			return page(e.Name())
		}
		sub, err := pages.Enter(e.Name())
		if err != nil || !projects[e.Name()] {
			return false
		}
		defer func() { _ = sub.Close() }()
		return visit(sub, path.Join(PagesDir, e.Name()), func(e fs.DirEntry) bool { return !e.IsDir() && page(e.Name()) }) == nil
	})
	return others, err
}
