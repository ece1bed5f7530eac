package produce

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/release"
	"modwsgi/packaging/sign"
)

// finished makes an output directory with artifacts: contents by name.
func finished(t *testing.T, dir string, shard *shardRecord, artifacts map[string]string) string {
	t.Helper()
	d, err := packaging.Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	for _, name := range slices.Sorted(maps.Keys(artifacts)) {
		project, _, _ := strings.Cut(name, "-")
		err := d.Put(name, strings.NewReader(artifacts[name]))
		if err == nil {
			err = d.Add(&packaging.Artifact{Name: name, Kind: "wheel", Project: project, Version: "1"})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o := release.Options{Time: time.Unix(7, 0), Tool: "0", Also: map[string][]byte{}}
	if shard != nil {
		data, err := json.Marshal(shard)
		if err != nil {
			t.Fatal(err)
		}
		o.Also[packaging.ShardName] = data
	}
	if err := release.Finish(t.Context(), d, o); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// contents are all files of a directory, by name.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		all[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func mergeOf(out string, dirs ...string) *Merge {
	return &Merge{Settings: Settings{Out: out, Now: time.Now, LockLimit: -1}, Dirs: dirs}
}

func partOf(i, n int, archives ...lockedArchive) *shardRecord {
	return &shardRecord{Schema: 1, Matrix: strings.Repeat("a", 64), Shard: matrix.Shard{Index: i, Count: n}, Archives: archives}
}

// TestMerge: parts become what one run makes, byte by byte, also together with what is
// there already, and a second time.
func TestMerge(t *testing.T) {
	top := t.TempDir()
	in := func(name string) string { return filepath.Join(top, name) }
	whole := contents(t, finished(t, in("whole"), nil, map[string]string{"a-1.whl": "a", "b-1.whl": "b", "c-1.whl": "c"}))
	one := finished(t, in("one"), partOf(1, 3), map[string]string{"a-1.whl": "a", "b-1.whl": "b"})
	two := finished(t, in("two"), partOf(2, 3), map[string]string{"b-1.whl": "b", "c-1.whl": "c"})
	three := finished(t, in("three"), partOf(3, 3), nil) // had nothing to make
	for range 2 {
		r, err := mergeOf(in("dist"), one, two, three).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Artifacts) != 3 || r.Taken != 3 || len(r.Missing) != 0 {
			t.Errorf("got %+v", r)
		}
		if got := contents(t, in("dist")); !maps.Equal(got, whole) {
			t.Errorf("got %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(whole)))
		}
	}
	// Into one of the parts.
	if _, err := mergeOf(one, one, two, three).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, one); !maps.Equal(got, whole) {
		t.Errorf("into a part: %v", slices.Sorted(maps.Keys(got)))
	}
	// Beside what another run made.
	finished(t, in("before"), nil, map[string]string{"a-1.whl": "a"})
	if _, err := mergeOf(in("before"), in("whole")).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, in("before")); !maps.Equal(got, whole) {
		t.Errorf("beside others: %v", slices.Sorted(maps.Keys(got)))
	}
}

// TestMergeSigned: the signatures of parts are not those of the release. With a key the
// release is signed, without one it is not.
func TestMergeSigned(t *testing.T) {
	top := t.TempDir()
	in := func(name string) string { return filepath.Join(top, name) }
	keys := map[string]sign.Keys{}
	for _, name := range []string{"part", "release"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err == nil {
			err = os.WriteFile(in(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = sign.Keys{ECDSA: in(name + ".pem")}
	}
	signed := func(out string, k sign.Keys, dirs ...string) map[string]string {
		t.Helper()
		m := mergeOf(out, dirs...)
		m.Keys = k
		if _, err := m.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := release.CheckDirectory(out); err != nil {
			t.Error(err)
		}
		return contents(t, out)
	}
	plain := contents(t, finished(t, in("plain"), nil, map[string]string{"a-1.whl": "a"}))
	part := signed(in("one"), keys["part"], in("plain"))
	if part["a-1.whl.intoto.jsonl"] == "" || part["SHA256SUMS.sig"] == "" {
		t.Errorf("not signed: %v", slices.Sorted(maps.Keys(part)))
	}
	if got := signed(in("unsigned"), sign.Keys{}, in("one")); !maps.Equal(got, plain) {
		t.Errorf("without a key: %v", slices.Sorted(maps.Keys(got)))
	}
	whole := signed(in("signed"), keys["release"], in("plain"))
	if got := signed(in("again"), keys["release"], in("one")); !maps.Equal(got, whole) || got["a-1.whl.intoto.jsonl"] == part["a-1.whl.intoto.jsonl"] {
		t.Errorf("with another key: %v", slices.Sorted(maps.Keys(got)))
	}
	signed(in("one"), keys["release"], in("plain")) // over what the other key signed
	if got := contents(t, in("one")); !maps.Equal(got, whole) {
		t.Errorf("signed again: %v", slices.Sorted(maps.Keys(got)))
	}
}

// TestMergeRefuses: every reason is named, and nothing is written.
func TestMergeRefuses(t *testing.T) {
	top := t.TempDir()
	in := func(name string) string { return filepath.Join(top, name) }
	one := finished(t, in("one"), partOf(1, 2, lockedArchive{"mod_wsgi", "5.0.2", "aa"}, lockedArchive{"cpython", "3.11.1", "cc"}), map[string]string{"a-1.whl": "a"})
	other := partOf(2, 2)
	other.Matrix = strings.Repeat("b", 64)
	failed := partOf(2, 2)
	failed.Failed = []string{"wheel for Python 3.12"}
	damaged := finished(t, in("damaged"), nil, map[string]string{"d-1.whl": "d"})
	if err := os.WriteFile(filepath.Join(damaged, "d-1.whl"), []byte("e"), 0o644); err != nil {
		t.Fatal(err)
	}
	mixed := finished(t, in("mixed"), nil, map[string]string{"e-1.whl": "e"})
	if err := os.WriteFile(filepath.Join(mixed, "notes.txt"), []byte("e"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(in("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		dirs  []string
		class fault.Class
		want  []string
	}{
		"a part is missing":  {[]string{one}, fault.Usage, []string{"part 2/2 is missing"}},
		"a part failed":      {[]string{one, finished(t, in("failed"), failed, nil)}, fault.Usage, []string{"part 2/2 could not make wheel for Python 3.12"}},
		"another file":       {[]string{one, finished(t, in("other"), other, nil)}, fault.Usage, []string{"not parts of the same release", in("one"), in("other")}},
		"another number":     {[]string{one, finished(t, in("number"), partOf(2, 3), nil)}, fault.Usage, []string{"not parts of the same release: 1/2", "2/3"}},
		"another version":    {[]string{one, finished(t, in("version"), partOf(2, 2, lockedArchive{"mod_wsgi", "6.0.5", "bb"}, lockedArchive{"cpython", "3.12.1", "dd"}), nil)}, fault.Verify, []string{"from mod_wsgi 5.0.2", "from 6.0.5"}},
		"another archive":    {[]string{one, finished(t, in("archive"), partOf(2, 2, lockedArchive{"mod_wsgi", "5.0.2", "bb"}), nil)}, fault.Verify, []string{"5.0.2 with SHA-256 aa", "5.0.2 with SHA-256 bb"}},
		"another artifact":   {[]string{one, finished(t, in("artifact"), partOf(2, 2), map[string]string{"a-1.whl": "b"})}, fault.Verify, []string{"a-1.whl differs: SHA-256 ", in("one"), in("artifact"), "a-1.whl.intoto.json differs"}},
		"damaged":            {[]string{damaged}, fault.Verify, []string{"d-1.whl was changed"}},
		"a foreign file":     {[]string{mixed}, fault.Verify, []string{"notes.txt is not listed"}},
		"no artifacts":       {[]string{in("empty")}, fault.Usage, []string{"has no SHA256SUMS"}},
		"no directory":       {[]string{in("none")}, fault.Usage, []string{"has no SHA256SUMS"}},
		"what is there":      {[]string{in("artifact.d")}, fault.Verify, []string{"a-1.whl differs"}},
		"interrupted before": {[]string{one}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "dist")
			ctx := t.Context()
			switch name {
			case "what is there":
				finished(t, in("artifact.d"), nil, map[string]string{"a-1.whl": "b"})
				finished(t, out, nil, map[string]string{"a-1.whl": "a"})
			case "interrupted before":
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				cancel()
			}
			before := map[string]string{}
			if _, err := os.Stat(out); err == nil {
				before = contents(t, out)
			}
			_, err := mergeOf(out, c.dirs...).Run(ctx)
			if err == nil || c.class != 0 && fault.ClassOf(err) != c.class {
				t.Fatalf("class %v: %v", fault.ClassOf(err), err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
			after := map[string]string{}
			if _, err := os.Stat(out); err == nil {
				after = contents(t, out)
			}
			if !maps.Equal(before, after) {
				t.Errorf("changed: %v", slices.Sorted(maps.Keys(after)))
			}
		})
	}
	m := mergeOf(filepath.Join(top, "incomplete"), one)
	m.Incomplete = true
	if r, err := m.Run(t.Context()); err != nil || len(r.Missing) != 1 || len(r.Artifacts) != 1 {
		t.Errorf("--incomplete: %+v, %v", r, err)
	}
}

// TestMergeReadsWhatItVerified: a file that changes after it was verified is not taken.
func TestMergeReadsWhatItVerified(t *testing.T) {
	dir := finished(t, filepath.Join(t.TempDir(), "one"), nil, map[string]string{"a-1.whl": "a"})
	f, err := readFinished(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a-1.whl"), []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := packaging.Open(filepath.Join(t.TempDir(), "dist"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	if _, err := takeAll(t.Context(), d, []*from{f}); fault.ClassOf(err) != fault.Verify || !strings.Contains(err.Error(), "was changed while it was read") {
		t.Errorf("got %v", err)
	}
}
