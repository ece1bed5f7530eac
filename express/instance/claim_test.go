//go:build unix

package instance

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
)

// TestCheckRoot has a row for each content of a server root.
func TestCheckRoot(t *testing.T) {
	base := tempDir(t)
	for _, c := range []struct {
		what    string
		files   string // separated by spaces
		mode    os.FileMode
		warning string
		refusal string
	}{
		{what: "empty", mode: 0o700},
		{what: "written by the launcher", files: config.HandlerFile + " " + ConfFile + " else", mode: 0o700},
		{what: "written by upstream's launcher", files: config.HandlerFile + " else", mode: 0o700},
		{what: "with other files", files: "b a", mode: 0o755, warning: "contains other files (a)"},
		{what: "with another httpd.conf", files: ConfFile, mode: 0o755, refusal: "contains an httpd.conf that mod_wsgi-express did not write"},
		{what: "of everybody", mode: 0o777, refusal: "can be written by others"},
	} {
		root := mkdir(t, filepath.Join(base, c.what), c.mode)
		for _, name := range strings.Fields(c.files) {
			write(t, filepath.Join(root, name), "mine", 0o600)
		}
		warning, err := CheckRoot(root)
		if (warning == "") != (c.warning == "") || !strings.Contains(warning, c.warning) || warning != "" && !strings.Contains(warning, root) {
			t.Errorf("%s: warning %q, want %q", c.what, warning, c.warning)
		}
		if c.refusal != "" {
			wants(t, c.what, err, fault.Environment, c.refusal)
		} else if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if warning, err := CheckRoot(filepath.Join(base, "none")); warning != "" || err != nil {
		t.Errorf("a missing server root: %q, %v", warning, err)
	}
	_, err := CheckRoot(filepath.Join(base, "none", "root"))
	wants(t, "no parent", err, fault.Environment, base+"/none")
}

// TestLockRoot: the second lock is refused at once, and the refusal names the holder.
func TestLockRoot(t *testing.T) {
	base := tempDir(t)
	never := func(text string) { t.Errorf("waits: %s", text) }
	for _, mode := range []os.FileMode{0o700, 0o710, 0o755} { // the lock differs, see flock
		root := mkdir(t, filepath.Join(base, mode.String()), mode)
		release, err := LockRoot(t.Context(), root, nil, never)
		must(t, err)
		again, err := LockRoot(t.Context(), root, []string{flock.Variable + "="}, never)
		if err == nil {
			again()
			t.Fatalf("mode %v: a second lock", mode)
		}
		wants(t, mode.String(), err, fault.Busy, "lock "+root+": ")
		if !strings.Contains(err.Error(), "already serves with that server root") || !strings.Contains(fault.HintOf(err), flock.Variable) {
			t.Errorf("mode %v: %v, hint %q", mode, err, fault.HintOf(err))
		}
		if runtime.GOOS == "linux" && !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())+" (") {
			t.Errorf("mode %v: the holder is not named: %v", mode, err)
		}
		release()
		release() // no effect
		release, err = LockRoot(t.Context(), root, nil, never)
		if err != nil {
			t.Errorf("mode %v: after its release: %v", mode, err)
			continue
		}
		release()
		if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
			t.Errorf("mode %v: the lock leaves %v, %v", mode, entries, err)
		}
	}
}

// TestLockRootWaits only if the environment sets a limit.
func TestLockRootWaits(t *testing.T) {
	root := mkdir(t, filepath.Join(tempDir(t), "root"), 0o700)
	env := []string{flock.Variable + "=10m"}
	release, err := LockRoot(t.Context(), root, nil, nil)
	must(t, err)
	waited := ""
	second, err := LockRoot(t.Context(), root, env, func(text string) {
		waited = text
		release()
	})
	must(t, err)
	defer second()
	if !strings.Contains(waited, "already serves with that server root: waiting up to 10m") {
		t.Errorf("the user reads %q", waited)
	}
	// Ctrl-C ends the wait.
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the user")
	_, err = LockRoot(ctx, root, env, func(string) { cancel(stopped) })
	wants(t, "interrupted", err, fault.Busy, "already serves with that server root")
	if !errors.Is(err, stopped) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestLockRootFails(t *testing.T) {
	base := tempDir(t)
	_, err := LockRoot(t.Context(), filepath.Join(base, "none"), nil, nil)
	if fault.ClassOf(err) != fault.Environment || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "mark the server root "+base+"/none as in use") {
		t.Errorf("a missing directory: %v", err)
	}
	_, err = LockRoot(t.Context(), base, []string{flock.Variable + "=soon"}, nil)
	wants(t, "a limit that is not a time", err, fault.Usage, `"soon" is not a time`)
}

// TestStaleSockets: only sockets of processes that have ended are removed, from the
// server root or from the directory of --socket-prefix.
func TestStaleSockets(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "sockets-") // the path of a socket is limited
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	short, err = filepath.EvalSymlinks(short)
	must(t, err)
	l := &Launch{Root: mkdir(t, filepath.Join(short, "root"), 0o700)}
	l.Handle = opened(t, l.Root)
	other, loose := mkdir(t, filepath.Join(short, "other"), 0o700), mkdir(t, filepath.Join(short, "loose"), 0o777)
	live := strconv.Itoa(os.Getpid())
	for _, dir := range []string{l.Root, other, loose} {
		names := map[string]bool{ // whether it stays
			"wsgi.999999999.u0.1.sock": false, "wsgi." + live + ".u0.1.sock": true, "wsgi.x.u0.1.sock": true, "wsgi.999999999.u0.1": true, "other.sock": true,
		}
		for name := range names {
			s, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
			must(t, err)
			s.SetUnlinkOnClose(false)
			must(t, s.Close())
		}
		names["wsgi.999999998.u0.1.sock"] = true // not a socket
		write(t, filepath.Join(dir, "wsgi.999999998.u0.1.sock"), "", 0o600)
		l.RemoveSockets(dir)
		for name, stays := range names {
			stays = stays || dir == loose // another user could have put it there
			if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != stays {
				t.Errorf("%s/%s exists: %v, want %v", dir, name, err == nil, stays)
			}
		}
	}
	l.RemoveSockets(filepath.Join(short, "none"))
}

// TestCheckPort: localhost stands for every address of the machine.
func TestCheckPort(t *testing.T) {
	s, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer s.Close()
	port := s.Addr().(*net.TCPAddr).Port
	for _, name := range []string{"localhost", "", "127.0.0.1"} {
		l := &Launch{Host: name, Port: port}
		if err := l.CheckPort(); err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) || !strings.Contains(err.Error()+fault.HintOf(err), "--port") {
			t.Errorf("%q: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
}

func TestSocketPath(t *testing.T) {
	if err := CheckSocketPath("/tmp/mod_wsgi-localhost:8000:0"); err != nil {
		t.Error(err)
	}
	wants(t, "a long path", CheckSocketPath("/"+strings.Repeat("x", 90)), fault.Environment, "the system allows")
}
