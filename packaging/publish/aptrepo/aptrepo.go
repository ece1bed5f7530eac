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

// Repository implements [publish.Destination].
type Repository struct {
	repodir.Repository
	o       Options
	debs    []*repodir.Package
	stanzas []stanza // of debs
	now     *state   // of the suite
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
	r := &Repository{Repository: repodir.Repository{Dir: o.Dir, Dry: o.Dry, Set: set}, o: o, stanzas: make([]stanza, len(chosen))}
	for _, a := range chosen {
		r.debs = append(r.debs, &repodir.Package{Artifact: a})
	}
	return r, nil
}

// Plan implements [publish.Destination].
func (r *Repository) Plan(ctx context.Context) (*publish.Plan, error) {
	err := r.Open(ctx)
	if err == nil {
		r.now, err = r.readState()
	}
	if err != nil {
		return nil, err
	}
	p := &publish.Plan{Kind: "apt", Address: r.Address()}
	changed := false
	if p.Changes, changed, err = r.Compare(r.debs, r.examine); err != nil {
		return nil, err
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
// repository. It returns the package's key.
func (r *Repository) examine(i int) (string, error) {
	d := r.debs[i]
	control, err := r.control(d)
	if err != nil {
		return "", err
	}
	d.Where = path.Join("pool", r.o.Component, prefix(control), d.Artifact.Name)
	control.text += fmt.Sprintf("Filename: %s\nSize: %d\nSHA256: %s\n", d.Where, d.Artifact.Size, d.Artifact.SHA256)
	r.stanzas[i] = control
	there, err := r.Sum(d.Where)
	if err != nil {
		return "", err
	}
	d.There = there == d.Artifact.SHA256
	listed, known := r.now.find(control)
	switch {
	case known && listed.get("SHA256") != d.Artifact.SHA256:
		d.State, d.Reason = publish.Conflict, fmt.Sprintf("the suite has another %s", control.key())
	case there != "" && !d.There:
		d.State, d.Reason = publish.Conflict, "the pool has another file of that name"
	case known && !d.There && listed.get("Filename") == d.Where:
		d.State = publish.Add // the index names a file that was lost
	case known && !r.now.missing(control):
		d.State = publish.Present
	default:
		d.State = publish.Add
	}
	return control.key(), nil
}

// control reads the control file of a package.
func (r *Repository) control(d *repodir.Package) (stanza, error) {
	f, err := r.Set.Open(d.Artifact.Name)
	if err != nil {
		return stanza{}, err
	}
	defer func() { _ = f.Close() }()
	text, err := readControl(f)
	if err != nil {
		return stanza{}, unusable(d, err)
	}
	all, err := parse(text)
	if err != nil || len(all) != 1 {
		return stanza{}, unusable(d, fmt.Errorf("its control file is not one paragraph: %w", err))
	}
	for _, field := range []string{"Package", "Version", "Architecture"} {
		if v := all[0].get(field); v == "" || strings.ContainsAny(v, "/ \n") {
			return stanza{}, unusable(d, fmt.Errorf("its field %s is %q", field, v))
		}
	}
	return all[0], nil
}

func unusable(d *repodir.Package, err error) error {
	return fault.New(fault.Verify, "make it again with modwsgi package deb", "read %s: %w", d.Artifact.Name, err)
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
	var added []stanza
	if err := r.Add(ctx, r.debs, func(i int) { added = append(added, r.stanzas[i]) }, done); err != nil {
		return err
	}
	where, err := r.switchTo(added)
	if err != nil {
		return err
	}
	done(publish.Change{Name: path.Base(where), State: publish.Update, Where: where})
	return nil
}

// arches are the architectures whose indexes list a package.
func (r *Repository) arches(s stanza) []string {
	arch := s.get("Architecture")
	if arch != "all" {
		return []string{arch}
	}
	return slices.Compact(slices.Sorted(slices.Values(append(r.now.arches(r.o.Component), "all"))))
}
