package fetch

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/recipe"
)

func TestMirrorsOfTheHost(t *testing.T) {
	got := debianMirrors(parseDeb822(`Types: deb
URIs: http://one.example/debian/ https://two.example/debian cdrom:[Debian]/
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/a.gpg

Types: deb
URIs: http://one.example/debian/ mirror+file:/etc/mirrors
Suites: bookworm-updates
Components: main

Types: deb
URIs: https://snapshot.example/debian
Suites: bookworm
Components: main
Check-Valid-Until: no
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
`))
	if len(got) != 3 || got[0].Base != "http://one.example/debian/" || got[1].Base != "https://two.example/debian" || got[2].Base != "https://snapshot.example/debian" {
		t.Fatalf("%+v", got)
	}
	if !slices.Equal(got[0].Keys, []string{"/usr/share/keyrings/a.gpg"}) || got[0].AnyAge || !got[2].AnyAge || len(got[2].Keys) != 1 || !strings.Contains(got[2].Keys[0], "abc") {
		t.Errorf("%+v", got)
	}
	f, err := New(Options{CacheDir: t.TempDir(), Env: []string{"PATH=" + t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.HostMirrors(t.Context()); len(got) != 1 || got[0].Base != DebianArchive {
		t.Errorf("without apt: %+v", got)
	}
}

// A text is asked for once a day. A copy that no longer passes is asked for again, and one
// that does not pass is never kept.
func TestText(t *testing.T) {
	var asked atomic.Int32
	answer := "good"
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if strings.HasSuffix(r.URL.Path, "/absent") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(answer))
	})
	f := newFetcher(t, s, Options{Retries: -1})
	bad := errors.New("it is bad")
	var refuse string
	check := func(data []byte) error {
		if string(data) == refuse {
			return bad
		}
		return nil
	}
	text := func(want string, times int32) {
		t.Helper()
		asked.Store(0)
		got, err := f.Text(t.Context(), s.URL+"/InRelease", false, check)
		if want == "" && !errors.Is(err, bad) || want != "" && (err != nil || string(got) != want) || asked.Load() != times {
			t.Errorf("%q, %v, asked %d times", got, err, asked.Load())
		}
	}
	text("good", 1)
	answer = "newer"
	text("good", 0)
	if got, err := f.Text(t.Context(), s.URL+"/InRelease", true, check); err != nil || string(got) != "newer" {
		t.Errorf("fresh: %q, %v", got, err)
	}
	answer = "good"
	if _, err := f.Text(t.Context(), s.URL+"/InRelease", true, check); err != nil {
		t.Error(err)
	}
	answer = "newer"
	refuse = "good" // it has expired
	text("newer", 1)
	refuse = "newer"
	answer = "newer"
	text("", 1)
	f.opts.Offline = true
	if _, err := f.Text(t.Context(), s.URL+"/InRelease", false, check); !errors.Is(err, errOffline) {
		t.Errorf("offline, with a copy that does not pass: %v", err)
	}
	refuse = ""
	text("newer", 0)
	f.opts.Offline = false
	if _, err := f.Text(t.Context(), s.URL+"/absent", false, check); !IsNotFound(err) {
		t.Errorf("absent: %v", err)
	}
	if _, err := f.Text(t.Context(), "dists/stable/InRelease", false, check); err == nil {
		t.Error("accepted something that is not an address")
	}
}

// Files of a signed index come from any server: their hash decides.
func TestFetchIndexed(t *testing.T) {
	data := []byte("a package")
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/by-hash/") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	})
	f := newFetcher(t, s, Options{Retries: -1, Total: 30 * time.Second})
	f.opts.NoDebian = false // source packages are not searched all the same
	sum, err := digest.Of(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	a := recipe.Archive{Component: "package", Version: "1", File: "p_1.deb", Size: int64(len(data)), SHA256: sum, URLs: []string{s.URL + "/by-hash/x", s.URL + "/p.deb"}}
	file, err := f.FetchIndexed(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file.Path); err != nil || string(got) != string(data) || file.Provider != URL {
		t.Errorf("%q, %v, %+v", got, err, file)
	}
	if file, err = f.FetchIndexed(t.Context(), a); err != nil || file.Provider != Cache {
		t.Errorf("again: %+v, %v", file, err)
	}
	data = []byte("A package")
	a.SHA256 = strings.Repeat("0", 64)
	if _, err := f.FetchIndexed(t.Context(), a); err == nil || !strings.Contains(err.Error(), "it has sha256") {
		t.Errorf("another hash: %v", err)
	}
	if _, err := os.Stat(filepath.Join(f.opts.CacheDir, "archives", "sha256", a.SHA256, a.File)); !os.IsNotExist(err) {
		t.Errorf("kept: %v", err)
	}
}
