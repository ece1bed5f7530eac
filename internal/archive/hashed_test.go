package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
)

// big is an archive of a hundred files, larger than any buffer. Every byte depends on
// mark.
func big(t testing.TB, mark string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range 100 {
		body := noise(mark, i)
		h := &tar.Header{Name: "top/" + string(rune('a'+i/26)) + string(rune('a'+i%26)), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noise is incompressible, so that archives with different marks have the same size.
func noise(mark string, n int) []byte {
	var out []byte
	sum := sha256.Sum256([]byte(mark + string(rune(n))))
	for len(out) < 4096 {
		out = append(out, sum[:]...)
		sum = sha256.Sum256(sum[:])
	}
	return out
}

func packed(t testing.TB, format, mark string) []byte {
	t.Helper()
	plain := big(t, mark)
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch format {
	case "tar":
		return plain
	case "gz":
		w, err = gzip.NewWriterLevel(&b, gzip.NoCompression)
	case "zst":
		w, err = zstd.NewWriter(&b)
	case "zip":
		z := zip.NewWriter(&b)
		for i := range 100 {
			f, err := z.CreateHeader(&zip.FileHeader{Name: "top/" + string(rune('a'+i/26)) + string(rune('a'+i%26)), Method: zip.Store})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(noise(mark, i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, werr := w.Write(plain); werr != nil {
		err = werr
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// during calls do, which acts as another process, at the n-th call of a hook.
func during(t *testing.T, moment string, n int, attack func()) {
	t.Helper()
	old := hook
	t.Cleanup(func() { hook = old })
	seen := 0
	hook = func(m string) {
		if m == moment {
			if seen++; seen == n {
				attack()
			}
		}
	}
}

// The verified bytes and the unpacked bytes are the same, whatever happens to the file in
// between: it may be replaced, or changed in place, before it is opened or while it is
// read.
func TestUnpackedBytesAreTheHashedBytes(t *testing.T) {
	for _, format := range []string{"tar", "gz", "zst", "zip"} {
		good, evil := packed(t, format, "good"), packed(t, format, "evil")
		for name, c := range map[string]struct {
			moment string
			nth    int
			attack func(path string) error
			ok     bool // the attack comes too late, or does not affect the bytes that are read
		}{
			"nothing happens": {"open", 1, func(string) error { return nil }, true},
			"another file before it is opened": {"open", 1, func(path string) error {
				return errors.Join(os.WriteFile(path+".new", evil, 0o600), os.Rename(path+".new", path))
			}, false},
			"another content before it is opened": {"open", 1, func(path string) error { return os.WriteFile(path, evil, 0o600) }, false},
			"a link before it is opened": {"open", 1, func(path string) error {
				return errors.Join(os.WriteFile(path+".new", evil, 0o600), os.Remove(path), os.Symlink(path+".new", path))
			}, false},
			"another file while it is read": {"entry", 3, func(path string) error {
				return errors.Join(os.WriteFile(path+".new", evil, 0o600), os.Rename(path+".new", path))
			}, true},
			"another end while it is read": {"entry", 3, func(path string) error {
				f, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err != nil {
					return err
				}
				half := int64(len(evil) / 2)
				_, err = f.WriteAt(evil[half:], half)
				return errors.Join(err, f.Close())
			}, format == "zip"}, // a private copy is read
			"cut off while it is read": {"entry", 3, func(path string) error { return os.Truncate(path, int64(len(good)/2)) }, format == "zip"},
			"longer while it is read": {"entry", 3, func(path string) error {
				f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
				if err != nil {
					return err
				}
				_, err = f.WriteString("x")
				return errors.Join(err, f.Close())
			}, format == "zip"},
		} {
			t.Run(format+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				path, dest := filepath.Join(dir, "a.archive"), filepath.Join(dir, "tree")
				if err := os.WriteFile(path, good, 0o600); err != nil {
					t.Fatal(err)
				}
				during(t, c.moment, c.nth, func() {
					if err := c.attack(path); err != nil {
						t.Error(err)
					}
				})
				stats, err := Extract(t.Context(), path, dest, Options{Strip: 1, SHA256: sumOf(good)})
				if c.ok {
					if err != nil || stats.SHA256 != sumOf(good) {
						t.Fatalf("%+v, %v", stats, err)
					}
					for i, name := range []string{"aa", "ab", "dv"} {
						got, err := os.ReadFile(filepath.Join(dest, name))
						if err != nil || !bytes.Equal(got, noise("good", []int{0, 1, 99}[i])) {
							t.Errorf("%s has other content, %v", name, err)
						}
					}
				} else {
					if err == nil {
						t.Fatal("it was unpacked")
					}
					if fault.ClassOf(err) != fault.Source || fault.HintOf(err) == "" {
						t.Errorf("%v: class %v, hint %q", err, fault.ClassOf(err), fault.HintOf(err))
					}
					var changed *digest.Changed
					if !errors.As(err, &changed) {
						t.Errorf("%v is not about the change", err)
					}
				}
				left, err := filepath.Glob(filepath.Join(dir, ".*unpack*"))
				if _, serr := os.Lstat(dest); !c.ok && serr == nil || err != nil || len(left) > 0 {
					t.Errorf("left: %v, %v, %v", serr, left, err)
				}
			})
		}
	}
}

// The archive's hash includes what follows the compressed stream.
func TestHashCoversTheWholeFile(t *testing.T) {
	good := packed(t, "gz", "good")
	dir := t.TempDir()
	path := filepath.Join(dir, "a.tar.gz")
	for _, behind := range []string{"", "\x00", strings.Repeat("\x00", 300_000)} {
		data := append(bytes.Clone(good), behind...)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"", sumOf(data)} {
			stats, err := Extract(t.Context(), path, filepath.Join(dir, "tree"), Options{SHA256: want})
			if err == nil && stats.SHA256 != sumOf(data) {
				t.Errorf("%d bytes behind it: %+v", len(behind), stats)
			}
			if behind == "" && err != nil {
				t.Error(err)
			}
			_ = os.RemoveAll(filepath.Join(dir, "tree"))
		}
		if _, err := Extract(t.Context(), path, filepath.Join(dir, "tree"), Options{SHA256: sumOf(good)}); (err == nil) != (behind == "") {
			t.Errorf("%d bytes behind it, the hash of the archive alone: %v", len(behind), err)
		}
		_ = os.RemoveAll(filepath.Join(dir, "tree"))
	}
}
