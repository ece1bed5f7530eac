package acme

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// When a certificate is renewed, as parts of its lifetime. An authority can suggest a time
// (RFC 9773), which is never later than the second one.
const (
	renewAt = 2.0 / 3
	latest  = 5.0 / 6
)

const (
	askAgain    = 6 * time.Hour   // for the time that the authority suggests
	firstWait   = time.Minute     // after an attempt in which something was checked
	firstSoon   = 5 * time.Second // after one in which nothing was
	mostWait    = 6 * time.Hour
	mostSoon    = 10 * time.Minute
	wakesAt     = 10 * time.Minute // clocks jump, and machines sleep
	reloadAgain = 30 * time.Second
	mostReload  = 10 * time.Minute
	kickAgain   = 3 * time.Second // between an attempt that failed and one that was asked for, doubled with each
	leastLife   = time.Hour       // of a certificate, before another one is ordered; less if it is short
)

// Keeper keeps a certificate valid for as long as a server runs.
type Keeper struct {
	*Settings
	Program Program                     // runs the program of dns-01
	Loaded  func() string               // the version that the present httpd has read
	Log     func(bad bool, text string) // tells what happened
	Reload  func(context.Context) error // has httpd read the certificate again
	Kick    <-chan struct{}             // something may have changed: try at once

	obtained    time.Time // when this keeper has obtained the last one
	failedUntil time.Time // the next attempt, if that could not be written
}

// Run obtains and renews the certificate until the context ends. httpd answers already.
func (k *Keeper) Run(ctx context.Context) {
	st, err := k.open()
	if err != nil {
		k.Log(true, "no certificate is obtained or renewed: "+err.Error())
		return
	}
	defer st.close()
	st.sweep()
	if now := st.readState(); !now.same(k.Settings) {
		now.Failures, now.Next, now.Limited, now.Error, now.Hint = 0, time.Time{}, false, "", ""
		_ = st.writeState(now)
	}
	pause := reloadAgain
	for ctx.Err() == nil {
		if v := st.version(); v != k.Loaded() && st.issued() {
			if err := k.Reload(ctx); err != nil {
				if ctx.Err() != nil {
					return
				}
				k.Log(true, "httpd still has the certificate before this one: "+oneLine(err.Error()))
				k.sleep(ctx, pause)
				pause = min(2*pause, mostReload)
				continue
			}
		}
		pause = reloadAgain
		due := k.due(ctx, st)
		if wait := time.Until(due); wait > 0 {
			if k.sleep(ctx, wait) {
				// Something may have been mended, but whoever asks again and again must not
				// reach the authority's limit of failures.
				now := st.readState()
				if next := now.Failed.Add(kickAgain << min(max(now.Failures-1, 0), 8)); now.Error != "" && !now.Limited && next.Before(now.Next) {
					now.Next = next
					_ = st.writeState(now)
				}
			}
			continue
		}
		k.attempt(ctx, st)
	}
}

// version is the version that httpd uses at its next start.
func (st *store) version() string {
	v, _ := st.dir.Root().Readlink(current)
	return v
}

// Version is the version of the certificate that an httpd reads that is started now; ""
// stands for none.
func (s *Settings) Version() string {
	v, _ := os.Readlink(filepath.Join(s.Dir(), current))
	return v
}

// sleep returns after a time, earlier if the clock may have changed, and reports whether
// something else has.
func (k *Keeper) sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(min(wait, wakesAt))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-k.Kick:
		return true
	}
	return false
}

// due returns when the next attempt is due.
func (k *Keeper) due(ctx context.Context, st *store) time.Time {
	now := st.readState()
	need := time.Time{}
	if leaf, err := st.read(); err == nil && st.issued() && st.issuer() == k.Directory && st.coversAll(leaf) {
		if time.Now().After(now.Asked) || now.Serial != serialOf(leaf) {
			now = k.ask(ctx, st, leaf, now)
		}
		// Whatever the clock and the authority tell, and if nothing can be written: a
		// certificate has been obtained, so there is time.
		need = latestOf(renewal(leaf, now), now.Issued.Add(least(leaf)), k.obtained.Add(least(leaf)))
	}
	// After a jump of the clock, a failure in the future means nothing.
	if now.Error != "" && now.Next.After(need) && now.Failed.Before(time.Now().Add(time.Minute)) {
		need = now.Next
	}
	return latestOf(need, k.failedUntil)
}

func latestOf(times ...time.Time) (last time.Time) {
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// least is the time for which a certificate is kept at least.
func least(leaf *x509.Certificate) time.Duration {
	return min(leastLife, leaf.NotAfter.Sub(leaf.NotBefore)/10)
}

func serialOf(leaf *x509.Certificate) string { return leaf.SerialNumber.Text(16) }

func (st *store) coversAll(leaf *x509.Certificate) bool {
	for _, name := range st.Names {
		if !covers(leaf, name) {
			return false
		}
	}
	return true
}

// renewal returns when a certificate is renewed.
func renewal(leaf *x509.Certificate, now state) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	at := func(part float64) time.Time { return leaf.NotBefore.Add(time.Duration(part * float64(life))) }
	if now.Serial != serialOf(leaf) {
		return at(renewAt)
	}
	if last := at(latest); !now.Renew.IsZero() && now.Renew.Before(last) {
		return now.Renew
	} else if !now.Renew.IsZero() {
		return last
	}
	return at(renewAt)
}

// ask asks the authority when a certificate should be renewed.
func (k *Keeper) ask(ctx context.Context, st *store, leaf *x509.Certificate, now state) state {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	now.Asked, now.Renew, now.Serial = time.Now().Add(askAgain), time.Time{}, serialOf(leaf)
	if client, _, err := k.client(); err == nil {
		if directory, err := client.GetDirectory(ctx); err == nil && directory.RenewalInfo != "" {
			if info, err := client.GetRenewalInfo(ctx, leaf); err == nil && info.HasWindow() {
				now.Renew = info.SelectedTime
				if info.RetryAfter != nil && info.RetryAfter.After(time.Now()) {
					now.Asked = *info.RetryAfter
				}
			}
		}
	}
	fresh := st.readState() // another server may have obtained the next one meanwhile
	fresh.Asked, fresh.Renew, fresh.Serial = now.Asked, now.Renew, now.Serial
	_ = st.writeState(fresh)
	return fresh
}

// attempt obtains a certificate, and remembers the result.
func (k *Keeper) attempt(ctx context.Context, st *store) {
	release, err := st.lock(ctx)
	if err != nil {
		k.failed(ctx, st, &Failure{Reason: err.Error(), Soon: true})
		return
	}
	defer release()
	if time.Until(k.due(ctx, st)) > 0 {
		return // another server with the same certificate has just renewed it
	}
	old, _ := st.read()
	if !st.issued() || st.issuer() != k.Directory {
		old = nil
	}
	leaf, err := st.obtain(ctx, k.Program, old)
	if err != nil {
		if ctx.Err() == nil {
			k.failed(ctx, st, err)
		}
		return
	}
	k.obtained, k.failedUntil = time.Now(), time.Time{}
	if err := st.writeState(state{Issued: k.obtained.UTC()}); err != nil {
		k.Log(true, "the state of the certificate cannot be written: "+err.Error())
	}
	k.Log(false, fmt.Sprintf("the authority %s has issued a certificate for %s, valid until %s", k.Authority(), strings.Join(k.Names, ", "), leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST")))
}

// failed records why an attempt failed, and when the next one will be.
func (k *Keeper) failed(ctx context.Context, st *store, err error) {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Reason: err.Error()}
	}
	now := st.readState()
	now.Failures++
	now.Error, now.Hint, now.Failed = f.Reason, f.Hint, time.Now().UTC()
	first, most := firstWait, mostWait
	if f.Soon {
		first, most = firstSoon, mostSoon
	}
	wait := min(most, first<<min(now.Failures-1, 12))
	wait += rand.N(wait/5 + 1) // #nosec G404 -- not all servers at the same time; nothing secret
	now.Next, now.Limited = time.Now().Add(wait).UTC(), false
	if f.Until.After(now.Next) {
		now.Next, now.Limited = f.Until.UTC(), true
	}
	text := "no certificate for " + strings.Join(k.Names, ", ") + ": " + f.Reason
	if leaf, err := st.read(); err == nil && st.issued() {
		left := time.Until(leaf.NotAfter)
		switch {
		case left <= 0:
			text = "the certificate for " + strings.Join(k.Names, ", ") + " expired " + leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST") + " and was not renewed: " + f.Reason
		default:
			text = "the certificate for " + strings.Join(k.Names, ", ") + " was not renewed, and is valid until " + leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST") + ": " + f.Reason
		}
	}
	if f.Hint != "" {
		text += ". What to do: " + f.Hint
	}
	text += ". Next try: " + now.Next.Format("2006-01-02 15:04:05 MST")
	if err := st.writeState(now); err != nil && ctx.Err() == nil {
		text += " (" + err.Error() + ")"
		k.failedUntil = now.Next // what the file does not have
	}
	k.Log(true, text)
}

func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not a key in PEM format")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("not a key that signs")
	}
	return signer, nil
}
