//go:build acceptance && linux

package acceptance

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/testkit"
)

// TestEverySystem makes the wheels of a release with one command: for glibc 2.28 on two
// CPUs, for musl, and for Windows. pip then takes the right one for each system.
func TestEverySystem(t *testing.T) {
	testkit.Turn(t, "targets")
	arch, machine := farArch(t)
	needTools(t, "x86_64-w64-mingw32-gcc", "qemu-"+machine)
	musl := fixturePython(t, "musl")
	dir := workdir(t, "every")
	farPrograms(t, dir, arch)
	must(t, "..", append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0"), "go", "build", "-trimpath", "-o", filepath.Join(dir, "programs"), "./cmd/mod_wsgi-express")
	own, far, small := "linux/"+runtime.GOARCH+"/glibc2.28", "linux/"+arch+"/glibc2.28", "linux/"+runtime.GOARCH+"/musl1.2"
	writeFile(t, filepath.Join(dir, "release.toml"), `schema = 1
pythons = ["3.9", "3.11", "3.13"]
formats = ["wheel"]
platforms = ["`+own+`", "`+far+`", "`+small+`", "windows/amd64"]

[[python]]
version = "3.13"
platform = "`+small+`"
sdk = `+quote(musl)+`

[[target]]
platform = "`+far+`"
programs = "programs"

[windows]
launcher = "programs/mod_wsgi-express.exe"

[[exclude]] # no SDK
python = "3.9"
platform = "`+small+`"
[[exclude]]
python = "3.11"
platform = "`+small+`"
[[exclude]] # its headers are not pinned
python = "3.9"
platform = "windows/amd64"
`, 0o644)
	r := pack(t, dir, bareEnv(), "--matrix", "release.toml", "--lock-file", "modwsgi.lock")
	if r.code != 0 {
		t.Fatal(r)
	}
	dist := filepath.Join(dir, "dist")
	count := map[string]int{}
	for _, a := range readIndex(t, dist).Artifacts {
		platform := a.Target
		if strings.HasSuffix(a.Name, "-win_amd64.whl") {
			platform = "windows/amd64"
		}
		count[platform]++
		if (a.Unproven != "") != (platform == "windows/amd64") {
			t.Errorf("%s: unproven %q", a.Name, a.Unproven)
		}
	}
	if count[own] != 4 || count[far] != 4 || count[small] != 2 || count["windows/amd64"] != 2 || len(count) != 4 {
		t.Errorf("artifacts: %v", count)
	}
	if !strings.Contains(r.stdout, "unproven, windows/amd64: ") {
		t.Errorf("the summary does not say what is unproven: %v", r)
	}
	checkAuditwheel(t, dist)
	server := httptest.NewServer(http.FileServer(http.Dir(dist)))
	defer server.Close()
	for _, c := range []struct{ tag, python, want string }{
		{"manylinux_2_28_" + ownMachine(), "3.9", "-cp39-cp39-manylinux"},
		{"manylinux_2_39_" + ownMachine(), "3.11", "-cp311-cp311-manylinux"},
		{"manylinux_2_28_" + machine, "3.13", "_" + machine + ".whl"},
		{"musllinux_1_2_" + ownMachine(), "3.13", "-musllinux_1_2_" + ownMachine() + ".whl"},
		{"win_amd64", "3.13", "-win_amd64.whl"},
		{"manylinux_2_17_" + ownMachine(), "3.12", ""},
		{"musllinux_1_2_" + ownMachine(), "3.11", ""},
	} {
		to := filepath.Join(dir, "for "+c.tag+" "+c.python)
		argv := []string{
			filepath.Join(setting(t, "MODWSGI_TEST_ENV"), "bin/python"), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
			"--only-binary", ":all:", "--index-url", server.URL + "/simple/", "--dest", to, "--implementation", "cp", "--python-version", c.python, "mod_wsgi",
		}
		for _, tag := range compatible(c.tag) {
			argv = append(argv, "--platform", tag)
		}
		got := command(t, dir, bareEnv(), argv...)
		found, _ := filepath.Glob(filepath.Join(to, "mod_wsgi-*.whl"))
		libraries, _ := filepath.Glob(filepath.Join(to, "mod_wsgi_httpd-*.whl"))
		switch {
		case c.want == "":
			if got.code == 0 {
				t.Errorf("pip found %q for %s, Python %s", found, c.tag, c.python)
			}
		case got.code != 0 || len(found) != 1 || !strings.Contains(found[0], c.want):
			t.Errorf("pip takes %q for %s, Python %s: %v", found, c.tag, c.python, got)
		case c.tag != "win_amd64" && len(libraries) != 1:
			t.Errorf("httpd for %s: %q", c.tag, libraries)
		}
	}
}

// compatible are the platform tags that an interpreter of a system accepts: glibc's are
// those of every older version, too.
func compatible(tag string) []string {
	rest, ok := strings.CutPrefix(tag, "manylinux_2_")
	if !ok {
		return []string{tag}
	}
	minor, machine, _ := strings.Cut(rest, "_")
	var tags []string
	for age := 39; age >= 5; age-- {
		if one := "manylinux_2_" + strconv.Itoa(age) + "_" + machine; len(tags) > 0 || strconv.Itoa(age) == minor {
			tags = append(tags, one)
		}
	}
	return append(tags, "manylinux2014_"+machine)
}

// TestWheelsOfEveryPython makes wheels of every Python that mod_wsgi supports for glibc 2.28, with
// one command. Pythons that no release of Debian has come from trees of this machine, which
// has a newer glibc: what is made with them is tried with that one, which the provenance records.
func TestWheelsOfEveryPython(t *testing.T) {
	testkit.Turn(t, "targets")
	dir := workdir(t, "pythons")
	platform := "linux/" + runtime.GOARCH + "/glibc2.28"
	args := []string{"wheel", "--target", platform, "--lock-file", "modwsgi.lock"}
	tags := map[string]bool{} // whether it is from a tree of this machine
	add := func(version, sdk string) {
		args = append(args, "--python", version)
		tag := "cp" + strings.ReplaceAll(version, ".", "")
		if tags[tag] = sdk != ""; sdk != "" {
			args = append(args, "--python-sdk", version+"="+sdk)
		}
	}
	for _, version := range []string{"3.9", "3.11", "3.13", "3.14", "3.15"} {
		add(version, "")
	}
	for _, version := range []string{"3.8", "3.10", "3.12"} {
		if found, _ := filepath.Glob("/root/.pyenv/versions/" + version + ".*"); len(found) > 0 {
			add(version, found[0])
		} else {
			t.Logf("NOT TESTED: no Python %s", version)
		}
	}
	wanted := len(tags)
	r := pack(t, dir, bareEnv(), args...)
	if r.code != 0 {
		t.Fatal(r)
	}
	if missing := os.Getenv("MODWSGI_TEST_MISSING"); !strings.Contains(missing, "6.0.5") {
		free := fixturePython(t, "freethreaded")
		// httpd is the same for every Python, to the byte: otherwise it would be refused.
		r := pack(t, dir, bareEnv(), "wheel", "--target", platform, "--lock-file", "free.lock", "--python", "3.13t", "--python-sdk", free, "--mod-wsgi-version", "6.0.5", "--source-dir", setting(t, "MODWSGI_TEST_SOURCES"))
		if r.code != 0 {
			t.Fatal(r)
		}
		tags["cp313t"] = true
		wanted++
	}
	dist := filepath.Join(dir, "dist")
	for _, a := range readIndex(t, dist).Artifacts {
		if a.Unproven != "" {
			t.Errorf("%s is unproven: %s", a.Name, a.Unproven)
		}
		if strings.HasPrefix(a.Name, "mod_wsgi_httpd-") {
			continue
		}
		wanted--
		text, err := os.ReadFile(filepath.Join(dist, a.Name+".intoto.json"))
		if err != nil {
			t.Error(err)
		}
		tree, known := tags[strings.Split(a.Name, "-")[3]]
		if !known || strings.Contains(string(text), "under this machine's loader and C library") != tree || !strings.Contains(string(text), "answered a request") {
			t.Errorf("%s: how it was tried is not recorded: %s", a.Name, text)
		}
	}
	if wanted != 0 {
		t.Errorf("%d wheels are missing", wanted)
	}
	checkAge(t, dist, ownMachine(), "2.28")
	checkAuditwheel(t, dist)
}
