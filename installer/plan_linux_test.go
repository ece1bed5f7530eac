package installer

import (
	"os"
	"path/filepath"
	"testing"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/testkit"
)

// passwdHome is the original cachedir.OwnHome.
var passwdHome = cachedir.OwnHome

// TestPlanWritesNothing: --dry-run promises it, for a HOME and a TMPDIR of another user
// and for the cache used instead.
func TestPlanWritesNothing(t *testing.T) {
	otheruser.Need(t)
	env := python(t)
	top := otheruser.Dir(t)
	testkit.Write(t, top, map[string]string{"home/": "", "tmp/": "", "root/": "", "bin/mod_wsgi-express": "x", "work/": ""})
	own := top + "/root"
	cachedir.OwnHome = func() string { return own }
	defer func(f func() string) { cachedir.OwnHome = f }(passwdHome)
	otheruser.Give(t, top+"/home", top+"/tmp")
	q := request(t)
	q.CacheDir, q.Python, q.ToolsDir, q.Dir = "", env, top+"/bin", top+"/work"
	q.HTTPD = "bundled"
	q.Env = append(q.Env, "HOME="+top+"/home", "TMPDIR="+top+"/tmp")
	before := testkit.Snapshot(t, top, env)
	if _, err := MakePlan(t.Context(), q); err != nil {
		t.Skipf("needs a compiler: %v", err)
	}
	testkit.Unchanged(t, before, testkit.Snapshot(t, top, env))
}

func symlink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
