package release

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
)

func sha(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// published writes a directory with SHA256SUMS over the given files.
func published(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dist und ü")
	sums := ""
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		sums += sha(text) + "  " + name + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, SumsName), []byte(sums), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCheckDirectory(t *testing.T) {
	good := map[string]string{"a.zip": "a", "b c ä.whl": "b", "simple/index.html": "i"}
	for name, c := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"untouched":     {func(string) error { return nil }, ""},
		"signatures":    {func(d string) error { return os.WriteFile(d+"/SHA256SUMS.asc", nil, 0o644) }, ""},
		"changed":       {func(d string) error { return os.WriteFile(d+"/b c ä.whl", []byte("B"), 0o644) }, "b c ä.whl was changed"},
		"missing":       {func(d string) error { return os.Remove(d + "/simple/index.html") }, "simple/index.html is missing"},
		"added":         {func(d string) error { return os.WriteFile(d+"/evil.whl", nil, 0o644) }, "evil.whl is not listed"},
		"added below":   {func(d string) error { return os.WriteFile(d+"/simple/evil.html", nil, 0o644) }, "simple/evil.html is not listed"},
		"not that name": {func(d string) error { return os.WriteFile(d+"/SHA256SUMS.exe", nil, 0o644) }, "SHA256SUMS.exe is not listed"},
		"a link": {func(d string) error {
			return errors.Join(os.Rename(d+"/a.zip", d+"/../x"), os.Symlink("../x", d+"/a.zip"))
		}, "a.zip is not a regular file"},
		"empty list": {func(d string) error { return os.WriteFile(d+"/SHA256SUMS", nil, 0o644) }, "SHA256SUMS is empty"},
		"outside":    {func(d string) error { return os.WriteFile(d+"/SHA256SUMS", []byte(sha("")+"  ../x\n"), 0o644) }, "not a list of checksums"},
		"absolute":   {func(d string) error { return os.WriteFile(d+"/SHA256SUMS", []byte(sha("")+"  /dev/null\n"), 0o644) }, "not a list of checksums"},
		"twice": {func(d string) error {
			return os.WriteFile(d+"/SHA256SUMS", []byte(sha("a")+"  a\n"+sha("b")+"  a\n"), 0o644)
		}, "not a list of checksums"},
		"other text": {func(d string) error { return os.WriteFile(d+"/SHA256SUMS", []byte("<html>\n"), 0o644) }, "not a list of checksums"},
	} {
		dir := published(t, good)
		if err := c.change(dir); err != nil {
			t.Fatal(err)
		}
		names, err := CheckDirectory(dir)
		if c.want == "" && (err != nil || len(names) != 3) || c.want != "" && (fault.ClassOf(err) != fault.Verify || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, %v", name, names, err)
		}
	}
	if _, err := CheckDirectory(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a list: %v", err)
	}
}

func TestCheckListed(t *testing.T) {
	dir := published(t, map[string]string{"a.zip": "a"})
	if listed, err := CheckListed(dir + "/a.zip"); !listed || err != nil {
		t.Error(listed, err)
	}
	if err := errors.Join(os.WriteFile(dir+"/a.zip", []byte("A"), 0o644), os.WriteFile(dir+"/other.zip", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if listed, err := CheckListed(dir + "/a.zip"); !listed || fault.ClassOf(err) != fault.Verify {
		t.Error(listed, err)
	}
	if listed, err := CheckListed(dir + "/other.zip"); listed || err != nil {
		t.Error(listed, err)
	}
}

func TestCheckInside(t *testing.T) {
	record := func(path, text string) string {
		sum := sha256.Sum256([]byte(text))
		return path + ",sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]) + ",1\n"
	}
	const info = "x-1.dist-info/RECORD"
	for name, c := range map[string]struct {
		file    string
		members [][2]string
		n       int
		want    string
	}{
		"zip":             {"x.zip", [][2]string{{"a", "1"}, {"d/b", "2"}, {SumsName, sha("1") + "  a\n" + sha("2") + "  d/b\n"}}, 2, ""},
		"wheel":           {"x.whl", [][2]string{{"a.py", "1"}, {info, record("a.py", "1") + info + ",,\n"}}, 1, ""},
		"no list":         {"x.zip", [][2]string{{"a", "1"}, {"d/SHA256SUMS", "?"}}, 0, ""},
		"changed":         {"x.zip", [][2]string{{"a", "?"}, {SumsName, sha("1") + "  a\n"}}, 0, "x.zip differs from what was published: a was changed"},
		"changed module":  {"x.whl", [][2]string{{"a.py", "?"}, {info, record("a.py", "1") + info + ",,\n"}}, 0, "a.py was changed"},
		"added":           {"x.zip", [][2]string{{"a", "1"}, {"evil.exe", ""}, {SumsName, sha("1") + "  a\n"}}, 0, "evil.exe is not listed"},
		"missing":         {"x.zip", [][2]string{{SumsName, sha("1") + "  a\n"}}, 0, "a is missing"},
		"twice":           {"x.zip", [][2]string{{"a", "1"}, {"a", "?"}, {SumsName, sha("1") + "  a\n"}}, 0, "a is a duplicate"},
		"without a hash":  {"x.whl", [][2]string{{"a.py", "1"}, {info, "a.py,,\n" + info + ",,\n"}}, 0, "has no SHA-256"},
		"weak hash":       {"x.whl", [][2]string{{"a.py", "1"}, {info, "a.py,md5=AAAA,1\n"}}, 0, "has no SHA-256"},
		"no list of sums": {"x.zip", [][2]string{{SumsName, "text"}}, 0, "not a list of checksums"},
	} {
		path := filepath.Join(t.TempDir(), c.file)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(f)
		for _, m := range c.members {
			w, err := z.Create(m[0])
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write([]byte(m[1]))
		}
		if err := errors.Join(z.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		n, err := CheckInside(path)
		if c.want == "" && (err != nil || n != c.n) || c.want != "" && (fault.ClassOf(err) != fault.Verify || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if _, err := CheckInside(published(t, map[string]string{"x": ""}) + "/x"); fault.ClassOf(err) != fault.Verify {
		t.Errorf("no zip: %v", err)
	}
}
