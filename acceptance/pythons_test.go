//go:build acceptance && linux

package acceptance

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/elf"
	"modwsgi/internal/testkit"
)

// These tests serve with Pythons that no release of Debian has as its own: for another C
// library, without a global interpreter lock, and newer ones than its default.

// fixturePython is the prefix of a Python that scripts/python-fixture builds.
func fixturePython(t *testing.T, kind string) string {
	t.Helper()
	prefix := filepath.Join(setting(t, "MODWSGI_TEST_PYTHONS"), "python-"+kind)
	if _, err := os.Stat(filepath.Join(prefix, "fixture")); err != nil {
		t.Skipf("NOT TESTED: Python for %s: %v (scripts/python-fixture)", kind, err)
	}
	return prefix
}

// TestMusl makes wheels for musl with the SDK of a Python that was built with it, which
// proves them, and serves from an environment of that Python.
func TestMusl(t *testing.T) {
	testkit.Turn(t, "targets")
	t.Parallel()
	prefix := fixturePython(t, "musl")
	needTools(t, "unzip")
	dir := workdir(t, "musl")
	platform := "linux/" + runtime.GOARCH + "/musl1.2"
	r := pack(t, dir, bareEnv(), "wheel", "--target", platform, "--python", "3.13", "--python-sdk", prefix, "--without", "tls", "--lock-file", "modwsgi.lock")
	if r.code != 0 {
		t.Fatal(r)
	}
	machine := ownMachine()
	x := readIndex(t, filepath.Join(dir, "dist"))
	if len(x.Artifacts) != 2 {
		t.Fatalf("got %+v", x)
	}
	env := filepath.Join(dir, "env")
	must(t, dir, bareEnv(), filepath.Join(prefix, "bin/python3.13"), "-m", "venv", "--without-pip", env)
	for _, a := range x.Artifacts {
		if a.Target != platform || a.Unproven != "" || !strings.HasSuffix(a.Name, "-musllinux_1_2_"+machine+".whl") {
			t.Errorf("got %+v", a)
		}
		placeWheel(t, filepath.Join(dir, "dist", a.Name), env)
	}
	checkAuditwheel(t, filepath.Join(dir, "dist"))
	count := 0
	for _, name := range tree(t, env) {
		facts, err := elf.Read(name)
		if err != nil || len(facts.Needed) == 0 {
			continue
		}
		count++
		if slices.Contains(facts.Needed, "libc.so.6") || slices.Contains(facts.Needed, "libc.so") || !slices.Contains(facts.Needed, "libc.musl-"+machine+".so.1") {
			t.Errorf("%s needs %q", name, facts.Needed)
		}
	}
	if count < 20 {
		t.Errorf("only %d binaries in %s", count, env)
	}
	if a := serve(t, env); a.SOABI != "cpython-313-"+machine+"-linux-musl" || a.Prefix != env {
		t.Errorf("got %+v", a)
	}
}

// placeWheel places a wheel as an installer does. The Python for musl has no zlib here, so
// pip cannot.
func placeWheel(t *testing.T, wheel, env string) {
	t.Helper()
	site := filepath.Join(env, "lib/python3.13/site-packages")
	must(t, site, os.Environ(), "unzip", "-q", "-o", wheel)
	scripts, _ := filepath.Glob(filepath.Join(site, "*.data/scripts/*"))
	for _, script := range scripts {
		if err := os.Rename(script, filepath.Join(env, "bin", filepath.Base(script))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFreeThreaded installs into an environment of a Python without a global lock, and
// serves with and without one.
func TestFreeThreaded(t *testing.T) {
	testkit.Turn(t, "targets")
	t.Parallel()
	prefix := fixturePython(t, "freethreaded")
	if missing := os.Getenv("MODWSGI_TEST_MISSING"); strings.Contains(missing, "6.0.5") {
		t.Skipf("NOT TESTED: no other mod_wsgi is for such a Python, and the archive of %s is unavailable", missing)
	}
	dir := workdir(t, "free")
	env := filepath.Join(dir, "env")
	must(t, dir, bareEnv(), filepath.Join(prefix, "bin/python3.13t"), "-m", "venv", "--without-pip", env)
	r := install(t, dir, "--python", env, "--source-dir", setting(t, "MODWSGI_TEST_SOURCES"), "--mod-wsgi-version", "~> 6.0")
	if r.code != 0 {
		t.Fatal(r)
	}
	for _, free := range []bool{false, true} {
		var args []string
		if free {
			args = []string{"--free-threading"}
		}
		if a := serve(t, env, args...); a.Locked == free || !strings.HasPrefix(a.SOABI, "cpython-313t-") {
			t.Errorf("%q: got %+v", args, a)
		}
	}
}
