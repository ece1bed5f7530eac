package packaging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
)

func open(t *testing.T, out string, overwrite bool) *Dist {
	t.Helper()
	d, err := Open(out, overwrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Abort)
	return d
}

// artifact writes an artifact and adds it.
func artifact(d *Dist, name, text string) error {
	o, err := d.Create(name)
	if err != nil {
		return err
	}
	if _, err := o.Write([]byte(text)); err != nil {
		return err
	}
	if err := o.Close(); err != nil {
		return err
	}
	return d.Add(&Artifact{Name: name, Kind: "test", Project: "name"})
}

// index writes the index that the next run reads.
func index(t *testing.T, d *Dist) {
	t.Helper()
	data, err := json.Marshal(Index{Schema: 1, Artifacts: d.Artifacts()})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Meta(IndexName, data); err != nil {
		t.Fatal(err)
	}
}

// listing is the content of a directory, as "name=content".
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		data, err := os.ReadFile(path)
		if strings.HasSuffix(rel, IndexName) {
			data = nil
		}
		all = append(all, filepath.ToSlash(rel)+"="+string(data))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func want(t *testing.T, dir string, names ...string) {
	t.Helper()
	slices.Sort(names)
	if got := listing(t, dir); !slices.Equal(got, names) {
		t.Errorf("%s holds %q, want %q", dir, got, names)
	}
}

func TestNothingAppearsBeforeCommit(t *testing.T) {
	out := filepath.Join(t.TempDir(), "a", "dist")
	d := open(t, out, false)
	if err := artifact(d, "one.bin", "1"); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(out); len(entries) != 2 || !strings.HasPrefix(entries[0].Name(), ".modwsgi-") || entries[1].Name() != ".modwsgi.lock" {
		t.Errorf("before the commit: %v", entries)
	}
	index(t, d)
	if err := d.Meta("simple/x/index.html", []byte("page")); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, out, "one.bin=1", "index.json=", "simple/x/index.html=page")
	info, err := os.Stat(filepath.Join(out, "one.bin"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	d := open(t, filepath.Join(parent, "dist"), false)
	if err := artifact(d, "one.bin", "1"); err != nil {
		t.Fatal(err)
	}
	d.Abort()
	d.Abort()
	if entries, _ := os.ReadDir(parent); len(entries) != 0 {
		t.Errorf("left %v", entries)
	}
	// An existing directory stays.
	d = open(t, parent, false)
	d.Abort()
	if _, err := os.Stat(parent); err != nil {
		t.Error(err)
	}
}

func TestEarlierArtifactsStay(t *testing.T) {
	out := filepath.Join(t.TempDir(), "dist")
	for i, name := range []string{"b.bin", "a.bin", "b.bin"} { // the third is the first again
		d := open(t, out, false)
		if err := artifact(d, name, name[:1]); err != nil {
			t.Fatal(err)
		}
		if n := len(d.Artifacts()); n != min(i+1, 2) {
			t.Errorf("run %d lists %d", i, n)
		}
		index(t, d)
		if err := d.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	want(t, out, "a.bin=a", "b.bin=b", "index.json=")
}

func TestDifferentContentIsRefused(t *testing.T) {
	out := filepath.Join(t.TempDir(), "dist")
	d := open(t, out, false)
	if err := artifact(d, "a.bin", "old"); err != nil {
		t.Fatal(err)
	}
	index(t, d)
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	d = open(t, out, false)
	err := artifact(d, "a.bin", "new")
	if fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "--overwrite") {
		t.Errorf("got %v", err)
	}
	d.Abort()
	want(t, out, "a.bin=old", "index.json=")
	d = open(t, out, true)
	if err := artifact(d, "a.bin", "new"); err != nil {
		t.Fatal(err)
	}
	d.Drop("SHA256SUMS.asc") // which does not exist
	index(t, d)
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, out, "a.bin=new", "index.json=")
}

// TestFailedCommitIsUndone has a directory at the path of a file.
func TestFailedCommitIsUndone(t *testing.T) {
	out := filepath.Join(t.TempDir(), "dist")
	d := open(t, out, false)
	if err := artifact(d, "a.bin", "old"); err != nil {
		t.Fatal(err)
	}
	if err := d.Meta("SHA256SUMS.asc", []byte("signature")); err != nil {
		t.Fatal(err)
	}
	index(t, d)
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	d = open(t, out, true)
	if err := os.MkdirAll(filepath.Join(out, "simple", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	plantFile(t, filepath.Join(out, "simple", "x", "y"), "theirs")
	if err := artifact(d, "a.bin", "new"); err != nil {
		t.Fatal(err)
	}
	if err := artifact(d, "b.bin", "new"); err != nil {
		t.Fatal(err)
	}
	d.Drop("SHA256SUMS.asc")
	if err := d.Meta("simple/x", []byte("a file where a directory is")); err != nil {
		t.Fatal(err)
	}
	index(t, d)
	if err := d.Commit(); err == nil {
		t.Fatal("it was committed")
	}
	want(t, out, "a.bin=old", "index.json=", "SHA256SUMS.asc=signature", "simple/x/y=theirs")
}

func plantFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	const a = `{"name":"a","project":"X_y","sidecars":["a.cdx.json"],"sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}`
	for name, c := range map[string]struct {
		files map[string]string
		class fault.Class
		says  string
	}{
		"other files":       {map[string]string{"notes.txt": "x"}, fault.Usage, `contains "notes.txt"`},
		"another index":     {map[string]string{"index.json": "[]"}, fault.Usage, "is not an index of artifacts"},
		"future index":      {map[string]string{"index.json": `{"schema":2}`}, fault.Usage, "is not an index of artifacts"},
		"escape":            {map[string]string{"index.json": `{"schema":1,"artifacts":[{"name":"../x"}]}`}, fault.Usage, `lists "../x"`},
		"changed":           {map[string]string{"a": "x", "index.json": `{"schema":1,"artifacts":[{"name":"a","sha256":"00"}]}`}, fault.Environment, "changed since an earlier run made it"},
		"a sidecar outside": {map[string]string{"a": "x", "index.json": `{"schema":1,"artifacts":[{"name":"a","sidecars":["../x"]}]}`}, fault.Usage, `lists "../x"`},
		"a sidecar changed": {
			map[string]string{"a": "x", "a.cdx.json": "y", "SHA256SUMS": strings.Repeat("0", 64) + "  a.cdx.json\n", "index.json": `{"schema":1,"artifacts":[` + a + `]}`},
			fault.Environment, "a.cdx.json: it has changed since",
		},
		"a sidecar gone":     {map[string]string{"a": "x", "index.json": `{"schema":1,"artifacts":[` + a + `]}`}, fault.Environment, "no such file"},
		"a foreign file":     {map[string]string{"a": "x", "a.cdx.json": "y", "b.whl": "z", "b.whl.metadata": "z", "index.json": `{"schema":1,"artifacts":[` + a + `]}`}, fault.Usage, "listed there: b.whl, b.whl.metadata"},
		"a foreign page":     {map[string]string{"a": "x", "a.cdx.json": "y", "simple/index.html": "", "simple/x-y/index.html": "", "simple/other/index.html": "z", "index.json": `{"schema":1,"artifacts":[` + a + `]}`}, fault.Usage, "listed there: simple/other"},
		"a file for a page":  {map[string]string{"a": "x", "a.cdx.json": "y", "simple/x-y/notes": "z", "index.json": `{"schema":1,"artifacts":[` + a + `]}`}, fault.Usage, "listed there: simple/x-y/notes"},
		"pages are a file":   {map[string]string{"a": "x", "a.cdx.json": "y", "simple": "z", "index.json": `{"schema":1,"artifacts":[` + a + `]}`}, fault.Usage, "listed there: simple"},
		"many foreign files": {map[string]string{"a": "x", "a.cdx.json": "y", "1": "", "2": "", "3": "", "4": "", "5": "", "6": "", "7": "", "index.json": `{"schema":1,"artifacts":[` + a + `]}`}, fault.Usage, "1, 2, 3, 4, 5 and 2 more"},
		"gone":               {map[string]string{"index.json": `{"schema":1,"artifacts":[{"name":"a","sha256":"00"}]}`}, fault.Environment, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			for file, text := range c.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(out, file)), 0o755); err != nil {
					t.Fatal(err)
				}
				plantFile(t, filepath.Join(out, file), text)
			}
			before, err := os.ReadDir(out)
			if err != nil {
				t.Fatal(err)
			}
			d, err := Open(out, true)
			if d != nil || fault.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if entries, _ := os.ReadDir(out); len(entries) != len(before) {
				t.Errorf("left %v", entries)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	plantFile(t, file, "")
	if _, err := Open(file, false); fault.ClassOf(err) != fault.Environment {
		t.Errorf("a file: %v", err)
	}
	out := t.TempDir()
	open(t, out, false)
	if _, err := Open(out, false); fault.ClassOf(err) != fault.Busy {
		t.Errorf("two at a time: %v", err)
	}
}

func TestKilledRunsAreSweptUp(t *testing.T) {
	out := t.TempDir()
	left := filepath.Join(out, ".modwsgi-123.part")
	if err := os.MkdirAll(filepath.Join(left, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := open(t, out, false)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	for _, name := range []string{"../x", "/x", ".x", ""} {
		if _, err := d.Create(name); err == nil {
			t.Errorf("%q was created", name)
		}
	}
}

// TestConcurrentArtifacts: several artifacts may be written concurrently.
func TestConcurrentArtifacts(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "dist"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	const n = 16
	failed := make(chan error, n)
	for k := range n {
		go func() {
			name := fmt.Sprintf("a%02d", k)
			err := func() error {
				if _, err := d.Scratch(); err != nil {
					return err
				}
				out, err := d.Create(name)
				if err != nil {
					return err
				}
				_, err = io.WriteString(out, name)
				if err := errors.Join(err, out.Close()); err != nil {
					return err
				}
				a := Artifact{Name: name}
				if err := d.Add(&a); err != nil {
					return err
				}
				a.Version = "1"
				d.Update(a)
				return d.Meta(name+".metadata", []byte(name))
			}()
			failed <- err
		}()
	}
	for range n {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	all := d.Artifacts()
	if len(all) != n || len(d.Metas()) != n || all[3].Name != "a03" || all[3].Version != "1" {
		t.Errorf("%+v", all)
	}
}

// TestOpenWaitsForAnotherRun has two runs with the same output directory.
func TestOpenWaitsForAnotherRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "dist")
	first := open(t, out, false)
	_, err := Open(out, false)
	if fault.ClassOf(err) != fault.Busy || !strings.Contains(fault.HintOf(err), "--out") {
		t.Errorf("without waiting: %v", err)
	}
	var told []string
	_, err = OpenWaiting(t.Context(), out, false, 100*time.Millisecond, func(s string) { told = append(told, s) })
	if fault.ClassOf(err) != fault.Busy || !strings.Contains(err.Error(), "100ms") || len(told) != 1 {
		t.Errorf("error is %v, told %q", err, told)
	}
	if _, serr := os.Stat("/proc/locks"); serr == nil && !strings.Contains(err.Error(), fmt.Sprintf("process %d ", os.Getpid())) {
		t.Errorf("the holder is not named: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, first.Abort)
	second, err := OpenWaiting(t.Context(), out, false, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	second.Abort()
}

// TestFilesBelow: the pages of a package index are in a directory; the same run and
// later ones can read them.
func TestFilesBelow(t *testing.T) {
	out := t.TempDir()
	for range 2 {
		d, err := Open(out, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Meta("simple/name/index.html", []byte("page")); err != nil {
			t.Fatal(err)
		}
		f, err := d.Open("simple/name/index.html")
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil || string(data) != "page" {
			t.Errorf("%q, %v", data, err)
		}
		if err := artifact(d, "one.bin", "1"); err != nil {
			t.Fatal(err)
		}
		index(t, d)
		if err := d.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(out, true)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	if f, err := d.Open("simple/name/index.html"); err != nil {
		t.Error(err)
	} else {
		_ = f.Close()
	}
	if _, err := d.Open("simple/name/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
