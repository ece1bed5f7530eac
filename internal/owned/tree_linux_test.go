package owned

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/otheruser"
)

func TestCheckTree(t *testing.T) {
	otheruser.Need(t)
	for name, c := range map[string]struct {
		plant func(t *testing.T, top string)
		at    string // "" if the tree is trusted
	}{
		"root's own":        {func(*testing.T, string) {}, ""},
		"a file of another": {func(t *testing.T, top string) { otheruser.Give(t, top+"/tree/a/b/file") }, "tree/a/b/file"},
		"a loose file":      {func(t *testing.T, top string) { chmod(t, top+"/tree/a/b/file", 0o666) }, "tree/a/b/file"},
		"a loose directory": {func(t *testing.T, top string) { chmod(t, top+"/tree/a/b", 0o777) }, "tree/a/b"},
		"a sticky directory, in which others make entries": {func(t *testing.T, top string) { chmod(t, top+"/tree/a/b", 0o777|fs.ModeSticky) }, "tree/a/b"},
		"a link to a file of another": {func(t *testing.T, top string) {
			otheruser.Give(t, write(t, top+"/theirs/file", 0o644))
			link(t, "../../theirs/file", top+"/tree/a/link")
		}, "theirs/file"},
		"a link to a directory with a file of another": {func(t *testing.T, top string) {
			otheruser.Give(t, write(t, top+"/else/sub/file", 0o644))
			link(t, top+"/else", top+"/tree/a/link")
		}, "else/sub/file"},
		"a link to nothing": {func(t *testing.T, top string) { link(t, "/no/such", top+"/tree/a/link") }, "tree/a/link"},
		"links in a circle": {func(t *testing.T, top string) { link(t, "..", top+"/tree/a/link") }, ""},
		"left out":          {func(t *testing.T, top string) { otheruser.Give(t, write(t, top+"/tree/skipped/file", 0o644)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			top := otheruser.Dir(t)
			write(t, top+"/tree/a/b/file", 0o644)
			c.plant(t, top)
			visited := map[string]bool{}
			err := CheckTree(top+"/tree", func(path string, _ fs.FileInfo) bool {
				visited[path] = true
				return filepath.Base(path) != "skipped"
			})
			if c.at == "" {
				if err != nil {
					t.Error(err)
				}
				if !visited[top+"/tree/a/b/file"] {
					t.Errorf("visited %v", visited)
				}
				return
			}
			if !IsUntrusted(err) || !strings.Contains(err.Error(), top+"/"+c.at) {
				t.Errorf("%v", err)
			}
		})
	}
	if err := CheckTree("/no/such", nil); err == nil {
		t.Error("a missing tree is trusted")
	}
}
