//go:build acceptance

package acceptance

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/otheruser"
)

// programsPath makes a directory for PATH with selected programs of this machine.
func programsPath(t *testing.T, without ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		"sh", "uname", "mktemp", "mkdir", "mv", "rm", "rmdir", "chmod", "cp", "tar", "gzip", "sha256sum", "head", "tr", "wc", "grep", "sed", "cat", "curl", "wget", "sysctl",
	} {
		path, err := exec.LookPath(name)
		if err != nil || strings.Contains(" "+strings.Join(without, " ")+" ", " "+name+" ") {
			continue
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func script(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	_ = os.Remove(path)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// shells are the shells of this machine.
func shells(t *testing.T) [][]string {
	t.Helper()
	var found [][]string
	for _, s := range [][]string{{"dash"}, {"bash"}, {"busybox", "sh"}} {
		if path, err := exec.LookPath(s[0]); err == nil {
			found = append(found, append([]string{path}, s[1:]...))
		} else {
			t.Logf("LEFT OUT: %s not found", s[0])
		}
	}
	return found
}

// prefersItsOwn reports whether a shell runs its built-in programs instead of those on
// PATH, as Debian's busybox-static does. Such a shell ignores the programs that a test
// adds to PATH or leaves out.
func prefersItsOwn(t *testing.T, shell []string) bool {
	t.Helper()
	dir := t.TempDir()
	script(t, dir, "uname", "echo from PATH\n")
	return !strings.Contains(must(t, "/", []string{"PATH=" + dir}, append(slices.Clone(shell), "-c", "uname")...).stdout, "from PATH")
}

// TestShellsThatPreferTheirOwn checks detection with such a shell.
func TestShellsThatPreferTheirOwn(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own")
	if err := os.WriteFile(own, []byte("#!/bin/sh\necho Linux\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if !prefersItsOwn(t, []string{own}) || prefersItsOwn(t, []string{"/bin/sh"}) {
		t.Error("not told apart")
	}
}

// TestBootstrap runs the bootstrap script against servers that behave and servers that
// do not. After any failure the previous installation is intact, and nothing else is
// left.
func TestBootstrap(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the cases are about linux/amd64")
	}
	dist, _ := released(t)
	files := http.FileServer(http.Dir(dist))
	serve := func(archive http.HandlerFunc) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if archive != nil && strings.HasSuffix(r.URL.Path, ".tar.gz") {
				archive(w, r)
				return
			}
			files.ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		return s
	}
	whole := func(r *http.Request) []byte {
		data, err := os.ReadFile(filepath.Join(dist, filepath.Base(r.URL.Path)))
		if err != nil {
			t.Error(err)
		}
		return data
	}
	good := serve(nil)
	wrong := serve(func(w http.ResponseWriter, r *http.Request) {
		data := whole(r)
		data[len(data)/2] ^= 1
		_, _ = w.Write(data)
	})
	short := serve(func(w http.ResponseWriter, r *http.Request) { // the announced length is too small: only the hash reveals it
		_, _ = w.Write(whole(r)[:1<<20])
	})
	cut := serve(func(w http.ResponseWriter, r *http.Request) {
		data := whole(r)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:1<<20])
		panic(http.ErrAbortHandler)
	})
	page := serve(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<!DOCTYPE html>\n<title>Please log in</title>"))
	})
	empty := serve(func(http.ResponseWriter, *http.Request) {})
	full, noCurl, noFetch, noHash := programsPath(t), programsPath(t, "curl"), programsPath(t, "curl", "wget"), programsPath(t, "sha256sum")
	riscv, plan9 := programsPath(t), programsPath(t)
	script(t, riscv, "uname", "case $1 in -s) echo Linux;; *) echo riscv64;; esac\n")
	script(t, plan9, "uname", "case $1 in -s) echo Plan9;; *) echo amd64;; esac\n")
	own := map[string]bool{}
	for _, shell := range shells(t) {
		if own[shell[0]] = prefersItsOwn(t, shell); own[shell[0]] {
			t.Logf("LEFT OUT: %s prefers its own programs; the cases about others on PATH are left to the other shells", shell[0])
		}
	}
	dist2 := filepath.Join(dist, "bootstrap.sh")
	template, err := filepath.Abs("../scripts/bootstrap.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		script string
		path   string
		args   []string
		env    []string
		code   int
		said   []string
	}{
		{what: "curl", path: full, args: []string{"--url", good.URL}, said: []string{"installed", "is not in PATH"}},
		{what: "wget", path: noCurl, args: []string{"--url=" + good.URL + "/"}},
		{what: "environment", path: full, env: []string{"MODWSGI_DOWNLOAD_URL=" + good.URL}},
		{what: "a directory", path: noFetch, args: []string{"--url", dist}},
		{what: "file://", path: noFetch, args: []string{"--url", "file://" + dist}},
		{what: "a hash that is wrong", path: full, args: []string{"--url", wrong.URL}, code: 4, said: []string{"does not have the pinned SHA-256", "wanted ", "got "}},
		{what: "a hash that is wrong, wget", path: noCurl, args: []string{"--url", wrong.URL}, code: 4, said: []string{"wanted "}},
		{what: "too short", path: full, args: []string{"--url", short.URL}, code: 4, said: []string{"damaged or truncated", "1048576 bytes"}},
		{what: "cut off", path: full, args: []string{"--url", cut.URL}, code: 4, said: []string{"cannot download modwsgi_", "(curl exited with"}},
		{what: "a page", path: full, args: []string{"--url", page.URL}, code: 4, said: []string{"sent a web page instead of", "login"}},
		{what: "nothing", path: full, args: []string{"--url", empty.URL}, code: 4, said: []string{"is empty"}},
		{what: "not there", path: full, args: []string{"--url", good.URL + "/other"}, code: 4, said: []string{"cannot download"}},
		{what: "nobody listens", path: full, args: []string{"--url", "http://user:secret@127.0.0.1:1"}, code: 4, said: []string{"cannot download", "http://127.0.0.1:1 is correct"}},
		{what: "a proxy", path: full, args: []string{"--url", "http://example.invalid"}, env: []string{"http_proxy=http://me:secret@127.0.0.1:1"}, code: 4, said: []string{"the proxy http://127.0.0.1:1 from http_proxy is used"}},
		{what: "no program that downloads", path: noFetch, args: []string{"--url", good.URL}, code: 3, said: []string{"neither curl nor wget"}},
		{what: "no program that hashes", path: noHash, args: []string{"--url", good.URL}, code: 3, said: []string{"SHA-256", "install sha256sum"}},
		{what: "another machine", path: riscv, args: []string{"--url", good.URL}, code: 3, said: []string{"no programs for linux/riscv64", "linux/amd64, linux/arm64"}},
		{what: "another system", path: plan9, args: []string{"--url", good.URL}, code: 3, said: []string{"no programs for Plan9/amd64"}},
		{what: "no address", path: full, code: 3, said: []string{"set MODWSGI_DOWNLOAD_URL"}},
		{what: "a wrong address", path: full, args: []string{"--url", "ftp://x"}, code: 2, said: []string{"neither an address"}},
		{what: "an unknown option", path: full, args: []string{"--pin"}, code: 2, said: []string{"unknown option --pin"}},
		{what: "half an option", path: full, args: []string{"--url"}, code: 2, said: []string{"--url needs a value"}},
		{what: "the template", script: template, path: full, args: []string{"--url", good.URL}, code: 3, said: []string{"make dist"}},
		{what: "no home", path: full, args: []string{"--url", good.URL}, env: []string{"HOME=", "PREFIX="}, code: 3, said: []string{"HOME is not set"}},
		{what: "a file in the way", path: full, args: []string{"--url", good.URL, "--prefix", "/dev/null"}, code: 3, said: []string{"cannot create the directory /dev/null/bin"}},
	} {
		for _, shell := range shells(t) {
			if shell[0] == "/bin/bash" && c.code != 0 { // the others are stricter
				continue
			}
			if own[shell[0]] && c.path != full {
				continue
			}
			name := c.what + " with " + filepath.Base(shell[0])
			prefix := filepath.Join(t.TempDir(), "it's a prefix")
			bin := filepath.Join(prefix, "bin")
			if err := os.MkdirAll(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, program := range []string{"modwsgi", "mod_wsgi-express", "other"} {
				if err := os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\necho old\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			before := snapshot(t, prefix)
			run := dist2
			if c.script != "" {
				run = c.script
			}
			env := append([]string{"PATH=" + c.path, "HOME=/nonexistent", "PREFIX=" + prefix}, c.env...)
			r := command(t, "/", env, append(append(shell, run), c.args...)...)
			if r.code != c.code || r.stdout != "" {
				t.Errorf("%s: want exit %d: %v", name, c.code, r)
				continue
			}
			for _, want := range c.said {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("%s does not say %q: %v", name, want, r)
				}
			}
			if strings.Contains(r.stderr, "secret") {
				t.Errorf("%s tells a secret: %v", name, r)
			}
			if c.code != 0 {
				if changed := differences(before, snapshot(t, prefix)); len(changed) > 0 {
					t.Errorf("%s changed %q", name, changed)
				}
				continue
			}
			if after := snapshot(t, prefix); len(after) != 9 { // ".", bin, modwsgi, the two others that were there, libexec, modwsgi, the two programs
				t.Errorf("%s left %v", name, after)
			}
			if v := must(t, "/", nil, filepath.Join(bin, "modwsgi"), "--version"); !strings.HasPrefix(v.stdout, "modwsgi 0.") {
				t.Errorf("%s: %v", name, v)
			}
		}
	}
}

// TestBootstrapRetires: what an earlier release put into bin besides modwsgi is removed.
// Upstream's launcher, and programs that belong to an environment, stay.
func TestBootstrapRetires(t *testing.T) {
	dist, _ := released(t)
	old := setting(t, "MODWSGI_TEST_BIN")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(workdir(t, "environment"), "env"))
	if r := install(t, filepath.Dir(env), "--python", env); r.code != 0 {
		t.Fatal(r)
	}
	upstream := filepath.Join(t.TempDir(), "upstream")
	script(t, filepath.Dir(upstream), "upstream", "echo mod_wsgi-express 5.0.2\n")
	for what, c := range map[string]struct {
		prefix          string
		express, apxs   string // where a copy comes from; "" if it is there
		express2, apxs2 bool   // whether they stay
	}{
		"an earlier release":  {prefix: filepath.Join(workdir(t, "prefix"), "it's"), express: old + "/mod_wsgi-express", apxs: old + "/mod_wsgi-apxs"},
		"upstream's launcher": {prefix: filepath.Join(workdir(t, "prefix"), "it's"), express: upstream, apxs: old + "/mod_wsgi-apxs", express2: true},
		"an environment":      {prefix: env, express2: true, apxs2: true},
	} {
		bin := filepath.Join(c.prefix, "bin")
		for to, from := range map[string]string{"mod_wsgi-express": c.express, "mod_wsgi-apxs": c.apxs} {
			if from != "" {
				must(t, "/", os.Environ(), "install", "-D", from, filepath.Join(bin, to))
			}
		}
		for _, again := range []bool{false, true} {
			r := must(t, "/", bareEnv("HOME=/nonexistent"), "sh", filepath.Join(dist, "bootstrap.sh"), "--url", dist, "--prefix", c.prefix)
			for name, stays := range map[string]bool{"mod_wsgi-express": c.express2, "mod_wsgi-apxs": c.apxs2} {
				_, err := os.Stat(filepath.Join(bin, name))
				if stays != (err == nil) || strings.Contains(r.stderr, "removed "+filepath.Join(bin, name)) != (!stays && !again) {
					t.Errorf("%s, again: %v: %s: %v: %v", what, again, name, err, r)
				}
			}
		}
	}
	// The environment is also served with what was put beside it.
	if r := install(t, filepath.Dir(env), "--python", env); r.code != 0 {
		t.Error(r)
	}
}

// TestBootstrapNamesAnotherOwner: root installs into a directory of another user, and
// is warned that this user can replace the programs.
func TestBootstrapNamesAnotherOwner(t *testing.T) {
	otheruser.Need(t)
	dist, _ := released(t)
	top := otheruser.Dir(t)
	for _, theirs := range []bool{false, true} {
		for _, shell := range shells(t) {
			prefix := filepath.Join(top, fmt.Sprint(theirs), filepath.Base(shell[0]))
			if err := os.MkdirAll(prefix, 0o755); err != nil {
				t.Fatal(err)
			}
			if theirs {
				otheruser.Give(t, filepath.Dir(prefix))
			}
			r := command(t, "/", []string{"PATH=" + os.Getenv("PATH")}, append(slices.Clone(shell), filepath.Join(dist, "bootstrap.sh"), "--url", dist, "--prefix", prefix)...)
			if r.code != 0 || strings.Contains(r.stderr, "warning: "+filepath.Dir(prefix)+" belongs to another user") != theirs {
				t.Errorf("%s, of another user: %v: %v", shell[0], theirs, r)
			}
		}
	}
}

// TestBootstrapInterrupted interrupts the script while it downloads.
func TestBootstrapInterrupted(t *testing.T) {
	dist, _ := released(t)
	asked, ends := make(chan struct{}, 16), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write(make([]byte, 1000))
		w.(http.Flusher).Flush()
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-ends:
		}
	}))
	defer server.Close()
	defer close(ends)
	for _, shell := range shells(t) {
		prefix := t.TempDir()
		argv := append(shell, filepath.Join(dist, "bootstrap.sh"), "--url", server.URL, "--prefix", prefix)
		c := exec.Command(argv[0], argv[1:]...)
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var out bytes.Buffer
		c.Stderr = &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		<-asked
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGINT) // like a terminal: the whole process group
		timer := time.AfterFunc(time.Minute, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
		err := c.Wait()
		timer.Stop()
		if err == nil {
			t.Errorf("%s: no error", shell[0])
		}
		if left, _ := os.ReadDir(filepath.Join(prefix, "bin")); len(left) > 0 {
			t.Errorf("%s left %s: %v %s", shell[0], left[0].Name(), err, out.String())
		}
	}
}
