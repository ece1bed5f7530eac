// Package ociref publishes an image archive of modwsgi package oci to a registry, with
// its bill of materials and its provenance attached as referrers (OCI 1.1). Registries
// without the referrers API get the list of them under the fallback tag
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema).
//
// The tag is set last: until then it names the previous image or nothing, and everything
// is only there by digest. A tag that names another image is a conflict unless it may be
// moved.
package ociref

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/registry"
	"modwsgi/internal/run"
	"modwsgi/packaging"
	"modwsgi/packaging/publish"
)

// Option is the command line option of this destination.
const Option = "--oci"

// Options describe the destination.
type Options struct {
	Reference string // REGISTRY/REPOSITORY:TAG
	Move      bool   // the tag may name another image
	Env       []string
	Runner    *run.Runner // starts credential helpers
	Pace      httpc.Limits
	TLS       *tls.Config
	Insecure  bool // plain http is tried, too
	Delay     time.Duration
}

// Image implements [publish.Destination].
type Image struct {
	o        Options
	set      *publish.Set
	ref      name.Tag
	client   *registry.Client
	artifact packaging.Artifact
	file     *publish.File
	archive  *archive
	images   []v1.Image // of an index, or the one
	top      *manifest
	attached []*attachment
	missing  map[v1.Hash]bool // manifests that the registry lacks
	unlisted map[v1.Hash]bool // attachments that its list of referrers lacks
	tagged   v1.Hash          // what the tag names; zero for nothing
}

// New returns the destination. Its errors are of class Usage.
func New(set *publish.Set, o Options) (*Image, error) {
	i := &Image{o: o, set: set}
	chosen, err := set.Of(Option, "oci")
	if err != nil {
		return nil, err
	}
	if len(chosen) > 1 {
		return nil, fault.New(fault.Usage, "choose one with --only, as in --only '"+chosen[0].Name+"'", "%s %s is for one image, and %s contains %d", Option, o.Reference, set.Dir, len(chosen))
	}
	i.artifact = chosen[0]
	var opts []name.Option
	if o.Insecure {
		opts = append(opts, name.Insecure)
	}
	example := "write REGISTRY/REPOSITORY:TAG, as in registry.example.org/shop/web:1.0"
	ref, err := name.ParseReference(o.Reference, opts...)
	if err != nil {
		return nil, fault.New(fault.Usage, example, "%s %q is not an image reference", Option, httpc.RedactText(o.Reference))
	}
	tag, ok := ref.(name.Tag)
	host, _, slash := strings.Cut(o.Reference, "/")
	if !ok || !slash || !strings.HasSuffix(o.Reference, ":"+tag.TagStr()) || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return nil, fault.New(fault.Usage, example, "%s %q does not name a registry, a repository and a tag", Option, o.Reference)
	}
	i.ref = tag
	delay := o.Delay
	if delay == 0 {
		delay = time.Second
	}
	i.client, err = registry.New(registry.Options{
		Env: o.Env, Runner: o.Runner, Limits: o.Pace, ConnectTimeout: 30 * time.Second, TLS: o.TLS, Retry: httpc.Retry{Again: 2, Delay: delay, Max: 20 * time.Second},
	})
	return i, err
}

// Close implements [publish.Destination].
func (i *Image) Close() {
	if i.file != nil {
		_ = i.file.Close()
		i.file = nil
	}
}

// open reads the archive, and makes the attachments.
func (i *Image) open() (err error) {
	unusable := func(err error) error {
		if fault.ClassOf(err) != fault.Internal {
			return err
		}
		return fault.New(fault.Verify, "make it again with modwsgi package oci", "read %s: %w", i.artifact.Name, err)
	}
	if i.file, err = i.set.Open(i.artifact.Name); err != nil {
		return err
	}
	if i.archive, err = openArchive(i.file); err != nil {
		return unusable(err)
	}
	raw, err := i.archive.blob(i.archive.top.Digest)
	if err != nil {
		return unusable(err)
	}
	i.top = &manifest{raw, i.archive.top.MediaType}
	descs := []v1.Descriptor{i.archive.top}
	if i.archive.top.MediaType.IsIndex() {
		if descs, err = i.archive.children(); err != nil {
			return unusable(err)
		}
	}
	for _, d := range descs {
		img, err := i.archive.image(d)
		if err != nil {
			return unusable(err)
		}
		i.images = append(i.images, img)
	}
	if err := i.describe(int64(len(raw))); err != nil {
		return unusable(err)
	}
	return nil
}

// describe makes the attachments of the image, or of the index of several.
func (i *Image) describe(size int64) error {
	subject := v1.Descriptor{MediaType: i.archive.top.MediaType, Digest: i.archive.top.Digest, Size: size}
	for _, sidecar := range i.artifact.Sidecars {
		kind := kindOf(sidecar)
		if kind == "" {
			continue
		}
		data, err := i.set.Sidecar(sidecar)
		if err != nil {
			return err
		}
		if data, err = about(data, i.ref.Repository.Name(), subject.Digest); err != nil {
			return fmt.Errorf("%s: %w", sidecar, err)
		}
		a, err := attach(sidecar, kind, data, subject, map[string]string{"org.opencontainers.image.title": sidecar})
		if err != nil {
			return err
		}
		i.attached = append(i.attached, a)
	}
	return nil
}

// Address implements [publish.Destination].
func (i *Image) Address() string { return i.ref.Name() }

// Plan implements [publish.Destination].
func (i *Image) Plan(ctx context.Context) (*publish.Plan, error) {
	if err := i.open(); err != nil {
		return nil, err
	}
	p := &publish.Plan{Kind: "oci", Address: i.Address()}
	if err := i.ask(ctx); err != nil {
		return nil, i.problem(ctx, "ask", err)
	}
	state := func(h v1.Hash) publish.State {
		if i.missing[h] || i.unlisted[h] {
			return publish.Add
		}
		return publish.Present
	}
	repo := i.ref.Repository
	p.Changes = append(p.Changes, publish.Change{
		Name: i.artifact.Name, State: state(i.archive.top.Digest), Where: repo.Digest(i.archive.top.Digest.String()).Name(), Size: i.artifact.Size, SHA256: i.artifact.SHA256,
	})
	for _, a := range i.attached {
		p.Changes = append(p.Changes, publish.Change{Name: a.name, State: state(a.digest), Where: repo.Digest(a.digest.String()).Name()})
	}
	tag := publish.Change{Name: i.ref.TagStr(), State: publish.Update, Where: i.ref.Name()}
	switch {
	case i.tagged == i.archive.top.Digest:
		tag.State = publish.Present
	case i.tagged != (v1.Hash{}) && !i.o.Move:
		tag.State, tag.Reason = publish.Conflict, "the tag names "+i.tagged.String()+"; --oci-move-tag replaces it"
	}
	p.Changes = append(p.Changes, tag)
	return p, nil
}

// ask looks for everything in the registry.
func (i *Image) ask(ctx context.Context) error {
	if err := i.client.CheckPush(ctx, i.ref); err != nil {
		return err
	}
	opts := i.client.Remote(ctx)
	i.missing, i.unlisted = map[v1.Hash]bool{}, map[v1.Hash]bool{}
	all := []v1.Hash{i.archive.top.Digest}
	for _, a := range i.attached {
		all = append(all, a.digest)
	}
	for _, h := range all {
		_, err := remote.Head(i.ref.Repository.Digest(h.String()), opts...)
		if err != nil && !notFound(err) {
			return err
		}
		i.missing[h] = err != nil
	}
	if !i.missing[i.archive.top.Digest] {
		listed, err := i.listed(ctx)
		if err != nil {
			return err
		}
		for _, a := range i.attached {
			i.unlisted[a.digest] = !slices.Contains(listed, a.digest)
		}
	}
	d, err := remote.Head(i.ref, opts...)
	if err != nil && !notFound(err) {
		return err
	}
	if err == nil {
		i.tagged = d.Digest
	}
	return nil
}

// notFound reports whether the registry does not have what was asked for. Some answer 404
// only to GET, and nothing to HEAD but the status.
func notFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// listed are the referrers of the image.
func (i *Image) listed(ctx context.Context) ([]v1.Hash, error) {
	index, err := remote.Referrers(i.ref.Repository.Digest(i.archive.top.Digest.String()), i.client.Remote(ctx)...)
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var out []v1.Hash
	for _, d := range m.Manifests {
		out = append(out, d.Digest)
	}
	return out, nil
}

// Publish implements [publish.Destination].
func (i *Image) Publish(ctx context.Context, done func(publish.Change)) error {
	if err := i.push(ctx, done); err != nil {
		return i.problem(ctx, "publish", err)
	}
	return nil
}

func (i *Image) push(ctx context.Context, done func(publish.Change)) error {
	opts, repo := i.client.Remote(ctx), i.ref.Repository
	if top := i.archive.top.Digest; i.missing[top] {
		for _, img := range i.images {
			h, err := img.Digest()
			if err != nil {
				return err
			}
			if err := remote.Write(repo.Digest(h.String()), img, opts...); err != nil {
				return err
			}
		}
		if err := remote.Put(repo.Digest(top.String()), i.top, opts...); err != nil {
			return err
		}
		done(publish.Change{Name: i.artifact.Name, State: publish.Add, Where: repo.Digest(top.String()).Name(), Size: i.artifact.Size, SHA256: i.artifact.SHA256})
	}
	if err := i.attach(ctx, done); err != nil {
		return err
	}
	if i.tagged == i.archive.top.Digest {
		return nil
	}
	if err := remote.Tag(i.ref, i.top, opts...); err != nil {
		return err
	}
	done(publish.Change{Name: i.ref.TagStr(), State: publish.Update, Where: i.ref.Name()})
	return nil
}

// attempts is how often the list of referrers is written. Without the referrers API, two
// clients that write it concurrently lose one entry.
const attempts = 4

// attach uploads the attachments, and checks that the registry lists them.
func (i *Image) attach(ctx context.Context, done func(publish.Change)) error {
	opts, repo := i.client.Remote(ctx), i.ref.Repository
	wanted := slices.DeleteFunc(slices.Clone(i.attached), func(a *attachment) bool { return !i.missing[a.digest] && !i.unlisted[a.digest] })
	for _, a := range wanted {
		for _, b := range a.blobs {
			if err := remote.WriteLayer(repo, b, opts...); err != nil {
				return fmt.Errorf("attach %s: %w", a.name, err)
			}
		}
	}
	left := wanted
	for range attempts {
		for _, a := range left {
			if err := remote.Put(repo.Digest(a.digest.String()), a.manifest, opts...); err != nil {
				return fmt.Errorf("attach %s: %w", a.name, err)
			}
		}
		if len(left) == 0 {
			break
		}
		listed, err := i.listed(ctx)
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(slices.Clone(left), func(a *attachment) bool { return slices.Contains(listed, a.digest) })
	}
	if len(left) > 0 {
		return fmt.Errorf("attach %s: the registry does not list it, although it accepted it", left[0].name)
	}
	for _, a := range wanted {
		done(publish.Change{Name: a.name, State: publish.Add, Where: repo.Digest(a.digest.String()).Name()})
	}
	return nil
}

// problem is the error for a failed request.
func (i *Image) problem(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if fault.ClassOf(err) != fault.Internal {
		return err
	}
	hint := registry.Hint(err, "--ca", "--insecure", "run the same command again: what is in the registry is skipped")
	return fault.New(fault.Source, hint, "%s %s: %w", what, i.ref.Name(), err)
}
