//go:build unix

package prove

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/testkit"
)

func TestCompare(t *testing.T) {
	prefix := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(prefix, link); err != nil {
		t.Skip(err)
	}
	s := Subject{Prefix: prefix, PythonVersion: "3.11.10", ModuleVersion: "5.0.2"}
	for _, tt := range []struct {
		name             string
		prefix, py, wsgi string
		word             string // "" for none
	}{
		{"the same", prefix, "3.11.10", "5.0.2", ""},
		{"through a link", link, "3.11.10", "5.0.2", ""},
		{"another prefix", t.TempDir(), "3.11.10", "5.0.2", "the prefix"},
		{"a prefix that is gone", "/no/such", "3.11.10", "5.0.2", "the prefix"},
		{"no prefix", "", "3.11.10", "5.0.2", "the prefix"},
		{"a version that begins alike", prefix, "3.11.1", "5.0.2", "runs Python 3.11.1, not 3.11.10"},
		{"no version", prefix, "", "5.0.2", "runs Python"},
		{"another module", prefix, "3.11.10", "5.0.20", "mod_wsgi 5.0.20"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := compare(&Proof{Prefix: tt.prefix, PythonVersion: tt.py, ModuleVersion: tt.wsgi}, s)
			if tt.word == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || fault.ClassOf(err) != fault.Verify || !strings.Contains(err.Error(), tt.word) {
				t.Errorf("%v", err)
			}
		})
	}
	s.PythonVersion = "3.13.0rc2+"
	if err := compare(&Proof{Prefix: prefix, PythonVersion: "3.13.0", ModuleVersion: "5.0.2"}, s); err != nil {
		t.Errorf("a release candidate: %v", err)
	}
}

// newServer is a throwaway server in which nothing was started.
func newServer(t *testing.T) *throwaway {
	t.Helper()
	server, err := newThrowaway(options().Env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.remove)
	return server
}

func TestConfigurationQuotes(t *testing.T) {
	server := newServer(t)
	s := Subject{Module: `/a "b" \c/mod's <x>.so`, Prefix: "/p q/%{x}#", ModulesDir: "/m"}
	if err := server.configure(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile(server.path("httpd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`LoadModule wsgi_module "/a \"b\" \\c/mod's <x>.so"`, `WSGIPythonHome "/p q/%{x}#"`, "Listen " + server.address, "application-group=%{GLOBAL}",
	} {
		if !strings.Contains(string(conf), line+"\n") {
			t.Errorf("lacks the line %s:\n%s", line, conf)
		}
	}
	// without a locale the daemon process decodes a prefix such as /srv/é as ASCII, and
	// runs another Python
	if !strings.Contains(string(conf), " lang=C.UTF-8 locale=C.UTF-8 ") {
		t.Errorf("the daemon process has no UTF-8 locale:\n%s", conf)
	}
	if app, err := os.ReadFile(server.path("verify.wsgi")); err != nil || !strings.Contains(string(app), `"`+server.nonce+`"`) {
		t.Errorf("%s, %v", app, err)
	}
	for _, path := range []string{"/a\nLoadModule x y", "/a\x00b", "/a/${HOME}/b"} {
		for _, s := range []Subject{{Module: path}, {Prefix: path}, {ModulesDir: path}, {LibPython: path}} {
			_, err := server.configuration(s)
			testkit.WantFault(t, err, fault.Environment, "another path")
		}
	}
}

// TestErrorLogIsReadToItsEnd: everything that a server wrote before its end is read, and
// nothing else, however much it is. Fatal texts are found even if they span two reads.
func TestErrorLogIsReadToItsEnd(t *testing.T) {
	for range 20 {
		server := newServer(t)
		trouble := make(chan struct{}, 100)
		server.log.follow(func() {
			select {
			case trouble <- struct{}{}:
			default:
			}
		})
		p, err := options().Runner.Start(t.Context(), run.Cmd{
			Argv: []string{"/bin/sh", "-c", `exec >> "$1"; i=0; while [ $i -lt 3000 ]; do echo "line $i of an error log [wsgi"; i=$((i+1)); done; printf "[x:al"; printf "ert] end"`, "sh", server.path("error_log")},
			Dir:  "/", Env: testEnvironment, Account: server.account,
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
		server.log.settle(p)
		text := server.log.text()
		if strings.Count(text, "\n") != 3000 || !strings.HasPrefix(text, "line 0 of") || !strings.HasSuffix(text, "line 2999 of an error log [wsgi\n[x:alert] end") {
			t.Errorf("%d bytes, ending in %q", len(text), text[max(0, len(text)-100):])
		}
		select {
		case <-trouble:
		default:
			t.Error("the fatal text was not found")
		}
		server.remove()
	}
}

var testEnvironment = []string{"PATH=/usr/bin:/bin"}

func TestRelevantLines(t *testing.T) {
	log := "[x] [wsgi:info] [pid 1] one\n[x] [wsgi:crit] [pid 1] two\n[x] [mpm_event:notice] [pid 1] three\nfour\n"
	if got := relevantLines(log, 20); got != "[x] [wsgi:crit] [pid 1] two\nfour" {
		t.Errorf("%q", got)
	}
	if got := relevantLines(log, 1); got != "four" {
		t.Errorf("%q", got)
	}
	if got := relevantLines("[wsgi:info] only\n", 20); got != "[wsgi:info] only" {
		t.Errorf("%q", got)
	}
}

func TestKeepLog(t *testing.T) {
	dir := t.TempDir()
	if line := keepLog(dir, "text"); !strings.Contains(line, filepath.Join(dir, "verify.log")) {
		t.Errorf("%q", line)
	}
	if line := keepLog("", "text"); line != "" {
		t.Errorf("%q", line)
	}
}

// TestBrokenServers: each failure is quick, of class Verify, and leaves nothing behind.
func TestBrokenServers(t *testing.T) {
	dir := t.TempDir()
	for _, open := range []string{dir, filepath.Dir(dir)} { // for the account that root serves as
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Write(t, dir, map[string]string{"text": "no program", "tmp/": ""})
	for program, word := range map[string]string{
		filepath.Join(dir, "none"): "none",
		filepath.Join(dir, "text"): "text",
		"/bin/false":               "ended before it answered",
	} {
		o := options()
		o.Env = append(o.Env, "TMPDIR="+filepath.Join(dir, "tmp"))
		_, err := Run(t.Context(), o, Subject{Executable: program, Module: "/m.so", Prefix: "/", ModulesDir: "/"})
		testkit.WantFault(t, err, fault.Verify, word)
		if left := testkit.Paths(t, filepath.Join(dir, "tmp")); len(left) > 1 {
			t.Errorf("%s: left behind: %v", program, left)
		}
	}
}
