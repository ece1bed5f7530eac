// Package remote shares entries of the build cache between machines, as OCI
// artifacts: in a registry (https://github.com/opencontainers/distribution-spec)
// or in a directory with the OCI image layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md). The
// tag of an artifact is the entry's key. It trusts nobody but the holders of
// the keys that it was given: an entry counts only if its manifest, and the key
// under which it lies, are signed by one of them. It does not know what is in an
// entry, and it never decides what happens when there is none.
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

// Options say how a shared cache is used.
type Options struct {
	Trust  *Trust        // whose entries count
	Signer *Signer       // with whom entries are pushed; nil for reading only
	Env    []string      // the caller's environment: credentials, proxies
	Runner *run.Runner   // starts credential helpers; nil for none
	HTTP   bool          // plain http also to other hosts than this one
	Dir    string        // to which a relative directory refers
	Stall  time.Duration // how long a server may say nothing; 0 for 10 s, less where MODWSGI_DOWNLOAD_TIMEOUT is short
	Total  time.Duration // how long one pull or push may take; 0 for MODWSGI_DOWNLOAD_TIMEOUT, or 5 minutes
	Rate   int64         // bytes per second that an answer must have; 0 for MODWSGI_DOWNLOAD_MIN_RATE, or 8 KiB; negative for any
	Age    Age           // which entries are too old
	Lock   time.Duration // how long another process may change a directory's index; 0 for flock.DefaultLimit, negative does not wait

	tls *tls.Config // of tests
}

// Cache is a shared cache. It is safe for concurrent use.
type Cache struct {
	name  string
	store store
	o     Options
}

// store is a place for manifests by tag and blobs by digest. Reading what is not
// there is errMissing.
type store interface {
	manifest(ctx context.Context, tag string) ([]byte, error)
	blob(ctx context.Context, d descriptor, w io.Writer) error
	putBlob(ctx context.Context, d descriptor, open func() (io.ReadCloser, error)) error
	putManifest(ctx context.Context, tag string, data []byte) error
}

var errMissing = registry.ErrMissing

// Refused is an entry that is there and must not be used.
type Refused struct {
	Key string
	Why string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("the entry %s is refused: %s", r.Key[:min(12, len(r.Key))], r.Why)
}

// Open understands the address of a shared cache: "oci://REGISTRY/REPOSITORY",
// "oci-layout:DIR" or "file://DIR". Nothing is asked of it yet. Errors are of
// class Usage.
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
	c := &Cache{o: o}
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
		return nil, fault.New(fault.Usage, "write oci://REGISTRY/REPOSITORY, or oci-layout:DIR for a directory", "the cache %q cannot be used: it is no address", hide(address))
	}
	if c.store == nil {
		if dir == "" {
			return nil, fault.New(fault.Usage, "write oci-layout:DIR", "the cache %q names no directory", address)
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(o.Dir, dir)
		}
		c.name, c.store = "oci-layout:"+dir, &layout{dir: dir, limit: max(0, o.Lock)}
	}
	if o.Trust.empty() {
		return nil, fault.New(fault.Usage, "give --cache-trust FILE with the public key of those who fill the cache, or --cache-sign-key FILE to fill it yourself (modwsgi cache keygen makes a pair)",
			"the shared cache %s needs a key: what is not signed by somebody trusted is never used", c.name)
	}
	return c, nil
}

// hide takes a password out of an address.
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

// Name is the address, without credentials.
func (c *Cache) Name() string { return c.name }

// Writes says whether entries can be pushed.
func (c *Cache) Writes() bool { return c.o.Signer != nil }

// Accepts says why an entry of a local cache that came from a shared one does not
// count any more, "" where it does: its signer is not trusted any more, or it has
// become too old. What was built here always counts.
func (c *Cache) Accepts(o buildcache.Origin) string {
	if o.Signer == "" {
		return ""
	}
	if _, known := c.o.Trust.keys[o.Signer]; !known {
		return fmt.Sprintf("it was signed by a key that is not trusted any more (%.16s)", printable(o.Signer))
	}
	return c.o.Age.tooOld(o.Built)
}

// Pull gets the entry of a key into a local cache. It reports false where there
// is none. An entry that is not signed by a trusted key, is too old, is not what
// was signed, or is not for the archives that the caller wants (wanted says why),
// is a *Refused. On an error the local cache has nothing of it.
func (c *Cache) Pull(ctx context.Context, key string, into buildcache.Cache, wanted func(buildcache.About) error) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Total, fmt.Errorf("%s did not end within %s", c.name, c.o.Total))
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

// read gets what is signed: the manifest of the artifact and that of the entry.
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
		return nil, descriptor{}, &Refused{key, "its description makes no sense (" + err.Error() + ")"}
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

// badPart makes an artifact of which a part is missing or wrong a refused one:
// that is not the same as none.
func badPart(key string, err error) error {
	switch {
	case errors.Is(err, errMissing):
		return &Refused{key, "a part of it is missing"}
	case isContent(err):
		return &Refused{key, err.Error()}
	}
	return err
}

// unpack streams the tree through a pipe, so that it is nowhere in memory. Who
// unpacks knows every name, size and hash beforehand.
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
		return badPart(m.Key, gerr) // the cause of what the unpacking says
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

// Push puts the entry of a key from a local cache there, unless the same is
// there already and can be trusted. Only what was built here is pushed: to sign
// what somebody else built would make it ours, and to sign it again would make it
// younger than it is. An entry that others would refuse for its age is not pushed.
func (c *Cache) Push(ctx context.Context, key string, from buildcache.Cache) (bool, error) {
	if c.o.Signer == nil {
		return false, errors.New("there is no key to sign with")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Total, fmt.Errorf("%s did not end within %s", c.name, c.o.Total))
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

// wrap says which cache an error is about.
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
