package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/archive"
	"modwsgi/internal/digest"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/recipe"
)

// source returns an archive with one file of some size and the given text.
func source(t *testing.T, says string) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, name := range []string{"x-1.0/first", "x-1.0/last"} {
		body := strings.Repeat(says+"\n", 20_000)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// swap exchanges an archive for another one, by its name and in place, until it is ended.
const swap = `cd "$1" || exit 1
echo ready
while :; do
	ln -f "$2.evil" swap && mv -f swap "$2"
	ln -f "$2.good" swap && mv -f swap "$2"; /bin/true; /bin/true; /bin/true
	rm -f "$2"; cp "$2.good" "$2"; cat "$2.evil" >"$2"; cat "$2.good" >"$2"
done`

// The owner of a source directory constantly exchanges the archive. Still, either the
// pinned contents are unpacked or nothing.
func TestRaceInASourceDirectoryOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	right, wrong := source(t, "good"), source(t, "evil")
	if len(right) != len(wrong) {
		t.Fatal("the archives have two sizes")
	}
	a := archiveOf(right, "")
	a.Trust = recipe.Pinned
	dir := otheruser.Dir(t)
	writeFile(t, filepath.Join(dir, a.File+".good"), right)
	writeFile(t, filepath.Join(dir, a.File+".evil"), wrong)
	writeFile(t, filepath.Join(dir, a.File), right)
	otheruser.Give(t, dir, filepath.Join(dir, a.File), filepath.Join(dir, a.File+".good"), filepath.Join(dir, a.File+".evil"))
	cmd := otheruser.Command(t, "/bin/sh", "-c", swap, "sh", dir, a.File)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	f := newFetcher(t, nil, Options{SourceDirs: []string{dir}})
	counts := map[string]int{}
	into := t.TempDir()
	for try, looks := 0, 0; try < 200 && looks < 20_000; looks++ {
		file, err := f.Fetch(context.Background(), a)
		if err != nil { // it was the other one, or missing, at that moment
			counts["refused when it was verified"]++
			continue
		}
		try++
		dest := filepath.Join(into, "tree")
		stats, err := archive.Extract(context.Background(), file.Path, dest, archive.Options{Strip: 1, SHA256: a.SHA256})
		var changed *digest.Changed
		switch {
		case err == nil && stats.SHA256 == a.SHA256:
			counts["unpacked"]++
			for _, name := range []string{"first", "last"} {
				if got, err := os.ReadFile(filepath.Join(dest, name)); err != nil || strings.Contains(string(got), "evil") || len(got) == 0 {
					t.Fatalf("try %d: %.20q, %v", try, got, err)
				}
			}
		case err == nil:
			t.Fatalf("try %d: %+v", try, stats)
		case errors.As(err, &changed):
			counts["refused when it was unpacked"]++
		default:
			counts["gone"]++
		}
		if _, serr := os.Lstat(dest); err != nil && serr == nil {
			t.Fatalf("try %d: left after %v", try, err)
		}
		if err := os.RemoveAll(dest); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(counts)
	if counts["unpacked"] == 0 || counts["refused when it was verified"] == 0 {
		t.Errorf("this was no race: %v", counts)
	}
	if left, _ := os.ReadDir(into); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A file of the download cache that changes after it was verified is not unpacked, and
// the next run fetches it again.
func TestDownloadChangedAfterVerification(t *testing.T) {
	right, wrong := source(t, "good"), source(t, "evil")
	s := newServer(t, good(right))
	f := newFetcher(t, s, Options{})
	a := archiveOf(right, s.URL)
	for _, inPlace := range []bool{true, false} {
		file, err := f.Fetch(context.Background(), a)
		if err != nil {
			t.Fatal(err)
		}
		if inPlace {
			writeFile(t, file.Path, wrong)
		} else {
			writeFile(t, file.Path+".new", wrong)
			if err := os.Rename(file.Path+".new", file.Path); err != nil {
				t.Fatal(err)
			}
		}
		dest := filepath.Join(t.TempDir(), "tree")
		_, err = archive.Extract(context.Background(), file.Path, dest, archive.Options{Strip: 1, SHA256: a.SHA256})
		var changed *digest.Changed
		if !errors.As(err, &changed) {
			t.Errorf("%v", err)
		}
		if _, err := os.Lstat(dest); err == nil {
			t.Error("something was left")
		}
		again, err := f.Fetch(context.Background(), a)
		mustBe(t, again, err, right)
		if again.Provider != URL {
			t.Errorf("from %s", again.Provider)
		}
	}
}

// A link or a pipe in the download cache is neither read nor waited for.
func TestOnlyRegularFilesOfTheCacheAreRead(t *testing.T) {
	right := source(t, "good")
	elsewhere := filepath.Join(t.TempDir(), "good")
	writeFile(t, elsewhere, right)
	for name, plant := range map[string]func(path string) error{
		"a link": func(path string) error { return os.Symlink(elsewhere, path) },
		"a pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		s := newServer(t, good(right))
		f := newFetcher(t, s, Options{})
		a := archiveOf(right, s.URL)
		dir := filepath.Join(f.opts.CacheDir, "archives", "sha256", a.SHA256)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := plant(filepath.Join(dir, a.File)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		file, err := f.Fetch(ctx, a)
		cancel()
		if err != nil || file.Provider != URL {
			t.Errorf("%s: %+v, %v", name, file, err)
		}
	}
}
