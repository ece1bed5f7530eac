package oci

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/registry"
)

// Target is where to push an image.
type Target struct{ ref name.Tag }

// String is the reference, with its tag.
func (t *Target) String() string { return t.ref.Name() }

// NewTarget reads REGISTRY/REPOSITORY:TAG. The tag is required: an implicit one is a
// trap.
func NewTarget(text string, insecure bool) (*Target, error) {
	ref, err := parseReference(text, insecure, "--push")
	if err != nil {
		return nil, err
	}
	tag, ok := ref.(name.Tag)
	if !ok || !strings.HasSuffix(text, ":"+tag.TagStr()) {
		return nil, fault.New(fault.Usage, "write REGISTRY/REPOSITORY:TAG, as in registry.example.org/shop/web:1.0", "--push %q names no tag", text)
	}
	if !strings.ContainsAny(strings.SplitN(text, "/", 2)[0], ".:") && !strings.HasPrefix(text, "localhost/") {
		return nil, fault.New(fault.Usage, "include the registry, as in docker.io/"+text, "--push %q names no registry", text)
	}
	return &Target{tag}, nil
}

// registry is the registry client, made on first use.
func (o *Options) registry() (*registry.Client, error) {
	if o.client != nil {
		return o.client, nil
	}
	c, err := registry.New(registry.Options{
		Env: o.Caller, Runner: o.Runner, Limits: o.Pace, ConnectTimeout: connectTimeout, TLS: o.tls,
		Retry: httpc.Retry{Again: 2, Delay: time.Second, Max: 20 * time.Second},
	})
	o.client = c
	return c, err
}

// connectTimeout is longer than that of downloads, which have other servers to try.
const connectTimeout = 30 * time.Second

// Trust sets up trust in registries whose certificate was signed by the authorities in
// a file ("" for none), and in those of Insecure.
func (o *Options) Trust(file string) (err error) {
	o.tls, err = httpc.Authorities("--registry-ca", file, o.Insecure)
	return err
}

// CheckPush asks the registry, before anything is built, whether the image may be
// pushed.
func (o *Options) CheckPush(ctx context.Context) error {
	if o.Push == nil {
		return nil
	}
	c, err := o.registry()
	if err != nil {
		return err
	}
	if err := c.CheckPush(ctx, o.Push.ref); err != nil {
		return o.pushProblem(ctx, err)
	}
	return nil
}

func (o *Options) pushProblem(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fault.New(fault.Source, registryHint(err, "make the registry accept it, then run the same command again; finished builds are kept"), "push to %s: %w", o.Push.ref.Name(), err)
}

// registryHint is the hint for an answer of a registry.
func registryHint(err error, other string) string {
	return registry.Hint(err, "--registry-ca", "--insecure-registry", other)
}

// signAll signs the images, and the index with the digest, so that an image pulled for
// one CPU can also be verified. The statement of each image is signed, too.
func (m *maker) signAll(repo name.Repository, digest v1.Hash) error {
	if m.o.Sign == nil {
		return nil
	}
	all := []v1.Hash{digest}
	for _, i := range m.images {
		if !slices.Contains(all, i.digest) {
			all = append(all, i.digest)
		}
	}
	for _, h := range all {
		if err := m.sign(repo, h); err != nil {
			return fmt.Errorf("sign %s: %w", h, err)
		}
	}
	for _, i := range m.images {
		if err := m.attest(repo, i); err != nil {
			return fmt.Errorf("sign the statement of %s: %w", i.digest, err)
		}
	}
	return nil
}

// push uploads everything by digest, and sets the tag last: until then, the tag refers
// to the previous image.
func (m *maker) push(index v1.ImageIndex) (string, error) {
	client, err := m.o.registry()
	if err != nil {
		return "", err
	}
	opts, repo := client.Remote(m.ctx), m.o.Push.ref.Repository
	fail := func(err error) (string, error) { return "", m.o.pushProblem(m.ctx, err) }
	var last remote.Taggable
	var digest v1.Hash
	for _, i := range m.images {
		if err := remote.Write(repo.Digest(i.digest.String()), i.image, opts...); err != nil {
			return fail(err)
		}
		list, err := m.referrers(i)
		if err != nil {
			return "", err
		}
		for _, img := range list {
			h, err := img.Digest()
			if err != nil {
				return "", err
			}
			if err := remote.Write(repo.Digest(h.String()), img, opts...); err != nil {
				return fail(fmt.Errorf("attach its descriptions: %w", err))
			}
		}
		last, digest = i.image, i.digest
	}
	if index != nil {
		h, err := index.Digest()
		if err != nil {
			return "", err
		}
		if err := remote.WriteIndex(repo.Digest(h.String()), index, opts...); err != nil {
			return fail(err)
		}
		last, digest = index, h
	}
	if err := m.signAll(repo, digest); err != nil {
		return fail(err)
	}
	if err := remote.Tag(m.o.Push.ref, last, opts...); err != nil {
		return fail(err)
	}
	return repo.Digest(digest.String()).Name(), nil
}
