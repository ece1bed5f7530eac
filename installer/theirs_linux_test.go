package installer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/testkit"
)

// theirs is an environment that another user owns, except its Python, in a directory that
// they can enter, beside a file that is not theirs.
type theirs struct{ env, site, victim string }

func newTheirs(t *testing.T) theirs {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	otheruser.Need(t)
	t.Parallel()
	exe, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	top := otheruser.Dir(t)
	env := filepath.Join(top, "env")
	if out, err := exec.Command(exe, "-m", "venv", "--without-pip", env).CombinedOutput(); err != nil {
		t.Skipf("make a virtual environment: %v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(env, "lib", "python3*", "site-packages"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	w := theirs{env: env, site: found[0], victim: filepath.Join(top, "victim")}
	testkit.Write(t, w.victim, map[string]string{"precious": "root's", "sub/file": "root's"})
	otheruser.Give(t, w.site)
	return w
}

func (w theirs) unharmed(t *testing.T) {
	t.Helper()
	var got []string
	for _, path := range testkit.Paths(t, w.victim) {
		rel, _ := filepath.Rel(w.victim, path)
		got = append(got, rel)
	}
	if want := ". precious sub sub/file"; strings.Join(got, " ") != want {
		t.Errorf("the other directory contains %q", got)
	}
}

// plant creates a hidden directory of the other user.
func (w theirs) plant(t *testing.T, journal string) string {
	t.Helper()
	dir := filepath.Join(w.site, ".modwsgi-0123456789abcdef")
	testkit.Write(t, w.victim, map[string]string{"precious": "root's", "sub/file": "root's"})
	testkit.Write(t, dir, map[string]string{"journal.json": journal, "old-1/evil": "theirs", "new-1/evil": "theirs"})
	otheruser.Give(t, append(testkit.Paths(t, dir), dir)...)
	return dir
}

// TestPlantedJournalIsNotFollowed is the attack of a user who may write to site-packages:
// a journal that makes root's uninstall delete and place files elsewhere. It is reported
// and left alone, and does not block the run.
func TestPlantedJournalIsNotFollowed(t *testing.T) {
	w := newTheirs(t)
	up := strings.Repeat("../", 4) // the environment's parent
	for name, journal := range map[string]string{
		"sides with dots":     `{"schema":1,"state":"placed","sides":["` + up + `victim"],"ops":[]}`,
		"an absolute side":    `{"schema":1,"state":"placed","sides":["` + w.victim + `"],"ops":[]}`,
		"placing elsewhere":   `{"schema":1,"state":"moving","ops":[{"op":"take","target":"` + up + `victim/new","saved":".modwsgi-0123456789abcdef/old-1"}]}`,
		"taking away":         `{"schema":1,"state":"moving","ops":[{"op":"put","target":"` + up + `victim/precious","staged":".modwsgi-0123456789abcdef/new-2"}]}`,
		"made directories":    `{"schema":1,"state":"undoing","made":["` + up + `victim/empty"],"ops":[]}`,
		"only in the env":     `{"schema":1,"state":"moving","ops":[{"op":"take","target":"../../../bin/evil","saved":".modwsgi-0123456789abcdef/old-1"}]}`,
		"nothing to be done":  `{"schema":1,"state":"staging","ops":[]}`,
		"not even a journal":  `{`,
		"of another schema":   `{"schema":99}`,
		"of another user":     `{"schema":1,"state":"undone","ops":[]}`,
		"an exchange outside": `{"schema":1,"state":"moving","ops":[{"op":"swap","target":"` + up + `victim/sub","staged":".modwsgi-0123456789abcdef/new-1","saved":".modwsgi-0123456789abcdef/old-1","new":{"inode":1}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := w.plant(t, journal)
			defer os.RemoveAll(dir)
			before := testkit.Paths(t, dir)
			var h testkit.Events
			q := request(t)
			q.Python, q.Events = w.env, h.Sink
			if _, err := Uninstall(t.Context(), q.Python, q.Setting); err != nil {
				t.Errorf("it blocks the run: %v", err)
			}
			w.unharmed(t)
			if _, err := os.Lstat(filepath.Join(w.env, "bin", "evil")); err == nil {
				t.Error("it was followed within the environment")
			}
			if after := testkit.Paths(t, dir); strings.Join(after, "\n") != strings.Join(before, "\n") {
				t.Errorf("the planted directory was touched: %v", after)
			}
			if want := fmt.Sprint(otheruser.UID); !h.Has(dir) || !h.Has(want) {
				t.Errorf("no warning names %s and its owner: %v", dir, h.Texts())
			}
		})
	}
}

// TestPlantedLinks plants hidden directories that are links, and one of root's own that
// got the name of a hidden one.
func TestPlantedLinks(t *testing.T) {
	w := newTheirs(t)
	dir := filepath.Join(w.site, ".modwsgi-0123456789abcdef")
	for _, owner := range []string{"root", "other"} {
		if err := os.Symlink(w.victim, dir); err != nil {
			t.Fatal(err)
		}
		if owner == "other" {
			otheruser.Give(t, dir)
		}
		var h testkit.Events
		q := request(t)
		q.Python, q.Events = w.env, h.Sink
		if _, err := Uninstall(t.Context(), q.Python, q.Setting); err != nil {
			t.Error(err)
		}
		w.unharmed(t)
		if !h.Has(dir) {
			t.Errorf("a link of %s was not reported: %v", owner, h.Texts())
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	// Anyone who may rename in site-packages can move a directory of root's there.
	testkit.Write(t, w.site, map[string]string{"roots/module.py": "x"})
	otheruser.Shell(t, `mv "$1/roots" "$2"`, w.site, dir)
	q := request(t)
	q.Python = w.env
	if _, err := Uninstall(t.Context(), q.Python, q.Setting); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "module.py")); err != nil {
		t.Errorf("root's own directory was removed: %v", err)
	}
}

// TestRecordOfAnotherUser: RECORD lists files that modwsgi never installs, inside and
// outside the environment, both directly and through links.
func TestRecordOfAnotherUser(t *testing.T) {
	w := newTheirs(t)
	bin := filepath.Join(w.env, "bin")
	testkit.Write(t, w.site, map[string]string{
		"mod_wsgi/__init__.py": "", "mod_wsgi/server/__init__.py": "", "numpy/core.py": "not ours", "other-1.dist-info/METADATA": "Name: other\nVersion: 1\n",
		"mod_wsgi-5.0.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: mod_wsgi\nVersion: 5.0.2\n", "mod_wsgi-5.0.2.dist-info/INSTALLER": "modwsgi\n",
		"mod_wsgi-5.0.2.dist-info/RECORD": "mod_wsgi/__init__.py,,\nmod_wsgi/server/__init__.py,,\nmod_wsgi/away/python3,,\nmod_wsgi/away/tool,,\nmod_wsgi/numpy/core.py,,\n" +
			"../../../bin/python3,,\n../../../bin/tool,,\n../../../bin/mod_wsgi-express,,\n../../../pyvenv.cfg,,\nnumpy/core.py,,\nother-1.dist-info/METADATA,,\n" +
			"mod_wsgi/../numpy/core.py,,\n../site-packages/numpy/core.py,,\n",
		"mod_wsgi_httpd-2.dist-info/METADATA": "Metadata-Version: 2.1\nName: mod_wsgi-httpd\nVersion: 2\n", "mod_wsgi_httpd-2.dist-info/INSTALLER": "modwsgi\n",
		"mod_wsgi_httpd-2.dist-info/RECORD": w.victim + "/precious,,\n" + strings.Repeat("../", 4) + "victim/sub/file,,\n",
	})
	testkit.Write(t, bin, map[string]string{"tool": "root's", "mod_wsgi-express": "ours"})
	for link, to := range map[string]string{"mod_wsgi/away": "../../../../bin", "mod_wsgi/numpy": "../numpy"} {
		if err := os.Symlink(to, filepath.Join(w.site, link)); err != nil {
			t.Fatal(err)
		}
	}
	otheruser.Give(t, testkit.Paths(t, w.site)...)
	var h testkit.Events
	q := request(t)
	q.Python, q.Events = w.env, h.Sink
	names, err := Uninstall(t.Context(), q.Python, q.Setting)
	if err != nil || len(names) != 2 {
		t.Errorf("removed %v, %v", names, err)
	}
	w.unharmed(t)
	for _, path := range []string{bin + "/python3", bin + "/tool", w.env + "/pyvenv.cfg", w.site + "/numpy/core.py", w.site + "/other-1.dist-info/METADATA"} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s was removed", path)
		}
	}
	for _, path := range []string{bin + "/mod_wsgi-express", w.site + "/mod_wsgi/__init__.py", w.site + "/mod_wsgi-5.0.2.dist-info"} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	if !h.Has("not removed") {
		t.Errorf("no warning: %v", h.Texts())
	}
}

// TestReaderDoesNotHoldTheLock: a user who may only read site-packages holds every lock
// that this permits.
func TestReaderDoesNotHoldTheLock(t *testing.T) {
	w := newTheirs(t)
	if err := os.Lchown(w.site, 0, 0); err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(otheruser.Dir(t), "ready")
	testkit.Write(t, filepath.Dir(ready), map[string]string{"ready": ""})
	if err := os.Chmod(ready, 0o666); err != nil {
		t.Fatal(err)
	}
	hold := otheruser.Command(t, "/bin/sh", "-c", `exec 8<"$1"; flock -n 8 && echo yes >"$2"; exec sleep 300`, "sh", w.site, ready)
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Process.Kill(); _ = hold.Wait() }()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if text, _ := os.ReadFile(ready); string(text) == "yes\n" {
			break
		}
		if time.Now().After(end) {
			t.Skip("the other user could not lock the directory: needs flock(1)")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	q := request(t)
	q.Python = w.env
	if _, err := Uninstall(ctx, q.Python, q.Setting); err != nil {
		t.Errorf("a user who may only read blocks root: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(w.site, ".modwsgi*")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestLockLimit: another process, of a user who may write there, holds the lock. The wait
// has a limit, and the error names both.
func TestLockLimit(t *testing.T) {
	w := newTheirs(t)
	name := filepath.Join(w.site, ".modwsgi.lock")
	testkit.Write(t, w.site, map[string]string{".modwsgi.lock": ""})
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	otheruser.Give(t, name)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The lock belongs to the open file, which the other user's process inherits.
	hold := otheruser.Command(t, "/bin/sleep", "50")
	hold.ExtraFiles = []*os.File{f}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Process.Kill(); _ = hold.Wait() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	var h testkit.Events
	q := request(t)
	q.Python, q.Events = w.env, h.Sink
	q.Env = append(q.Env, "MODWSGI_LOCK_TIMEOUT=300ms")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began := time.Now()
	_, err = Uninstall(ctx, q.Python, q.Setting)
	pid := fmt.Sprintf("process %d (", os.Getpid())
	testkit.WantFault(t, err, fault.Busy, pid, "of the user", "300ms", "MODWSGI_LOCK_TIMEOUT", "--lock-timeout")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("waited for %v", took)
	}
	if !h.Has(pid) || !h.Has("up to 300ms") {
		t.Errorf("no wait was reported: %v", h.Texts())
	}
	q.LockTimeout = "tomorrow"
	_, err = Uninstall(ctx, q.Python, q.Setting)
	testkit.WantFault(t, err, fault.Usage, "tomorrow")
}

// TestEnvironmentBehindTheirLink: the owner of the path to an environment redirects root
// elsewhere.
func TestEnvironmentBehindTheirLink(t *testing.T) {
	w := newTheirs(t)
	elsewhere := filepath.Join(filepath.Dir(w.env), "roots-site")
	testkit.Write(t, elsewhere, map[string]string{".modwsgi-0123456789abcdef/new-1/x": "root's", "mod_wsgi-5.0.2.dist-info/METADATA": "Name: mod_wsgi\nVersion: 5.0.2\n"})
	if err := os.Rename(w.site, w.site+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, w.site); err != nil {
		t.Fatal(err)
	}
	otheruser.Give(t, w.site)
	q := request(t)
	q.Python = w.env
	_, err := Uninstall(t.Context(), q.Python, q.Setting)
	testkit.WantFault(t, err, fault.Place, fmt.Sprint(otheruser.UID), "link")
	if _, err := os.Lstat(filepath.Join(elsewhere, ".modwsgi-0123456789abcdef", "new-1", "x")); err != nil {
		t.Error("root's directory was changed")
	}
}
