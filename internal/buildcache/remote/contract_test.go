package remote

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/buildcache/storetest"
)

// TestStoreContract runs the contract of stores with each kind of shared cache.
func TestStoreContract(t *testing.T) {
	t.Run("layout", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Store {
			dir := filepath.Join(t.TempDir(), "shared")
			s := shared(t, "oci-layout:"+dir)
			s.change = func(t *testing.T, d descriptor) {
				name := blobName(dir, d)
				data, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				data[len(data)/2] ^= 1
				rewrite(t, name, data)
			}
			return s
		})
	})
	t.Run("registry", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Store {
			r := newServer(t)
			s := shared(t, r.address())
			s.change = func(_ *testing.T, d descriptor) {
				r.mu.Lock()
				defer r.mu.Unlock()
				data := r.blobs["/v2/team/cache/blobs/"+d.Digest]
				data[len(data)/2] ^= 1
			}
			return s
		})
	})
}

// sharedStore is a shared cache with a fresh local one before it each time, as on a new
// machine.
type sharedStore struct {
	*Cache
	dir    func() string // for a local cache
	change func(*testing.T, descriptor)
}

func shared(t *testing.T, address string) *sharedStore {
	signer, trust := pair(t)
	base := t.TempDir()
	return &sharedStore{Cache: open(t, address, signer, trust), dir: func() string {
		dir, err := os.MkdirTemp(base, "local-")
		if err != nil {
			t.Error(err)
		}
		return filepath.Join(dir, "builds")
	}}
}

func (s *sharedStore) Put(ctx context.Context, key, tree string) error {
	local := buildcache.Cache{Dir: s.dir()}
	if err := local.Store(context.WithoutCancel(ctx), key, tree, buildcache.About{Kind: "test", Name: "a tree"}); err != nil {
		return err
	}
	_, err := s.Push(ctx, key, local)
	return err
}

func (s *sharedStore) Get(ctx context.Context, key, dest string) (bool, error) {
	local := buildcache.Cache{Dir: s.dir()}
	if hit, err := s.Pull(ctx, key, local, nil); !hit || err != nil {
		return false, err
	}
	return local.Restore(ctx, key, dest)
}

func (s *sharedStore) Damage(t *testing.T, key string) {
	t.Helper()
	raw, err := s.store.manifest(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var a artifact
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatal(err)
	}
	s.change(t, a.Layers[0])
}
