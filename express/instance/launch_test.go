//go:build unix

package instance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/internal/elf/elftest"
	"modwsgi/internal/fault"
)

// TestEnviron has a row for each way in which the instance's environment and the
// caller's meet.
func TestEnviron(t *testing.T) {
	for _, c := range []struct{ what, own, caller, want string }{
		{"nothing", "", "", ""},
		{"the caller's", "", "B=2 A=1", "B=2 A=1"},
		{"both", "Z=1 Y=2", "A=1", "A=1 Y=2 Z=1"},
		{"the instance's counts", "A=own", "A=caller B=2", "B=2 A=own"},
		{"the last of the instance's counts", "A=1 A=2", "", "A=2"},
		{"an empty value counts", "A=", "A=caller", "A="},
		{"variables of another server", "MOD_WSGI_A=1", "MOD_WSGI_A=2 MOD_WSGI_B=3", "MOD_WSGI_A=1"},
		{"systemd's socket", "", "NOTIFY_SOCKET=/s NOTIFY_SOCKETS=1", "NOTIFY_SOCKETS=1"},
		{"sockets of systemd", "", "LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=https LISTEN_PIDFDID=2 LISTEN=3", "LISTEN=3"},
		{"another Python", "PYTHONHOME=/x", "PYTHONHOME=/y PYTHONPLATLIBDIR=lib64 PYTHONEXECUTABLE=/z __PYVENV_LAUNCHER__=/z PYTHONHOMES=/h", "PYTHONHOMES=/h"},
		{"libraries", "LANG=C.UTF-8", "PYTHONPATH=/p LD_LIBRARY_PATH=/l LD_PRELOAD=/x", "PYTHONPATH=/p LD_LIBRARY_PATH=/l LD_PRELOAD=/x LANG=C.UTF-8"},
	} {
		l, caller := &Launch{Env: strings.Fields(c.own)}, strings.Fields(c.caller)
		got := l.Environ(caller)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
		if strings.Join(caller, " ") != c.caller || strings.Join(l.Env, " ") != c.own {
			t.Errorf("%s: the arguments were changed: %q %q", c.what, caller, l.Env)
		}
	}
}

func TestInherited(t *testing.T) {
	env := []string{"PYTHONPATH=/p", "A=1", "LD_LIBRARY_PATH=/first", "LD_LIBRARY_PATH=/l", "LD_PRELOAD=", "PYTHONHOME=/h"}
	if got := strings.Join(Inherited(env), " "); got != "LD_LIBRARY_PATH=/l PYTHONPATH=/p" {
		t.Errorf("%q", got)
	}
}

// TestCheckInherited: a libpython that would come before the module's is refused,
// whatever its file is called.
func TestCheckInherited(t *testing.T) {
	dir := t.TempDir()
	python := write(t, filepath.Join(dir, "disguised.so"), string(elftest.File{Exports: map[string][]byte{"Py_InitializeEx": nil}}.Bytes()), 0o644)
	other := write(t, filepath.Join(dir, "other.so"), string(elftest.File{Exports: map[string][]byte{"malloc": nil}}.Bytes()), 0o644)
	text := write(t, filepath.Join(dir, "text.so"), "", 0o644)
	for _, c := range []struct {
		env     string
		refused string // the library
	}{
		{"LD_PRELOAD=", ""},
		{"LD_PRELOAD=" + other, ""},
		{"LD_PRELOAD=" + text, ""},
		{"LD_PRELOAD=" + dir, ""},
		{"LD_PRELOAD=libjemalloc.so.2", ""},
		{"LD_PRELOAD=" + python, python},
		{"LD_PRELOAD=" + other + " " + python, python},
		{"LD_AUDIT=" + other + ":" + python, python},
		{"LD_PRELOAD=libpython3.11.so.1.0", "libpython3.11.so.1.0"},
		{"DYLD_INSERT_LIBRARIES=" + python, python},
		{"LD_LIBRARY_PATH=" + dir, ""}, // httpd gets the path of its libpython
	} {
		err := CheckInherited([]string{"A=1", c.env})
		if c.refused == "" {
			if err != nil {
				t.Errorf("%s: %v", c.env, err)
			}
			continue
		}
		name, _, _ := strings.Cut(c.env, "=")
		wants(t, c.env, err, fault.Environment, name+" loads "+c.refused+",")
		if !strings.Contains(fault.HintOf(err), "unset "+name) {
			t.Errorf("%s: hint %q", c.env, fault.HintOf(err))
		}
	}
}

func TestUnderGDB(t *testing.T) {
	argv := []string{"/opt/httpd", "-f", "/r/a b.conf", "-X"}
	got := (&Launch{GDB: "/opt/gdb"}).UnderGDB(argv)
	if got[0] != "/opt/gdb" || !slices.Equal(got[len(got)-5:], append([]string{"--args"}, argv...)) || !slices.Contains(got, "set startup-with-shell off") {
		t.Errorf("%q", got)
	}
}

// TestIncludedPaths: files, directories with everything below them, and patterns.
func TestIncludedPaths(t *testing.T) {
	top := tempDir(t)
	for _, name := range []string{"one.conf", "dir/a.conf", "dir/sub/b.conf", "many/1.conf", "many/2.conf", "many/3.txt"} {
		mkdir(t, filepath.Dir(filepath.Join(top, name)), 0o755)
		write(t, filepath.Join(top, name), "", 0o644)
	}
	l := &Launch{Includes: []string{top + "/one.conf", top + "/dir", top + "/many/*.conf", top + "/none.conf"}}
	got := l.IncludedPaths()
	for _, name := range []string{"one.conf", "dir/a.conf", "dir/sub/b.conf", "many/1.conf", "many/2.conf", "none.conf"} {
		if !slices.Contains(got, filepath.Join(top, name)) {
			t.Errorf("%s is missing in %q", name, got)
		}
	}
	if slices.Contains(got, filepath.Join(top, "many/3.txt")) {
		t.Errorf("%q has a file that the pattern does not match", got)
	}
	if got := (&Launch{}).IncludedPaths(); len(got) > 0 {
		t.Errorf("without --include-file: %q", got)
	}
}

// TestWriteHosts: undo restores the file that was there, also an empty one, and removes
// a new one.
func TestWriteHosts(t *testing.T) {
	top := tempDir(t)
	include := write(t, filepath.Join(top, "x.conf"), "LimitRequestLine 9000\n", 0o644)
	hosts := filepath.Join(top, config.HostsFile)
	dir := opened(t, top)
	for what, before := range map[string]string{"missing": "-", "empty": "", "written before": "# before\n"} {
		_ = os.Remove(hosts)
		if before != "-" {
			write(t, hosts, before, 0o600)
		}
		undo, err := WriteHosts(dir, top, []string{include, filepath.Join(top, "none.conf")})
		must(t, err)
		data, err := os.ReadFile(hosts)
		if err != nil || !strings.HasPrefix(string(data), "# Copied from the files of --include-file") || !strings.Contains(string(data), "LimitRequestLine 9000\n") {
			t.Errorf("%s: %q, %v", what, data, err)
		}
		undo()
		data, err = os.ReadFile(hosts)
		if before == "-" && !os.IsNotExist(err) || before != "-" && (err != nil || string(data) != before) {
			t.Errorf("%s: restored: %q, %v", what, data, err)
		}
	}
	// A file that another user could have written is not trusted.
	write(t, hosts, "", 0o666)
	if _, err := WriteHosts(dir, top, nil); err == nil || !strings.Contains(err.Error(), "everybody may write to it") {
		t.Errorf("a file of everybody's: %v", err)
	}
	must(t, os.Remove(hosts), os.Mkdir(hosts, 0o700))
	if _, err := WriteHosts(dir, top, nil); err == nil {
		t.Error("a directory was accepted")
	}
}
