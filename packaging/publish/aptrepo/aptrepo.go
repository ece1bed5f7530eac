// Package aptrepo publishes deb packages to a directory that apt installs from, through
// any web server or as file:. The format: https://wiki.debian.org/DebianRepository/Format.
//
// # What a reader sees
//
// The repository is what InRelease names. It is replaced last, by one rename, when
// everything that it names is on the disk: the packages in the pool, and the indexes
// under their hashes (by-hash), from where apt reads them. The previous indexes stay
// under theirs for a day, for readers that have the previous InRelease. Before that
// rename the repository is the old one, whatever ended the run; the next run starts from
// the old InRelease again and completes it.
//
// What is in the repository stays: other packages, components and suites, and the fields
// of the Release file. A package with the same name, version and architecture but other
// contents is a conflict.
package aptrepo

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/publish"
	"modwsgi/packaging/publish/repodir"
	"modwsgi/packaging/sign"
)

// Option is the command line option of this destination.
const Option = "--apt"

// Options describe the destination.
type Options struct {
	Dir              repodir.Options // Path, Limit, Waiting
	Suite, Component string
	Origin, Label    string        // "" keeps what is there
	Valid            time.Duration // of the indexes from now on; 0 keeps what is there
	Signer           *sign.OpenPGP // nil for an unsigned repository
	Now              func() time.Time
	Dry              bool // read only, without a lock
}

var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]*$`)

// Check refuses options that no repository can have.
func (o *Options) Check() error {
	for option, value := range map[string]string{"--apt-suite": o.Suite, "--apt-component": o.Component} {
		if !word.MatchString(value) {
			return fault.New(fault.Usage, "use letters, digits and +._-, as in stable", "%s %q is not a name", option, value)
		}
	}
	for option, value := range map[string]string{"--apt-origin": o.Origin, "--apt-label": o.Label} {
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fault.New(fault.Usage, "use one line of text", "%s %q contains a control character", option, value)
		}
	}
	if o.Valid < 0 || o.Valid > 0 && o.Valid < time.Hour {
		return fault.New(fault.Usage, "give at least 1h, and publish again before it is over", "--apt-valid-for %s is too short", o.Valid)
	}
	return nil
}

// deb is a package to publish.
type deb struct {
	artifact packaging.Artifact
	stanza   stanza
	pool     string // name in the repository
	state    publish.State
	reason   string
	inPool   bool
}

// Repository implements [publish.Destination].
type Repository struct {
	o    Options
	set  *publish.Set
	debs []*deb
	tree *repodir.Tree
	now  *state // of the suite
}

// New returns the destination. The error is of class Usage: the set has no deb.
func New(set *publish.Set, o Options) (*Repository, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	chosen, err := set.Of(Option, "deb")
	if err != nil {
		return nil, err
	}
	o.Dir.Option, o.Dir.Entries = Option, []string{"dists", "pool", keyName}
	r := &Repository{o: o, set: set}
	for _, a := range chosen {
		r.debs = append(r.debs, &deb{artifact: a})
	}
	return r, nil
}

// Close releases the lock.
func (r *Repository) Close() {
	if r.tree != nil {
		r.tree.Close()
		r.tree = nil
	}
}

// Address implements [publish.Destination].
func (r *Repository) Address() string { return r.o.Dir.Path }

// Plan implements [publish.Destination].
func (r *Repository) Plan(ctx context.Context) (*publish.Plan, error) {
	var err error
	if r.o.Dry {
		r.tree, err = repodir.Read(r.o.Dir)
	} else {
		r.tree, err = repodir.Write(ctx, r.o.Dir)
	}
	if err != nil {
		return nil, err
	}
	if r.now, err = r.readState(); err != nil {
		return nil, err
	}
	p := &publish.Plan{Kind: "apt", Address: r.Address()}
	changed, seen := false, map[string]bool{}
	for _, d := range r.debs {
		if err := r.examine(d); err != nil {
			return nil, err
		}
		if key := d.stanza.key(); seen[key] {
			d.state, d.reason = publish.Conflict, "another artifact is the same package, "+key
		} else {
			seen[key] = true
		}
		changed = changed || d.state == publish.Add
		p.Changes = append(p.Changes, publish.Change{
			Name: d.artifact.Name, State: d.state, Where: d.pool, Size: d.artifact.Size, SHA256: d.artifact.SHA256, Reason: d.reason,
		})
	}
	if changed || r.o.Valid > 0 || r.now.unsigned && r.o.Signer != nil {
		p.Changes = append(p.Changes, publish.Change{Name: "InRelease", State: publish.Update, Where: r.dist("InRelease")})
		if r.o.Signer == nil {
			p.Changes[len(p.Changes)-1] = publish.Change{Name: "Release", State: publish.Update, Where: r.dist("Release")}
		}
	}
	return p, nil
}

// dist is the name of a file of the suite.
func (r *Repository) dist(name string) string { return path.Join("dists", r.o.Suite, name) }

// examine reads the control file of a package, and compares the package with the
// repository.
func (r *Repository) examine(d *deb) error {
	f, err := r.set.Open(d.artifact.Name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	text, err := readControl(f)
	if err != nil {
		return unusable(d, err)
	}
	all, err := parse(text)
	if err != nil || len(all) != 1 {
		return unusable(d, fmt.Errorf("its control file is not one paragraph: %w", err))
	}
	control := all[0]
	for _, field := range []string{"Package", "Version", "Architecture"} {
		if v := control.get(field); v == "" || strings.ContainsAny(v, "/ \n") {
			return unusable(d, fmt.Errorf("its field %s is %q", field, v))
		}
	}
	d.pool = path.Join("pool", r.o.Component, prefix(control), d.artifact.Name)
	d.stanza = control
	d.stanza.text += fmt.Sprintf("Filename: %s\nSize: %d\nSHA256: %s\n", d.pool, d.artifact.Size, d.artifact.SHA256)
	there, err := r.tree.Sum(d.pool)
	if err != nil {
		return err
	}
	d.inPool = there == d.artifact.SHA256
	listed, known := r.now.find(d.stanza)
	switch {
	case known && listed.get("SHA256") != d.artifact.SHA256:
		d.state, d.reason = publish.Conflict, fmt.Sprintf("the suite has another %s", d.stanza.key())
	case there != "" && !d.inPool:
		d.state, d.reason = publish.Conflict, "the pool has another file of that name"
	case known && !d.inPool && listed.get("Filename") == d.pool:
		d.state = publish.Add // the index names a file that was lost
	case known && !r.now.missing(d.stanza):
		d.state = publish.Present
	default:
		d.state = publish.Add
	}
	return nil
}

func unusable(d *deb, err error) error {
	return fault.New(fault.Verify, "make it again with modwsgi package deb", "read %s: %w", d.artifact.Name, err)
}

// prefix is the directory of a package in the pool, as Debian has it: m/mod-wsgi,
// libx/libxyz.
func prefix(control stanza) string {
	name, _, _ := strings.Cut(control.get("Source"), " ")
	if name == "" || strings.Contains(name, "/") {
		name = control.get("Package")
	}
	first := name[:1]
	if strings.HasPrefix(name, "lib") && len(name) > 3 {
		first = name[:4]
	}
	return first + "/" + name
}

// Publish implements [publish.Destination].
func (r *Repository) Publish(ctx context.Context, done func(publish.Change)) error {
	var added []*deb
	for _, d := range r.debs {
		if d.state != publish.Add {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.addToPool(d); err != nil {
			return err
		}
		added = append(added, d)
		done(publish.Change{Name: d.artifact.Name, State: publish.Add, Where: d.pool, Size: d.artifact.Size, SHA256: d.artifact.SHA256})
	}
	where, err := r.switchTo(added)
	if err != nil {
		return err
	}
	done(publish.Change{Name: path.Base(where), State: publish.Update, Where: where})
	return nil
}

// addToPool copies a package.
func (r *Repository) addToPool(d *deb) error {
	if d.inPool {
		return nil
	}
	if err := r.tree.Sweep(path.Dir(d.pool), nil); err != nil {
		return err
	}
	f, err := r.set.Open(d.artifact.Name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, _, err = r.tree.Put(d.pool, f.Checked())
	return err
}

// arches are the architectures whose indexes list a package.
func (r *Repository) arches(s stanza) []string {
	arch := s.get("Architecture")
	if arch != "all" {
		return []string{arch}
	}
	return slices.Compact(slices.Sorted(slices.Values(append(r.now.arches(r.o.Component), "all"))))
}
