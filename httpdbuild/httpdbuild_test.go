//go:build unix

package httpdbuild

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/observer"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/toolchain"
)

func testHost() *Host {
	return &Host{
		Toolchain: &toolchain.Toolchain{CC: []string{"cc"}, Compiler: "cc 1", Target: "x86_64-linux", Libc: "glibc 2.36", Family: "debian", Env: []string{"PATH=/usr/bin:/bin", "SOURCE_DATE_EPOCH=1"}},
		Expat:     true, Has: map[string]bool{"tls": true, "deflate": true, "xml": true},
		Linked: map[string][]string{"tls": {"libssl.so.3"}, "expat": {"libexpat.so.1"}},
	}
}

func testRequest() Request {
	q := Request{Features: []string{"deflate", "tls"}, Host: testHost(), Jobs: 1, Work: "/no/such/work", Stage: "/no/such/stage", Runner: &run.Runner{}}
	for _, name := range []string{"httpd", "apr", "apr-util", "pcre2"} {
		q.Components = append(q.Components, Component{Name: name, Version: "1.0", Archive: "/no/such/" + name, SHA256: "sum of " + name})
	}
	return q
}

func TestFeatureTable(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Features() {
		if seen[f.Name] || f.Name != strings.ToLower(f.Name) || f.About == "" || len(f.Headers) == 0 || len(f.Libs) == 0 || len(f.Modules) == 0 || len(f.on) == 0 || len(f.on) != len(f.off) {
			t.Errorf("%+v is not complete", f)
		}
		seen[f.Name] = true
		for _, family := range []string{"debian", "rhel", "alpine", "arch", "suse"} {
			if f.Package[family] == "" {
				t.Errorf("%s has no package for %s", f.Name, family)
			}
		}
		for i := range f.on {
			if strings.TrimPrefix(f.on[i], "--enable-") != strings.TrimPrefix(f.off[i], "--disable-") || f.on[i] == f.off[i] {
				t.Errorf("%s: %s and %s", f.Name, f.on[i], f.off[i])
			}
		}
	}
	if f, _ := feature("http2"); f.Default {
		t.Error("http2 is built without being asked for")
	}
	Features()[0].Name = "changed"
	if features[0].Name == "changed" {
		t.Error("Features gives the table itself")
	}
}

func TestSelect(t *testing.T) {
	bare := testHost()
	bare.Has, bare.Expat, bare.Perl = map[string]bool{}, false, "5.36.0"
	bare.Missing = []Missing{{What: cryptNeed, Package: distro.Crypt}}
	noPerl := *bare
	noPerl.Perl = ""
	mac := *bare
	noMac := *bare.Toolchain
	noMac.Target = "arm64-apple-darwin"
	mac.Toolchain = &noMac
	full := testHost()
	full.Perl = "5.36.0"
	all := []string{"brotli", "http2", "xml"}
	for name, c := range map[string]struct {
		host          *Host
		with, without []string
		from          Libraries
		want          string // features, and the libraries that are built
		class         fault.Class
		says, hint    string
	}{
		"defaults":                   {full, nil, nil, FromHost, "deflate tls", 0, "", ""},
		"asked for":                  {full, []string{"xml"}, nil, FromHost, "deflate tls xml", 0, "", ""},
		"twice":                      {full, []string{"xml", "tls", "xml"}, nil, FromHost, "deflate tls xml", 0, "", ""},
		"without":                    {full, nil, []string{"tls"}, FromHost, "deflate", 0, "", ""},
		"without an unavailable one": {full, nil, []string{"brotli"}, FromHost, "deflate tls", 0, "", ""},
		"not possible":               {full, []string{"brotli"}, nil, FromHost, "", fault.Environment, "brotli/encode.h", "apt-get install libbrotli-dev"},
		"unknown":                    {full, []string{"quic"}, nil, FromHost, "", fault.Usage, `"quic"`, "tls, http2"},
		"unknown without":            {full, []string{}, []string{"TLS"}, FromHost, "", fault.Usage, `"TLS"`, "tls"},
		"empty name":                 {full, []string{""}, nil, FromHost, "", fault.Usage, `""`, "tls"},
		"both":                       {full, []string{"tls"}, []string{"tls"}, FromHost, "", fault.Usage, "both in --with and in --without", "leave one"},
		"auto, what the host has":    {full, nil, nil, Auto, "deflate tls", 0, "", ""},
		"auto, what it lacks":        {full, all, nil, Auto, "brotli deflate http2 tls xml | brotli nghttp2", 0, "", ""},
		"auto on a bare host":        {bare, nil, nil, Auto, "deflate tls | expat libxcrypt openssl zlib", 0, "", ""},
		"host on a bare host":        {bare, nil, nil, FromHost, " | expat", 0, "", ""},
		"several on a bare host":     {bare, []string{"http2", "xml"}, nil, FromHost, "", fault.Environment, `cannot build feature "http2"`, "apt-get install libnghttp2-dev libxml2-dev"},
		"everything from source":     {full, all, nil, FromSource, "brotli deflate http2 tls xml | brotli expat libxcrypt libxml2 nghttp2 openssl zlib", 0, "", ""},
		"no TLS from source":         {full, nil, []string{"tls"}, FromSource, "deflate | expat libxcrypt zlib", 0, "", ""},
		"no Perl":                    {&noPerl, nil, nil, Auto, "", fault.Environment, "needs Perl", "--without tls"},
		"no Perl, TLS asked for":     {&noPerl, []string{"tls"}, nil, Auto, "", fault.Environment, "needs Perl", "apt-get install perl"},
		"no Perl, and none needed":   {&noPerl, nil, []string{"tls"}, Auto, "deflate | expat libxcrypt zlib", 0, "", ""},
		"no Linux":                   {&mac, nil, nil, Auto, " | expat", 0, "", ""},
		"from source, but no Linux":  {&mac, nil, nil, FromSource, "", fault.Environment, "only for Linux", "auto or host"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.host.Select(c.with, c.without, c.from)
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				said := strings.Join(got.Features, " ")
				if len(got.Libraries) > 0 {
					said += " | " + strings.Join(got.Libraries, " ")
				}
				if said != c.want {
					t.Errorf("got %q, want %q", said, c.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || fault.ClassOf(err) != c.class || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("got %v, %v, hint %q", got, err, fault.HintOf(err))
			}
		})
	}
	other := bare
	other.Missing = nil
	other.LackCrypt()
	other.LackCrypt()
	if got, err := other.Select(nil, []string{"tls"}, Auto); err != nil || len(other.Missing) != 1 || !slices.Contains(got.Libraries, "libxcrypt") {
		t.Errorf("a library crypt that cannot be used: %+v, %v, %v", got, err, other.Missing)
	}
	// A default that is left out, and a long build, are mentioned before the build.
	for _, c := range []struct {
		from Libraries
		says string
	}{{FromHost, "httpd is built without tls: the compiler does not find openssl/ssl.h"}, {Auto, "OpenSSL is built from source, which takes several times as long"}} {
		got, err := bare.Select(nil, nil, c.from)
		if err != nil || !strings.Contains(strings.Join(got.Notes, "\n"), c.says) || !strings.Contains(strings.Join(got.Notes, "\n"), "apt-get install libssl-dev") {
			t.Errorf("%s: %+v, %v", c.from, got, err)
		}
	}
}

func TestParseLibraries(t *testing.T) {
	for name, want := range map[string]Libraries{"": Auto, "auto": Auto, "host": FromHost, "bundled": FromSource} {
		if got, err := ParseLibraries(name); err != nil || got != want {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"Auto", "source", "host,bundled"} {
		if _, err := ParseLibraries(name); fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "auto, host or bundled") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Every feature can be built from source, and every library has a step and a version to
// check.
func TestLibraryTable(t *testing.T) {
	for _, f := range features {
		if LibraryOf(f.Name) == "" {
			t.Errorf("%s has no library", f.Name)
		}
	}
	b := &builder{}
	for _, l := range libraries {
		if all := b.stepsOf(l); all[len(all)-1].Run == nil || all[len(all)-1].Name != compileStep(l) {
			t.Errorf("%s has no step", l.component)
		}
		if releaseHeader[l.component].file == "" {
			t.Errorf("the version of %s is not checked", l.component)
		}
		if len(l.shared)+len(l.archives) == 0 || (l.feature != "") != (l.option != "") {
			t.Errorf("%+v is incomplete", l)
		}
	}
}

func TestKey(t *testing.T) {
	base := testRequest()
	key := base.Key()
	same := map[string]func(*Request){
		"order of archives": func(q *Request) { slices.Reverse(q.Components) },
		"order of features": func(q *Request) { q.Features = []string{"tls", "deflate"} },
		"place of archives": func(q *Request) { q.Components[0].Archive = "/elsewhere" },
		"directories":       func(q *Request) { q.Work, q.Stage, q.Logs = "/a", "/b", "/c" },
		"jobs":              func(q *Request) { q.Jobs = 9 },
		"unused library":    func(q *Request) { q.Host.Linked["xml"] = []string{"libxml2.so.2"} },
		"PATH":              func(q *Request) { q.Host.Env[0] = "PATH=/x" },
	}
	for name, change := range same {
		q := testRequest()
		change(&q)
		if q.Key() != key {
			t.Errorf("%s changes the key", name)
		}
	}
	keys := map[string]string{key: "nothing"}
	for name, change := range map[string]func(*Request){
		"version": func(q *Request) { q.Components[1].Version = "1.1" },
		"hash":    func(q *Request) { q.Components[1].SHA256 = "other" },
		"one more": func(q *Request) {
			q.Components = append(q.Components, Component{Name: "expat", Version: "2", SHA256: "s"})
		},
		"features":     func(q *Request) { q.Features = []string{"tls"} },
		"compiler":     func(q *Request) { q.Host.Compiler = "cc 2" },
		"its flags":    func(q *Request) { q.Host.CC = []string{"cc", "-m32"} },
		"its words":    func(q *Request) { q.Host.CC = []string{"cc -m32"} },
		"target":       func(q *Request) { q.Host.Target = "aarch64-linux" },
		"libc":         func(q *Request) { q.Host.Libc = "glibc 2.41" },
		"date":         func(q *Request) { q.Host.Env[1] = "SOURCE_DATE_EPOCH=2" },
		"OpenSSL":      func(q *Request) { q.Host.Linked["tls"] = []string{"libssl.so.1.1"} },
		"host's expat": func(q *Request) { q.Host.Linked["expat"] = []string{"libexpat.so.2"} },
		"swapped names": func(q *Request) {
			q.Components[0].SHA256, q.Components[1].SHA256 = q.Components[1].SHA256, q.Components[0].SHA256
		},
	} {
		q := testRequest()
		change(&q)
		if other, twice := keys[q.Key()]; twice {
			t.Errorf("%s and %s have the same key", name, other)
		}
		keys[q.Key()] = name
	}
	if !slices.Equal(base.Features, testRequest().Features) {
		t.Error("Key changed the request")
	}
}

func TestCheckRefuses(t *testing.T) {
	there := t.TempDir()
	for says, change := range map[string]func(*Request){
		"missing source of apr-util": func(q *Request) { q.Components = slices.Delete(q.Components, 2, 3) },
		"missing source of expat":    func(q *Request) { q.Host.Expat = false },
		"0 jobs":                     func(q *Request) { q.Jobs = 0 },
		"not an absolute path":       func(q *Request) { q.Work = "work" },
		"stage\" is not an abs":      func(q *Request) { q.Stage = "stage" },
		"already exists":             func(q *Request) { q.Stage = there },
		`the character ' '`:          func(q *Request) { q.Work = "/home/a b/work" },
		`the character '\''`:         func(q *Request) { q.Work = "/home/it's/work" },
		`the character '('`:          func(q *Request) { q.Work = "/home/a(b)/work" },
		`the character '='`:          func(q *Request) { q.Work = "/home/a=b/work" },
		`the character ','`:          func(q *Request) { q.Work = "/home/a,b/work" },
		`the character '&'`:          func(q *Request) { q.Work = "/home/a&b/work" },
		`the character '['`:          func(q *Request) { q.Work = "/home/[x]/work" },
		`the character '\n'`:         func(q *Request) { q.Work = "/home/\n/work" },
		`the character '$'`:          func(q *Request) { q.Work = "/home/$HOME/work" },
		`the character '%'`:          func(q *Request) { q.Work = "/home/100%/work" },
	} {
		q := testRequest()
		change(&q)
		_, err := Build(t.Context(), q)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	if entries, err := os.ReadDir(there); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
	q := testRequest()
	q.Work = "/home/jürgen/.cache/mod-wsgi_1.0+x/work"
	if err := q.check(); err != nil {
		t.Error(err)
	}
}

// A cache directory may be a link to another disk whose path contains a blank.
func TestWorkBehindALink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a b", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	q := testRequest()
	q.Work, q.Stage, q.Logs = filepath.Join(dir, "link/work"), filepath.Join(dir, "stage"), filepath.Join(dir, "logs")
	if _, err := Build(t.Context(), q); err == nil || !strings.Contains(err.Error(), `a b/work" has the character ' '`) {
		t.Errorf("got %v", err)
	}
}

// The order of the steps is data; a misnamed step would hang or be skipped.
func TestStepGraph(t *testing.T) {
	for _, expat := range []bool{false, true} {
		q := testRequest()
		if expat {
			q.Components = append(q.Components, Component{Name: "expat"})
		}
		all := (&builder{Request: q}).steps()
		needs := map[string][]string{}
		for i := range all {
			needs[all[i].Name] = all[i].Needs
			all[i].Run = nil
		}
		var reach func(string, map[string]bool)
		reach = func(name string, seen map[string]bool) {
			if seen[name] {
				return
			}
			seen[name] = true
			for _, n := range needs[name] {
				if _, ok := needs[n]; !ok {
					t.Errorf("%s needs %s, which is not there", name, n)
				}
				reach(n, seen)
			}
		}
		seen := map[string]bool{}
		reach("check httpd", seen)
		if len(seen) != len(all) || len(needs) != len(all) {
			t.Errorf("the last step needs %d of %d steps: %v", len(seen), len(all), slices.Sorted(maps.Keys(seen)))
		}
		if seen["compile expat"] != expat {
			t.Errorf("expat %v: %v", expat, seen)
		}
		for i := range all {
			all[i].Run = runNothing
		}
		if _, err := steps.Run(t.Context(), t.TempDir(), observer.Observer{}, all); err != nil { // refuses cycles
			t.Error(err)
		}
	}
}

func TestOursInRunPath(t *testing.T) {
	b := &builder{Request: Request{Work: "/cache/work"}}
	for element, want := range map[string]bool{
		Placeholder + "/lib": true, "/cache/work": true, "/cache/work/apr/.libs": true,
		Placeholder: false, Placeholder + "/lib64": false, "/cache/workshop": false, "/usr/lib": false, "": false, "/cache": false, "$ORIGIN/../lib": false,
	} {
		if got := b.treeInRunPath(element); got != want {
			t.Errorf("%q: %v", element, got)
		}
	}
}

func TestConfigVars(t *testing.T) {
	work := t.TempDir()
	b := &builder{Request: Request{Work: work}, stage: filepath.Join(work, "stage")}
	fixture := strings.Join([]string{
		"prefix = " + Placeholder, "exec_prefix = ${prefix}", "exp_libdir = " + Placeholder + "/lib", "rel_libdir = lib",
		"CC = /home/me/ccache gcc", "CFLAGS = -O2 -ffile-prefix-map=" + work + "=.", "LDFLAGS = -L" + work + "/deps/lib",
		"EXTRA_INCLUDES = -I$(includedir) -I. -I" + work + "/apr/include", "NOTEST_CPPFLAGS = -DX=1  -I" + work + "/x   -DY",
		"abs_srcdir = " + work + "/httpd", "MPM_MODULES = event worker prefork", "MPM_MODULES = again", "PICFLAGS = -fPIE", "PILDFLAGS = -pie", "EMPTY =", "INSTALL = $(LIBTOOL) --mode=install", "no assignment",
	}, "\n") + "\n"
	if err := writeFile(filepath.Join(b.dir("httpd"), "build/config_vars.mk"), []byte(fixture), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.stageConfigVars(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(b.stage, "build/config_vars.mk"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		if _, twice := got[name]; !ok || twice {
			t.Errorf("line %q", line)
		}
		got[name] = value
	}
	for name, want := range map[string]string{
		"prefix": PrefixVariable, "exec_prefix": PrefixVariable, "exp_libdir": PrefixVariable + "/lib", "rel_libdir": "lib",
		"CC": "cc", "CFLAGS": "", "LDFLAGS": "", "EXTRA_INCLUDES": "-I$(includedir)", "NOTEST_CPPFLAGS": "-DX=1 -DY", "abs_srcdir": "",
		"MPM_MODULES": "event worker prefork", "EMPTY": "", "PICFLAGS": "", "PILDFLAGS": "", "INSTALL": "$(LIBTOOL) --mode=install", "APR_CONFIG": PrefixVariable + "/bin/apr-1-config",
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s = %q, want %q", name, value, want)
		}
	}
	if strings.Contains(string(data), work) || strings.Contains(string(data), Placeholder) {
		t.Errorf("a path of the build is left:\n%s", data)
	}
}

func TestHints(t *testing.T) {
	b := &builder{Request: testRequest()}
	for text, want := range map[string]string{
		"mod_ssl.c:1:10: fatal error: openssl/ssl.h: No such file or directory":                          "apt-get install libssl-dev",
		"x.c:1:10: fatal error: openssl/x509.h: No such file or directory":                               "apt-get install libssl-dev",
		"x.c:1:10: fatal error: 'nghttp2/nghttp2.h' file not found":                                      "apt-get install libnghttp2-dev",
		"x.c:1:10: fatal error: libxml/parser.h: No such file or directory":                              "apt-get install libxml2-dev",
		"x.c:1:10: fatal error: libxml/HTMLparser.h: No such file or directory":                          "apt-get install libxml2-dev",
		"x.c:1:10: fatal error: zlib.h: No such file or directory":                                       "apt-get install zlib1g-dev",
		"x.c:1:10: fatal error: lib.h: No such file or directory":                                        "the header lib.h is missing: install the development",
		"x.c:1:10: fatal error: linux/limits.h: No such file or directory":                               "the header linux/limits.h is missing",
		"/usr/bin/ld: cannot find -lssl: No such file or directory":                                      "apt-get install libssl-dev",
		"ld.lld: error: unable to find library -lbrotlienc":                                              "apt-get install libbrotli-dev",
		"/usr/bin/ld: cannot find -lcrypt: No such file":                                                 "cannot find -lcrypt; install it: apt-get install libcrypt-dev",
		"ld: ./.libs/libaprutil-1.so.0: undefined reference to `crypt'":                                  "apt-get install libcrypt-dev",
		"configure: error: mod_ssl has been requested but can not be built due to":                       "or use --without tls",
		"checking...\nconfigure: error: mod_xml2enc has been requested but can not be built due":         "or use --without xml",
		"fatal error: error writing to /tmp/x.s: No space left on device":                                "free some space",
		"write /x: no space left on device":                                                              "free some space",
		"Disk quota exceeded":                                                                            "free some space",
		"gcc: fatal error: Killed signal terminated program cc1":                                         "--jobs 1",
		"collect2: fatal error: ld terminated with signal 9 [Killed]":                                    "--jobs 1",
		"virtual memory exhausted: Cannot allocate memory":                                               "--jobs 1",
		"fork/exec ./configure: permission denied":                                                       "noexec",
		"configure: error: cannot run C compiled programs.":                                              "noexec",
		"make: warning:  Clock skew detected.  Your build may be incomplete":                             "clock",
		"configure: error: newly created file is older than distributed files!\nCheck your system clock": "clock",
		"configure: error: C compiler cannot create executables":                                         "the compiler does not work",
		"./configure: 12: awk: not found":                                                                "the program awk is missing",
		"/bin/sh: line 1: ranlib: command not found":                                                     "the program ranlib is missing",
		"make: *** [Makefile:1: all] Error 1":                                                            "",
		"checking for stdio.h... not found":                                                              "",
		"checking for openssl... configure: continue":                                                    "",
	} {
		if got := b.hintIn(text); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", text, got, want)
		}
	}
}

// The last lines take precedence; the rest of the log is used only if they give no
// hint.
func TestHintPrefersTheTail(t *testing.T) {
	b := &builder{Request: testRequest()}
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("rm: x: Permission denied\n"+strings.Repeat("more\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	tool := func(tail ...string) error {
		return fmt.Errorf("x: %w", &run.Error{Argv: []string{"make"}, Tail: tail, LogPath: log, Err: errors.New("exit status 2")})
	}
	for want, err := range map[string]error{
		"free some space":                tool("No space left on device"),
		"noexec":                         tool("Error 1"),
		"":                               errors.New("mod_ssl was not made"),
		"free some":                      &fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC},
		"--keep-build keeps the sources": fmt.Errorf("y: %w", &run.Error{Argv: []string{"make"}, Err: errors.New("exit status 2")}),
	} {
		if got := b.hint(err); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
	if got := b.hint(fault.New(fault.Source, "get it again", "no space left on device")); got != "" {
		t.Errorf("a better hint is hidden by %q", got)
	}
}

func TestCopiedFilesAreReadableWhateverTheUmask(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	if err := os.WriteFile(from, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer syscall.Umask(syscall.Umask(0o077))
	if err := copyFile(from, filepath.Join(dir, "a/b/program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(dir, "a/c/text"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"a": 0o755, "a/b": 0o755, "a/b/program": 0o755, "a/c": 0o755, "a/c/text": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if err := makeDir(filepath.Join(from, "below a file")); err == nil {
		t.Error("a directory below a file")
	}
}

func TestCopySharedLibrary(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for _, name := range []string{"libapr-1.so.0.7.6", "libapr-1.so.0", "libapr-1.so", "libapr-1.so.0T", "libapr-1.soname", "libapr-1.la"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := copySharedLibrary(from, "libapr-1", to, true); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(to)
	if target, _ := os.Readlink(filepath.Join(to, "libapr-1.so")); err != nil || len(entries) != 2 || target != "libapr-1.so.0" {
		t.Errorf("got %v, %v", entries, err)
	}
	if err := copySharedLibrary(from, "libother", to, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
