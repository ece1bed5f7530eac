package remote

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var quickPace = pace{beat: 100 * time.Millisecond, gone: 2 * time.Second, settle: 500 * time.Millisecond, look: 20 * time.Millisecond}

const claimKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// claimers opens one shared cache several times, as machines of a fleet do.
func claimers(t *testing.T, address string, n int) []*Cache {
	t.Helper()
	signer, trust := pair(t)
	var all []*Cache
	for range n {
		c := open(t, address, signer, trust)
		c.pace = quickPace
		all = append(all, c)
	}
	return all
}

func claimStores(t *testing.T, run func(t *testing.T, address string)) {
	t.Helper()
	t.Run("layout", func(t *testing.T) { t.Parallel(); run(t, "oci-layout:"+filepath.Join(t.TempDir(), "shared")) })
	t.Run("registry", func(t *testing.T) { t.Parallel(); run(t, newServer(t).address()) })
}

// TestOneMachineBuilds: of machines that start at the same moment, one builds at a time,
// and the others know that it may have stored the entry.
func TestOneMachineBuilds(t *testing.T) {
	t.Parallel()
	claimStores(t, func(t *testing.T, address string) {
		var inside, first atomic.Int32
		var all sync.WaitGroup
		for _, c := range claimers(t, address, 5) {
			all.Go(func() {
				release, made, err := c.Claim(t.Context(), claimKey, time.Minute, nil)
				defer release()
				if err != nil || inside.Add(1) != 1 {
					t.Errorf("another one builds, too: %v", err)
				}
				if !made {
					first.Add(1)
				}
				time.Sleep(3 * quickPace.beat) // the length of a build, in which the claim is renewed
				inside.Add(-1)
			})
		}
		all.Wait()
		if first.Load() != 1 {
			t.Errorf("%d of 5 machines built first", first.Load())
		}
	})
}

// TestClaimOfAMachineThatIsGone: a machine that was killed is waited for as long as its
// claim may still be renewed, and one that was interrupted not at all.
func TestClaimOfAMachineThatIsGone(t *testing.T) {
	t.Parallel()
	claimStores(t, func(t *testing.T, address string) {
		all := claimers(t, address, 3)
		killed, kill := context.WithCancel(t.Context())
		if _, made, err := all[0].Claim(killed, claimKey, time.Minute, nil); made || err != nil {
			t.Fatal(made, err)
		}
		kill() // nothing is released
		began, waited := time.Now(), false
		release, made, err := all[1].Claim(t.Context(), claimKey, time.Minute, func() { waited = true })
		if err != nil || !made || !waited || time.Since(began) < quickPace.gone {
			t.Errorf("made %v, waited %v, after %v: %v", made, waited, time.Since(began), err)
		}
		release()
		began = time.Now()
		release, _, err = all[2].Claim(t.Context(), claimKey, time.Minute, nil)
		if release(); err != nil || time.Since(began) > quickPace.gone {
			t.Errorf("after an ended one: %v, %v", time.Since(began), err)
		}
	})
}

// TestClaimsThatDoNotCount: nobody is kept from building by a stranger, by another key's
// claim, by one that is long past, or for longer than wanted.
func TestClaimsThatDoNotCount(t *testing.T) {
	t.Parallel()
	claimStores(t, func(t *testing.T, address string) {
		own, stranger := claimers(t, address, 1)[0], claimers(t, address, 1)[0]
		theirs, end := context.WithCancel(t.Context())
		ends, _, err := stranger.Claim(theirs, claimKey, time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		waits := func(what string) {
			t.Helper()
			release, made, err := own.Claim(t.Context(), claimKey, time.Minute, nil)
			if made || err != nil {
				t.Errorf("%s: made %v, %v", what, made, err)
			}
			release()
		}
		waits("of a stranger who overwrites it again and again")
		end()
		ends()
		write := func(key, under string, at time.Time) {
			t.Helper()
			config, layer := describe(configType, []byte("{}")), describe(treeType, []byte("{}"))
			raw, err := own.o.Signer.seal(claimTag(key), artifact{Config: config, Layers: []descriptor{layer}, Annotations: map[string]string{holderNote: "x", stateNote: "building", beatNote: "y"}}, at)
			if err == nil {
				err = own.store.putManifest(t.Context(), claimTag(under), raw)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		write(strings.Repeat("0", 64), claimKey, time.Now())
		waits("of another key")
		write(claimKey, claimKey, time.Now().Add(-longPast-time.Minute))
		waits("long past")
		if c, err := own.readClaim(t.Context(), claimKey); err != nil || !c.free {
			t.Errorf("after the release: %+v, %v", c, err)
		}
		holder, stop := context.WithCancel(t.Context())
		defer stop()
		release, _, err := own.Claim(holder, claimKey, time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		other := open(t, address, own.o.Signer, own.o.Trust)
		other.pace = quickPace
		if _, made, err := other.Claim(t.Context(), claimKey, 50*time.Millisecond, nil); err != nil || !made {
			t.Errorf("longer than wanted: made %v, %v", made, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, _, err := other.Claim(ctx, claimKey, time.Minute, nil); err == nil {
			t.Error("an interrupted run goes on waiting")
		}
	})
}

// TestClaimIsNoBuild: neither is taken for the other.
func TestClaimIsNoBuild(t *testing.T) {
	c := claimers(t, newServer(t).address(), 1)[0]
	release, _, err := c.Claim(t.Context(), claimKey, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	raw, err := c.store.manifest(t.Context(), claimTag(claimKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.store.putManifest(t.Context(), claimKey, raw); err != nil {
		t.Fatal(err)
	}
	if c.has(t.Context(), claimKey) {
		t.Error("a claim counts as a build")
	}
}
