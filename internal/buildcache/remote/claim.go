package remote

// Many machines that start with one shared cache, such as the shards of a release, want
// the same build at the same moment, and all would make it. So the one that makes it
// claims its key: a signed artifact under a tag of the key, which it renews while it
// works. The others look again until the build is there.
//
// A registry has no lock, so that this saves work and decides nothing: two machines that
// claim a key within the same instant both build, with the same result. A claim that is
// no longer renewed belongs to a machine that is gone. Whether it is, the one that waits
// decides by its own clock: it has seen the same claim for a while. The signed time of
// another machine is only used to ignore what is long past.

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"time"
)

// pace is the rhythm of claims.
type pace struct {
	beat   time.Duration // between renewals
	gone   time.Duration // without a renewal, for the one who waits
	settle time.Duration // until a claim counts: time for one that was written at the same moment
	look   time.Duration // between two looks of one who waits
}

var usualPace = pace{beat: 15 * time.Second, gone: 50 * time.Second, settle: 300 * time.Millisecond, look: 2 * time.Second}

// longPast is the age from which a claim is ignored at first sight. It is more than the
// clocks of two machines differ.
const longPast = 2 * clock

// maxTries is how often a claim is tried that others overwrite, such as one whose claims
// nobody here trusts. Then the work is done without.
const maxTries = 5

const (
	holderNote = "dev.modwsgi.cache.claim"       // random name of the one who builds
	stateNote  = "dev.modwsgi.cache.claim.state" // "building" or "ended"
	beatNote   = "dev.modwsgi.cache.claim.beat"  // another one with every renewal
)

// claimed is a claim that was read.
type claimed struct {
	holder, beat string
	free         bool // nobody builds
}

// Claim waits until no other machine builds the entry of a key, at most for limit, and
// claims it. waiting is called once if it has to wait. made reports that another machine
// may have stored the entry. release is never nil, and must be called when the entry is
// stored or has failed. Without a key to sign with nothing is claimed.
func (c *Cache) Claim(ctx context.Context, key string, limit time.Duration, waiting func()) (release func(), made bool, err error) {
	release = func() {}
	if c.o.Signer == nil {
		return release, false, nil
	}
	own, end := rand.Text(), time.Now().Add(limit)
	var seen claimed
	var since time.Time
	for tries := 0; ; {
		now, err := c.readClaim(ctx, key)
		if err != nil {
			return release, made, c.wrap("read", err)
		}
		if now.holder != seen.holder || now.beat != seen.beat {
			seen, since = now, time.Now()
		}
		if now.free || time.Since(since) > c.pace.gone {
			if made && c.has(ctx, key) {
				return release, true, nil
			}
			won, err := c.tryClaim(ctx, key, own)
			if err != nil {
				return release, made, c.wrap("write", err)
			}
			if won {
				return c.holdClaim(ctx, key, own), made, nil
			}
			if tries++; tries == maxTries {
				return release, made, nil
			}
			continue
		}
		if !made && waiting != nil {
			waiting()
		}
		made = true
		if time.Now().After(end) {
			return release, made, nil
		}
		if err := pause(ctx, c.pace.look); err != nil {
			return release, made, err
		}
	}
}

// has reports whether there is an entry that Pull may accept.
func (c *Cache) has(ctx context.Context, key string) bool {
	raw, err := c.store.manifest(ctx, key)
	if err == nil {
		_, err = c.open(key, raw)
	}
	return err == nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func claimTag(key string) string { return "claim-" + key }

// readClaim reads the claim of a key. One that nobody trusted has signed does not count.
func (c *Cache) readClaim(ctx context.Context, key string) (claimed, error) {
	raw, err := c.store.manifest(ctx, claimTag(key))
	var a *artifact
	if err == nil {
		a, err = c.o.Trust.open(claimTag(key), raw)
	}
	var refused *Refused
	switch {
	case errors.Is(err, errMissing), errors.As(err, &refused):
		return claimed{free: true}, nil
	case err != nil:
		return claimed{}, err
	}
	now := claimed{holder: a.Annotations[holderNote], beat: a.Annotations[beatNote]}
	now.free = a.Annotations[stateNote] != "building" || time.Since(a.built()) > longPast
	return now, nil
}

// tryClaim writes a claim and reads it again: of two that were written at the same
// moment, the last one counts.
func (c *Cache) tryClaim(ctx context.Context, key, own string) (won bool, err error) {
	if err := c.writeClaim(ctx, key, own, "building"); err != nil {
		return false, err
	}
	if err := pause(ctx, c.pace.settle); err != nil {
		return false, err
	}
	now, err := c.readClaim(ctx, key)
	return now.holder == own, err
}

// writeClaim stores a claim. An artifact needs parts, which are empty.
func (c *Cache) writeClaim(ctx context.Context, key, own, state string) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Total)
	defer cancel()
	const nothing = "{}"
	config, layer := describe(configType, []byte(nothing)), describe(treeType, []byte(nothing))
	if err := c.store.putBlob(ctx, config, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(nothing)), nil }); err != nil {
		return err
	}
	raw, err := c.o.Signer.seal(claimTag(key), artifact{
		Config: config, Layers: []descriptor{layer}, Annotations: map[string]string{holderNote: own, stateNote: state, beatNote: rand.Text()},
	}, time.Now())
	if err != nil {
		return err
	}
	return c.store.putManifest(ctx, claimTag(key), raw)
}

// holdClaim renews a claim until release is called. A renewal that fails is tried again
// the next time: at worst, another machine builds the same.
func (c *Cache) holdClaim(ctx context.Context, key, own string) (release func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-ctx.Done():
				return
			case <-time.After(c.pace.beat):
				_ = c.writeClaim(ctx, key, own, "building")
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
		// Also if the run was interrupted, so that nobody waits for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.o.Stall)
		defer cancel()
		_ = c.writeClaim(ctx, key, own, "ended")
	}
}
