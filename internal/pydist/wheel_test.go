package pydist

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// wheelDist is a distribution with a module and a program.
func wheelDist(t *testing.T, dir string) Dist {
	t.Helper()
	files := map[string]os.FileMode{"b.py": 0o600, "ü.so": 0o711, "prog": 0o755}
	for name, mode := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name, 100)), mode); err != nil {
			t.Fatal(err)
		}
	}
	return Dist{
		Name: "Some.Dist", Version: "1.0-RC.1", Tag: "cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64", Build: "3",
		License: "MIT", Installer: "modwsgi", Requested: true, Extra: map[string][]byte{"licenses/a/LICENSE": []byte("text")},
		Files: []File{
			{Path: "pkg/ü.so", Source: filepath.Join(dir, "ü.so")},
			{Path: "pkg/b.py", Source: filepath.Join(dir, "b.py")},
			{Path: "some_dist-1.0rc1.data/scripts/prog", Source: filepath.Join(dir, "prog")},
		},
	}
}

func TestWriteWheel(t *testing.T) {
	d := wheelDist(t, t.TempDir())
	if name, err := d.WheelName(); err != nil || name != "some_dist-1.0rc1-3-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl" {
		t.Errorf("name %q, %v", name, err)
	}
	at := time.Date(2024, 2, 3, 4, 5, 7, 0, time.FixedZone("x", 3600))
	var b bytes.Buffer
	if err := d.WriteWheel(&b, at); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	content := map[string]string{}
	for _, f := range z.File {
		names = append(names, f.Name+" "+f.Mode().String())
		if len(f.Extra) != 0 || f.Flags&0x8 != 0 || f.Modified.UTC().Format(time.DateTime) != "2024-02-03 03:05:06" {
			t.Errorf("%s: extra %x, flags %x, %v", f.Name, f.Extra, f.Flags, f.Modified)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r) // checks the CRC
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		content[f.Name] = string(data)
	}
	want := []string{
		"pkg/b.py -rw-r--r--", "pkg/ü.so -rwxr-xr-x", "some_dist-1.0rc1.data/scripts/prog -rwxr-xr-x",
		"some_dist-1.0rc1.dist-info/METADATA -rw-r--r--", "some_dist-1.0rc1.dist-info/WHEEL -rw-r--r--",
		"some_dist-1.0rc1.dist-info/licenses/a/LICENSE -rw-r--r--", "some_dist-1.0rc1.dist-info/RECORD -rw-r--r--",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q\nwant %q", names, want)
	}
	wheel := content["some_dist-1.0rc1.dist-info/WHEEL"]
	for _, line := range []string{"Build: 3\n", "Tag: cp311-cp311-manylinux2014_x86_64\n", "Tag: cp311-cp311-manylinux_2_17_x86_64\n", "Root-Is-Purelib: false\n"} {
		if !strings.Contains(wheel, line) {
			t.Errorf("WHEEL lacks %q: %q", line, wheel)
		}
	}
	entries, err := ParseRecord([]byte(content["some_dist-1.0rc1.dist-info/RECORD"]))
	if err != nil || len(entries) != len(want) {
		t.Fatalf("RECORD: %v, %v", entries, err)
	}
	for _, e := range entries {
		text, there := content[e.Path]
		sum, size, err := digest(strings.NewReader(text))
		if err != nil || !there || !strings.HasSuffix(e.Path, "/RECORD") && (e.Hash != sum || e.Size != size) {
			t.Errorf("RECORD says %+v, there is %s %d", e, sum, size)
		}
	}
}

// TestWheelIsTheSameTwice: the order of the files, their directories and their modes
// other than the execute bit do not matter.
func TestWheelIsTheSameTwice(t *testing.T) {
	var all [][]byte
	for i := range 2 {
		dir := t.TempDir()
		d := wheelDist(t, dir)
		if i == 1 {
			slices.Reverse(d.Files)
			if err := os.Chmod(filepath.Join(dir, "b.py"), 0o444); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if err := d.WriteWheel(&b, time.Unix(0, 0)); err != nil { // before the format's first year
			t.Fatal(err)
		}
		all = append(all, b.Bytes())
	}
	if !bytes.Equal(all[0], all[1]) {
		t.Error("the bytes differ")
	}
}

func TestWheelRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, change := range map[string]func(*Dist){
		"leaves":       func(d *Dist) { d.Files[0].Path = "../x" },
		"absolute":     func(d *Dist) { d.Files[0].Path = "/x" },
		"twice":        func(d *Dist) { d.Files[0].Path = d.Files[1].Path },
		"gone":         func(d *Dist) { d.Files[0].Source += "x" },
		"tag":          func(d *Dist) { d.Tag = "cp311" },
		"version":      func(d *Dist) { d.Version = "x y" },
		"own metadata": func(d *Dist) { d.Files[0].Path = "some_dist-1.0rc1.dist-info/METADATA" },
	} {
		d := wheelDist(t, dir)
		change(&d)
		if err := d.WriteWheel(io.Discard, time.Now()); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	d := wheelDist(t, dir)
	d.Build = "1a"
	if _, err := d.WheelName(); err == nil {
		t.Error("the build tag is taken")
	}
}

func TestLicenceExpression(t *testing.T) {
	d := Dist{Name: "x", Version: "1", License: "MIT"}
	old, err := d.WheelMetadata()
	if err != nil || !strings.HasPrefix(string(old), "Metadata-Version: 2.1\n") || !strings.Contains(string(old), "\nLicense: MIT\n") {
		t.Errorf("%s %v", old, err)
	}
	d = Dist{Name: "x", Version: "1", LicenseExpression: "MIT AND BSD-3-Clause", LicenseFiles: []string{"a/LICENSE", "b"}}
	now, err := d.WheelMetadata()
	if err != nil || !strings.HasPrefix(string(now), "Metadata-Version: 2.4\n") ||
		!strings.Contains(string(now), "\nLicense-Expression: MIT AND BSD-3-Clause\nLicense-File: a/LICENSE\nLicense-File: b\n") || strings.Contains(string(now), "\nLicense: ") {
		t.Errorf("%s %v", now, err)
	}
}
