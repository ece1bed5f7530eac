//go:build unix

package fetch

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// job is what a child of TestMain must fetch.
type job struct {
	Archive  recipe.Archive
	CacheDir string
}

// TestMain lets the test program be its own child: a process that fetches and is killed
// meanwhile.
func TestMain(m *testing.M) {
	if text := os.Getenv("FETCH_TEST_JOB"); text != "" {
		os.Exit(child(text))
	}
	os.Exit(m.Run())
}

func child(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		panic(err)
	}
	f, err := New(Options{CacheDir: j.CacheDir, NoDebian: true, StallTimeout: time.Minute})
	if err != nil {
		panic(err)
	}
	f.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the test's own server
	file, err := f.Fetch(context.Background(), j.Archive)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(file.Path)
	return 0
}

func TestKilledDownloadIsResumed(t *testing.T) {
	data := content(60, 1_000_000)
	const n = 400_000
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:n])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	cache := filepath.Join(t.TempDir(), "cache")
	a := archiveOf(data, s.URL)
	text, err := json.Marshal(job{a, cache})
	if err != nil {
		t.Fatal(err)
	}
	var r run.Runner
	cmd := run.Cmd{Argv: []string{os.Args[0]}, Env: append(os.Environ(), "FETCH_TEST_JOB="+string(text))}
	p, err := r.Start(context.Background(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "archives", "sha256", a.SHA256)
	for {
		if fi, err := os.Stat(filepath.Join(dir, partialName)); err == nil && fi.Size() == n {
			break
		}
		select {
		case <-p.Done():
			t.Fatal("the child ended early: ", p.Wait())
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if p.Wait() == nil {
		t.Fatal("the child was not killed")
	}
	if _, err := os.Stat(filepath.Join(dir, a.File)); err == nil {
		t.Error("an archive exists after the kill")
	}
	s.behave(good(data))
	out, err := r.Output(context.Background(), cmd)
	if err != nil || strings.TrimSpace(string(out)) != filepath.Join(dir, a.File) {
		t.Fatalf("the second run: %s, %v", out, err)
	}
	mustBe(t, &File{Path: filepath.Join(dir, a.File)}, nil, data)
	if asked := s.log(); len(asked) != 1 || asked[0] != `/dist/thing-1.0.tar.gz bytes=400000- "v1"` {
		t.Errorf("asked %q", asked)
	}
}
