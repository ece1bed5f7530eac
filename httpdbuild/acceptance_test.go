//go:build acceptance

package httpdbuild

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/event"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
)

// archives returns the source archives that the test driver fetched.
func archives(t *testing.T, names ...string) []Component {
	dir := os.Getenv("MODWSGI_TEST_ARCHIVES")
	if dir == "" {
		t.Skip("MODWSGI_TEST_ARCHIVES is not set (make acceptance sets it)")
	}
	files := map[string][]string{
		"httpd": {"httpd-2.4.*", "apache2_2.4.*.orig.tar.gz"}, "apr": {"apr-1.*.bz2", "apr_1.*.bz2"},
		"apr-util": {"apr-util-1.*.bz2", "apr-util_1.6.4*.bz2"}, "pcre2": {"pcre2-10.*", "pcre2_10.46*"},
		"expat": {"libexpat-R_*", "expat_*"},
	}
	var found []Component
	for _, name := range names {
		var path string
		for _, pattern := range files[name] {
			if m, _ := filepath.Glob(filepath.Join(dir, pattern)); len(m) > 0 && path == "" {
				path = m[len(m)-1]
			}
		}
		if path == "" {
			t.Fatalf("no archive of %s in %s", name, dir)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		version := strings.TrimLeft(filepath.Base(path), "abcdehiltpx-_2R")
		if name == "httpd" {
			version = "2.4.68"
		}
		found = append(found, Component{Name: name, Version: version, Archive: path, SHA256: fmt.Sprintf("%x", sha256.Sum256(data))})
	}
	return found
}

func TestBuildWithExpatFromSource(t *testing.T) {
	parts := archives(t, "httpd", "apr", "apr-util", "pcre2", "expat")
	r := &run.Runner{}
	tc, err := toolchain.Find(t.Context(), r, os.Environ(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host, err := Probe(t.Context(), r, tc, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	selected, err := host.Select(nil, []string{"http2"})
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	began := time.Now()
	res, err := Build(t.Context(), Request{
		Components: parts, Features: selected, Host: host, Jobs: runtime.NumCPU(),
		Work: filepath.Join(work, "work"), Stage: filepath.Join(work, "stage"), Logs: filepath.Join(work, "logs"), Runner: r,
		Events: func(e event.Event) {
			if e.Kind != event.Progress {
				t.Logf("%6.2f %s %s %s %v", time.Since(began).Seconds(), e.Kind, e.Step, e.Text, e.Elapsed)
			}
		},
	})
	if err != nil {
		if keep := os.Getenv("MODWSGI_TEST_KEEP"); keep != "" {
			_ = os.CopyFS(keep, os.DirFS(work))
		}
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(work, "work")); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(res.Modules, "mod_http2") {
		t.Error("mod_http2 was built though it was not wanted")
	}
	moved := filepath.Join(t.TempDir(), "a 'moved' tree")
	if err := os.Rename(res.Tree, moved); err != nil {
		t.Fatal(err)
	}
	if keep := os.Getenv("MODWSGI_TEST_KEEP"); keep != "" {
		_ = os.CopyFS(keep, os.DirFS(moved))
	}
	loadEverything(t, r, moved, res.Modules)
}

// loadEverything has httpd read a configuration that loads every module.
func loadEverything(t *testing.T, r *run.Runner, tree string, modules []string) {
	t.Helper()
	var conf strings.Builder
	fmt.Fprintf(&conf, "ServerRoot %q\nServerName localhost\nListen 127.0.0.1:1\nErrorLog %q\n", tree, filepath.Join(t.TempDir(), "log"))
	// Modules that others build on come first; of the MPMs one is taken.
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
