//go:build acceptance

package acceptance

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/catalogue/publish"
	"modwsgi/internal/recipe"
)

// catalogueWorld is a repository of catalogues on a server, with httpd 2.4.72 and an
// advisory about 2.4.71, and a user of it.
type catalogueWorld struct {
	dir, root string
	repo      *publish.Repository
	keys      *publish.Keys
	server    *httptest.Server
	env       []string
}

func newCatalogueWorld(t *testing.T) *catalogueWorld {
	t.Helper()
	w := &catalogueWorld{dir: workdir(t, "catalogue")}
	ok(t, publish.NewKeys(filepath.Join(w.dir, "keys")))
	var err error
	w.keys, err = publish.ReadKeys(filepath.Join(w.dir, "keys"))
	ok(t, err)
	w.repo = &publish.Repository{Dir: filepath.Join(w.dir, "repository"), Lives: publish.Default, Now: time.Now}
	w.root, err = w.repo.Init(w.keys, 1)
	ok(t, err)
	d, err := recipe.ParseDocument(recipe.EmbeddedDocument().Encode())
	ok(t, err)
	d.Date = d.Date.Add(time.Hour)
	a := d.Archives[0]
	a.Version, a.File, a.SHA256, a.Size = "2.4.72", "httpd-2.4.72.tar.gz", strings.Repeat("72", 32), 0
	d.Archives = append(d.Archives, a)
	r, err := recipe.ParseOSV([]byte(`{"schema_version": "1.7.3", "id": "CVE-2026-77777", "modified": "2026-12-01T00:00:00Z", "summary": "a hole",
 "affected": [{"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "2.4.72"}]}], "database_specific": {"component": "httpd"}}]}`))
	ok(t, err)
	d.Advisories = append(d.Advisories, r)
	ok(t, w.repo.Publish(w.keys, d))
	w.server = httptest.NewServer(http.FileServer(http.Dir(w.repo.Dir)))
	t.Cleanup(w.server.Close)
	home := filepath.Join(w.dir, "home")
	ok(t, os.Mkdir(home, 0o700))
	w.env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "LANG=C.UTF-8"}
	return w
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestCatalogue updates from a real repository with the real program. Afterwards an
// install chooses the new version, because of the new advisory.
func TestCatalogue(t *testing.T) {
	w := newCatalogueWorld(t)
	modwsgi := program(t, "modwsgi")
	if r := command(t, w.dir, w.env, modwsgi, "catalogue", "update", "--from", w.server.URL); r.code != 2 || !strings.Contains(r.stderr, "no root of trust") {
		t.Fatal(r)
	}
	must(t, w.dir, w.env, modwsgi, "catalogue", "update", "--from", w.server.URL, "--root", w.root)
	must(t, w.dir, w.env, modwsgi, "catalogue", "update")
	python := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(w.dir, "env"), "--without-pip")
	r := must(t, w.dir, w.env, modwsgi, "install", "--httpd", "bundled", "--python", python, "--dry-run")
	if !strings.Contains(r.stdout, "httpd: build 2.4.72") || !strings.Contains(r.stdout, "refused, CVE-2026-77777") {
		t.Error(r)
	}
	// An old copy of the repository is refused, and what is known stays.
	old, err := os.ReadFile(filepath.Join(w.repo.Dir, "timestamp.json"))
	ok(t, err)
	ok(t, w.repo.Renew(w.keys))
	must(t, w.dir, w.env, modwsgi, "catalogue", "update")
	ok(t, os.WriteFile(filepath.Join(w.repo.Dir, "timestamp.json"), old, 0o644))
	if r := command(t, w.dir, w.env, modwsgi, "catalogue", "update"); r.code != 4 || !strings.Contains(r.stderr, "older metadata") {
		t.Error(r)
	}
	w.server.Close()
	if r := command(t, w.dir, w.env, modwsgi, "catalogue", "update"); r.code != 4 {
		t.Error(r)
	}
	if r := must(t, w.dir, w.env, modwsgi, "version"); !strings.Contains(r.stdout, "httpd: 2.4.72, ") {
		t.Error(r)
	}
}

// TestCatalogueOfAnotherUser: each user has a catalogue, and root does not believe one
// that another user can write.
func TestCatalogueOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can act as another user")
	}
	w := newCatalogueWorld(t)
	modwsgi := program(t, "modwsgi")
	home := filepath.Join(w.dir, "alice")
	ok(t, os.Mkdir(home, 0o755))
	ok(t, os.Lchown(home, stranger, stranger))
	run := func(args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), modwsgi, args...)
		c.Dir, c.Env = "/", []string{"PATH=/usr/bin:/bin", "HOME=" + home}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := run("catalogue", "update", "--from", w.server.URL, "--root", w.root); err != nil {
		t.Skipf("the program or the root is not readable for others: %s", out)
	}
	if out, err := run("version"); err != nil || !strings.Contains(out, "2.4.72") {
		t.Error(out, err)
	}
	if out, err := run("catalogue", "update", "--system"); err == nil {
		t.Error("another user wrote the catalogue of every user: ", out)
	}
	theirs := append(w.env, "MODWSGI_CATALOGUE_DIR="+filepath.Join(home, ".cache/modwsgi/catalogue"))
	if r := must(t, w.dir, theirs, modwsgi, "catalogue", "show"); strings.Contains(r.stdout, "2.4.72") || !strings.Contains(r.stderr, "is not trusted") {
		t.Error(r)
	}
	if r := command(t, w.dir, theirs, modwsgi, "catalogue", "update", "--from", w.server.URL, "--root", w.root); r.code != 3 {
		t.Error(r)
	}
}
