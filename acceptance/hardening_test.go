//go:build acceptance

package acceptance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"modwsgi/internal/elf"
	"modwsgi/internal/filetree"
	"modwsgi/internal/testkit"
)

// hardeningIn lists an environment, and returns what each distribution's binaries have.
func hardeningIn(t *testing.T, env string) map[string]elf.Hardening {
	t.Helper()
	r := must(t, "/", bareEnv(), program(t, "modwsgi"), "list", "--json", "--python", env)
	var listed struct {
		Installed []struct {
			Name      string
			Hardening *elf.Hardening
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &listed); err != nil {
		t.Fatalf("%v: %v", err, r)
	}
	all := map[string]elf.Hardening{}
	for _, i := range listed.Installed {
		if i.Hardening != nil {
			all[i.Name] = *i.Hardening
		}
	}
	return all
}

// hardened is what every binary has with the compilers of distributions.
var hardened = elf.Hardening{RELRO: true, BindNow: true, PIE: true}

// treeIn is the httpd of an environment.
func treeIn(t *testing.T, env string) string {
	t.Helper()
	found := filetree.Glob(env, "lib/python*/site-packages/mod_wsgi_packages/httpd")
	if len(found) != 1 {
		t.Fatalf("httpd trees: %v", found)
	}
	return found[0]
}

// TestEveryBinaryIsHardened: nothing of what was compiled is left out, and each file is
// named if it lacks something.
func TestEveryBinaryIsHardened(t *testing.T) {
	dir := workdir(t, "hardened")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"))
	if r := install(t, dir, "--python", env); r.code != 0 {
		t.Fatal(r)
	}
	for name, h := range hardeningIn(t, env) {
		if missing := h.Missing(hardened); missing != nil {
			t.Errorf("%s lacks %q", name, missing)
		}
	}
	count := 0
	for _, pattern := range []string{"mod_wsgi/server/*", "mod_wsgi_packages/httpd/*/*"} {
		for _, file := range filetree.Glob(env, "lib/python*/site-packages/"+pattern) {
			if !elf.Is(file) {
				continue
			}
			count++
			h, err := elf.ReadHardening(file)
			if err != nil {
				t.Error(err)
			} else if missing := h.Missing(hardened); missing != nil {
				t.Errorf("%s lacks %q", file, missing)
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d binaries", count)
	}
	// Whoever compiles a module for this httpd may have another compiler.
	vars := contents(t, filepath.Join(treeIn(t, env), "build/config_vars.mk"))
	for _, flag := range []string{"-fstack", "FORTIFY", "-fcf-protection", "-mbranch-protection", "-fPIE", "-pie", "-z,now"} {
		if strings.Contains(vars, flag) {
			t.Errorf("config_vars.mk has %s", flag)
		}
	}
}

// TestHardeningOfAModule switches the flags off and on again for a module that is built
// for an httpd that exists.
func TestHardeningOfAModule(t *testing.T) {
	dir := workdir(t, "hardening")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"))
	tree := filepath.Join(dir, "httpd")
	must(t, dir, bareEnv(), "cp", "-a", treeIn(t, setting(t, "MODWSGI_TEST_ENV")), tree)
	args := []string{"--python", env, "--httpd", tree}
	if r := install(t, dir, append(args, "--hardening", "none")...); r.code != 0 {
		t.Fatal(r)
	}
	if h := hardeningIn(t, env)["mod_wsgi"]; h.BindNow {
		t.Errorf("with none: %+v", h)
	}
	r := install(t, dir, args...)
	if r.code != 0 || !strings.Contains(r.stdout+r.stderr, "built with --hardening none") {
		t.Fatal(r)
	}
	if missing := hardeningIn(t, env)["mod_wsgi"].Missing(hardened); missing != nil {
		t.Errorf("with auto it lacks %q", missing)
	}
	if r := install(t, dir, args...); r.code != 0 || !strings.Contains(r.stdout+r.stderr, "othing to do") {
		t.Errorf("a third time: %v", r)
	}
	// The caller's own flags come last and win.
	own := command(t, dir, bareEnv("CFLAGS=-O1 -g", "LDFLAGS=-Wl,-z,lazy"), installArgs(t, append(args, "--reinstall")...)...)
	if own.code != 0 || !strings.Contains(own.stdout+own.stderr, "compiling with the flags in CFLAGS, LDFLAGS") {
		t.Fatal(own)
	}
	if h := hardeningIn(t, env)["mod_wsgi"]; h.BindNow || !h.RELRO {
		t.Errorf("with -z lazy: %+v", h)
	}
	if a := serve(t, env); a.Prefix != env {
		t.Errorf("answer %+v", a)
	}
}

// buildFlags are the variables that dpkg-buildflags exports in a directory.
func buildFlags(t *testing.T, dir string) []string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-buildflags"); err != nil {
		t.Skip("NOT TESTED: dpkg-buildflags was not found (apt-get install dpkg-dev)")
	}
	r := must(t, dir, bareEnv("DEB_BUILD_MAINT_OPTIONS=hardening=+all"), "sh", "-ec", `eval "$(dpkg-buildflags --export=sh)"; printf '%s\n' "CFLAGS=$CFLAGS" "CPPFLAGS=$CPPFLAGS" "LDFLAGS=$LDFLAGS"`)
	flags := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if !strings.Contains(r.stdout, dir) || !strings.Contains(r.stdout, "-D_FORTIFY_SOURCE") || len(flags) != 3 {
		t.Fatalf("unexpected flags: %v", r)
	}
	return flags
}

// TestFlagsOfDistributions builds with the flags of Debian's package builds, which name
// the directory of the build, and refuses those of Fedora's whose files are missing.
func TestFlagsOfDistributions(t *testing.T) {
	testkit.Turn(t, "libraries")
	dir := workdir(t, "flags")
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	for _, d := range []string{one, two} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"))
	began := command(t, one, bareEnv(buildFlags(t, one)...), installArgs(t, "--python", env)...)
	if began.code != 0 || !strings.Contains(began.stdout+began.stderr, "compiling with the flags in CPPFLAGS, CFLAGS, LDFLAGS") {
		t.Fatal(began)
	}
	for name, h := range hardeningIn(t, env) {
		if missing := h.Missing(hardened); missing != nil {
			t.Errorf("%s lacks %q", name, missing)
		}
	}
	for _, file := range []string{module(t, env), filepath.Join(treeIn(t, env), "bin/httpd")} {
		info := must(t, dir, bareEnv(), "readelf", "--debug-dump=info", "--dwarf-depth=1", file).stdout
		if !strings.Contains(info, "DW_AT_comp_dir") {
			t.Errorf("-g of CFLAGS had no effect on %s", file)
		}
		for _, leak := range []string{dir, setting(t, "MODWSGI_TEST_CACHE")} {
			if strings.Contains(info, leak) {
				t.Errorf("the debugging information of %s names %s", file, leak)
			}
		}
	}
	if a := serve(t, env); a.Prefix != env {
		t.Errorf("answer %+v", a)
	}
	// Another directory, the same build.
	again := command(t, two, bareEnv(buildFlags(t, two)...), installArgs(t, "--python", env, "--reinstall")...)
	if again.code != 0 || strings.Contains(again.stdout+again.stderr, "compile httpd") {
		t.Errorf("not from the build cache: %v", again)
	}
	const fedora = "CFLAGS=-O2 -flto=auto -ffat-lto-objects -fexceptions -g -grecord-gcc-switches -pipe -Wall -Werror=format-security -Wp,-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=3 " +
		"-Wp,-D_GLIBCXX_ASSERTIONS -specs=/usr/lib/rpm/redhat/redhat-hardened-cc1 -fstack-protector-strong -m64 -mtune=generic -fasynchronous-unwind-tables -fstack-clash-protection -fcf-protection"
	if _, err := os.Stat("/usr/lib/rpm/redhat/redhat-hardened-cc1"); err == nil {
		t.Skip("this machine has the files of Fedora")
	}
	refused := command(t, dir, bareEnv(fedora), installArgs(t, "--python", env, "--reinstall")...)
	if refused.code == 0 || !strings.Contains(refused.stderr, "CFLAGS has -specs=/usr/lib/rpm/redhat/redhat-hardened-cc1") || strings.Contains(refused.stdout+refused.stderr, "configure") {
		t.Errorf("missing specs: %v", refused)
	}
}

// TestDebugSymbols packages debugging information. The packages themselves have none, and
// gdb finds it on a copy of this machine by the identifiers alone.
func TestDebugSymbols(t *testing.T) {
	testkit.Turn(t, "libraries")
	dir := workdir(t, "symbols")
	dist, again := filepath.Join(dir, "dist"), filepath.Join(workdir(t, "another directory"), "dist")
	for _, to := range []string{dist, again} {
		must(t, dir, bareEnv(), linuxArgs(t, "deb", to, "--debug-symbols")...)
	}
	debs := filetree.Glob(dist, "*.deb")
	if len(debs) != 2 {
		t.Fatalf("packages: %q", debs)
	}
	for _, deb := range debs {
		if contents(t, deb) != contents(t, filepath.Join(again, filepath.Base(deb))) {
			t.Errorf("%s differs when made again", filepath.Base(deb))
		}
	}
	plain, symbols := debs[0], debs[1]
	if !strings.Contains(symbols, "-dbgsym_") {
		plain, symbols = symbols, plain
	}
	root, debug := filepath.Join(dir, "root"), filepath.Join(dir, "debug")
	must(t, dir, bareEnv(), "dpkg-deb", "-x", plain, root)
	must(t, dir, bareEnv(), "dpkg-deb", "-x", symbols, debug)
	ids := must(t, dir, bareEnv(), "dpkg-deb", "-f", symbols, "Build-Ids").stdout
	count := 0
	for _, pattern := range []string{"opt/modwsgi/*/lib/python*/site-packages/mod_wsgi/server/*.so", "opt/modwsgi/*/lib/python*/site-packages/mod_wsgi_packages/httpd/*/*"} {
		for _, file := range filetree.Glob(root, pattern) {
			if !elf.Is(file) {
				continue
			}
			count++
			f, err := elf.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			id := f.BuildID()
			if f.HasDebugInfo() || len(id) != 40 || !strings.Contains(ids, id) {
				t.Errorf("%s: debugging information %v, identifier %q", file, f.HasDebugInfo(), id)
			} else if _, err := os.Stat(filepath.Join(debug, "usr/lib/debug/.build-id", id[:2], id[2:]+".debug")); err != nil {
				t.Error(err)
			}
			_ = f.Close()
		}
	}
	if count < 100 {
		t.Errorf("only %d binaries below %s", count, root)
	}
	for _, file := range filetree.Glob(debug, "usr/lib/debug/.build-id/*/*.debug") {
		text := must(t, dir, bareEnv(), "readelf", "--debug-dump=info", "--dwarf-depth=1", file).stdout
		if strings.Contains(text, setting(t, "MODWSGI_TEST_CACHE")) || !strings.Contains(text, "DW_AT_name") {
			t.Fatalf("%s names a directory of the build, or nothing", file)
		}
	}
	r := onMachine(t, forSystem(t, `
export DEBIAN_FRONTEND=noninteractive
missing=
for tool in lintian gdb; do command -v $tool >/dev/null || missing="$missing $tool"; done
command -v hardening-check >/dev/null || missing="$missing devscripts"
apt-get update -qq
if [ -n "$missing" ]; then apt-get install -y -qq --no-install-recommends $missing >/dev/null; fi
apt-get install -y -qq --no-install-recommends adduser libpython3.11 `+plain+` `+symbols+` >/dev/null
site=$(echo /opt/modwsgi/*/lib/python3*/site-packages)
httpd=$site/mod_wsgi_packages/httpd
module=$(echo $site/mod_wsgi/server/mod_wsgi-*.so)
gdb -nx -batch -ex 'info line main' -ex 'break ap_run_mpm' -ex 'info scope ap_run_mpm' $httpd/bin/httpd 2>&1
gdb -nx -batch -ex 'info line apr_initialize' $httpd/lib/libapr-1.so.0 2>&1
gdb -nx -batch -ex 'info line wsgi_hook_handler' $module 2>&1
# A running process, whose libraries and modules gdb finds by itself.
gdb -nx -batch -ex 'break ap_run_test_config' -ex run -ex bt -ex 'info sharedlibrary' --args $httpd/bin/httpd -t -f /dev/null -C "ServerRoot $httpd" -C 'LoadModule mpm_event_module modules/mod_mpm_event.so' -C 'ServerName localhost' -C 'Listen 127.0.0.1:1' -C 'ErrorLog /dev/stderr' 2>&1 | tail -40
# Whether a file is marked for IBT and shadow stacks depends on the C library's start files.
for file in $httpd/bin/httpd $httpd/lib/libapr-1.so.0 $httpd/modules/mod_mpm_event.so $module; do
	hardening-check --nocfprotection $file || echo "NOT HARDENED: $file"
done
lintian --no-cfg --allow-root --display-info --tag-display-limit 0 --fail-on error,warning `+symbols+` && echo "LINTIAN"
`))
	for _, want := range []string{
		`of "./httpd/server/main.c" starts`, "file ./httpd/server/mpm_common.c, line", "Symbol pconf is", `of "misc/unix/start.c" starts`, `of "src/server/mod_wsgi.c" starts`,
		"in ap_run_test_config (pconf=", "at ./httpd/server/config.c:", "in main (argc=", "at ./httpd/server/main.c:", "/httpd/modules/mod_mpm_event.so", "LINTIAN",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lacks %q: %v", want, r)
		}
	}
	if lacks := regexp.MustCompile(`(?m)^.* Yes \(\*\) +/opt/modwsgi/.*$`).FindAllString(r.stdout, -1); lacks != nil {
		t.Errorf("gdb has no debugging information of %q", lacks)
	}
	if strings.Contains(r.stdout, "NOT HARDENED") {
		t.Errorf("hardening-check: %v", r)
	}
}
