//go:build acceptance && linux

package acceptance

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestWindowsSharedCache: a second machine, with nothing but the archives and the SDK in
// another place, gets the module from a registry. A changed import library of the SDK gives
// another module, although all names in it are the same. modulebuild/windows tests what else
// counts.
func TestWindowsSharedCache(t *testing.T) {
	t.Parallel()
	needTools(t, "x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-ar")
	dir := workdir(t, "windows cache")
	httpd := windowsHTTPD(t)
	registry, log := cacheRegistry(t)
	key := filepath.Join(dir, "key.pem")
	must(t, dir, bareEnv(), program(t, "modwsgi"), "cache", "keygen", key)
	build := func(machine string, change func(sdk string), more ...string) (text string, compiled bool, notes []string) {
		t.Helper()
		sdk, out := filepath.Join(dir, machine, "SDK"), filepath.Join(dir, machine, "out")
		must(t, "/", os.Environ(), "mkdir", "-p", sdk)
		for _, part := range []string{"include", "lib", "bin"} {
			must(t, "/", os.Environ(), "cp", "-r", filepath.Join(httpd, "Apache24", part), sdk)
		}
		if change != nil {
			change(sdk)
		}
		r := command(t, dir, bareEnv(), append([]string{
			program(t, "modwsgi"), "module", "build", "--target", "windows/amd64", "--python", "3.11", "--json", "--httpd-sdk", sdk, "--mod-wsgi-version", "5.0.2",
			"--cache-dir", cacheOf(t, filepath.Join(dir, machine, "cache")), "--lock-file", filepath.Join(dir, machine, "lock"), "--out", out,
			"--cache", "oci://" + registry + "/cache",
		}, more...)...)
		if r.code != 0 {
			t.Fatal(r)
		}
		names, notes := steps(t, r)
		return contents(t, filepath.Join(out, "mod_wsgi.cp311-win_amd64.pyd")), began(names, "compile"), notes
	}
	pushed := func() int {
		t.Helper()
		return len(regexp.MustCompile(`"PUT /v2/cache/manifests/[0-9a-f]{64} `).FindAllString(contents(t, log), -1))
	}
	first, compiled, notes := build("one", nil, "--cache-sign-key", key)
	if !compiled || pushed() != 1 {
		t.Fatalf("the first machine compiled: %v, and pushed %d builds: %q", compiled, pushed(), notes)
	}
	second, compiled, notes := build("another place", nil, "--cache-trust", key+".pub")
	if compiled || second != first || !said(notes, "restored from the shared cache") {
		t.Errorf("the second machine compiled: %v, the same bytes: %v, notes %q", compiled, second == first, notes)
	}
	_, compiled, notes = build("changed", func(sdk string) {
		write(t, filepath.Join(sdk, "more.c"), "int modwsgi_test;\n")
		must(t, sdk, os.Environ(), "x86_64-w64-mingw32-gcc", "-c", "more.c")
		must(t, sdk, os.Environ(), "x86_64-w64-mingw32-ar", "qs", "lib/libhttpd.lib", "more.o")
	}, "--cache-sign-key", key)
	if !compiled || pushed() != 2 {
		t.Errorf("with another import library it compiled: %v, and the registry has %d builds: %q", compiled, pushed(), notes)
	}
}
