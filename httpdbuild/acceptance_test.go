//go:build acceptance

package httpdbuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/event"
	"modwsgi/internal/fetch"
	"modwsgi/internal/filetree"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/recipe"
	"modwsgi/internal/relocate"
	"modwsgi/internal/run"
	"modwsgi/internal/testkit"
	"modwsgi/internal/timeline"
	"modwsgi/internal/toolchain"
)

// archives returns the newest available source archives, from the cache of the test
// driver if it has them.
func archives(t *testing.T, names ...string) []Component {
	t.Helper()
	cache := os.Getenv("MODWSGI_TEST_CACHE")
	if cache == "" {
		t.Skip("MODWSGI_TEST_CACHE is not set (make acceptance sets it)")
	}
	f, err := fetch.New(fetch.Options{Env: os.Environ(), CacheDir: filepath.Join(cache, "downloads")})
	if err != nil {
		t.Fatal(err)
	}
	var found []Component
	for _, name := range names {
		var file *fetch.File
		for _, a := range recipe.Catalogue().Of(name) {
			var missing *fetch.Unavailable
			if file, err = f.Fetch(t.Context(), a); err == nil {
				break
			} else if !errors.As(err, &missing) {
				t.Fatal(err)
			}
		}
		if err != nil {
			t.Skipf("missing source of %s: %v", name, err)
		}
		t.Logf("%s from %s", file.Archive, file.Provider)
		found = append(found, Component{Name: name, Version: file.Archive.Version, Archive: file.Path, SHA256: file.Archive.SHA256})
	}
	return found
}

// hostile is an environment in which many builds break, with a compiler behind a
// wrapper, like ccache.
func hostile(t *testing.T, dir string) []string {
	t.Helper()
	wrapper := filepath.Join(dir, "wrapper")
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "CC="+wrapper+" gcc", "MAKEFLAGS=-n -k", "CFLAGS=-no-such-flag", "LDFLAGS=-no-such-flag", "LD_LIBRARY_PATH=/no/such",
		"CDPATH=/:/usr", "GREP_OPTIONS=-v", "CONFIG_SITE=/no/such", "TMPDIR=/no/such/dir", "HOME=no/such", "POSIXLY_CORRECT=1", "IFS=/",
		"BASH_ENV=/no/such", "ENV=/no/such", "DESTDIR=/no/such", "PATH=.:bin::"+os.Getenv("PATH"))
}

// builds makes the same httpd twice, in a hostile environment: with the native driver, on
// a host without make, with a strict umask and through a symbolic link; and with make, another number of jobs
// and a directory with a longer name. Both build Expat from source.
func builds(t *testing.T) (native, made built) {
	t.Helper()
	parts := archives(t, "httpd", "apr", "apr-util", "pcre2", "expat")
	work, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(work, link); err != nil {
		t.Fatal(err)
	}
	env := hostile(t, t.TempDir())
	mask := syscall.Umask(0o077)
	programs := withoutMake(t) // both find them there: files of the result name grep
	native = buildOne(t, parts, append(slices.Clone(env), "PATH="+programs), link, Native, runtime.NumCPU())
	syscall.Umask(mask)
	longer := filepath.Join(t.TempDir(), strings.Repeat("longer/", 5))
	made = buildOne(t, parts, append(slices.Clone(env), "PATH=.:bin::"+programs+":"+os.Getenv("PATH")), longer, Make, 5)
	return native, made
}

type built struct {
	*Result
	host     *Host
	selected []string
	work     string // with the sources and objects
	spans    []timeline.Span
	texts    []string // of the progress
}

func buildOne(t *testing.T, parts []Component, env []string, dir string, driver Driver, jobs int) built {
	t.Helper()
	r := &run.Runner{}
	tc, err := toolchain.Find(t.Context(), r, env, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host, err := Probe(t.Context(), r, tc, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var with []string
	for _, name := range []string{"brotli", "xml"} {
		if host.Has[name] {
			with = append(with, name)
		}
	}
	selected, err := host.Select(with, nil, FromHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s in %s: features %v, linked %v", driver, dir, selected.Features, host.Linked)
	b := built{host: host, selected: selected.Features}
	flags := hardened(t, r, tc)
	var mu sync.Mutex
	began, line := time.Now(), timeline.New()
	early := map[string]string{} // the files that a module is compiled with
	b.Result, err = Build(t.Context(), Request{
		Components: parts, Features: selected.Features, Host: host, Jobs: jobs, Driver: driver, Timeline: line, Flags: flags,
		Work: filepath.Join(dir, "work"), Stage: filepath.Join(dir, "stage"), Logs: filepath.Join(dir, "logs"), Runner: r,
		Beside: func(ctx context.Context, tree string, slots *objgraph.Pool) {
			release, err := slots.Acquire(ctx, objgraph.Heavy)
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			for _, name := range slices.Concat(filetree.Glob(tree, "include/*.h"), filetree.Glob(tree, "build/config_vars.mk")) {
				rel, _ := filepath.Rel(tree, name)
				early[rel] = string(read(t, name))
			}
		},
		Events: func(e event.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind != event.Progress {
				t.Logf("%6.2f %s %s %s %v", time.Since(began).Seconds(), e.Kind, e.Step, e.Text, e.Elapsed)
			} else {
				b.texts = append(b.texts, e.Text)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkEarly(t, b.Tree, early, driver)
	logs := filepath.Join(dir, "logs")
	if driver == Make { // whose output is that of make
		logs = ""
	}
	checkProtected(t, b.Tree, logs, flags)
	if b.Driver != driver {
		t.Errorf("built with %s, not with %s", b.Driver, driver)
	}
	if b.work, err = filepath.EvalSymlinks(filepath.Join(dir, "work")); err != nil {
		t.Fatal(err)
	}
	b.spans = line.Spans()
	return b
}

// checkEarly checks that the native driver has what modules are compiled with while it
// compiles, exactly as in the finished tree.
func checkEarly(t *testing.T, tree string, early map[string]string, driver Driver) {
	t.Helper()
	finished := map[string]string{}
	if driver == Native {
		for _, name := range slices.Concat(filetree.Glob(tree, "include/*.h"), filetree.Glob(tree, "build/config_vars.mk")) {
			rel, _ := filepath.Rel(tree, name)
			finished[rel] = string(read(t, name))
		}
	}
	if !maps.Equal(early, finished) || driver == Native && len(early) < 100 {
		t.Errorf("%d files for modules while %s compiles, %d afterwards, or others", len(early), driver, len(finished))
	}
}

func TestBuild(t *testing.T) {
	testkit.Turn(t, "builds")
	first, made := builds(t)
	sameConfiguration(t, first.work, made.work)
	sameAnswers(t, first.work, made.work)
	checkSpans(t, first)
	dir := filepath.Dir(first.Tree)
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(first.work); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(t.TempDir(), "a 'moved' tree")
	if err := os.Rename(first.Tree, moved); err != nil {
		t.Fatal(err)
	}
	r := &run.Runner{}
	checkModules(t, first.Modules, first.selected)
	for _, dir := range []string{real, dir} {
		if leaks, err := relocate.Leaks(moved, dir); err != nil || len(leaks) > 0 {
			t.Errorf("files that name %s: %v, %v", dir, leaks, err)
		}
	}
	checkModes(t, moved)
	checkLibraries(t, r, moved)
	loadEverything(t, r, moved, first.Modules)
	loadEverything(t, r, made.Tree, made.Modules)
	t.Run("native is like make", func(t *testing.T) { sameTrees(t, moved, made.Tree, true) })
	t.Run("reproducible", func(t *testing.T) {
		// If two drivers produce the same, each also produces the same twice. A third
		// build takes minutes and is for the long tests.
		if os.Getenv("MODWSGI_TEST_LONG") == "" {
			t.Skip("MODWSGI_TEST_LONG is not set")
		}
		again := buildOne(t, archives(t, "httpd", "apr", "apr-util", "pcre2", "expat"), os.Environ(), filepath.Join(t.TempDir(), "again"), Native, 3)
		sameTrees(t, moved, again.Tree, false)
	})
}

// checkModules compares the modules with the features.
func checkModules(t *testing.T, modules, selected []string) {
	t.Helper()
	for _, f := range Features() {
		for _, m := range f.Modules {
			if slices.Contains(modules, m) != slices.Contains(selected, f.Name) {
				t.Errorf("features %v, but modules %v", selected, modules)
			}
		}
	}
	if slices.Contains(modules, "mod_http2") {
		t.Error("mod_http2 was built though nobody asked for it")
	}
}

// checkModes checks that everybody can read the tree, although the build's umask
// forbids it.
func checkModes(t *testing.T, tree string) {
	t.Helper()
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o644)
		if d.IsDir() || filepath.Dir(path) == filepath.Join(tree, "bin") {
			want = 0o755
		}
		if info.Mode().Perm()&want != want || info.Mode().Perm()&0o022 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// checkLibraries queries the loader for each file's libraries: ours must be in the
// tree, all others in the system.
func checkLibraries(t *testing.T, r *run.Runner, tree string) {
	t.Helper()
	env := []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	if _, err := run.LookPath("ldd", env); err != nil {
		t.Log("no ldd: libraries are not looked at")
		return
	}
	count := 0
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !relocate.IsELF(path) {
			return err
		}
		count++
		out, err := r.Output(t.Context(), run.Cmd{Argv: []string{"ldd", path}, Env: env})
		for line := range strings.Lines(string(out)) {
			name, where, ok := strings.Cut(strings.TrimSpace(line), " => ")
			ours := slices.ContainsFunc([]string{"libapr-", "libaprutil-", "libpcre2-"}, func(p string) bool { return strings.HasPrefix(name, p) })
			if ok && (strings.HasPrefix(where, "not found") || strings.HasPrefix(where, tree) != ours) {
				t.Errorf("%s: %s", path, line)
			}
		}
		return err
	})
	if err != nil || count < 60 {
		t.Errorf("%d files, %v", count, err)
	}
}

// loadEverything makes httpd read a configuration that loads every module.
func loadEverything(t *testing.T, r *run.Runner, tree string, modules []string) {
	t.Helper()
	var conf strings.Builder
	fmt.Fprintf(&conf, "ServerRoot %q\nServerName localhost\nListen 127.0.0.1:1\nErrorLog %q\n", tree, filepath.Join(t.TempDir(), "log"))
	// Modules that others depend on come first; only one MPM is loaded.
	order := []string{"mod_mpm_event", "mod_dav", "mod_watchdog", "mod_dbd", "mod_proxy", "mod_session", "mod_slotmem_shm", "mod_cache"}
	for _, m := range modules {
		if !slices.Contains(order, m) && !strings.HasPrefix(m, "mod_mpm_") && m != "mod_cgi" {
			order = append(order, m)
		}
	}
	for _, m := range order {
		if slices.Contains(modules, m) {
			fmt.Fprintf(&conf, "LoadModule %s_module %q\n", strings.TrimPrefix(m, "mod_"), filepath.Join(tree, "modules", m+".so"))
		}
	}
	name := filepath.Join(t.TempDir(), "httpd.conf")
	if err := os.WriteFile(name, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	_, err := r.Output(t.Context(), run.Cmd{Argv: []string{filepath.Join(tree, "bin/httpd"), "-t", "-f", name, "-C", "PidFile " + t.TempDir() + "/pid"}, Log: &said})
	if err != nil {
		t.Fatalf("httpd -t with every module: %v\n%s", err, &said)
	}
}
