package cachedir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/testkit"
)

// passwdHome is the original cachedir.OwnHome.
var passwdHome = cachedir.OwnHome

// TestExchangedBetweenCheckAndUse exchanges a part of the cache for a link at each moment
// between its check and its use. The target of the link is neither used nor removed.
func TestExchangedBetweenCheckAndUse(t *testing.T) {
	otheruser.Need(t)
	defer func() { cachedir.SetHook(func(string, string) {}) }()
	for _, c := range []struct{ moment, part string }{
		{"opened", "work"},
		{"opened", "logs"},
		{"opened", "downloads"},
		{"opened", "builds"},
		{"work", "work"},
		{"work", "logs"},
		{"remove", "work"},
		{"remove", "logs"},
		{"remove", "downloads"},
		{"remove", "builds"},
	} {
		t.Run(c.moment+" "+c.part, func(t *testing.T) {
			top := otheruser.Dir(t)
			cache, foreign := top+"/cache", top+"/foreign"
			bait(t, foreign)
			giveAll(t, foreign)
			for _, part := range cachedir.Parts {
				bait(t, cache+"/"+part)
			}
			before := testkit.Snapshot(t, foreign)
			done := false
			swap := func(moment, path string) {
				if done || moment != c.moment || moment == "remove" && !strings.HasPrefix(path, cache+"/"+c.part) {
					return
				}
				done = true
				if err := os.Rename(filepath.Join(cache, c.part), top+"/away"); err != nil {
					t.Error(err)
				}
				symlink(t, foreign, filepath.Join(cache, c.part))
			}
			cachedir.SetHook(swap)
			if w, err := newWorkspace(&request{CacheDir: cache}); err == nil {
				for _, dir := range []string{w.Dir, w.Logs} {
					if real, err := filepath.EvalSymlinks(dir); err == nil && strings.HasPrefix(real, foreign) {
						t.Errorf("works in %s", real)
					}
				}
				w.Close()
			}
			_, _ = prune(request{CacheDir: cache}, cachedir.Policy{All: true})
			cachedir.SetHook(func(string, string) {})
			if !done {
				t.Error("nothing was exchanged")
			}
			testkit.Unchanged(t, before, testkit.Snapshot(t, foreign))
		})
	}
}
