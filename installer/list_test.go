package installer

import (
	"os"
	"path/filepath"
	"testing"

	"modwsgi/internal/testkit"
)

// TestAnEnvironmentWithoutItsPython: it can still be listed.
func TestAnEnvironmentWithoutItsPython(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "env")
	site := "lib/python3.11/site-packages/"
	testkit.Write(t, dir, map[string]string{
		"pyvenv.cfg": "home = /gone\nversion = 3.11.2\n", "bin/": "",
		site + "mod_wsgi-5.0.2.dist-info/METADATA":  "Metadata-Version: 2.1\nName: mod_wsgi\nVersion: 5.0.2\n",
		site + "mod_wsgi-5.0.2.dist-info/INSTALLER": "modwsgi\n",
		site + "mod_wsgi-5.0.2.dist-info/RECORD":    "mod_wsgi/__init__.py,,\nmod_wsgi-5.0.2.dist-info/METADATA,,\nmod_wsgi-5.0.2.dist-info/INSTALLER,,\nmod_wsgi-5.0.2.dist-info/RECORD,,\n",
		site + "mod_wsgi/__init__.py":               "",
	})
	if err := os.Symlink("/gone/bin/python3", filepath.Join(dir, "bin/python")); err != nil {
		t.Fatal(err)
	}
	q := request(t)
	q.Python = dir
	var h testkit.Events
	q.Events = h.Sink
	py, all, err := List(t.Context(), q.Python, q.Setting)
	if err != nil || len(all) != 1 || py.Prefix != dir || !h.Has("does not start") {
		t.Fatalf("%+v, %+v, %v", py, all, err)
	}
	names, err := Uninstall(t.Context(), q.Python, q.Setting)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, gone := range []string{"mod_wsgi", "mod_wsgi-5.0.2.dist-info"} {
		if _, err := os.Lstat(filepath.Join(dir, site, gone)); err == nil {
			t.Errorf("%s exists", gone)
		}
	}
	q.Python = t.TempDir()
	if _, _, err := List(t.Context(), q.Python, q.Setting); err == nil {
		t.Error("a directory that is not an environment was listed")
	}
}
