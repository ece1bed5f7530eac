//go:build acceptance

package acceptance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// goEnv is the environment for building, including the go command's settings.
func goEnv(more ...string) []string {
	env := append(os.Environ(), "GOFLAGS=-buildvcs=false")
	return append(env, more...)
}

// clone makes a separate repository from the files of this one, committed or not, at a
// fixed time.
func clone(t *testing.T, dir string) string {
	t.Helper()
	root := strings.TrimSpace(must(t, ".", os.Environ(), "git", "rev-parse", "--show-toplevel").stdout)
	must(t, root, goEnv("GIT_AUTHOR_DATE=1790000000 +0000", "GIT_COMMITTER_DATE=1790000000 +0000"), "sh", "-euc", `
mkdir -p "$1"
git ls-files -co --exclude-standard | while read -r f; do [ ! -f "$f" ] || printf '%s\0' "$f"; done >"$1/.list"
tar --null -T "$1/.list" -cf - | tar -xf - -C "$1"
rm "$1/.list"
cd "$1"
git init -q
git add -A
git -c user.name=test -c user.email=test@example.org -c commit.gpgsign=false commit -q -m release
`, "sh", dir)
	return dir
}

// distribution is "make dist" in a fresh clone, once for all tests: its directory and
// its output. It takes minutes if the release tool has to be compiled first.
var distribution = struct {
	sync.Once
	dir  string
	said string
	err  error
}{}

// released returns the output directory of make dist, and its output.
func released(t *testing.T) (dist, said string) {
	t.Helper()
	setting(t, "MODWSGI_TEST_BIN")
	if ready := os.Getenv("MODWSGI_TEST_DIST"); ready != "" { // for work on these tests
		return ready, ""
	}
	d := &distribution
	d.Do(func() {
		began := time.Now()
		if d.dir, d.err = os.MkdirTemp("/var/tmp", "modwsgi-acceptance-dist-"); d.err != nil {
			return
		}
		clone(t, filepath.Join(d.dir, "clone"))
		r := command(t, filepath.Join(d.dir, "clone"), goEnv(), "make", "dist")
		if d.said = r.stdout; r.code != 0 {
			d.err = errors.New(r.String())
		}
		t.Logf("make dist took %v", time.Since(began))
	})
	if d.err != nil {
		t.Fatal(d.err)
	}
	return filepath.Join(d.dir, "clone/dist"), d.said
}

// TestMain removes what the tests share.
func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range []string{distribution.dir, sourceDistribution.dir} {
		if dir != "" {
			_ = os.RemoveAll(dir)
		}
	}
	removeTemplates()
	os.Exit(code)
}

func TestDistIsReproducible(t *testing.T) {
	dist, said := released(t)
	if said == "" {
		t.Skip("MODWSGI_TEST_DIST is set: nothing was made")
	}
	t.Log("\n" + said)
	for _, want := range []string{" checked, ", "ok: 12 programs", "ok: pip installs the wheel", "ok: bootstrap.sh works with bash"} {
		if !strings.Contains(said, want) {
			t.Errorf("make dist does not say %q", want)
		}
	}
	must(t, filepath.Dir(dist), goEnv(), "make", "check-release")

	// At another path, later, with another umask and time zone, it is the same.
	other := filepath.Join(workdir(t, "another place"), "of it")
	must(t, "/", os.Environ(), "git", "clone", "-q", filepath.Dir(dist), other)
	must(t, other, goEnv("TZ=Asia/Tokyo", "LC_ALL=C"), "sh", "-c", "umask 077; make dist-files")
	one, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(filepath.Join(other, "dist/SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if string(one) != string(two) {
		t.Errorf("made twice, not the same:\n%s\n%s", one, two)
		for _, d := range []string{dist, filepath.Join(other, "dist")} { // find the files inside that differ
			t.Log(command(t, d, os.Environ(), "python3", "-c", inside))
		}
	}

	// Later damage is detected.
	for name, script := range map[string]string{
		"an archive": `echo x >>modwsgi_*_linux_amd64.tar.gz`,
		"no sum":     `sed -i /bootstrap/d SHA256SUMS`,
		"a file":     `rm modwsgi_*_windows_arm64.zip`,
	} {
		must(t, other, os.Environ(), "sh", "-euc", "rm -rf damaged; cp -r dist damaged; cd damaged; "+script)
		if r := command(t, other, goEnv(), "scripts/check-dist", "damaged"); r.code == 0 {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// inside lists the contents of each archive, with checksums.
const inside = `
import glob, hashlib, tarfile, zipfile
for name in sorted(glob.glob("*.zip") + glob.glob("*.whl")):
    for e in zipfile.ZipFile(name).infolist():
        print(name, e.filename, "%08x" % e.CRC, oct(e.external_attr), e.date_time, e.extra.hex())
for name in sorted(glob.glob("*.tar.gz")):
    with tarfile.open(name) as tar:
        for e in tar:
            print(name, e.name, hashlib.sha256(tar.extractfile(e).read()).hexdigest()[:16], oct(e.mode), e.mtime)
`

// TestTaggedRelease: the version is the tag's, and a tree that differs from the commit
// is refused.
func TestTaggedRelease(t *testing.T) {
	released(t) // the release tool is compiled
	dir := clone(t, workdir(t, "clone"))
	must(t, dir, goEnv(), "sh", "-c", "git tag v0.9.1 && git remote add origin /an/odd/one")
	build := []string{"go", "tool", "-modfile=tools/go.mod", "goreleaser", "build", "--clean", "--single-target"}
	must(t, dir, goEnv(), build...)
	r := must(t, dir, goEnv(), "sh", "-c", "dist/modwsgi_*/bin/modwsgi --version; dist/mod_wsgi-express_*/libexec/modwsgi/mod_wsgi-express --version; dist/mod_wsgi-apxs_*/libexec/modwsgi/mod_wsgi-apxs --version")
	for _, want := range []string{"modwsgi 0.9.1 (", "mod_wsgi-express 0.9.1 (", "mod_wsgi-apxs 0.9.1 ("} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q in %v", want, r)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := command(t, dir, goEnv(), build...); r.code == 0 || !strings.Contains(r.stdout+r.stderr, "dirty") {
		t.Errorf("a changed tree: %v", r)
	}
}
