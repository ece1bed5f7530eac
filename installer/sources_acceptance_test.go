//go:build acceptance && linux

package installer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
	"modwsgi/internal/testkit"
)

// manipulated returns a source archive of mod_wsgi whose module does something else; it
// would compile and load without complaint.
func manipulated(t *testing.T, archive []byte) []byte {
	t.Helper()
	in, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, "/src/server/mod_wsgi.c") {
			data = append(data, "\nconst char *wsgi_manipulated(void) { return \"manipulated\"; }\n"...)
			h.Size = int64(len(data))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The archive of mod_wsgi is exchanged after everything was verified and before anything
// is unpacked. Nothing is built from it, installed, or kept in the build cache, and the
// genuine archive is built afterwards.
func TestAnArchiveThatIsExchangedIsNotBuilt(t *testing.T) {
	otheruser.Need(t)
	env, bin, warm := os.Getenv("MODWSGI_TEST_ENV"), os.Getenv("MODWSGI_TEST_BIN"), os.Getenv("MODWSGI_TEST_CACHE")
	if env == "" || bin == "" || warm == "" {
		t.Skip("needs MODWSGI_TEST_ENV, MODWSGI_TEST_BIN and MODWSGI_TEST_CACHE (scripts/run-tests)")
	}
	trees, err := filepath.Glob(filepath.Join(env, "lib/python*/site-packages/mod_wsgi_packages/httpd"))
	if err != nil || len(trees) != 1 {
		t.Skipf("no bundled httpd in %s", env)
	}
	var a recipe.Archive
	var right []byte
	for _, a = range recipe.Catalogue().Of("mod_wsgi") {
		if right, err = os.ReadFile(filepath.Join(warm, "downloads/archives/sha256", a.SHA256, a.File)); err == nil {
			break
		}
	}
	if right == nil {
		t.Skip("no archive of mod_wsgi in the cache")
	}
	wrong := manipulated(t, right)
	for _, place := range []string{"source-dir", "download cache"} {
		t.Run(place, func(t *testing.T) {
			q := Request{
				Wish: Wish{Python: env, HTTPD: trees[0], ModWSGIVersion: a.Version, LockFile: filepath.Join(t.TempDir(), "modwsgi.lock")},
				Means: Means{
					Setting:  Setting{Runner: &run.Runner{}, Dir: t.TempDir(), Env: os.Environ()},
					CacheDir: filepath.Join(t.TempDir(), "cache"), Offline: true, ToolsDir: bin,
				},
			}
			dir := filepath.Join(q.CacheDir, "downloads/archives/sha256", a.SHA256)
			if place == "source-dir" {
				dir = otheruser.Dir(t)
				q.SourceDirs = []string{dir}
			}
			file := filepath.Join(dir, a.File)
			testkit.Write(t, dir, map[string]string{a.File: string(right), "wrong": string(wrong), "right": string(right)})
			// The run has its own name for a file of the cache (fetch.Options.Hold), so
			// another file under the old name changes nothing. So the contents are
			// exchanged.
			exchange := func(from string) {
				data, err := os.ReadFile(filepath.Join(dir, from))
				if err == nil {
					err = os.WriteFile(file, data, 0o644)
				}
				if err != nil {
					t.Error(err)
				}
			}
			if place == "source-dir" {
				otheruser.Give(t, dir, file, filepath.Join(dir, "wrong"), filepath.Join(dir, "right"))
				exchange = func(from string) { otheruser.Shell(t, `mv -f "$1/$2" "$3"`, dir, from, file) }
			}
			old := hook
			t.Cleanup(func() { hook = old })
			hook = func(moment, _ string) {
				if moment == "fetched" {
					exchange("wrong")
				}
			}
			staged, err := Stage(t.Context(), q.Means, q.StagePlan)
			var changed *digest.Changed
			if err == nil {
				text, _ := os.ReadFile(filepath.Join(staged.Site, "mod_wsgi/server", staged.Receipt.Module.File))
				staged.Close()
				t.Fatalf("it was built; manipulated: %v", bytes.Contains(text, []byte("manipulated")))
			}
			if !errors.As(err, &changed) || changed.Want != a.SHA256 || fault.ClassOf(err) != fault.Source || fault.HintOf(err) == "" {
				t.Errorf("%v, class %v", err, fault.ClassOf(err))
			}
			if left, err := cachedir.List(cachedir.Options{Path: q.CacheDir}); err != nil || len(keptBuilds(left)) > 0 {
				t.Errorf("in the build cache: %+v, %v", left, err)
			}
			hook = old
			exchange("right")
			staged, err = Stage(t.Context(), q.Means, q.StagePlan)
			if err != nil {
				t.Fatal(err)
			}
			defer staged.Close()
			v, err := cachedir.Verify(t.Context(), cachedir.Options{Path: q.CacheDir}, false)
			if err != nil || len(v.Bad) > 0 || v.Good == 0 {
				t.Errorf("%+v, %v", v, err)
			}
			left, err := cachedir.List(cachedir.Options{Path: q.CacheDir})
			if err != nil || len(keptBuilds(left)) != 1 || keptBuilds(left)[0].Build.Parts[0].SHA256 != a.SHA256 {
				t.Errorf("in the build cache: %+v, %v", left, err)
			}
		})
	}
}

func keptBuilds(all []cachedir.Item) (out []cachedir.Item) {
	for _, c := range all {
		if c.Build != nil {
			out = append(out, c)
		}
	}
	return out
}
