//go:build acceptance

package express_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPaste: an application described by a Paste Deploy file, with Debian's
// PasteDeploy; a change of the file is noticed.
func TestPaste(t *testing.T) {
	testEnv(t)
	lib := debian(t, "python3-pastedeploy", "python3-pkg-resources")
	dir := workDir(t, "it's here")
	write(t, filepath.Join(dir, "shop.py"), `
def make_app(global_conf, greeting="none", **local):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [("%s %s %s" % (greeting, environ["SCRIPT_NAME"], environ["PATH_INFO"])).encode()]
    return app

def make_filter(global_conf, **local):
    def wrap(app):
        def filtered(environ, start_response):
            return [b"<"] + list(app(environ, start_response)) + [b">"]
        return filtered
    return wrap
`)
	const text = `
[app:shop]
paste.app_factory = shop:make_app
greeting = GREETING

[filter:angle]
paste.filter_factory = shop:make_filter

[pipeline:main]
pipeline = angle shop
`
	ini := write(t, filepath.Join(dir, "production.ini"), strings.Replace(text, "GREETING", "hello", 1))
	s := start(t, dir, "--application-type", "paste", "production.ini", "--python-path", lib, "--callable-object", "ignored", "--mount-point", "/sub")
	if code, body := s.get("/sub/x"); code != 200 || body != "<hello /sub /x>" {
		t.Fatalf("%d %s\n%s", code, body, s.log())
	}
	write(t, ini, strings.Replace(text, "GREETING", "changed", 1))
	if err := os.Chtimes(ini, time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the changed file takes effect", func() bool { _, body := s.get("/sub/x"); return body == "<changed /sub /x>" })
	refused(t, dir, 1, "missing.ini does not exist", append([]string{"start-server", "--application-type", "paste", "missing.ini"}, asUser()...)...)
}
