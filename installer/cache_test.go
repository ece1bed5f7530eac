package installer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
)

// hosted is a plan for a fixed host, remembered.
func hosted(t *testing.T) *Plan {
	t.Helper()
	p := &Plan{request: request(t)}
	p.request.Env = append(p.request.Env, "CC=cc")
	p.HTTPD.Action = BuildHTTPD
	if err := p.probeHost(t.Context()); err != nil {
		t.Skipf("needs a compiler: %v", err)
	}
	return p
}

func TestTheHostIsRemembered(t *testing.T) {
	p := hosted(t)
	p.rememberHost(t.Context())
	record := filepath.Join(p.request.CacheDir, cachedir.Host, recordName(&p.request))
	again := &Plan{request: p.request}
	again.HTTPD.Action = BuildHTTPD
	if !again.recallHost() {
		t.Fatal("it was not")
	}
	if again.tools.Compiler != p.tools.Compiler || len(again.host.Has) != len(p.host.Has) || again.host.Toolchain != again.tools {
		t.Errorf("%+v is not %+v", again.host, p.host)
	}
	if err := again.lookAgain(t.Context()); err != nil || again.remembered {
		t.Errorf("the same host: %v", err)
	}
	for name, change := range map[string]func(*Plan){
		"another compiler":  func(q *Plan) { q.request.Env = []string{"PATH=" + os.Getenv("PATH"), "CC=gcc"} },
		"no compiler":       func(q *Plan) { q.request.Env = []string{"PATH=/nowhere", "CC=cc"} },
		"flags":             func(q *Plan) { q.request.Env = append(slices.Clone(q.request.Env), "CFLAGS=-O3") },
		"another date":      func(q *Plan) { q.request.Env = append(slices.Clone(q.request.Env), "SOURCE_DATE_EPOCH=5") },
		"no cache":          func(q *Plan) { q.request.CacheDir = "" },
		"somebody else's":   func(q *Plan) { _ = os.Chmod(filepath.Join(q.request.CacheDir, "host"), 0o777) },
		"nothing is in it":  func(q *Plan) { _ = os.WriteFile(record, []byte("{}"), 0o600) },
		"damaged (garbage)": func(q *Plan) { _ = os.WriteFile(record, []byte("\x00"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Chmod(filepath.Join(p.request.CacheDir, "host"), 0o700)
			other := &Plan{request: p.request}
			other.HTTPD.Action = BuildHTTPD
			change(other)
			if other.recallHost() {
				t.Error("what was remembered was taken")
			}
		})
	}
}

// A record that lies is found out before anything is built.
func TestARecordThatIsWrong(t *testing.T) {
	p := hosted(t)
	wrong := *p.tools
	wrong.Compiler = "cc 0.1"
	p.tools, p.remembered = &wrong, true
	host := *p.host
	host.Toolchain = &wrong
	p.host = &host
	if err := p.lookAgain(t.Context()); !errors.Is(err, errHostChanged) {
		t.Errorf("got %v", err)
	}
}

// TestPartsOfVersions are refused with what to write instead.
func TestPartsOfVersions(t *testing.T) {
	for _, v := range []string{"5", "2.4"} {
		q := request(t)
		q.HTTPDVersion = v
		wantFault(t, q.normalise(), fault.Usage, "~> ", v)
	}
	for _, v := range []string{"", "2.4.68", "~> 2.4", ">= 2"} {
		q := request(t)
		q.HTTPDVersion = v
		if err := q.normalise(); err != nil {
			t.Errorf("%q: %v", v, err)
		}
	}
}

// TestAnEnvironmentWithoutItsPython can still be listed.
func TestAnEnvironmentWithoutItsPython(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "env")
	site := "lib/python3.11/site-packages/"
	write(t, dir, map[string]string{
		"pyvenv.cfg": "home = /gone\nversion = 3.11.2\n", "bin/": "",
		site + "mod_wsgi-5.0.2.dist-info/METADATA":  "Metadata-Version: 2.1\nName: mod_wsgi\nVersion: 5.0.2\n",
		site + "mod_wsgi-5.0.2.dist-info/INSTALLER": "modwsgi\n",
		site + "mod_wsgi-5.0.2.dist-info/RECORD":    "mod_wsgi/__init__.py,,\nmod_wsgi-5.0.2.dist-info/METADATA,,\nmod_wsgi-5.0.2.dist-info/INSTALLER,,\nmod_wsgi-5.0.2.dist-info/RECORD,,\n",
		site + "mod_wsgi/__init__.py":               "",
	})
	if err := os.Symlink("/gone/bin/python3", filepath.Join(dir, "bin/python")); err != nil {
		t.Fatal(err)
	}
	q := request(t)
	q.Python = dir
	var h heard
	q.Events = h.sink
	py, all, err := List(t.Context(), q)
	if err != nil || len(all) != 1 || py.Prefix != dir || !h.has("cannot be asked") {
		t.Fatalf("%+v, %+v, %v", py, all, err)
	}
	names, err := Uninstall(t.Context(), q)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, gone := range []string{"mod_wsgi", "mod_wsgi-5.0.2.dist-info"} {
		if _, err := os.Lstat(filepath.Join(dir, site, gone)); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	q.Python = t.TempDir()
	if _, _, err := List(t.Context(), q); err == nil {
		t.Error("a directory that is no environment was listed")
	}
}

func TestFlagsOfTheEnvironmentAreTold(t *testing.T) {
	for env, want := range map[string]string{"CFLAGS=-O0": "CFLAGS; flags", "LDFLAGS=x": "LDFLAGS; flags", "CFLAGS=": "", "CC=gcc -O3": ""} {
		var h heard
		p := &Plan{request: Request{Env: []string{env}, Events: h.sink}}
		p.sayUnused()
		p.sayUnused()
		if len(h.texts) > 1 || (len(h.texts) == 1) != (want != "") || want != "" && !h.has(want) {
			t.Errorf("%s: %q", env, h.texts)
		}
	}
}
