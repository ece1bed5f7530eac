// Package providertest is the contract of the providers of internal/fetch: one suite that
// the tests of each provider run. The particularities of one of them, such as resuming a
// download, are tested beside it.
package providertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// Provider is a provider under test.
type Provider struct {
	Name string // as in fetch.File.Provider
	// New creates an empty site, and a fetcher that asks only this provider and accepts no
	// rate below Rate.
	New func(t *testing.T, m Mode) *Site
}

// Mode is how the fetcher of a test differs from the default one.
type Mode struct {
	Offline bool
	Total   time.Duration // for one archive
}

// Rate is the minimum rate in bytes per second, and Stall the time over which it is
// measured.
const (
	Rate  = 100_000
	Stall = 300 * time.Millisecond
)

// Site is a location that a provider asks.
type Site struct {
	Cache   string                             // directory of the download cache
	Archive func(data []byte) recipe.Archive   // an archive that the provider can be asked for
	Offer   func(a recipe.Archive, has []byte) // makes has the contents of a, whatever a's hash is
	// Hang makes servers accept requests and not answer; Drip makes them send a byte now
	// and then. Both are nil for a provider that reads files.
	Hang  func(a recipe.Archive)
	Drip  func(a recipe.Archive, has []byte)
	Asked func() int // requests so far
	Fetch func(ctx context.Context, a recipe.Archive) (Got, error)
}

// Got is the part of a fetch.File that tests check.
type Got struct {
	Path, Provider, From string
	Trust                recipe.Trust
}

// Run runs the suite.
func Run(t *testing.T, p Provider) {
	for name, test := range map[string]func(*testing.T, Provider){
		"found": testFound, "absent": testAbsent, "damaged": testDamaged, "cancelled": testCancelled, "cancelled while it waits": testHanging,
		"slow": testSlow, "offline": testOffline, "many at once": testMany,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// Content returns n incompressible bytes.
func Content(seed byte, n int) []byte {
	r := rand.NewChaCha8([32]byte{seed})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

// Archive returns an archive with the size and the hash of data.
func Archive(component, file string, data []byte) recipe.Archive {
	sum := sha256.Sum256(data)
	return recipe.Archive{Component: component, Version: "1.0", File: file, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

// found fails the test unless the archive was fetched.
func found(t *testing.T, got Got, err error, want []byte, providers ...string) {
	t.Helper()
	if err != nil {
		t.Error(err)
		return
	}
	data, err := os.ReadFile(got.Path)
	if err != nil || !bytes.Equal(data, want) {
		t.Errorf("%s is not the archive (%d bytes, %v)", got.Path, len(data), err)
	}
	if !strings.Contains(" "+strings.Join(providers, " ")+" ", " "+got.Provider+" ") {
		t.Errorf("it is from %s (%s), want %v", got.Provider, got.From, providers)
	}
}

// refused fails the test unless there was an error that a user can act on, and the cache
// has nothing that could be mistaken for the archive.
func refused(t *testing.T, s *Site, a recipe.Archive, got Got, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("it was found: %+v", got)
		return
	}
	if fault.ClassOf(err) != fault.Source || !strings.Contains(fault.HintOf(err), a.SHA256) {
		t.Errorf("class %v, hint %q: %v", fault.ClassOf(err), fault.HintOf(err), err)
	}
	unusable(t, s, a)
}

func unusable(t *testing.T, s *Site, a recipe.Archive) {
	t.Helper()
	err := filepath.WalkDir(s.Cache, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == a.File {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// again returns the providers that may have an archive that this one had.
func (p Provider) again() []string { return []string{p.Name, "cache"} }

func testFound(t *testing.T, p Provider) {
	s, data := p.New(t, Mode{}), Content(1, 200_000)
	a := s.Archive(data)
	s.Offer(a, data)
	got, err := s.Fetch(t.Context(), a)
	found(t, got, err, data, p.Name)
	if got.Trust != recipe.Pinned || got.From == "" || strings.Contains(got.From, "@") {
		t.Errorf("%+v", got)
	}
	got, err = s.Fetch(t.Context(), a)
	found(t, got, err, data, p.again()...)
}

func testAbsent(t *testing.T, p Provider) {
	s := p.New(t, Mode{})
	a := s.Archive(Content(2, 1000))
	got, err := s.Fetch(t.Context(), a)
	refused(t, s, a, got, err)
	if err != nil && !strings.Contains(err.Error(), "\n  "+p.Name+" ") {
		t.Errorf("the error does not name %s: %v", p.Name, err)
	}
}

// testDamaged: a hash decides, and earlier wrong contents do not block anything.
func testDamaged(t *testing.T, p Provider) {
	s, data := p.New(t, Mode{}), Content(3, 100_000)
	a := s.Archive(data)
	flipped := bytes.Clone(data)
	flipped[len(data)/2] ^= 1
	for name, bad := range map[string][]byte{
		"a bit": flipped, "short": data[:40_000], "long": append(bytes.Clone(data), 'x'), "empty": {}, "a page": []byte("<html>sign in</html>"),
		"another archive": Content(4, len(data)),
	} {
		s.Offer(a, bad)
		got, err := s.Fetch(t.Context(), a)
		refused(t, s, a, got, err)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	s.Offer(a, data)
	got, err := s.Fetch(t.Context(), a)
	found(t, got, err, data, p.Name)
}

// testCancelled: the archive comes from a file at once, or the reason is returned.
func testCancelled(t *testing.T, p Provider) {
	s, data := p.New(t, Mode{}), Content(5, 100_000)
	a := s.Archive(data)
	s.Offer(a, data)
	why := errors.New("the user had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	got, err := s.Fetch(ctx, a)
	if err == nil && s.Asked == nil {
		found(t, got, err, data, p.Name)
		return
	}
	if !errors.Is(err, why) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = s.Fetch(t.Context(), a)
	found(t, got, err, data, p.Name)
}

// patience is how long a quick operation may take.
const patience = 30 * time.Second

func testHanging(t *testing.T, p Provider) {
	s, data := p.New(t, Mode{}), Content(6, 100_000)
	if s.Hang == nil {
		t.Skip("it reads files")
	}
	a := s.Archive(data)
	s.Offer(a, data)
	s.Hang(a)
	why := errors.New("the user had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	before := s.Asked()
	go func() {
		for s.Asked() == before && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond) // between two polls
		}
		cancel(why)
	}()
	began := time.Now()
	got, err := s.Fetch(ctx, a)
	if !errors.Is(err, why) {
		t.Errorf("%+v, %v", got, err)
	}
	if spent := time.Since(began); spent > patience {
		t.Errorf("it took %s", spent)
	}
	unusable(t, s, a)
}

func testSlow(t *testing.T, p Provider) {
	s, data := p.New(t, Mode{Total: 4 * time.Second}), Content(7, 100_000)
	if s.Drip == nil {
		t.Skip("it reads files")
	}
	a := s.Archive(data)
	s.Offer(a, data)
	s.Drip(a, data)
	began := time.Now()
	got, err := s.Fetch(t.Context(), a)
	refused(t, s, a, got, err)
	if spent := time.Since(began); spent > patience {
		t.Errorf("it took %s", spent)
	}
}

func testOffline(t *testing.T, p Provider) {
	s, data := p.New(t, Mode{Offline: true}), Content(8, 100_000)
	a := s.Archive(data)
	s.Offer(a, data)
	got, err := s.Fetch(t.Context(), a)
	if s.Asked == nil {
		found(t, got, err, data, p.Name)
		return
	}
	refused(t, s, a, got, err)
	if s.Asked() != 0 || err == nil || !strings.Contains(err.Error(), "offline") {
		t.Errorf("asked %d times: %v", s.Asked(), err)
	}
}

func testMany(t *testing.T, p Provider) {
	s, data := p.New(t, Mode{}), Content(9, 200_000)
	a := s.Archive(data)
	s.Offer(a, data)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			got, err := s.Fetch(t.Context(), a)
			found(t, got, err, data, p.again()...)
		})
	}
	wg.Wait()
}
