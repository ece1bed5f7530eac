package fetch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/owned"
)

// TestDownloadCacheOfAnotherUser: a part of the path to an entry that is a link or
// another user's is neither followed nor written to, and nothing is used from there.
func TestDownloadCacheOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	data := content(1, 1000)
	a := archiveOf(data, "https://127.0.0.1:1/thing-1.0.tar.gz")
	parts := []string{"cache", "cache/archives", "cache/archives/sha256", "cache/archives/sha256/" + a.SHA256}
	for i, part := range parts {
		for _, how := range []string{"link", "owner", "mode"} {
			t.Run(how+" "+filepath.Base(part)[:5], func(t *testing.T) {
				top := otheruser.Dir(t)
				rest := strings.TrimPrefix(parts[len(parts)-1], part)
				planted := top + "/" + part
				if how == "link" {
					planted = top + "/foreign"
				}
				if err := os.MkdirAll(planted+rest, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(planted+rest+"/"+a.File, data, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(filepath.Dir(top+"/"+part), 0o755); err != nil {
					t.Fatal(err)
				}
				switch how {
				case "link":
					if err := os.Symlink(planted, top+"/"+part); err != nil {
						t.Fatal(err)
					}
				case "owner":
					otheruser.Give(t, planted)
				case "mode":
					if err := os.Chmod(planted, 0o777); err != nil {
						t.Fatal(err)
					}
				}
				f, err := New(Options{CacheDir: top + "/cache", Offline: true, NoDebian: true})
				if err != nil {
					t.Fatal(err)
				}
				got, err := f.Fetch(t.Context(), a)
				if err == nil {
					t.Fatalf("%d: used from %s", i, got.Path)
				}
				if !owned.IsUntrusted(err) || fault.ClassOf(err) != fault.Environment || fault.HintOf(err) == "" {
					t.Errorf("got %v", err)
				}
				if left, _ := os.ReadDir(planted + rest); len(left) != 1 {
					t.Errorf("left %v", left)
				}
			})
		}
	}
}
