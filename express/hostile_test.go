//go:build unix

package express

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestValuesStayWhatTheyAre: characters that the language of a directive would change
// are written so that httpd reads the given value.
func TestValuesStayWhatTheyAre(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	brackets := filepath.Join(base, "a[1]")
	for _, dir := range []string{brackets, filepath.Join(brackets, `b\s`)} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"s.crt", "s.key", `a[1]/b\s/x.conf`} {
		if err := os.WriteFile(filepath.Join(base, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tls := []string{"--https-port", "8443", "--server-name", "x.example", "--ssl-certificate", filepath.Join(base, "s"), "--hsts-policy"}
	for _, c := range []struct {
		args []string
		want string // a line of httpd.conf, or an error
	}{
		{append(tls[:len(tls):len(tls)], `max-age=1; a\nb 5%`), `Header always set Strict-Transport-Security "max-age=1; a\\\\nb 5%%"`},
		{append(tls[:len(tls):len(tls)], "expr=%{HTTP_HOST}"), `option --hsts-policy: "expr=%{HTTP_HOST}" is an httpd expression`},
		{[]string{"--proxy-mount-point", `/a\nb%h`, "http://127.0.0.1:1"}, `RequestHeader set X-Forwarded-Prefix "/a\\\\nb%%h"`},
		{[]string{"--rewrite-rules", `b\s/x.conf`}, `Include "` + base + `/a[[]1]/b\\s/x.conf"`},
		{[]string{"--include-file", `b\s/x.conf`}, `Include "` + base + `/a[[]1]/b\\s/x.conf"`},
		{[]string{"--include-file", `*/x.conf`}, `Include "` + base + `/a[[]1]/*/x.conf"`},
		{[]string{"--process-group", "%{HOST}"}, `option --process-group: "%{HOST}" is not a literal name`},
		{[]string{"--locale", "."}, `locale="C.UTF-8"`},
	} {
		args := append([]string{"show-config", filepath.Join(base, "app.py"), "--server-root", filepath.Join(base, "root")}, testUser()...)
		code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: brackets, Env: []string{"LANG=C.UTF-8"}}, append(args, c.args...)...)
		if said := stdout + stderr; !strings.Contains(said, c.want) || (code == 0) != (stdout != "") {
			t.Errorf("%q: code %d, missing %s in\n%s", c.args, code, c.want, said)
		}
	}
}

// TestToolsInAClosedServerRoot: a server root that only root can enter until setup
// opens it to the application does not block a tool's directory.
func TestToolsInAClosedServerRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run the application as another user")
	}
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := fakeServer(t, base, nil)
	root := filepath.Join(base, "closed")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	line := append([]string{"show-config", filepath.Join(base, "app.py"), "--server-root", root, "--enable-recorder", "--enable-profiler"}, testUser()...)
	if code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, line...); code != 0 {
		t.Errorf("code %d: %s", code, stderr)
	}
	archive := filepath.Join(base, "archive")
	if err := os.Mkdir(archive, 0o755); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: base, Env: []string{"LANG=C.UTF-8"}}, append(line, "--recorder-directory", archive)...)
	if code != 1 || !strings.Contains(stderr, "cannot write in "+archive) {
		t.Errorf("a directory of root's for recordings: code %d: %s", code, stderr)
	}
}
