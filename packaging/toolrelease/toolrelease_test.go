package toolrelease

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/owned"
	"modwsgi/internal/version"
	"modwsgi/packaging/sign"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// archive packs files into a .tar.gz or .zip.
func archive(t *testing.T, path string, files map[string][]byte) {
	t.Helper()
	var b bytes.Buffer
	if strings.HasSuffix(path, ".zip") {
		z := zip.NewWriter(&b)
		for name, data := range files {
			w, err := z.Create("top/" + name)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(data)
		}
		_ = z.Close()
	} else {
		g, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		w := tar.NewWriter(g)
		for name, data := range files {
			if err := w.WriteHeader(&tar.Header{Name: "top/" + name, Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(data)
		}
		_ = w.Close()
		_ = g.Close()
	}
	write(t, path, b.String())
}

// dist makes a directory of archives whose programs are not real programs.
func dist(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range Platforms {
		files, suffix, ext := map[string][]byte{"README.md": []byte("read me")}, "", ".tar.gz"
		if p.OS == "windows" {
			suffix, ext = ".exe", ".zip"
		}
		for _, name := range p.Programs() {
			files[name+suffix] = []byte(name + " for " + p.String())
		}
		archive(t, filepath.Join(dir, "modwsgi_1.2.3_"+p.OS+"_"+p.Arch+ext), files)
	}
	return dir
}

func TestClassify(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                                                            "Apache-2.0",
		"                                 Apache License\n                           Version 2.0, January 2004\n": "Apache-2.0",
		"Permission is hereby granted, free of\ncharge, to any person":                                            "MIT",
		"Redistributions in binary form must reproduce ... Neither the name of Google":                            "BSD-3-Clause",
		"Redistributions in binary form must reproduce the above":                                                 "BSD-2-Clause",
		"Mozilla Public License, version 2.0":                                                                     "MPL-2.0",
		"this is in the public domain":                                                                            "LicenseRef-public-domain",
		"all rights reserved":                                                                                     "",
	} {
		if got := classify([]string{text}); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	if got := classify([]string{"Permission is hereby granted, free of charge", "Apache License, Version 2.0"}); got != "Apache-2.0 AND MIT" {
		t.Errorf("two texts: %q", got)
	}
}

func TestArchivesNamesMissingOnes(t *testing.T) {
	dir := dist(t)
	found, err := Archives(dir)
	if err != nil || len(found) != 6 || Version(found) != "1.2.3" {
		t.Fatalf("%v %v", found, err)
	}
	archive(t, filepath.Join(dir, "modwsgi_1.2.4_linux_arm64.tar.gz"), nil)
	if _, err := Archives(dir); err == nil || !strings.Contains(err.Error(), "2 archives for linux/arm64") {
		t.Errorf("two of a platform: %v", err)
	}
	if _, err := Archives(t.TempDir()); err == nil || !strings.Contains(err.Error(), "0 archives for linux/amd64") {
		t.Errorf("none: %v", err)
	}
}

func TestInspectRefuses(t *testing.T) {
	exe, err := os.Executable() // a Go program for this machine, but not one of modwsgi's
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"no program":     {map[string][]byte{"modwsgi": nil, "mod_wsgi-express": nil}, "contains the programs"},
		"text":           {map[string][]byte{"modwsgi": []byte("#!/bin/sh"), "mod_wsgi-express": nil, "mod_wsgi-apxs": nil}, ""},
		"another's":      {map[string][]byte{"modwsgi": nil, "mod_wsgi-express": nil, "mod_wsgi-apxs": own}, ""},
		"empty":          {map[string][]byte{"modwsgi": nil, "mod_wsgi-express": nil, "mod_wsgi-apxs": nil}, ""},
		"an .exe beside": {map[string][]byte{"modwsgi": nil, "mod_wsgi-express": nil, "mod_wsgi-apxs": nil, "modwsgi.exe": nil}, "contains the programs"},
	} {
		dir := dist(t)
		archive(t, filepath.Join(dir, "modwsgi_1.2.3_linux_amd64.tar.gz"), c.files)
		var out bytes.Buffer
		if err := Inspect(dir, &out); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "linux_amd64") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestMachineRefusesOtherFormats(t *testing.T) {
	for _, p := range Platforms {
		for _, data := range []string{"", "MZ", "\x7fELF", "\xcf\xfa\xed\xfe", "#!/bin/sh\n"} {
			if what, err := machine([]byte(data), p); err == nil {
				t.Errorf("%q is %s for %s", data, what, p)
			}
		}
	}
}

func TestSums(t *testing.T) {
	dir, from := realDist(t)
	finish := func() error {
		_, err := Finish(t.Context(), dir, from, sign.Keys{}, time.Now)
		return err
	}
	const wheel = "modwsgi-1.2.3-py3-none-win_amd64.whl"
	sumOfWheel := strings.Repeat("0", 64) + "  " + wheel + "\n" // of an earlier run: replaced
	write(t, filepath.Join(dir, SumsName), sumOfWheel)
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	sums, err := sumsIn(t, dir)
	// Archives, the wheel, the package, and the script, which has no bill of materials.
	if want := 3*(len(Platforms)+2) + 2; err != nil || len(sums) != want || sums["metadata.json"] != "" || strings.HasPrefix(sums[wheel], "0000") {
		t.Errorf("%v %v", sums, err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, SumsName))
	archive(t, filepath.Join(dir, "modwsgi_1.2.3_linux_amd64.tar.gz"), map[string][]byte{"evil": nil})
	if err := finish(); err == nil || !strings.Contains(err.Error(), "modwsgi_1.2.3_linux_amd64.tar.gz has changed") {
		t.Errorf("a changed archive: %v", err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, SumsName)); !bytes.Equal(before, after) {
		t.Error("the sums were changed all the same")
	}
}

func TestBootstrap(t *testing.T) {
	dir := dist(t)
	if err := Bootstrap(dir, "../..", "https://example.org/it/"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "bootstrap.sh"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, want := range []string{"\tversion='1.2.3'\n", "\tbase_url='https://example.org/it/'\n", "\nwindows arm64 ", " modwsgi_1.2.3_linux_amd64.tar.gz\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the script lacks %q", want)
		}
	}
	if strings.Contains(text, "is a template") {
		t.Error("the script calls itself the template")
	}
	if info, err := os.Stat(filepath.Join(dir, "bootstrap.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := Bootstrap(dir, "../..", "https://example.org/'; rm -rf /; '"); err == nil {
		t.Error("an address with a quote was taken")
	}
}

func TestWheelsNeedEveryArchive(t *testing.T) {
	dir := dist(t)
	root := t.TempDir()
	for _, name := range []string{"README.md", "LICENSE", NoticesName} {
		write(t, filepath.Join(root, name), name)
	}
	if _, err := Wheels(dir, root, root, "", time.Unix(0, 0)); err == nil || !strings.Contains(err.Error(), "bill of materials") {
		t.Errorf("without a bill of materials: %v", err)
	}
	for _, p := range mustArchives(t, dir) {
		write(t, p+".cdx.json", "{}")
	}
	paths, err := Wheels(dir, root, root, "", time.Unix(0, 0))
	if err != nil || len(paths) != len(Platforms) {
		t.Errorf("%v %v", paths, err)
	}
}

func mustArchives(t *testing.T, dir string) map[Platform]string {
	t.Helper()
	all, err := Archives(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSbomOfTestBinary describes the test's own program.
func TestSbomOfTestBinary(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tarball := filepath.Join(dir, "modwsgi_1_linux_amd64.tar.gz")
	archive(t, tarball, map[string][]byte{"modwsgi": own})
	modules := write(t, filepath.Join(dir, ModulesName), `[{"path":"github.com/CycloneDX/cyclonedx-go","version":"v0.12.0","license":"Apache-2.0"}]`)
	deb := write(t, filepath.Join(dir, "modwsgi_1_amd64.deb"), "deb")
	var serials []string
	for _, artifact := range []string{tarball, tarball, deb} {
		document := filepath.Join(dir, "bom.json")
		if err := Sbom(artifact, document, modules); err != nil {
			t.Fatal(err)
		}
		var bom struct {
			SerialNumber string
			Metadata     struct {
				Timestamp string
				Component struct{ Name string }
			}
			Components []struct{ Name, Purl string }
		}
		data, _ := os.ReadFile(document)
		if err := json.Unmarshal(data, &bom); err != nil {
			t.Fatal(err)
		}
		serials = append(serials, bom.SerialNumber)
		if bom.Metadata.Component.Name != filepath.Base(artifact) || bom.Metadata.Timestamp != "" || !strings.Contains(string(data), `"pkg:golang/stdlib@1.`) {
			t.Errorf("%s", data)
		}
	}
	if serials[0] != serials[1] || serials[0] == serials[2] {
		t.Errorf("serial numbers %q", serials)
	}
	if err := os.Remove(tarball); err != nil {
		t.Fatal(err)
	}
	if err := Sbom(deb, filepath.Join(dir, "none.json"), modules); err == nil {
		t.Error("a package without its archive was described")
	}
	if _, err := os.Stat(filepath.Join(dir, "none.json")); err == nil {
		t.Error("a document was written")
	}
}

// TestOneVersion checks that the version without a tag in the release tool's
// configuration is that of the programs.
func TestOneVersion(t *testing.T) {
	data, err := os.ReadFile("../../.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	number, dev := strings.CutSuffix(version.Release, "-dev")
	if !dev || !strings.Contains(string(data), "}}"+number+"{{ else }}") {
		t.Errorf("internal/version has %s, .goreleaser.yaml another number", version.Release)
	}
}

func sumsIn(t *testing.T, dir string) (map[string]string, error) {
	t.Helper()
	d, err := owned.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return readSums(d)
}
