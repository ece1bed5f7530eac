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
		{"manylinux_2_28_" + ownMachine(), "3.9", "-cp39-cp39-manylinux_"},
		{"manylinux_2_39_" + ownMachine(), "3.11", "-cp311-cp311-manylinux_"},
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
