//go:build acceptance

package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/detect"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/testkit"
)

// testSubject describes the environment that the tests share.
func testSubject(t *testing.T) Subject {
	t.Helper()
	env := os.Getenv("MODWSGI_TEST_ENV")
	if env == "" {
		t.Skip("MODWSGI_TEST_ENV is not set: run make acceptance")
	}
	return subjectOf(t, env)
}

// subjectOf combines the Python of one environment with module and httpd of the shared
// one.
func subjectOf(t *testing.T, env string) Subject {
	t.Helper()
	ask := func(dir string) *detect.Python {
		py, err := detect.FindPython(t.Context(), &run.Runner{}, detect.Request{Python: dir, HTTPD: "auto", Env: os.Environ(), Dir: "/"})
		if err != nil {
			t.Fatal(err)
		}
		return py
	}
	shared := ask(os.Getenv("MODWSGI_TEST_ENV"))
	r, err := receipt.Read(shared.Platlib)
	if err != nil {
		t.Fatal(err)
	}
	py := ask(env)
	s := Subject{
		Prefix: py.Prefix, PythonVersion: shared.Version,
		Module: filepath.Join(shared.Platlib, "mod_wsgi", "server", r.Module.File), ModuleVersion: r.Module.Version,
		Executable: r.HTTPD.Executable, ModulesDir: r.HTTPD.ModulesDir,
		Python: &Python{
			Executable: py.Executable, Prefix: py.Prefix, BasePrefix: py.BasePrefix, ExecPrefix: py.ExecPrefix, Scripts: py.Scripts, Purelib: py.Purelib,
			Platlib: py.Platlib, LibPython: py.LibPython, LibShared: py.LibShared, Major: py.Major, Minor: py.Minor, FreeThreaded: py.FreeThreaded,
		},
	}
	if r.Python.Soname != "" && shared.LibShared {
		s.LibPython = shared.LibPython
	}
	return s
}

// openEnvironment is a virtual environment in a directory of root's that others can
// enter, with the system's Python, which others can read.
func openEnvironment(t *testing.T, dir string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	testSubject(t)
	env := filepath.Join(dir, "env")
	if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-m", "venv", "--without-pip", env).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return env
}

// as runs a shell script as a user.
func as(t *testing.T, uid, gid uint32, script string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as %d: %v\n%s", uid, err, out)
	}
	return string(out)
}

func hooked(t *testing.T, f func(moment string, s *throwaway)) {
	t.Helper()
	old := hook
	hook = f
	t.Cleanup(func() { hook = old })
}

// capabilities returns the distinct capability sets of a user's processes.
func capabilities(t *testing.T, uid uint32) (sets map[string]bool, processes []int) {
	t.Helper()
	sets = map[string]bool{}
	found, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, file := range found {
		data, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(data, fmt.Appendf(nil, "\nUid:\t%d\t", uid)) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		processes = append(processes, pid)
		var set []string
		for line := range strings.Lines(string(data)) {
			for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Groups"} {
				if value, ok := strings.CutPrefix(line, name+":"); ok {
					set = append(set, name+"="+strings.TrimLeft(strings.TrimSpace(value), "0"))
				}
			}
		}
		sets[strings.Join(set, " ")] = true
	}
	return sets, processes
}

// TestNoCapabilityWhereNothingIsClosed: the capability is given only if something is
// closed, and no other.
func TestNoCapabilityWhereNothingIsClosed(t *testing.T) {
	otheruser.Need(t)
	for name, c := range map[string]struct {
		mode fs.FileMode
		want string
	}{
		"open":   {0o755, "Groups= CapInh= CapPrm= CapEff= CapAmb= NoNewPrivs=1"},
		"closed": {0o700, "Groups= CapInh=4 CapPrm=4 CapEff=4 CapAmb=4 NoNewPrivs=1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := otheruser.Dir(t)
			s := subjectOf(t, openEnvironment(t, dir))
			if err := os.Chmod(dir, c.mode); err != nil {
				t.Fatal(err)
			}
			hooked(t, func(moment string, server *throwaway) {
				if moment != "answered" {
					return
				}
				sets, processes := capabilities(t, server.account.UID)
				if len(sets) != 1 || !sets[c.want] || len(processes) < 3 {
					t.Errorf("%v of %d processes", sets, len(processes))
				}
			})
			o := options()
			proof, err := Run(t.Context(), o, s)
			if err != nil || proof.Prefix != s.Prefix {
				t.Errorf("%+v, %v", proof, err)
			}
		})
	}
}

// TestRootKeepsWhatIsExecuted: at no moment can the server's own account or another user
// replace or add anything except in the directory for its sockets, from which root reads
// nothing and which is removed without following a link.
func TestRootKeepsWhatIsExecuted(t *testing.T) {
	otheruser.Need(t)
	s := testSubject(t)
	outside := otheruser.Dir(t)
	secret := filepath.Join(outside, "secret")
	if err := errors.Join(os.Mkdir(secret, 0o700), os.WriteFile(secret+"/text", []byte("the secret text"), 0o600)); err != nil {
		t.Fatal(err)
	}
	const attack = `cd "$1" 2>/dev/null || { echo closed; exit 0; }
ls . 2>/dev/null
for f in httpd.conf verify.wsgi error_log new; do
	ln -s "$2/text" "$f.new" && echo "made $f.new"
	ln -sf "$2/text" "$f" && echo "replaced $f"
	mkfifo "$f.fifo" && echo "made $f.fifo"
	rm -f "$f" && [ ! -e "$f" ] && [ $f != new ] && echo "removed $f"
	mv run "$f" && echo "moved run"
	[ $f = error_log ] || { echo evil >> "$f"; } && echo "wrote $f"
	chmod 666 "$f" && echo "opened $f"
done 2>/dev/null
rmdir run 2>/dev/null && echo removed run
ln -s "$2" run/link
mkfifo run/fifo
mkdir -p run/deep/er && ln -s "$2" run/deep/er/link && chmod 0 run/deep/er
exit 0`
	var dir string
	seen := map[string]bool{}
	hooked(t, func(moment string, server *throwaway) {
		dir = server.dir.Path()
		seen[moment] = true
		for name, id := range map[string]uint32{"nobody": 65534, "another user": otheruser.UID} {
			if said := as(t, id, id, attack, dir, secret); said != "closed\n" {
				t.Errorf("%s: %s: %s", moment, name, said)
			}
		}
		if moment == "configured" { // later, removing its socket would only end the server
			if said := as(t, server.account.UID, server.account.GID, attack+" "+moment, dir, secret); strings.TrimSpace(said) != "wrote error_log" {
				t.Errorf("%s: the server's own account: %s", moment, said)
			}
		}
	})
	o := options()
	proof, err := Run(t.Context(), o, s)
	if err != nil || proof.Prefix != s.Prefix {
		t.Errorf("%+v, %v", proof, err)
	}
	if len(seen) != 3 {
		t.Errorf("moments %v", seen)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	if data, err := os.ReadFile(secret + "/text"); err != nil || string(data) != "the secret text" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestNobodyElseReachesTheServer: neither its socket, through which mod_wsgi would accept
// the script to run, nor its processes, nor its answers.
func TestNobodyElseReachesTheServer(t *testing.T) {
	otheruser.Need(t)
	s := testSubject(t)
	hooked(t, func(moment string, server *throwaway) {
		if moment != "answered" {
			return
		}
		sockets, _ := filepath.Glob(server.path("run/wsgi.*"))
		if len(sockets) == 0 {
			t.Error("the socket is not in its directory")
			return
		}
		_, processes := capabilities(t, server.account.UID)
		for _, uid := range []uint32{65534, 33, otheruser.UID} {
			said := as(t, uid, uid, `/usr/bin/python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    print("connected")
except PermissionError:
    print("refused")' "$1"
cat "$2" 2>/dev/null; shift 2
for pid; do kill -0 "$pid" 2>/dev/null && echo "can end $pid"; done; exit 0`, append([]string{sockets[0], server.path("verify.wsgi")}, words(processes)...)...)
			if said != "refused\n" {
				t.Errorf("as %d: %s", uid, said)
			}
		}
		for _, path := range []string{"/", "/verify.wsgi", "/httpd.conf", "/" + strings.ToLower(server.secret), "/etc/passwd"} {
			resp, err := http.Get(fmt.Sprintf("http://%s%s", server.address, path))
			if err != nil {
				t.Error(err)
				continue
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK || bytes.Contains(body, []byte(server.nonce)) {
				t.Errorf("%s: %s\n%s", path, resp.Status, body)
			}
		}
	})
	o := options()
	if _, err := Run(t.Context(), o, s); err != nil {
		t.Error(err)
	}
}

func words(numbers []int) (out []string) {
	for _, n := range numbers {
		out = append(out, strconv.Itoa(n))
	}
	return out
}

// TestCodeOfOthersGetsNoCapability: in an environment behind a closed directory, code
// that others can change is not tried, and never runs.
func TestCodeOfOthersGetsNoCapability(t *testing.T) {
	otheruser.Need(t)
	closed := otheruser.Dir(t)
	s := subjectOf(t, openEnvironment(t, closed))
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := trustedCode(s); err != nil {
		t.Fatalf("root's own environment: %v", err)
	}
	theirs := otheruser.Dir(t)
	ran := filepath.Join(theirs, "ran")
	text := func(path, text string) string {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	code := fmt.Sprintf("import os; os.system('cat /proc/self/status > %s')\n", ran)
	site := s.Python.Purelib
	for name, plant := range map[string]func() (remove []string){
		"a .pth file": func() []string {
			path := text(site+"/evil.pth", code)
			otheruser.Give(t, path)
			return []string{path}
		},
		"sitecustomize": func() []string {
			path := text(site+"/sitecustomize.py", code)
			otheruser.Give(t, path)
			return []string{path}
		},
		"a module in a package": func() []string {
			path := text(site+"/package/inner/part.py", code)
			otheruser.Give(t, path)
			return []string{site + "/package"}
		},
		"a directory that a .pth file adds": func() []string {
			otheruser.Give(t, text(theirs+"/source/sitecustomize.py", code))
			return []string{text(site+"/theirs.pth", theirs+"/source\n")}
		},
		"a missing directory that a .pth file adds": func() []string {
			return []string{text(site+"/missing.pth", "/tmp/modwsgi-no-such-directory/x\n")}
		},
		"a link to a package": func() []string {
			otheruser.Give(t, text(theirs+"/linked/__init__.py", code))
			if err := os.Symlink(theirs+"/linked", site+"/linked"); err != nil {
				t.Fatal(err)
			}
			return []string{site + "/linked"}
		},
		"bytecode": func() []string {
			path := text(site+"/__pycache__/sitecustomize.cpython-311.pyc", code)
			otheruser.Give(t, path)
			return []string{site + "/__pycache__"}
		},
		"an archive of the standard library": func() []string {
			path := text(filepath.Join(s.Prefix, "lib", fmt.Sprintf("python%d%d.zip", s.Python.Major, s.Python.Minor)), "")
			otheruser.Give(t, path)
			return []string{path}
		},
		"the site-packages of a group": func() []string {
			if err := errors.Join(os.Lchown(site, 0, otheruser.GID), os.Chmod(site, 0o775)); err != nil {
				t.Fatal(err)
			}
			otheruser.Give(t, text(site+"/evil.pth", code))
			return []string{site + "/evil.pth"}
		},
	} {
		remove := plant()
		o := options()
		_, err := Run(t.Context(), o, s)
		if not := Untried(err); not == nil || !strings.Contains(not.Why, closed+", on the way to ") || !strings.Contains(not.Why, "is not trusted") {
			t.Errorf("%s: %v", name, err)
		}
		if data, err := os.ReadFile(ran); err == nil {
			t.Errorf("%s ran:\n%s", name, data)
		}
		for _, path := range remove {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Lchown(site, 0, 0), os.Chmod(site, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what string
		s    func(s *Subject)
	}{
		{"the module", func(s *Subject) { s.Module = copied(t, s.Module, theirs+"/mod_wsgi.so") }},
		{"httpd", func(s *Subject) { s.Executable = copied(t, s.Executable, theirs+"/httpd") }},
		{"the modules", func(s *Subject) { s.ModulesDir = theirs }},
		{"the library", func(s *Subject) { s.LibPython = copied(t, s.Module, theirs+"/libpython.so") }},
		{"what httpd finds by its run path", func(s *Subject) {
			s.Executable = copied(t, s.Executable, closed+"/bin/httpd")
			if err := os.Symlink(theirs, closed+"/lib"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		s := s
		c.s(&s)
		otheruser.Give(t, theirs)
		if err := trustedCode(s); err == nil || !strings.Contains(err.Error(), theirs) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if err := trustedCode(s); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func copied(t *testing.T, from, to string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err := errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestCodeOfOthersInAnOpenEnvironment: it runs as an account without rights.
func TestCodeOfOthersInAnOpenEnvironment(t *testing.T) {
	otheruser.Need(t)
	dir := otheruser.Dir(t)
	s := subjectOf(t, openEnvironment(t, dir))
	ran := filepath.Join(dir, "ran")
	if err := errors.Join(os.Mkdir(ran, 0o777), os.Chmod(ran, 0o777), os.Lchown(s.Python.Purelib, 0, otheruser.GID), os.Chmod(s.Python.Purelib, 0o775)); err != nil {
		t.Fatal(err)
	}
	code := fmt.Sprintf("import os; open('%s/%%d' %% os.getpid(), 'w').write(open('/proc/self/status').read())\n", ran)
	otheruser.Shell(t, `umask 022; printf %s "$1" > "$2/evil.pth"`, code, s.Python.Purelib) // another user in that group
	o := options()
	if _, err := Run(t.Context(), o, s); err != nil {
		t.Error(err)
	}
	found, _ := filepath.Glob(ran + "/*")
	if len(found) == 0 {
		t.Error("the .pth file did not run: this test shows nothing")
	}
	for _, file := range found {
		data, _ := os.ReadFile(file)
		if !bytes.Contains(data, []byte("\nCapPrm:\t0000000000000000\n")) || bytes.Contains(data, []byte("\nUid:\t0\t")) || bytes.Contains(data, []byte("\nUid:\t65534\t")) {
			t.Errorf("it ran with rights:\n%s", data)
		}
	}
}

// TestRaceForTheServersFiles: 200 verifications, while nobody tries to replace the files
// that they execute and read.
func TestRaceForTheServersFiles(t *testing.T) {
	otheruser.Need(t)
	s := testSubject(t)
	top := otheruser.Dir(t)
	tmp, theirs := filepath.Join(top, "tmp"), filepath.Join(top, "theirs")
	if err := errors.Join(
		os.Mkdir(tmp, 0o777), os.Chmod(tmp, 0o777|fs.ModeSticky), os.Mkdir(theirs, 0o755), os.Lchown(theirs, 65534, 65534),
		os.WriteFile(top+"/secret", []byte("the secret text\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	attacker := exec.CommandContext(ctx, "/bin/sh", "-c", `cd "$1"; while :; do
	for d in modwsgi-verify-*; do
		ln -sf "$3" "$d/error_log" 2>/dev/null && echo "error_log of $d" >> "$2/log"
		{ echo 'import os; os.system("id > '"$2"'/ran")' > "$d/verify.wsgi"; } 2>/dev/null && echo "verify.wsgi of $d" >> "$2/log"
	done
done`, "sh", tmp, theirs, top+"/secret")
	attacker.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: syscall.SIGKILL}
	if err := attacker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = attacker.Wait() })
	o := options()
	o.Env = append(o.Env, "TMPDIR="+tmp)
	broken := s
	broken.Executable = "/bin/false"
	end := time.Now().Add(15 * time.Second)
	tries := 0
	for ; tries < 200 && time.Now().Before(end); tries++ {
		subject := broken
		if tries%10 == 0 {
			subject = s
		}
		_, err := Run(ctx, o, subject)
		if subject.Executable == s.Executable && err != nil || err != nil && strings.Contains(err.Error(), "the secret text") {
			t.Fatal(err)
		}
		if log, err := os.ReadFile(theirs + "/log"); err == nil {
			t.Fatalf("after %d tries nobody has replaced:\n%s", tries, log)
		}
	}
	if attacker.ProcessState != nil {
		t.Error("the attacker ended early")
	}
	t.Logf("%d tries", tries)
}

// TestTemporaryDirectoryOfOthers: nothing runs from where others could exchange it; the
// system's own directory is used instead.
func TestTemporaryDirectoryOfOthers(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	for name, mode := range map[string]fs.FileMode{"theirs": 0o755, "loose": 0o777} {
		dir := filepath.Join(top, name)
		if err := errors.Join(os.Mkdir(dir, mode), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		if name == "theirs" {
			otheruser.Give(t, dir)
		}
		o := options()
		o.Env = append(o.Env, "TMPDIR="+dir)
		d, remove, err := serverDir(o.Env)
		if err != nil {
			t.Fatal(err)
		}
		if path := d.Path(); strings.HasPrefix(path, dir) {
			t.Errorf("%s is used", path)
		}
		remove()
		if _, err := os.Lstat(d.Path()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left behind: %s: %v", d.Path(), err)
		}
		if left := testkit.Paths(t, dir); len(left) > 1 {
			t.Errorf("left behind: %v", left)
		}
	}
}
