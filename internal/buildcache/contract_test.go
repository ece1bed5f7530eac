package buildcache

import (
	"context"
	"path/filepath"
	"testing"

	"modwsgi/internal/buildcache/storetest"
)

// TestStoreContract runs the contract of stores with the local cache.
func TestStoreContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store {
		return localStore{Cache{Dir: filepath.Join(t.TempDir(), "builds")}}
	})
}

type localStore struct{ Cache }

func (l localStore) Put(ctx context.Context, key, tree string) error {
	return l.Store(ctx, key, tree, About{Kind: "test", Name: "a tree"})
}

func (l localStore) Get(ctx context.Context, key, dest string) (bool, error) {
	return l.Restore(ctx, key, dest)
}

func (l localStore) Damage(t *testing.T, key string) {
	storetest.ChangeLargest(t, filepath.Join(l.Dir, key[:2], key, treeName), func(string) bool { return true })
}
