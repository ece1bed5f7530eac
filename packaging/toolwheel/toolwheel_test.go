package toolwheel

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
)

func sample() Options {
	return Options{
		Platform: "linux/amd64", Version: "1.2.3-rc1", Readme: "# modwsgi\n\nText.\n",
		Programs: map[string][]byte{"modwsgi": []byte("tool"), "mod_wsgi-express": []byte("launcher"), "mod_wsgi-apxs": []byte("apxs")},
		Licences: map[string][]byte{"LICENSE": []byte("text")}, Sbom: []byte("{}"), Time: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC),
	}
}

// unzip reads a wheel, and checks its RECORD.
func unzip(t *testing.T, path string) map[string]*zip.File {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = z.Close() })
	files := map[string]*zip.File{}
	var record string
	for _, f := range z.File {
		files[f.Name] = f
		if strings.HasSuffix(f.Name, "/RECORD") {
			record = text(t, f)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(record)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(files) {
		t.Errorf("RECORD has %d rows for %d files", len(rows), len(files))
	}
	for _, row := range rows {
		f := files[row[0]]
		if f == nil {
			t.Errorf("RECORD lists %s, which is not there", row[0])
			continue
		}
		sum := sha256.Sum256([]byte(text(t, f)))
		if want := "sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]); row[1] != "" && row[1] != want {
			t.Errorf("%s: %s, want %s", row[0], row[1], want)
		}
	}
	return files
}

func text(t *testing.T, f *zip.File) string {
	t.Helper()
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path, err := Write(dir, sample())
	if err != nil {
		t.Fatal(err)
	}
	if want := "modwsgi-1.2.3rc1-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64.whl"; filepath.Base(path) != want {
		t.Errorf("%s, want %s", filepath.Base(path), want)
	}
	files := unzip(t, path)
	for name, mode := range map[string]os.FileMode{
		"modwsgi-1.2.3rc1.data/scripts/modwsgi":                       0o755,
		"modwsgi-1.2.3rc1.data/data/libexec/modwsgi/mod_wsgi-express": 0o755,
		"modwsgi-1.2.3rc1.data/data/libexec/modwsgi/mod_wsgi-apxs":    0o755,

		"modwsgi/__init__.py":                               0o644,
		"modwsgi/__main__.py":                               0o644,
		"modwsgi/build.py":                                  0o644,
		"modwsgi-1.2.3rc1.dist-info/METADATA":               0o644,
		"modwsgi-1.2.3rc1.dist-info/licenses/LICENSE":       0o644,
		"modwsgi-1.2.3rc1.dist-info/sboms/modwsgi.cdx.json": 0o644,
	} {
		if f := files[name]; f == nil {
			t.Errorf("%s is missing", name)
		} else if f.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", name, f.Mode(), mode)
		}
	}
	// "modwsgi install" owns these names in an environment's programs.
	for name := range files {
		if strings.Contains(name, "/scripts/mod_wsgi-") || strings.Contains(name, "__pycache__") || strings.HasSuffix(name, "/INSTALLER") {
			t.Errorf("%s is in the wheel", name)
		}
	}
	wheel := text(t, files["modwsgi-1.2.3rc1.dist-info/WHEEL"])
	for _, want := range []string{"Root-Is-Purelib: false\n", "Tag: py3-none-manylinux2014_x86_64\n", "Tag: py3-none-musllinux_1_1_x86_64\n"} {
		if !strings.Contains(wheel, want) {
			t.Errorf("WHEEL lacks %q:\n%s", want, wheel)
		}
	}
}

func TestWriteIsReproducible(t *testing.T) {
	var all [][]byte
	for range 2 {
		path, err := Write(t.TempDir(), sample())
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	if !bytes.Equal(all[0], all[1]) {
		t.Error("two wheels of the same programs differ")
	}
	later := sample()
	later.Programs["modwsgi"] = []byte("Tool")
	path, err := Write(t.TempDir(), later)
	if err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(path); bytes.Equal(all[0], data) {
		t.Error("the programs play no part")
	}
}

func TestWritePlatforms(t *testing.T) {
	for platform, tag := range platforms {
		o := sample()
		o.Platform = platform
		if strings.HasPrefix(platform, "windows/") {
			for _, name := range []string{"modwsgi", "mod_wsgi-express", "mod_wsgi-apxs"} {
				o.Programs[name+".exe"] = o.Programs[name]
				delete(o.Programs, name)
			}
		}
		path, err := Write(t.TempDir(), o)
		if err != nil {
			t.Errorf("%s: %v", platform, err)
			continue
		}
		if !strings.HasSuffix(path, "-py3-none-"+tag+".whl") {
			t.Errorf("%s: %s", platform, path)
		}
		unzip(t, path)
	}
}

func TestWriteRefuses(t *testing.T) {
	for what, change := range map[string]func(o *Options){
		"an unknown platform": func(o *Options) { o.Platform = "plan9/amd64" },
		"a missing program":   func(o *Options) { delete(o.Programs, "mod_wsgi-apxs") },
		"a wrong suffix":      func(o *Options) { o.Platform = "windows/amd64" },
		"no version":          func(o *Options) { o.Version = "next" },
	} {
		o, dir := sample(), t.TempDir()
		change(&o)
		if path, err := Write(dir, o); err == nil {
			t.Errorf("%s: %s was written", what, path)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: %s is left", what, left[0].Name())
		}
	}
	_, err := Write(filepath.Join(t.TempDir(), "missing"), sample())
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != fault.Environment {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestSdist(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "mod_wsgi-5.0.2.tar.gz")
	if err := os.WriteFile(archive, []byte("source"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Sdist{
		Version: "5.0.2+team.1", Python: ">= 3.8", Tool: "0.1.0-dev+abc", Lock: []byte("schema = 1\n"),
		Archives: map[string]Archive{"mod_wsgi-5.0.2.tar.gz": {Path: archive, SHA256: sumOf("source")}}, Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	if name, err := s.FileName(); err != nil || name != "mod_wsgi-5.0.2+team.1.tar.gz" {
		t.Errorf("%s %v", name, err)
	}
	var one, two bytes.Buffer
	for _, b := range []*bytes.Buffer{&one, &two} {
		if err := s.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two of the same differ")
	}
	z, err := gzip.NewReader(&one)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(r)
		names = append(names, h.Name)
		files[h.Name] = string(data)
		if h.Mode != 0o644 || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s: mode %o, owner %d %q", h.Name, h.Mode, h.Uid, h.Uname)
		}
	}
	const base = "mod_wsgi-5.0.2+team.1/"
	if want := []string{base + "LICENSE", base + "PKG-INFO", base + "README.txt", base + "modwsgi.lock", base + "pyproject.toml", base + "sources/mod_wsgi-5.0.2.tar.gz"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	for name, want := range map[string]string{
		"PKG-INFO":       "Name: mod_wsgi\nVersion: 5.0.2+team.1\n",
		"pyproject.toml": "requires = [\"modwsgi == 0.1.0.dev0+abc\"]\nbuild-backend = \"modwsgi.build\"\n",
		"modwsgi.lock":   "schema = 1\n",
	} {
		if !strings.Contains(files[base+name], want) {
			t.Errorf("%s lacks %q:\n%s", name, want, files[base+name])
		}
	}
	// Either exactly the verified bytes are packed, or nothing is.
	if err := os.WriteFile(archive, []byte("swapped"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(io.Discard); err == nil || !strings.Contains(err.Error(), "changed after it was verified") {
		t.Errorf("an exchanged archive: %v", err)
	}
	s.Archives["mod_wsgi-5.0.2.tar.gz"] = Archive{Path: archive + "x", SHA256: sumOf("source")}
	if err := s.Write(io.Discard); err == nil {
		t.Error("a missing archive was not missed")
	}
}
