// Package dnfrepo publishes rpm packages to a directory that dnf, yum and zypper install
// from, through any web server or as file:. The format is that of createrepo_c
// (https://createrepo.baseurl.org): repomd.xml names three indexes by their hashes.
//
// The repository is what repodata/repomd.xml names. It is replaced last, by one rename,
// when the packages and the indexes are on the disk. The previous indexes stay for a day,
// for readers that have the previous repomd.xml. What is in the repository stays: other
// packages, and data such as groups, modules and updates. A package with the same name,
// epoch, version, release and architecture but other contents is a conflict.
//
// The signature, repomd.xml.asc, is a second file. Between the two renames, a reader that
// checks it may see the new signature with the old file; dnf then tries again.
package dnfrepo

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/packaging/publish"
	"modwsgi/packaging/publish/repodir"
	"modwsgi/packaging/sign"
)

// Option is the command line option of this destination.
const Option = "--dnf"

// Options describe the destination.
type Options struct {
	Dir    repodir.Options // Path, Limit, Waiting
	Signer *sign.OpenPGP   // nil for an unsigned repository
	Now    func() time.Time
	Dry    bool // read only, without a lock
}

// Repository implements [publish.Destination].
type Repository struct {
	repodir.Repository
	o     Options
	packs []*repodir.Package
	rpms  []*rpm // of packs
	now   *state
}

// New returns the destination. The error is of class Usage: the set has no rpm.
func New(set *publish.Set, o Options) (*Repository, error) {
	chosen, err := set.Of(Option, "rpm")
	if err != nil {
		return nil, err
	}
	o.Dir.Option, o.Dir.Entries = Option, []string{"repodata", "Packages"}
	r := &Repository{Repository: repodir.Repository{Dir: o.Dir, Dry: o.Dry, Set: set}, o: o, rpms: make([]*rpm, len(chosen))}
	for _, a := range chosen {
		r.packs = append(r.packs, &repodir.Package{Artifact: a, Where: "Packages/" + a.Name})
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
	p := &publish.Plan{Kind: "dnf", Address: r.Address()}
	changed := false
	if p.Changes, changed, err = r.Compare(r.packs, r.examine); err != nil {
		return nil, err
	}
	if changed || r.now.unsigned && r.o.Signer != nil {
		p.Changes = append(p.Changes, publish.Change{Name: "repomd.xml", State: publish.Update, Where: repomdName})
	}
	return p, nil
}

// examine reads the headers of a package, and compares the package with the repository. It
// returns the package's key.
func (r *Repository) examine(i int) (string, error) {
	k := r.packs[i]
	f, err := r.Set.Open(k.Artifact.Name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if r.rpms[i], err = readRPM(f); err != nil {
		return "", fault.New(fault.Verify, "make it again with modwsgi package rpm", "read %s: %w", k.Artifact.Name, err)
	}
	key := r.rpms[i].key()
	there, err := r.Sum(k.Where)
	if err != nil {
		return "", err
	}
	k.There = there == k.Artifact.SHA256
	listed := r.now.byKey[key]
	same, found := false, false
	if listed != nil {
		if same, found, err = r.same(listed, k); err != nil {
			return "", err
		}
	}
	switch {
	case listed != nil && !same:
		k.State, k.Reason = publish.Conflict, "the repository has another "+key
	case there != "" && !k.There:
		k.State, k.Reason = publish.Conflict, "the repository has another file of that name"
	case listed != nil && found:
		k.State = publish.Present
	default:
		k.State = publish.Add
	}
	return key, nil
}

// same compares a package of the repository with one to publish. found is false if the
// index names a file that was lost.
func (r *Repository) same(listed *known, k *repodir.Package) (same, found bool, err error) {
	if listed.elsewhere {
		return listed.kind == "sha256" && listed.id == k.Artifact.SHA256, true, nil
	}
	sum, err := r.Sum(path.Clean(listed.href))
	if err != nil {
		return false, false, err
	}
	if listed.kind == "sha256" {
		return listed.id == k.Artifact.SHA256, sum == k.Artifact.SHA256, nil
	}
	return sum == k.Artifact.SHA256, sum == k.Artifact.SHA256, nil
}

// Publish implements [publish.Destination].
func (r *Repository) Publish(ctx context.Context, done func(publish.Change)) error {
	if err := r.Add(ctx, r.packs, r.list, done); err != nil {
		return err
	}
	if err := r.switchTo(); err != nil {
		return err
	}
	done(publish.Change{Name: "repomd.xml", State: publish.Update, Where: repomdName})
	return nil
}

// list adds a package whose file is there to the state.
func (r *Repository) list(i int) {
	k, pkg := r.packs[i], r.rpms[i]
	at := place{sum: k.Artifact.SHA256, href: k.Where, size: k.Artifact.Size, time: r.o.Now().Unix()}
	one := &known{id: at.sum, kind: "sha256", href: at.href, entries: pkg.entries(at)}
	if old := r.now.byKey[pkg.key()]; old != nil { // its file was lost
		*old = *one
		return
	}
	r.now.packages = append(r.now.packages, one)
}

// switchTo writes the indexes, and makes them the repository.
func (r *Repository) switchTo() error {
	now := r.o.Now()
	var md strings.Builder
	md.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">` + "\n")
	fmt.Fprintf(&md, "  <revision>%d</revision>\n", now.Unix())
	current := map[string]bool{}
	for _, name := range indexNames {
		text, err := r.index(name)
		if err != nil {
			return err
		}
		data, err := compress(text)
		if err != nil {
			return err
		}
		file := digest.Bytes(data) + "-" + name + ".xml.gz"
		current[file] = true
		if err := r.PutData("repodata/"+file, data); err != nil {
			return err
		}
		fmt.Fprintf(&md, "  <data type=\"%s\">\n    <checksum type=\"sha256\">%s</checksum>\n    <open-checksum type=\"sha256\">%s</open-checksum>\n"+
			"    <location href=\"repodata/%s\"/>\n    <timestamp>%d</timestamp>\n    <size>%d</size>\n    <open-size>%d</open-size>\n  </data>\n",
			name, digest.Bytes(data), digest.Bytes(text), file, now.Unix(), len(data), len(text))
	}
	for _, element := range r.now.kept {
		md.WriteString("  " + element + "\n")
	}
	md.WriteString("</repomd>\n")
	if err := r.sign([]byte(md.String())); err != nil {
		return err
	}
	if err := r.PutData(repomdName, []byte(md.String())); err != nil {
		return err
	}
	return r.SweepOld("repodata", oldForm, current, now)
}

// index is the document of an index.
func (r *Repository) index(name string) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"+heads[name]+"\n", len(r.now.packages))
	for _, k := range r.now.packages {
		if k.entries[name] == "" {
			return nil, r.damaged(repomdName, errors.New("its indexes "+name+" and primary list different packages"))
		}
		b.WriteString(k.entries[name] + "\n")
	}
	b.WriteString(tails[name])
	return []byte(b.String()), nil
}

// sign writes the signature and the public key of repomd.xml.
func (r *Repository) sign(data []byte) error {
	if r.o.Signer == nil {
		return nil
	}
	public, err := r.o.Signer.Public()
	if err != nil {
		return err
	}
	signature, err := r.o.Signer.Sign("repomd.xml", data, r.o.Now())
	if err != nil {
		return err
	}
	if err := r.PutData(repomdName+".key", public); err != nil {
		return err
	}
	return r.PutData(repomdName+".asc", signature)
}

func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}
