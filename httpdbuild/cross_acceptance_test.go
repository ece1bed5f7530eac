//go:build acceptance

package httpdbuild

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"modwsgi/internal/elf"
	"modwsgi/internal/run"
	"modwsgi/internal/testkit"
	"modwsgi/internal/toolchain"
)

// An installed cross compiler builds a tree for its target; nothing of it is run here.
func TestCrossBuild(t *testing.T) {
	testkit.Turn(t, "builds")
	const target = "aarch64-linux-gnu"
	if _, err := run.LookPath(target+"-gcc", os.Environ()); err != nil || runtime.GOARCH == "arm64" {
		t.Skipf("NOT TESTED: a cross build, because %s-gcc was not found (apt-get install gcc-%s): %v", target, target, err)
	}
	r := &run.Runner{}
	// The compiler's package only recommends what it links with.
	libc, err := r.Output(t.Context(), run.Cmd{Argv: []string{target + "-gcc", "-print-file-name=libc.so"}, Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(libc)) == "libc.so" {
		t.Skipf("NOT TESTED: a cross build, because %s-gcc has no C library to link with (apt-get install libc6-dev-arm64-cross)", target)
	}
	parts := archives(t, "httpd", "apr", "apr-util", "pcre2", "expat")
	// Debian has no libcrypt among its cross packages: a library with the one required
	// function replaces it.
	libs := t.TempDir()
	if err := os.WriteFile(filepath.Join(libs, "crypt.c"), []byte("char *crypt(const char *k, const char *s) { return (char *)s; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), run.Cmd{Argv: []string{target + "-gcc", "-shared", "-fPIC", "-Wl,-soname,libcrypt.so.1", "-o", "libcrypt.so", "crypt.c"}, Dir: libs, Env: os.Environ()}); err != nil {
		t.Fatal(err)
	}
	tc, err := toolchain.Find(t.Context(), r, append(os.Environ(), "CC="+target+"-gcc -L"+libs), t.TempDir())
	if err != nil || tc.Cross != target {
		t.Fatalf("got %+v, %v", tc, err)
	}
	host, err := Probe(t.Context(), r, tc, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	selected, err := host.Select(nil, nil, FromHost)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	q := Request{
		Components: parts, Features: selected.Features, Host: host, Jobs: runtime.NumCPU(), Runner: r, Flags: hardened(t, r, tc),
		Work: filepath.Join(dir, "work"), Stage: filepath.Join(dir, "stage"), Logs: filepath.Join(dir, "logs"),
	}
	res, err := Build(t.Context(), q)
	if err != nil {
		var tool *run.Error
		if errors.As(err, &tool) {
			t.Log(strings.Join(tool.Tail, "\n"))
		}
		t.Fatal(err)
	}
	for _, name := range []string{"bin/httpd", "lib/libapr-1.so.0", "modules/mod_rewrite.so"} {
		f, err := elf.Read(filepath.Join(res.Tree, name))
		if err != nil || f.Machine != "aarch64" || len(f.RunPath) != 1 || f.RunPath[0] != "$ORIGIN/../lib" {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	checkProtected(t, res.Tree, q.Logs, q.Flags)
	checkModules(t, res.Modules, selected.Features)
	q.Driver, q.Stage = Make, filepath.Join(dir, "made")
	if _, err := Build(t.Context(), q); err == nil {
		t.Error("make built it")
	}
}
