//go:build acceptance && unix

package express_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// installed is the environment of MODWSGI_TEST_ENV as a place.
func installed(t *testing.T) *place { return installedIn(t, testEnv(t)) }

// everyInstalled are the environments of MODWSGI_TEST_ENVS, one per mod_wsgi of the
// catalogue whose archive was available.
func everyInstalled(t *testing.T) (all []*place) {
	for _, home := range filepath.SplitList(os.Getenv("MODWSGI_TEST_ENVS")) {
		all = append(all, installedIn(t, home))
	}
	return all
}

func installedIn(t *testing.T, home string) *place {
	t.Helper()
	receipts, _ := filepath.Glob(filepath.Join(home, "lib", "python3*", "site-packages", "mod_wsgi", "server", "build.json"))
	if len(receipts) != 1 {
		t.Fatalf("the receipts in %s: %q", home, receipts)
	}
	site := strings.TrimSuffix(receipts[0], "/mod_wsgi/server/build.json")
	r := readReceipt(t, receipts[0])
	absolute := func(name string) string {
		if !filepath.IsAbs(name) {
			name = filepath.Join(site, name)
		}
		return name
	}
	server := r["httpd"].(map[string]any)
	rotatelogs, _ := server["rotatelogs"].(string)
	module := r["module"].(map[string]any)
	p := &place{
		launcher: filepath.Join(home, "bin", "mod_wsgi-express"), home: home, version: module["version"].(string),
		module: filepath.Join(filepath.Dir(receipts[0]), filepath.Base(module["file"].(string))),
		httpd:  absolute(server["executable"].(string)), modules: absolute(server["modules_dir"].(string)), rotatelogs: absolute(rotatelogs),
		mime:  "/etc/mime.types",
		vars:  map[string]string{"PATH": "/usr/bin:/bin", "TMPDIR": os.TempDir(), "HOME": "/evil home", "FUZZ": `evil" value`},
		opens: map[string]bool{},
	}
	if lib, _ := r["python"].(map[string]any)["libpython"].(string); filepath.Ext(lib) != ".a" {
		p.library = lib
	}
	for _, name := range []string{"/dev/stdout", "/dev/stderr"} {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if p.opens[name] = err == nil; err == nil {
			f.Close()
		}
	}
	p.user = runUser()
	if os.Geteuid() != 0 {
		u, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		p.user = u.Username
	}
	return p
}

func readReceipt(t *testing.T, name string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var r map[string]any
	unmarshal(t, data, &r)
	return r
}

// newest is a place with a mod_wsgi that knows every option and an httpd that has every
// module: real ones where available, otherwise stand-ins.
func newest(t *testing.T, p *place) *place {
	t.Helper()
	real := slices.IndexFunc(everyInstalled(t), func(p *place) bool { return p.atLeast("6.0.5") })
	if real >= 0 {
		p = everyInstalled(t)[real]
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Log("no C compiler: options that need a mod_wsgi newer than the installed one are skipped")
		return nil
	}
	n := *p
	n.home, n.version = filepath.Join(workDir(t, ""), "newest"), "6.0.5"
	n.launcher, n.modules = filepath.Join(n.home, "bin", "mod_wsgi-express"), filepath.Join(n.home, "modules")
	site := strings.Replace(filepath.Dir(filepath.Dir(filepath.Dir(p.module))), p.home, n.home, 1)
	n.module = filepath.Join(site, "mod_wsgi", "server", "mod_wsgi.so")
	for _, dir := range []string{filepath.Dir(n.module), filepath.Dir(n.launcher), n.modules, filepath.Join(site, "mod_wsgi_telemetry-1.0.1.dist-info")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, n.launcher, "")
	config, err := os.ReadFile(filepath.Join(p.home, "pyvenv.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(n.home, "pyvenv.cfg"), string(config))
	modules, _ := filepath.Glob(filepath.Join(p.modules, "mod_*.so"))
	for _, m := range modules {
		if err := os.Symlink(m, filepath.Join(n.modules, filepath.Base(m))); err != nil {
			t.Fatal(err)
		}
	}
	r := readReceipt(t, filepath.Join(filepath.Dir(p.module), "build.json"))
	r["module"].(map[string]any)["version"], r["module"].(map[string]any)["file"] = n.version, "mod_wsgi.so"
	r["python"].(map[string]any)["free_threaded"] = true
	server := r["httpd"].(map[string]any)
	server["executable"], server["modules_dir"], server["rotatelogs"] = n.httpd, n.modules, n.rotatelogs
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(filepath.Dir(n.module), "build.json"), string(data))
	http2 := filepath.Join(n.modules, "mod_http2.so")
	if !isFile(http2) {
		compile(t, cc, p, http2, "-DSTANDIN_HTTP2")
	}
	if real < 0 {
		t.Log("MODWSGI_TEST_ENVS names no environment with mod_wsgi 6.0.5: using a stand-in that accepts anything")
		compile(t, cc, p, n.module)
	} else if err := os.Symlink(p.module, n.module); err != nil {
		t.Fatal(err)
	}
	return &n
}

// compile builds a stand-in for a module.
func compile(t *testing.T, cc string, p *place, target string, flags ...string) {
	t.Helper()
	include := filepath.Join(filepath.Dir(filepath.Dir(p.httpd)), "include")
	args := append([]string{"-shared", "-fPIC", "-I", include, "-D_GNU_SOURCE", "-DLINUX", "-o", target, filepath.Join("testdata", "dump", "standin.c")}, flags...)
	out, err := exec.CommandContext(t.Context(), cc, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("the stand-in for a module does not compile: %v\n%.800s", err, out)
	}
}

// environ returns the variables as a list.
func (p *place) environ() (env []string) {
	for name, v := range p.vars {
		env = append(env, name+"="+v)
	}
	return env
}

// envNumber returns a number from the environment.
func envNumber(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}
