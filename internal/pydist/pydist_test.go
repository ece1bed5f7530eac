package pydist_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, body := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(body), 0o644))
	}
}

func read(t testing.TB, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	must(t, err)
	return string(data)
}

// sample is a distribution of two staged files with odd names and a program.
func sample(t *testing.T) (site string, d pydist.Dist) {
	t.Helper()
	prefix := t.TempDir()
	site = filepath.Join(prefix, "lib", "site")
	write(t, site, map[string]string{"pkg/__init__.py": "x = 1\n", "pkg/a, \"b\" ü.txt": "odd"})
	write(t, filepath.Join(prefix, "bin"), map[string]string{"prog": "#!"})
	return site, pydist.Dist{
		Name: "Mod.WSGI--httpd", Version: "v2.4.068-RC1", Summary: "Größe", License: "Apache-2.0", RequiresPython: ">=3.8",
		Requires: []string{"a>=1", `b; python_version < "3.9"`}, Description: "\nLine: one\n\nline two", Tag: "py2.py3-none-linux_x86_64",
		Installer: "modwsgi", Requested: true, TopLevel: []string{"pkg", "mod"},
		Extra:       map[string][]byte{"licenses/LICENSE": []byte("text"), "direct_url.json": []byte("{}")},
		EntryPoints: map[string]map[string]string{"console_scripts": {"b": "pkg:b", "a": "pkg:a"}},
		Files: []pydist.File{
			{Path: "pkg/__init__.py", Source: filepath.Join(site, "pkg/__init__.py")},
			{Path: "pkg/a, \"b\" ü.txt", Source: filepath.Join(site, "pkg/a, \"b\" ü.txt")},
			{Path: "../../bin/prog", Source: filepath.Join(prefix, "bin/prog")},
		},
	}
}

func TestWriteInfo(t *testing.T) {
	site, d := sample(t)
	dir, err := d.WriteInfo(site)
	must(t, err)
	if filepath.Base(dir) != "mod_wsgi_httpd-2.4.68rc1.dist-info" {
		t.Errorf("directory %s", dir)
	}
	for name, want := range map[string]string{
		"METADATA": "Metadata-Version: 2.1\nName: Mod.WSGI--httpd\nVersion: 2.4.68rc1\nSummary: Größe\nLicense: Apache-2.0\n" +
			"Requires-Python: >=3.8\nRequires-Dist: a>=1\nRequires-Dist: b; python_version < \"3.9\"\n" +
			"Description-Content-Type: text/plain\n\n\nLine: one\n\nline two\n",
		"INSTALLER": "modwsgi\n", "REQUESTED": "", "top_level.txt": "mod\npkg\n", "licenses/LICENSE": "text",
		"entry_points.txt": "[console_scripts]\na = pkg:a\nb = pkg:b\n\n", "direct_url.json": "{}",
	} {
		if got := read(t, dir, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	wheel := read(t, dir, "WHEEL")
	for _, want := range []string{"Wheel-Version: 1.0\n", "Root-Is-Purelib: false\n", "Tag: py2-none-linux_x86_64\nTag: py3-none-linux_x86_64\n"} {
		if !strings.Contains(wheel, want) {
			t.Errorf("WHEEL has no %q:\n%s", want, wheel)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(read(t, dir, "RECORD"))).ReadAll()
	must(t, err)
	// python3 -c 'import hashlib,base64; print(base64.urlsafe_b64encode(hashlib.sha256(b"odd").digest()))'
	if row := rows[len(rows)-1]; !slices.Equal(row, []string{"pkg/a, \"b\" ü.txt", "sha256=mQy469CvtxUNpFOiEwNqkvLAXgkd8NgD5i0lfqd5bCc", "3"}) {
		t.Errorf("last row %q", row)
	}
	if len(rows) != 12 || !slices.ContainsFunc(rows, func(r []string) bool {
		return slices.Equal(r, []string{"mod_wsgi_httpd-2.4.68rc1.dist-info/RECORD", "", ""})
	}) {
		t.Errorf("RECORD has %d rows: %q", len(rows), rows)
	}
	if _, err := d.WriteInfo(site); err == nil {
		t.Error("written twice")
	}
}

func TestWriteInfoRefuses(t *testing.T) {
	for what, change := range map[string]func(d *pydist.Dist){
		"name":              func(d *pydist.Dist) { d.Name = "../x" },
		"name with newline": func(d *pydist.Dist) { d.Name = "x\nName: y" },
		"version":           func(d *pydist.Dist) { d.Version = "2.4-x-y" },
		"injected header":   func(d *pydist.Dist) { d.Summary = "a\nName: evil" },
		"requirement":       func(d *pydist.Dist) { d.Requires = []string{"a\r\nb"} },
		"tag":               func(d *pydist.Dist) { d.Tag = "py3-none" },
		"empty tag part":    func(d *pydist.Dist) { d.Tag = "py3.-none-any" },
		"entry point":       func(d *pydist.Dist) { d.EntryPoints["x"] = map[string]string{"a = b": "c:d"} },
		"entry point group": func(d *pydist.Dist) { d.EntryPoints["x]\n[y"] = map[string]string{"a": "c:d"} },
		"extra outside":     func(d *pydist.Dist) { d.Extra["../x"] = nil },
		"extra RECORD":      func(d *pydist.Dist) { d.Extra["RECORD"] = nil },
		"extra METADATA":    func(d *pydist.Dist) { d.Extra["METADATA"] = nil },
		"missing file":      func(d *pydist.Dist) { d.Files[0].Source += "x" },
		"directory":         func(d *pydist.Dist) { d.Files[0].Source = filepath.Dir(d.Files[0].Source) },
		"file twice":        func(d *pydist.Dist) { d.Files = append(d.Files, d.Files[0]) },
		"unclean path":      func(d *pydist.Dist) { d.Files[0].Path = "pkg/./x" },
		"newline in path":   func(d *pydist.Dist) { d.Files[0].Path = "pkg/\nx" },
		"own metadata":      func(d *pydist.Dist) { d.Files[0].Path = "mod_wsgi_httpd-2.4.68rc1.dist-info/x" },
	} {
		t.Run(what, func(t *testing.T) {
			site, d := sample(t)
			change(&d)
			if dir, err := d.WriteInfo(site); err == nil {
				t.Errorf("written to %s", dir)
			}
			left, err := filepath.Glob(filepath.Join(site, "*.dist-info"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestRoundTripAndCheck(t *testing.T) {
	site, d := sample(t)
	_, err := d.WriteInfo(site)
	must(t, err)
	for _, name := range []string{"mod_wsgi.HTTPD", "Mod.WSGI--httpd", "mod-wsgi-httpd"} {
		i, err := pydist.Find(site, name)
		must(t, err)
		if i == nil || i.Name != "Mod.WSGI--httpd" || i.Version != "2.4.68rc1" || i.Installer != "modwsgi" || len(i.Files) != 12 {
			t.Fatalf("%s: %+v", name, i)
		}
		if problems := i.Check(); len(problems) > 0 {
			t.Errorf("%v", problems)
		}
		if paths := i.Paths(); !slices.Contains(paths, filepath.Join(site, "..", "..", "bin", "prog")) || !slices.Contains(paths, i.InfoDir) {
			t.Errorf("paths %q", paths)
		}
	}
	must(t, os.WriteFile(filepath.Join(site, "pkg/__init__.py"), []byte("x = 2\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(site, "../../bin/prog"), []byte("longer"), 0o644))
	must(t, os.Remove(filepath.Join(site, "pkg/a, \"b\" ü.txt")))
	i, err := pydist.Find(site, "mod_wsgi_httpd")
	must(t, err)
	var got []string
	for _, p := range i.Check() {
		got = append(got, filepath.Base(p.Path)+" "+p.What)
	}
	want := []string{
		"prog was changed: its size differs from what was installed", "__init__.py was changed: its content differs from what was installed",
		"a, \"b\" ü.txt is missing",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestFileReplacedByAnotherDistribution: a file that another distribution has replaced, which is accepted only if
// it matches that distribution's RECORD.
func TestFileReplacedByAnotherDistribution(t *testing.T) {
	site, d := sample(t)
	_, err := d.WriteInfo(site)
	must(t, err)
	name := filepath.Join(site, "pkg/__init__.py")
	text := []byte("theirs = 1\n")
	must(t, os.WriteFile(name, text, 0o644))
	info := filepath.Join(site, "other-1.0.dist-info")
	must(t, os.Mkdir(info, 0o755))
	must(t, os.WriteFile(filepath.Join(info, "METADATA"), []byte("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n"), 0o644))
	sum := sha256.Sum256(text)
	for record, good := range map[string]bool{
		"pkg/__init__.py,sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]) + ",11\n":    true,
		"pkg/__init__.py,sha256=" + base64.RawURLEncoding.EncodeToString(sum[1:]) + "AA,11\n": false,
		"pkg/__init__.py,,\n": false,
	} {
		must(t, os.WriteFile(filepath.Join(info, "RECORD"), []byte(record), 0o644))
		i, err := pydist.Find(site, "mod_wsgi_httpd")
		must(t, err)
		if problems := i.Check(); (len(problems) == 0) != good {
			t.Errorf("%q: %v", record, problems)
		}
	}
}

func TestParseRecord(t *testing.T) {
	got, err := pydist.ParseRecord([]byte("a.py,sha256=x,3\r\n\"b,\"\"c\"\".py\",,\r\n\r\nd\"e.py,,\nf.py\n/opt/bin/g,md5=y,0\nü.txt,sha256=z=,12\n"))
	must(t, err)
	want := []pydist.RecordEntry{
		{"a.py", "sha256=x", 3}, {`b,"c".py`, "", -1}, {`d"e.py`, "", -1}, {"f.py", "", -1}, {"/opt/bin/g", "md5=y", 0}, {"ü.txt", "sha256=z=", 12},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{",sha256=x,3\n", "a,sha256=x,-3\n", "a,,many\n", "a\x00b,,\n"} {
		if got, err := pydist.ParseRecord([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestFindAndAllInOddPlaces(t *testing.T) {
	site := t.TempDir()
	write(t, site, map[string]string{
		"good-1.0.dist-info/METADATA":      "Metadata-Version: 2.1\r\nName: Good\r\nVersion: 1.0\r\n\r\nName: not a header\n",
		"~ood-0.9.dist-info/METADATA":      "Name: Good\nVersion: 0.9\n",
		"bare-2.0.dist-info/INSTALLER":     "pip\n",
		"legacy-3.0-py3.11.egg-info":       "Name: legacy\n",
		"developed.egg-link":               "/src\n",
		"zipped-1-py3.8.egg":               "PK",
		"twice-1.dist-info/METADATA":       "Name: twice\nVersion: 1\n",
		"twice-2.dist-info/METADATA":       "Name: Twice\nVersion: 2\n",
		"renamed_dir-7.dist-info/METADATA": "Name: other-name\nVersion: 7\n",
		"broken-1.dist-info/RECORD":        "a,,many\n",
		"file-1.dist-info":                 "not a directory",
		"good/__init__.py":                 "",
	})
	i, err := pydist.Find(site, "good")
	must(t, err)
	if i == nil || i.Name != "Good" || i.Version != "1.0" || i.Files != nil {
		t.Errorf("good: %+v", i)
	}
	if i, err = pydist.Find(site, "bare"); err != nil || i == nil || i.Version != "2.0" || i.Installer != "pip" {
		t.Errorf("bare: %+v, %v", i, err)
	} else if len(i.Check()) != 2 {
		t.Errorf("bare: %v", i.Check())
	}
	if i, err = pydist.Find(site, "other_name"); err != nil || i == nil {
		t.Errorf("by the name in its metadata: %+v, %v", i, err)
	}
	for _, name := range []string{"renamed-dir", "nothing", "file"} {
		if i, err := pydist.Find(site, name); i != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	for _, name := range []string{"legacy", "Developed", "zipped", "twice", "broken"} {
		if _, err := pydist.Find(site, name); fault.ClassOf(err) != fault.Environment || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := pydist.All(site)
	must(t, err)
	if len(all) != 6 {
		t.Errorf("all: %d", len(all))
	}
	for _, i := range all {
		if i.Name == "broken" && (i.Broken == nil || len(i.Check()) != 2) {
			t.Errorf("broken: %v, %v", i.Broken, i.Check())
		}
	}
	if _, err := pydist.All(filepath.Join(site, "none")); err == nil {
		t.Error("a missing directory has distributions")
	}
}

func TestCheckKnowsOtherHashes(t *testing.T) {
	site := t.TempDir()
	write(t, site, map[string]string{
		"a": "x", "b": "x", "c": "x", "d": "x",
		"x-1.dist-info/METADATA": "Name: x\nVersion: 1\n",
		// sha384 and sha512 of "x", the latter padded as some tools do.
		"x-1.dist-info/RECORD": "a,sha384=" + sha384x + ",1\nb,sha512=" + sha512x + "==,1\nc,md5=nSvGr5m9FTsJZ_-Y6UJg6w,1\nd,sha384=" + sha384x[1:] + ",1\n" +
			"__pycache__/a.cpython-311.pyc,,\nx-1.dist-info/RECORD,,\n",
	})
	i, err := pydist.Find(site, "x")
	must(t, err)
	var got []string
	for _, p := range i.Check() {
		got = append(got, filepath.Base(p.Path)+" "+p.What)
	}
	if want := []string{"c has a hash of an unknown kind: md5", "d was changed: its content differs from what was installed"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{"mod_wsgi": "mod-wsgi", "A.-_B": "a-b", "x": "x", "Foo.Bar_baz": "foo-bar-baz"} {
		if got := pydist.NormalName(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestVersions(t *testing.T) {
	for in, want := range map[string]string{
		"5.0.2": "5.0.2", "2.4.068": "2.4.68", "v1.0": "1.0", "1.0-RC.1": "1.0rc1", "1.0alpha": "1.0a0", "1.0_beta2": "1.0b2",
		"1.0c1": "1.0rc1", "1.0-pre": "1.0rc0", "1-1": "1.post1", "1.post": "1.post0", "1.0-r4": "1.0.post4", "1.0.rev3": "1.0.post3",
		"1dev": "1.dev0", "1.0a1.post2.dev3": "1.0a1.post2.dev3", "2!1.0": "2!1.0", "0!1": "1", "1+Ubuntu-1_007": "1+ubuntu.1.7",
		" 1.0\n": "1.0", "1.0.0": "1.0.0", "00": "0",
	} {
		if got, err := pydist.NormalVersion(in); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "1.", ".1", "1..2", "1.0-x", "1+", "1+a..b", "1 0", "1.0/../..", "1!", "-1", "1.0+a/b"} {
		if got, err := pydist.NormalVersion(bad); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("a.py,sha256=x,3\n\"b,\"\"c\",,\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := pydist.ParseRecord(data)
		for _, e := range entries {
			if err != nil || e.Path == "" || e.Size < -1 {
				t.Errorf("%+v, %v", e, err)
			}
		}
	})
}

const (
	sha384x = "11LCxR-6DimqGQVwqdQlPkQHegWNMpf6OlYw1b0BJiL5fCisrtMTtcg7uZDKp9qF"
	sha512x = "pKvURIxJVi2CgRXROh_M6pJ_UrTVRZKX-LQ-QtqJI4vBNibkPcs43bCCSIkn7JBPtCBXRDmD6IWFF51QVRr-Yg"
)
