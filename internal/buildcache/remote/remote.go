// Package remote shares entries of the build cache between machines, as OCI artifacts: in
// a registry (https://github.com/opencontainers/distribution-spec) or in a directory with
// the OCI image layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md). The tag of an
// artifact is the entry's key. It trusts only the holders of the given keys: an entry is
// used only if one of them signed its manifest and the key that it is stored under. It
// does not know what is in an entry, and it never decides what happens when one is
// missing.
package remote

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/httpc"
	"modwsgi/internal/registry"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
)

// Options are the options of a shared cache.
type Options struct {
	Trust  *Trust        // signers whose entries are accepted
	Signer *Signer       // signs pushed entries; nil to only read
	Env    []string      // the caller's environment: credentials, proxies
	Runner *run.Runner   // starts credential helpers; nil for none
	HTTP   bool          // plain http also to other hosts than this one
	Dir    string        // base of a relative directory
	Stall  time.Duration // how long a server may be silent; 0 for 10 s, less if MODWSGI_DOWNLOAD_TIMEOUT is short
	Total  time.Duration // how long one pull or push may take; 0 for MODWSGI_DOWNLOAD_TIMEOUT, or 5 minutes
	Rate   int64         // minimum bytes per second of an answer; 0 for MODWSGI_DOWNLOAD_MIN_RATE, or 8 KiB; negative for no minimum
	Age    Age           // which entries are too old
	Lock   time.Duration // how long another process may change a directory's index; 0 for flock.DefaultLimit, negative does not wait

	tls *tls.Config // set by tests
}

// Cache is a shared cache. It is safe for concurrent use.
type Cache struct {
	name  string
	store store
	o     Options
	pace  pace
}

// store holds manifests by tag and blobs by digest. Reading a missing one returns
// errMissing.
type store interface {
	manifest(ctx context.Context, tag string) ([]byte, error)
	blob(ctx context.Context, d descriptor, w io.Writer) error
	putBlob(ctx context.Context, d descriptor, open func() (io.ReadCloser, error)) error
	putManifest(ctx context.Context, tag string, data []byte) error
}

var errMissing = registry.ErrMissing

// Refused is an entry that exists but must not be used.
type Refused struct {
	Key string
	Why string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("the entry %s is refused: %s", r.Key[:min(12, len(r.Key))], r.Why)
}

// Open parses the address of a shared cache: "oci://REGISTRY/REPOSITORY",
// "oci-layout:DIR" or "file://DIR". It does not contact the cache. Errors are of class
// Usage.
func Open(address string, o Options) (*Cache, error) {
	limits, err := httpc.ReadLimits(o.Env)
	if err != nil {
		return nil, err
	}
	if o.Stall == 0 {
		o.Stall = min(10*time.Second, limits.Window)
	}
	if o.Total == 0 {
		o.Total = 5 * time.Minute
		if limits.Set {
			o.Total = limits.Total
		}
	}
	if o.Rate == 0 {
		o.Rate = limits.Rate
	}
	if o.Lock == 0 {
		o.Lock = flock.DefaultLimit
	}
	c := &Cache{o: o, pace: usualPace}
	var dir string
	switch {
	case strings.HasPrefix(address, "oci://"):
		r, err := openRepository(strings.TrimPrefix(address, "oci://"), o)
		if err != nil {
			return nil, fault.New(fault.Usage, "write oci://REGISTRY/REPOSITORY, as in oci://ghcr.io/example/modwsgi-cache, without a tag", "the cache %q cannot be used: %w", hide(address), err)
		}
		c.name, c.store = "oci://"+r.String(), r
	case strings.HasPrefix(address, "oci-layout:"):
		dir = strings.TrimPrefix(address, "oci-layout:")
	case strings.HasPrefix(address, "file://"):
		dir = strings.TrimPrefix(address, "file://")
	default:
		return nil, fault.New(fault.Usage, "write oci://REGISTRY/REPOSITORY, or oci-layout:DIR for a directory", "the cache %q cannot be used: not a valid address", hide(address))
	}
	if c.store == nil {
		if dir == "" {
			return nil, fault.New(fault.Usage, "write oci-layout:DIR", "the cache %q does not name a directory", address)
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(o.Dir, dir)
		}
		c.name, c.store = "oci-layout:"+dir, &layout{dir: dir, limit: max(0, o.Lock)}
	}
	if o.Trust.empty() {
		return nil, fault.New(fault.Usage, "give --cache-trust FILE with the public key of those who fill the cache, or --cache-sign-key FILE to fill it yourself (modwsgi cache keygen makes a pair)",
			"the shared cache %s needs a key: an entry without a trusted signature is never used", c.name)
	}
	return c, nil
}

// hide removes a password from an address.
func hide(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	host, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = "…" + host[at:]
	}
	return scheme + "://" + host + "/" + path
}

// Name returns the address, without credentials.
func (c *Cache) Name() string { return c.name }

// Writes reports whether entries can be pushed.
func (c *Cache) Writes() bool { return c.o.Signer != nil }

// Accepts returns why an entry of a local cache that came from a shared one is no longer
// accepted, or "": its signer is no longer trusted, or it is too old. Entries built here
// are always accepted.
func (c *Cache) Accepts(o buildcache.Origin) string {
	if o.Signer == "" {
		return ""
	}
	if _, known := c.o.Trust.keys[o.Signer]; !known {
		return fmt.Sprintf("it was signed by a key that is no longer trusted (%.16s)", printable(o.Signer))
	}
	return c.o.Age.tooOld(o.Built)
}

// Pull copies the entry of a key into a local cache. It returns false if the shared cache
// does not have it. The error is *Refused for an entry that is not signed by a trusted
// key, is too old, differs from what was signed, or is not for the archives that the
// caller wants (wanted returns why). On an error nothing is added to the local cache.
func (c *Cache) Pull(ctx context.Context, key string, into buildcache.Cache, wanted func(buildcache.About) error) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Total, fmt.Errorf("%s did not finish within %s", c.name, c.o.Total))
	defer cancel()
	m, layers, err := c.read(ctx, key)
	if errors.Is(err, errMissing) {
		return false, nil
	}
	if err == nil && wanted != nil {
		if why := wanted(m.About); why != nil {
			err = &Refused{key, why.Error()}
		}
	}
	if err != nil {
		return false, c.wrap("read", err)
	}
	err = into.Import(key, m, func(to string) error {
		return c.unpack(ctx, m, layers, to)
	})
	return err == nil, c.wrap("read", err)
}

// read gets the signed parts: the manifest of the artifact and that of the entry.
func (c *Cache) read(ctx context.Context, key string) (*buildcache.Manifest, descriptor, error) {
	raw, err := c.store.manifest(ctx, key)
	if err != nil {
		return nil, descriptor{}, err
	}
	a, err := c.open(key, raw)
	if err != nil {
		return nil, descriptor{}, err
	}
	var config strings.Builder
	if err := c.store.blob(ctx, a.Config, &config); err != nil {
		return nil, descriptor{}, badPart(key, err)
	}
	m, err := buildcache.Decode([]byte(config.String()), key)
	if err != nil {
		return nil, descriptor{}, &Refused{key, "its description is invalid (" + err.Error() + ")"}
	}
	m.Origin = buildcache.Origin{Built: a.built(), Signer: a.Annotations[signerNote], From: c.name}
	return m, a.Layers[0], nil
}

// open checks who signed a manifest, and when.
func (c *Cache) open(key string, raw []byte) (*artifact, error) {
	a, err := c.o.Trust.open(key, raw)
	if err != nil {
		return nil, err
	}
	if why := c.o.Age.tooOld(a.built()); why != "" {
		return nil, &Refused{key, why}
	}
	return a, nil
}

// badPart turns an artifact with a missing or wrong part into a refused one, which is
// different from a missing one.
func badPart(key string, err error) error {
	switch {
	case errors.Is(err, errMissing):
		return &Refused{key, "a part of it is missing"}
	case isContent(err):
		return &Refused{key, err.Error()}
	}
	return err
}

// unpack streams the tree through a pipe, so that it is never in memory as a whole. The
// unpacking side knows every name, size and hash beforehand.
func (c *Cache) unpack(ctx context.Context, m *buildcache.Manifest, layer descriptor, to string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r, w := io.Pipe()
	got := make(chan error, 1)
	go func() {
		err := c.store.blob(ctx, layer, w)
		_ = w.CloseWithError(err)
		got <- err
	}()
	err := unpackTree(r, m, to)
	_ = r.CloseWithError(errEnough)
	stop()
	if gerr := <-got; gerr != nil && !errors.Is(gerr, errEnough) && !errors.Is(gerr, context.Canceled) {
		return badPart(m.Key, gerr) // the cause of the unpacking error
	}
	var refused *Refused
	switch {
	case err == nil || errors.As(err, &refused):
		return err
	case isContent(err):
		return &Refused{m.Key, err.Error()}
	}
	return err
}

var errEnough = errors.New("enough was read")

// Push copies the entry of a key from a local cache to the shared one, unless a trusted
// copy is there already. It pushes only entries built here: signing another's build would
// vouch for it, and signing it again would make it look younger than it is. It does not
// push an entry that others would refuse for its age.
func (c *Cache) Push(ctx context.Context, key string, from buildcache.Cache) (bool, error) {
	if c.o.Signer == nil {
		return false, errors.New("no key to sign with")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Total, fmt.Errorf("%s did not finish within %s", c.name, c.o.Total))
	defer cancel()
	if raw, err := c.store.manifest(ctx, key); err == nil {
		if _, err := c.open(key, raw); err == nil {
			return false, nil
		}
	} else if !errors.Is(err, errMissing) {
		return false, c.wrap("read", err)
	}
	m, tree, err := from.Open(key)
	if err != nil {
		return false, err
	}
	if !m.Origin.Here() || c.o.Age.tooOld(m.Origin.Built) != "" {
		return false, nil
	}
	temp, err := scratch.Make("", scratch.Push)
	if err != nil {
		return false, err
	}
	defer func() { _ = temp.Discard() }()
	file, layer, err := packTree(ctx, m, tree, temp.Dir)
	if err != nil {
		return false, err
	}
	return true, c.wrap("write", c.put(ctx, key, m, file, layer))
}

func (c *Cache) put(ctx context.Context, key string, m *buildcache.Manifest, file string, layer descriptor) error {
	config, err := m.Encode()
	if err != nil {
		return err
	}
	if len(config) > maxConfig {
		return errors.New("the entry has too many files")
	}
	conf := describe(configType, config)
	if err := c.store.putBlob(ctx, conf, func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(config))), nil
	}); err != nil {
		return err
	}
	if err := c.store.putBlob(ctx, layer, func() (io.ReadCloser, error) { return os.Open(file) }); err != nil {
		return err
	}
	raw, err := c.o.Signer.seal(key, artifact{Config: conf, Layers: []descriptor{layer}, Annotations: map[string]string{titleNote: m.Name}}, m.Origin.Built)
	if err != nil {
		return err
	}
	return c.store.putManifest(ctx, key, raw)
}

// wrap adds the name of the cache to an error.
func (c *Cache) wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", verb, c.name, err)
}

func describe(mediaType string, data []byte) descriptor {
	sum := sha256.Sum256(data)
	return descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data))}
}
