//go:build unix

package place_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/installer/place"
	"modwsgi/internal/flock"
	"modwsgi/internal/pydist"
)

// world is a small environment with an old version of a distribution, some files of
// others in the same directories, and a staged new version.
type world struct {
	prefix, site, bin, stage string
	past                     string // site-packages of an older Python
}

func worldAt(root string) world {
	prefix := filepath.Join(root, "it's an env")
	return world{
		prefix: prefix, site: filepath.Join(prefix, "lib", "python3.11", "site-packages"),
		bin: filepath.Join(prefix, "bin"), stage: filepath.Join(root, "stage"),
		past: filepath.Join(prefix, "lib", "python3.10", "site-packages"),
	}
}

var oldTime = time.Date(2020, 2, 2, 2, 2, 2, 0, time.UTC)

func write(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, body := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, ok := strings.CutPrefix(body, "-> "); ok {
			must(t, os.Symlink(target, path))
			continue
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(body, "#!") {
			mode = 0o755
		}
		must(t, os.WriteFile(path, []byte(body), mode))
		must(t, os.Chtimes(path, oldTime, oldTime))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// describe writes the dist-info of files below site.
func describe(t testing.TB, site, real, name, version string, files ...string) {
	t.Helper()
	d := pydist.Dist{Name: name, Version: version, Tag: "py3-none-any", Pure: true, Installer: "modwsgi"}
	for _, f := range files {
		source := filepath.Join(site, filepath.FromSlash(f))
		if program, ok := strings.CutPrefix(f, "../../../bin/"); ok && real != "" {
			source = filepath.Join(real, program)
		}
		d.Files = append(d.Files, pydist.File{Path: f, Source: source})
	}
	_, err := d.WriteInfo(site)
	must(t, err)
}

func newWorld(t testing.TB, root string) world {
	t.Helper()
	w := worldAt(root)
	write(t, w.site, map[string]string{
		"demo/__init__.py": "old", "demo/gone.py": "only in the old one", "demo/data/x": "old", "demo/link": "-> data/x",
		"demo/__pycache__/__init__.cpython-311.pyc": "cache", "demo/__pycache__/gone.cpython-311.pyc": "cache",
		"mixed/ours.py": "old ours", "mixed/theirs.py": "theirs", "mixed/old/only.py": "old",
		"mixed/__pycache__/ours.cpython-311.pyc": "cache", "mixed/__pycache__/theirs.cpython-311.pyc": "cache",
		"dropped/deep/er/x.py": "old", "other/__init__.py": "other",
	})
	write(t, w.bin, map[string]string{"python": "#!python", "prog": "#!old prog", "retired": "#!old retired"})
	describe(t, w.site, "", "demo", "1.0", "demo/__init__.py", "demo/gone.py", "demo/data/x", "demo/link", "mixed/ours.py",
		"mixed/old/only.py", "dropped/deep/er/x.py", "../../../bin/prog", "../../../bin/retired")
	describe(t, w.site, "", "demo-httpd", "2", "demo/data/x")
	write(t, w.past, map[string]string{
		"demo/__init__.py": "past", "demo/deep/er/x": "past", "demo/__pycache__/__init__.cpython-310.pyc": "cache", "mixed/ours.py": "past", "mixed/theirs.py": "theirs",
	})
	describe(t, w.past, "", "demo", "0.9", "demo/__init__.py", "demo/deep/er/x", "mixed/ours.py", "../../../bin/prog")
	describe(t, w.site, "", "other", "3", "other/__init__.py")
	write(t, filepath.Join(w.stage, "site"), map[string]string{
		"demo/__init__.py": "new", "demo/fresh.py": "new", "demo/data/y": "new", "demo/link": "-> data/y",
		"mixed/ours.py": "new ours", "mixed/sub/a": "new", "apart.py": "new",
	})
	must(t, os.MkdirAll(filepath.Join(w.stage, "site", "demo", "empty"), 0o755))
	write(t, filepath.Join(w.stage, "bin"), map[string]string{"prog": "#!new prog", "added": "#!new added"})
	write(t, filepath.Join(w.stage, "share"), map[string]string{"readme": "new"})
	describe(t, filepath.Join(w.stage, "site"), filepath.Join(w.stage, "bin"), "demo", "2.0", "demo/__init__.py",
		"demo/fresh.py", "demo/link", "mixed/ours.py", "mixed/sub/a", "apart.py", "../../../bin/prog", "../../../bin/added")
	describe(t, filepath.Join(w.stage, "site"), "", "demo-httpd", "2", "demo/data/y")
	return w
}

// request is the change from the old version to the new one.
func (w world) request(t testing.TB) place.Request {
	t.Helper()
	r := place.Request{Label: "demo 2.0", Roots: []string{w.prefix}}
	for _, name := range []string{"demo", "demo_httpd"} {
		i, err := pydist.Find(w.site, name)
		must(t, err)
		if i != nil {
			r.Remove = append(r.Remove, i.Paths()...)
		}
	}
	i, err := pydist.Find(w.past, "demo")
	must(t, err)
	if i != nil {
		r.Remove, r.Beside = append(r.Remove, i.Paths()...), []string{w.past}
	}
	entries, err := os.ReadDir(filepath.Join(w.stage, "site"))
	must(t, err)
	for _, e := range entries {
		r.Items = append(r.Items, place.Item{Source: filepath.Join(w.stage, "site", e.Name()), Target: filepath.Join(w.site, e.Name())})
	}
	for _, name := range []string{"prog", "added"} {
		r.Items = append(r.Items, place.Item{Source: filepath.Join(w.stage, "bin", name), Target: filepath.Join(w.bin, name)})
	}
	r.Items = append(r.Items, place.Item{
		Source: filepath.Join(w.stage, "share", "readme"), Target: filepath.Join(w.prefix, "share", "demo", "readme"),
	})
	return r
}

func (w world) lock(t testing.TB) *place.Locked {
	t.Helper()
	l, err := place.Lock(t.Context(), w.site, time.Minute, nil)
	must(t, err)
	t.Cleanup(func() { _ = l.Unlock() })
	return l
}

// snapshot maps every path of the environment to a description.
func (w world) snapshot(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(w.prefix, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(w.prefix, path)
		if d.Name() == flock.Name { // while the lock is held
			return nil
		}
		switch {
		case d.IsDir():
			all[rel] = info.Mode().String()
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			all[rel] = "-> " + to
		default:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all[rel] = fmt.Sprintf("%v %v %s", info.Mode(), info.ModTime().UnixNano(), data)
		}
		return nil
	}))
	return all
}

func difference(got, want map[string]string) string {
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if v, ok := want[k]; !ok {
			lines = append(lines, "too much: "+k)
		} else if v != got[k] {
			lines = append(lines, fmt.Sprintf("different: %s: %.60q, want %.60q", k, got[k], v))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[k]; !ok {
			lines = append(lines, "missing: "+k)
		}
	}
	return strings.Join(lines, "\n")
}

func (w world) mustBe(t testing.TB, want map[string]string, when string) {
	t.Helper()
	if d := difference(w.snapshot(t), want); d != "" {
		t.Errorf("%s:\n%s", when, d)
	}
}

// pipSeesWhole fails if a visible distribution is incomplete.
func (w world) pipSeesWhole(t testing.TB, when string) {
	t.Helper()
	all, err := pydist.All(w.site)
	must(t, err)
	for _, i := range all {
		for _, p := range i.Check() {
			t.Errorf("%s: %s %s is visible, but %v", when, i.Name, i.Version, p)
		}
	}
}

// forget drops the time of the metadata, which differs between worlds.
func (w world) forget(m map[string]string) map[string]string {
	for name, v := range m {
		if strings.Contains(name, "dist-info/") {
			_, v, _ = strings.Cut(v, " ")
			_, m[name], _ = strings.Cut(v, " ")
		}
	}
	return m
}

// memory returns a directory on a file system in memory if there is one: a kill loses
// nothing that was written, so syncing only costs time here.
func memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "place-test-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
