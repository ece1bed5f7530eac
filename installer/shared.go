package installer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildcache/remote"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/run"
	"modwsgi/internal/timeline"
)

// DefaultCacheLimit is how large the cache directory may become, in bytes.
const DefaultCacheLimit = 5 << 30

// openShared understands what the request and the environment say about the
// build cache: its size, and a shared one. Errors are of class Usage.
func (q *Request) openShared() error {
	var err error
	if q.limit, err = CacheLimit(q.Env); err != nil || q.shared != nil {
		return err
	}
	q.shared, err = OpenShared(q.Cache, q.CacheSignKey, q.CacheTrust, q.CacheHTTP, *q)
	return err
}

// OpenShared opens the shared build cache that options name, or where they are
// empty MODWSGI_CACHE, MODWSGI_CACHE_SIGN_KEY and MODWSGI_CACHE_TRUST; nil where
// there is none. Nothing is asked of it yet.
func OpenShared(address, signKey string, trust []string, http bool, q Request) (*remote.Cache, error) {
	if address == "" {
		address = run.Getenv(q.Env, "MODWSGI_CACHE")
	}
	if address == "" {
		if signKey != "" || len(trust) > 0 {
			return nil, fault.New(fault.Usage, "give --cache oci://REGISTRY/REPOSITORY too", "--cache-sign-key and --cache-trust are for a shared cache, and none is given")
		}
		return nil, nil
	}
	if strings.HasPrefix(strings.TrimSpace(signKey), "-----BEGIN") {
		return nil, fault.New(fault.Usage, "put it into a file that only you can read, or into MODWSGI_CACHE_SIGN_KEY", "--cache-sign-key is the key itself, which every user sees in the list of processes")
	}
	if signKey == "" {
		signKey = run.Getenv(q.Env, "MODWSGI_CACHE_SIGN_KEY")
	}
	if v := run.Getenv(q.Env, "MODWSGI_CACHE_TRUST"); len(trust) == 0 && v != "" {
		trust = []string{v}
		if !strings.HasPrefix(strings.TrimSpace(v), "-----BEGIN") {
			trust = filepath.SplitList(v)
		}
	}
	o := remote.Options{Env: q.Env, Runner: q.Runner, HTTP: http, Dir: q.Dir, Lock: q.lockLimit()}
	var err error
	if o.Age, err = sharedAge(q); err != nil {
		return nil, err
	}
	if signKey != "" {
		if o.Signer, err = remote.ReadSigner(signKey, q.Dir); err != nil {
			return nil, err
		}
	}
	if o.Trust, err = remote.ReadTrust(trust, q.Dir, o.Signer); err != nil {
		return nil, err
	}
	return remote.Open(address, o)
}

// sharedAge understands --cache-max-age and --cache-not-before, or the variables of
// the environment.
func sharedAge(q Request) (a remote.Age, err error) {
	from := func(option, value, variable string) (string, string) {
		if value != "" {
			return value, option
		}
		return run.Getenv(q.Env, variable), variable
	}
	limit, name := from("--cache-max-age", q.CacheMaxAge, "MODWSGI_CACHE_MAX_AGE")
	switch limit {
	case "":
	case "none":
		a.Max = -1
	default:
		a.Max, err = ParseAge(limit)
		if err == nil && a.Max == 0 {
			err = fmt.Errorf("%q is not an age", limit)
		}
		if err != nil {
			return a, fault.New(fault.Usage, "write an age such as 30d, 2w or 36h, or none", "%s: %w", name, err)
		}
	}
	date, name := from("--cache-not-before", q.CacheNotBefore, "MODWSGI_CACHE_NOT_BEFORE")
	if date == "" {
		return a, nil
	}
	if a.NotBefore, err = time.Parse(time.RFC3339, date); err != nil {
		if a.NotBefore, err = time.Parse(time.DateOnly, date); err != nil {
			return a, fault.New(fault.Usage, "write a date such as 2026-11-28, or a time such as 2026-11-28T16:00:00Z", "%s: %q is not a date", name, date)
		}
	}
	return a, nil
}

// CacheLimit reads MODWSGI_CACHE_LIMIT: a size such as "2G", "none" for no
// limit.
func CacheLimit(env []string) (int64, error) {
	v := run.Getenv(env, "MODWSGI_CACHE_LIMIT")
	switch v {
	case "":
		return DefaultCacheLimit, nil
	case "none":
		return -1, nil
	}
	n, err := ParseSize(v)
	if err != nil {
		return 0, fault.New(fault.Usage, "set MODWSGI_CACHE_LIMIT to a size such as 500M or 5G, or to none", "MODWSGI_CACHE_LIMIT: %w", err)
	}
	return n, nil
}

// ParseSize reads a size in bytes: a number, with K, M, G or T (powers of 1024)
// behind it.
func ParseSize(text string) (int64, error) {
	s := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(text)), "B"), "I")
	factor := 1.0
	if i := strings.IndexAny("KMGT", s[max(0, len(s)-1):]); s != "" && i >= 0 {
		factor, s = math.Pow(1024, float64(i+1)), strings.TrimSpace(s[:len(s)-1])
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*factor > 1<<62 || strings.ContainsAny(s, "xXpPiI_eE+") {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	return int64(n * factor), nil
}

// ParseAge reads a length of time: what Go understands ("36h"), and days and
// weeks ("30d", "2w").
func ParseAge(text string) (time.Duration, error) {
	s := strings.TrimSpace(text)
	for unit, hours := range map[string]float64{"d": 24, "w": 7 * 24} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil || math.IsNaN(n) || n < 0 || n > 36500 {
				return 0, fmt.Errorf("%q is not an age", text)
			}
			return time.Duration(n * hours * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not an age", text)
	}
	return d, nil
}

// builds is where finished trees come from and go to: the local cache, and the
// shared one where there is one.
type builds struct {
	q     *Request
	dir   string // the cache directory, "" where it is not used
	cache buildcache.Cache
	spare buildcache.Cache // of this run only, where the local one cannot be written to
	mu    sync.Mutex
	said  bool            // that the local cache is not used
	off   bool            // the shared one is not asked any more
	got   map[string]bool // keys that came from the shared one
	wants map[string]wanted
}

// buildsDir is where the build cache lies in the cache directory.
func buildsDir(cacheDir string) string { return filepath.Join(cacheDir, partBuilds) }

// newBuilds uses the builds of a cache directory, "" for none.
func newBuilds(q *Request, cacheDir, workDir string) *builds {
	b := &builds{q: q, dir: cacheDir, spare: buildcache.Cache{Dir: filepath.Join(workDir, partBuilds)}, got: map[string]bool{}}
	if cacheDir != "" {
		b.cache.Dir = buildsDir(cacheDir)
	}
	return b
}

// local are the caches on this machine, in the order in which they are asked.
func (b *builds) local() []buildcache.Cache { return []buildcache.Cache{b.cache, b.spare} }

// restore puts the tree of a key at dest, where there is one, and says what it
// is. A cache that cannot be used is told once and counts as an empty one.
func (b *builds) restore(ctx context.Context, key, dest string) (*buildcache.Entry, error) {
	e, err := b.restoreLocal(ctx, key, dest)
	if e != nil || err != nil {
		if e != nil && !b.pulled(key) {
			b.push(ctx, key)
		}
		return e, err
	}
	if got, err := b.pull(ctx, key); !got || err != nil {
		return nil, err
	}
	return b.restoreLocal(ctx, key, dest)
}

func (b *builds) restoreLocal(ctx context.Context, key, dest string) (found *buildcache.Entry, err error) {
	end := b.q.Timeline.Begin(timeline.Cache, "build cache", "restore "+key[:12])
	defer func() { end(func(s *timeline.Span) { s.Cached, s.Failed = found != nil, err != nil }) }()
	for _, c := range b.local() {
		if !b.counts(c, key) {
			continue
		}
		before, _ := c.Info(key)
		hit, err := c.Restore(ctx, key, dest)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			b.unusable(err)
		}
		if before != nil && !hit && err == nil {
			what := "was damaged"
			if before.Format != 0 {
				what = "is in the format of another version of modwsgi"
			}
			b.q.Events.Note("an entry of the build cache " + what + " and is dropped: " + key[:12])
		}
		if !hit {
			continue
		}
		e, err := c.Info(key)
		if err != nil || e.Damage != "" { // pruned meanwhile; what was restored is good
			e = &buildcache.Entry{Key: key}
		}
		return e, nil
	}
	return nil, nil
}

func (b *builds) unusable(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.said {
		b.said = true
		b.q.Events.Note("the build cache is not used: " + err.Error())
	}
}

// pulled says whether an entry came from the shared cache in this run.
func (b *builds) pulled(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got[key]
}

// pull gets an entry from the shared cache into a local one. That it cannot is
// said once and is no failure.
func (b *builds) pull(ctx context.Context, key string) (bool, error) {
	shared := b.share()
	if shared == nil || b.q.Offline {
		return false, nil
	}
	into := b.cache
	if !b.cache.Writable() {
		into = b.spare
	}
	end := b.q.Timeline.Begin(timeline.Fetch, "shared cache", "pull "+key[:12])
	hit, err := shared.Pull(ctx, key, into, func(a buildcache.About) error {
		if why := b.judge(key, a); why != "" {
			return errors.New(why)
		}
		return nil
	})
	end(func(s *timeline.Span) { s.Cached, s.Failed = hit, err != nil })
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		b.trouble(shared, err)
		return false, nil
	}
	if hit {
		b.mu.Lock()
		b.got[key] = true
		b.mu.Unlock()
	}
	return hit, nil
}

// share is the shared cache, nil where there is none or it failed before.
func (b *builds) share() *remote.Cache {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.off {
		return nil
	}
	return b.q.shared
}

// trouble tells what the shared cache did. A refused entry says nothing about
// the others; after anything else it is not asked again.
func (b *builds) trouble(c *remote.Cache, err error) {
	var refused *remote.Refused
	if errors.As(err, &refused) {
		b.q.Events.Warn("the shared cache is not used for this: " + err.Error())
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.off {
		b.off = true
		b.q.Events.Note("the shared cache is not used, and the work goes on without it: " + err.Error())
	}
}

// push puts an entry into the shared cache, where we have a key to sign with.
func (b *builds) push(ctx context.Context, key string) {
	shared := b.share()
	if shared == nil || !shared.Writes() || b.q.Offline {
		return
	}
	for _, c := range b.local() {
		if !c.Has(key) {
			continue
		}
		end := b.q.Timeline.Begin(timeline.Cache, "shared cache", "push "+key[:12])
		pushed, err := shared.Push(ctx, key, c)
		end(func(s *timeline.Span) { s.Failed = err != nil })
		switch {
		case ctx.Err() != nil:
		case err != nil:
			b.trouble(shared, err)
		case pushed:
			b.q.Events.Note("put into the shared cache " + shared.Name() + ": " + key[:12])
		}
		return
	}
}

// store keeps a tree. That it cannot is no failure.
func (b *builds) store(ctx context.Context, key, tree string, about buildcache.About) {
	if why := b.judge(key, about); why != "" {
		b.q.Events.Warn("the build is not kept in the cache: " + why)
		return
	}
	err := b.cache.Store(ctx, key, tree, about)
	if err != nil && ctx.Err() == nil {
		b.mu.Lock()
		if !b.said && b.dir != "" { // else that was said at the start
			b.said = true
			b.q.Events.Note("the build is not kept in the cache: " + err.Error())
		}
		b.mu.Unlock()
		if b.share() == nil || !b.share().Writes() || b.spare.Store(ctx, key, tree, about) != nil {
			return
		}
	}
	b.push(ctx, key)
	if err == nil {
		b.limit(key)
	}
}

// limit drops what was not used for longest, where the cache has become too
// large. What was used in the last hour stays: somebody may be at it.
func (b *builds) limit(keep string) {
	p := buildcache.Policy{
		MaxSize: b.q.limit, Young: time.Hour, Keep: func(key string) bool { return key == keep },
		Count: b.downloaded(),
	}
	gone, err := b.cache.Prune(p)
	if err == nil && len(gone) > 0 {
		b.q.Events.Note(fmt.Sprintf("%d builds that were not used for longest were dropped from the cache (MODWSGI_CACHE_LIMIT)", len(gone)))
	}
}

// downloaded is how many bytes the download cache has.
func (b *builds) downloaded() int64 {
	store, err := openStore(b.dir, false)
	if err != nil {
		return 0
	}
	defer func() { _ = store.Close() }()
	dir, err := store.Sub(partDownloads)
	if err != nil {
		return 0
	}
	defer func() { _ = dir.Close() }()
	return filetree.Size(dir.Root().FS())
}

// has says whether there is a tree of a key, after it was got from the shared
// cache where need be.
func (b *builds) has(ctx context.Context, key string) (bool, error) {
	if slices.ContainsFunc(b.local(), func(c buildcache.Cache) bool { return c.Has(key) && b.counts(c, key) }) {
		return true, nil
	}
	return b.pull(ctx, key)
}

// from says where an entry was, for people.
func (b *builds) from(key string) string {
	if b.pulled(key) {
		return "the shared cache " + b.q.shared.Name()
	}
	return "the build cache"
}

// forget takes an entry out of the cache, so that it is made anew.
func (b *builds) forget(key string) {
	if err := b.cache.Remove(key); err != nil {
		b.unusable(err)
	}
}

// describe completes archives that nobody has seen with what is recorded of them
// where they were used.
func (b *builds) describe(key string, src *sources) {
	for _, c := range b.local() {
		if e, err := c.Info(key); err == nil {
			src.complete(e.Parts, b.from(key))
			return
		}
	}
}
