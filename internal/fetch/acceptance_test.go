//go:build acceptance

package fetch

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"modwsgi/internal/digest"
	"modwsgi/internal/event"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// The tests of this file use the host's real package mirror.

func acceptanceFetcher(t *testing.T, cache string) *Fetcher {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get: not a Debian-like host")
	}
	f, err := New(Options{Env: os.Environ(), CacheDir: cache, Events: func(e event.Event) {
		if e.Kind != event.Progress || e.Text != "" {
			t.Logf("%s %s %s %v", e.Kind, e.Step, e.Text, e.Elapsed)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDebianProvider(t *testing.T) {
	cache := t.TempDir()
	f := acceptanceFetcher(t, cache)
	var wg sync.WaitGroup
	for _, want := range []struct{ component, version, signer string }{
		{"mod_wsgi", "5.0.2", ""},
		{"apr-util", "1.6.4", "65B2D44FE74BD5E3DE3AC3F082781DE46D5954FA"},
		{"apr", "1.7.6", "CBA1525BAA7A47BE28FF23DDD3B13FCA2CE60BED"},
		{"httpd", "2.4.68", "65B2D44FE74BD5E3DE3AC3F082781DE46D5954FA"},
	} {
		wg.Go(func() {
			a, _ := recipe.Catalogue().Find(want.component, want.version)
			file, err := f.Fetch(context.Background(), a)
			if err != nil {
				t.Error(err)
				return
			}
			if file.Signer != want.signer || file.Trust != recipe.Pinned {
				t.Errorf("%s: signer %q, trust %q", a, file.Signer, file.Trust)
			}
			if sum, err := digest.File(file.Path); err != nil || sum != a.SHA256 {
				t.Errorf("%s: %s %v", file.Path, sum, err)
			}
			t.Logf("%s from %s %s", a, file.Provider, file.From)
			again, err := f.Fetch(context.Background(), a)
			if err != nil || again.Provider != Cache || again.Signer != want.signer {
				t.Errorf("second Fetch = %+v, %v", again, err)
			}
		})
	}
	wg.Wait()
}

func TestDebianProviderReportsWhatIsMissing(t *testing.T) {
	f := acceptanceFetcher(t, t.TempDir())
	a, _ := recipe.Catalogue().Find("httpd", "2.4.71")
	file, err := f.Fetch(context.Background(), a)
	if err == nil {
		t.Skipf("%s is available here, from %s", a, file.From)
	}
	var missing *Unavailable
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "debian ") || !strings.Contains(err.Error(), "404") {
		t.Errorf("Fetch = %v", err)
	}
	t.Log(err)
	left, _ := filepath.Glob(filepath.Join(f.opts.CacheDir, "archives", "sha256", "*", "*"))
	if len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
}

// TestResolveWithoutUpstream finds a version that the catalogue lacks, by the signature
// in Debian's source package.
func TestResolveWithoutUpstream(t *testing.T) {
	f := acceptanceFetcher(t, t.TempDir())
	a, trust, err := f.Resolve(context.Background(), "apr", "1.7.2")
	if err != nil {
		t.Skip("this mirror does not carry the version: ", err)
	}
	if trust != recipe.Signed || a.SignedBy == "" {
		t.Errorf("Resolve = %+v, %q", a, trust)
	}
	file, err := f.Fetch(context.Background(), a)
	if err != nil || file.Provider != Cache || file.Trust != recipe.Signed {
		t.Errorf("Fetch = %+v, %v", file, err)
	}
}

// TestDebianProviderAsAnotherUser runs the first test again as nobody.
func TestDebianProviderAsAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: the other tests cover this")
	}
	dir, err := os.MkdirTemp("", "fetch-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "fetch.test")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	var r run.Runner
	out, err := r.Output(context.Background(), run.Cmd{
		Argv: []string{program, "-test.run", "^TestDebianProvider$", "-test.v"}, Dir: dir,
		Env:     append(os.Environ(), "HOME="+dir, "TMPDIR="+dir, "USER=nobody", "UID="+strconv.Itoa(nobody)),
		Account: &run.Account{UID: nobody, GID: nobody},
	})
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestDebianProvider ") {
		t.Errorf("as nobody: %v", err)
	}
}
