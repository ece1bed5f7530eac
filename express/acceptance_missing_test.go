//go:build acceptance && unix

package express_test

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMissingAliasIsNotFound: a missing directory or file of --url-alias is answered
// with 404, and is served as soon as it exists; nothing else becomes readable.
func TestMissingAliasIsNotFound(t *testing.T) {
	testEnv(t)
	t.Parallel()
	dir := workDir(t, "")
	app := write(t, filepath.Join(dir, "app.py"), echoApp)
	odd := filepath.Join(dir, "a (b) [c]", "sub", "collected")
	s := start(t, dir, app, "--url-alias", "/static", odd, "--url-alias", "/one.txt", filepath.Join(dir, "later.txt"))
	for _, path := range []string{"/static/x.css", "/static/", "/static/deep/er/x.css", "/static", "/one.txt"} {
		if code, body := s.get(path); code != 404 {
			t.Errorf("%s: %d %.100s", path, code, body)
		}
	}
	if err := os.MkdirAll(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(odd, "x.css"), "css")
	write(t, filepath.Join(odd, ".secret"), "no")
	write(t, filepath.Join(filepath.Dir(odd), "beside.txt"), "no")
	write(t, filepath.Join(dir, "later.txt"), "text")
	for path, want := range map[string]int{
		"/static/x.css": 200, "/static/none.css": 404, "/static/.secret": 403, "/static/../beside.txt": 404, "/static/%2e%2e/beside.txt": 404, "/one.txt": 200,
	} {
		if code, body := s.get(path); code != want && !(want == 404 && code == 200 && len(body) > 0 && body[0] == '{') { // the application
			t.Errorf("%s: %d %.100s, want %d", path, code, body, want)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "a (b) [c]")); err != nil {
		t.Fatal(err)
	}
	if code, _ := s.get("/static/x.css"); code != 404 {
		t.Errorf("after its removal: %d", code)
	}
}
