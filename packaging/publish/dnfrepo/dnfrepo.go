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
	"io/fs"
	"path"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
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

// pack is a package to publish.
type pack struct {
	artifact packaging.Artifact
	rpm      *rpm
	href     string
	state    publish.State
	reason   string
	there    bool // the file is in the repository
}

// Repository implements [publish.Destination].
type Repository struct {
	o     Options
	set   *publish.Set
	packs []*pack
	tree  *repodir.Tree
	now   *state
}

// New returns the destination. The error is of class Usage: the set has no rpm.
func New(set *publish.Set, o Options) (*Repository, error) {
	chosen, err := set.Of(Option, "rpm")
	if err != nil {
		return nil, err
	}
	o.Dir.Option, o.Dir.Entries = Option, []string{"repodata", "Packages"}
	r := &Repository{o: o, set: set}
	for _, a := range chosen {
		r.packs = append(r.packs, &pack{artifact: a, href: "Packages/" + a.Name})
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
	p := &publish.Plan{Kind: "dnf", Address: r.Address()}
	changed, seen := false, map[string]bool{}
	for _, k := range r.packs {
		if err := r.examine(k); err != nil {
			return nil, err
		}
		if key := k.rpm.key(); seen[key] {
			k.state, k.reason = publish.Conflict, "another artifact is the same package, "+key
		} else {
			seen[key] = true
		}
		changed = changed || k.state == publish.Add
		p.Changes = append(p.Changes, publish.Change{
			Name: k.artifact.Name, State: k.state, Where: k.href, Size: k.artifact.Size, SHA256: k.artifact.SHA256, Reason: k.reason,
		})
	}
	if changed || r.now.unsigned && r.o.Signer != nil {
		p.Changes = append(p.Changes, publish.Change{Name: "repomd.xml", State: publish.Update, Where: repomdName})
	}
	return p, nil
}

// examine reads the headers of a package, and compares the package with the repository.
func (r *Repository) examine(k *pack) error {
	f, err := r.set.Open(k.artifact.Name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if k.rpm, err = readRPM(f); err != nil {
		return fault.New(fault.Verify, "make it again with modwsgi package rpm", "read %s: %w", k.artifact.Name, err)
	}
	there, err := r.tree.Sum(k.href)
	if err != nil {
		return err
	}
	k.there = there == k.artifact.SHA256
	listed := r.now.byKey[k.rpm.key()]
	same, found := false, false
	if listed != nil {
		if same, found, err = r.same(listed, k); err != nil {
			return err
		}
	}
	switch {
	case listed != nil && !same:
		k.state, k.reason = publish.Conflict, "the repository has another "+k.rpm.key()
	case there != "" && !k.there:
		k.state, k.reason = publish.Conflict, "the repository has another file of that name"
	case listed != nil && found:
		k.state = publish.Present
	default:
		k.state = publish.Add
	}
	return nil
}

// same compares a package of the repository with one to publish. found is false if the
// index names a file that was lost.
func (r *Repository) same(listed *known, k *pack) (same, found bool, err error) {
	if listed.elsewhere {
		return listed.kind == "sha256" && listed.id == k.artifact.SHA256, true, nil
	}
	sum, err := r.tree.Sum(path.Clean(listed.href))
	if err != nil {
		return false, false, err
	}
	if listed.kind == "sha256" {
		return listed.id == k.artifact.SHA256, sum == k.artifact.SHA256, nil
	}
	return sum == k.artifact.SHA256, sum == k.artifact.SHA256, nil
}

// Publish implements [publish.Destination].
func (r *Repository) Publish(ctx context.Context, done func(publish.Change)) error {
	for _, k := range r.packs {
		if k.state != publish.Add {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.add(k); err != nil {
			return err
		}
		done(publish.Change{Name: k.artifact.Name, State: publish.Add, Where: k.href, Size: k.artifact.Size, SHA256: k.artifact.SHA256})
	}
	if err := r.switchTo(); err != nil {
		return err
	}
	done(publish.Change{Name: "repomd.xml", State: publish.Update, Where: repomdName})
	return nil
}

// add copies a package, and adds it to the state.
func (r *Repository) add(k *pack) error {
	if !k.there {
		if err := r.tree.Sweep(path.Dir(k.href), nil); err != nil {
			return err
		}
		f, err := r.set.Open(k.artifact.Name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if _, _, err := r.tree.Put(k.href, f.Checked()); err != nil {
			return err
		}
	}
	at := place{sum: k.artifact.SHA256, href: k.href, size: k.artifact.Size, time: r.o.Now().Unix()}
	one := &known{id: at.sum, kind: "sha256", href: at.href, entries: k.rpm.entries(at)}
	if old := r.now.byKey[k.rpm.key()]; old != nil { // its file was lost
		*old = *one
		return nil
	}
	r.now.packages = append(r.now.packages, one)
	return nil
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
		file := sumOf(data) + "-" + name + ".xml.gz"
		current[file] = true
		if err := r.put("repodata/"+file, data); err != nil {
			return err
		}
		fmt.Fprintf(&md, "  <data type=\"%s\">\n    <checksum type=\"sha256\">%s</checksum>\n    <open-checksum type=\"sha256\">%s</open-checksum>\n"+
			"    <location href=\"repodata/%s\"/>\n    <timestamp>%d</timestamp>\n    <size>%d</size>\n    <open-size>%d</open-size>\n  </data>\n",
			name, sumOf(data), sumOf(text), file, now.Unix(), len(data), len(text))
	}
	for _, element := range r.now.kept {
		md.WriteString("  " + element + "\n")
	}
	md.WriteString("</repomd>\n")
	if err := r.sign([]byte(md.String())); err != nil {
		return err
	}
	if err := r.put(repomdName, []byte(md.String())); err != nil {
		return err
	}
	return r.tree.Sweep("repodata", func(e fs.DirEntry) bool {
		info, err := e.Info()
		return err == nil && oldForm.MatchString(e.Name()) && !current[e.Name()] && now.Sub(info.ModTime()) > keepOld
	})
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
	if err := r.put(repomdName+".key", public); err != nil {
		return err
	}
	return r.put(repomdName+".asc", signature)
}

func (r *Repository) put(name string, data []byte) error {
	_, _, err := r.tree.Put(name, bytes.NewReader(data))
	return err
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
