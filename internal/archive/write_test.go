package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"modwsgi/internal/archive"
)

func sampleTree(t *testing.T, mode os.FileMode, when time.Time) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "bin"), 0o700|mode))
	must(t, os.MkdirAll(filepath.Join(root, "empty"), 0o700|mode))
	must(t, os.WriteFile(filepath.Join(root, "bin", "httpd"), bytes.Repeat([]byte("binary"), 50_000), 0o700|mode))
	must(t, os.WriteFile(filepath.Join(root, "conf"), []byte("text"), 0o600|mode))
	must(t, os.Symlink("bin/httpd", filepath.Join(root, "link")))
	must(t, os.Chtimes(filepath.Join(root, "conf"), when, when))
	return root
}

var formats = map[string]func(io.Writer, string, archive.WriteOptions) error{
	"gz": archive.WriteTarGz, "zst": archive.WriteTarZst,
}

func TestWrittenBytesDependOnContentOnly(t *testing.T) {
	one := sampleTree(t, 0o055, then)
	two := sampleTree(t, 0, time.Now())
	for name, write := range formats {
		var a, b, c bytes.Buffer
		must(t, write(&a, one, archive.WriteOptions{Time: then, Prefix: "tree"}))
		must(t, write(&b, two, archive.WriteOptions{Time: then.Add(time.Millisecond), Prefix: "./tree/"}))
		// 0o055 made conf executable for the group only, which does not count.
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: two trees with the same content differ", name)
		}
		must(t, write(&c, two, archive.WriteOptions{Time: then.Add(time.Second), Prefix: "tree"}))
		if bytes.Equal(a.Bytes(), c.Bytes()) {
			t.Errorf("%s: the time is not in the archive", name)
		}
	}
}

func TestWrittenArchiveComesBack(t *testing.T) {
	root := sampleTree(t, 0o055, time.Now())
	want := listing(t, root)
	want["conf"] = "-rw-r--r-- text"
	for name, write := range formats {
		var b bytes.Buffer
		must(t, write(&b, root, archive.WriteOptions{Time: then, Prefix: "a/b"}))
		a := newArena(t)
		_, err := a.extract(b.Bytes(), archive.Options{Strip: 2})
		must(t, err)
		if got := listing(t, a.dest); !maps.Equal(got, want) {
			t.Errorf("%s: got %v", name, slices.Sorted(maps.Keys(got)))
		}
	}
}

func TestWrittenHeaders(t *testing.T) {
	var b bytes.Buffer
	must(t, archive.WriteTarGz(&b, sampleTree(t, 0, time.Now()), archive.WriteOptions{}))
	z, err := gzip.NewReader(&b)
	must(t, err)
	r := tar.NewReader(z)
	var names []string
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		names = append(names, h.Name)
		if h.Uid+h.Gid != 0 || h.Uname+h.Gname != "" || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s: %+v", h.Name, h)
		}
	}
	if want := []string{"bin/", "bin/httpd", "conf", "empty/", "link"}; !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}

func TestWriteRefuses(t *testing.T) {
	root := sampleTree(t, 0, time.Now())
	for _, prefix := range []string{"/abs", "../up", `a\b`} {
		if err := archive.WriteTarGz(io.Discard, root, archive.WriteOptions{Prefix: prefix}); err == nil {
			t.Errorf("prefix %q was taken", prefix)
		}
	}
	if err := archive.WriteTarZst(io.Discard, filepath.Join(root, "none"), archive.WriteOptions{}); err == nil {
		t.Error("a missing tree was taken")
	}
	l, err := net.Listen("unix", filepath.Join(root, "s"))
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	if err := archive.WriteTarGz(io.Discard, root, archive.WriteOptions{}); err == nil {
		t.Error("a socket was packed")
	}
}
