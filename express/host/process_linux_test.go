package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestIsHTTPD has a row for each property that identifies the instance's process.
func TestIsHTTPD(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	httpd, wrapper := filepath.Join(top, "httpd.bin"), filepath.Join(top, "wrapper")
	err = errors.Join(err, os.WriteFile(httpd, []byte("\x7fELF"), 0o755), os.WriteFile(wrapper, []byte("#!/bin/sh\nexec httpd\n"), 0o755), os.Symlink(httpd, filepath.Join(top, "link")))
	if err != nil {
		t.Fatal(err)
	}
	us, other := os.Geteuid(), 4711
	args := []string{"httpd (mod_wsgi-express)", "-f", "/r/httpd.conf", "-DFOREGROUND"}
	for _, c := range []struct {
		what   string
		httpd  string
		change func(*facts)
		debug  bool
		want   bool
	}{
		{"it", httpd, nil, false, true},
		{"another user", httpd, func(f *facts) { f.uids = []int{other, other, other} }, false, false},
		{"a set-user-ID program", httpd, func(f *facts) { f.uids = []int{other, us, us} }, false, false},
		{"the application's account", httpd, func(f *facts) { f.uids = []int{21, 21, 21} }, false, false},
		{"the application's account, in debug mode", httpd, func(f *facts) { f.uids = []int{21, 21, 21} }, true, us == 0},
		{"another account, in debug mode", httpd, func(f *facts) { f.uids = []int{other, other, other} }, true, false},
		{"another configuration", httpd, func(f *facts) { f.args = []string{"httpd", "-f", "/r/httpd.conf.old"} }, false, false},
		{"no configuration", httpd, func(f *facts) { f.args = []string{"httpd", "/r/httpd.conf", "-f"} }, false, false},
		{"only the configuration matches", httpd, func(f *facts) { f.args = []string{"-f", "/r/httpd.conf"} }, false, false},
		{"another program", httpd, func(f *facts) { f.exe = "/usr/bin/vim" }, false, false},
		{"another httpd", httpd, func(f *facts) { f.exe = "/usr/sbin/httpd" }, false, false},
		{"its httpd, replaced", httpd, func(f *facts) { f.exe += " (deleted)" }, false, true},
		{"its httpd, by another name of the file", httpd, func(f *facts) { f.exe, f.same = "/else", true }, false, true},
		{"its httpd, hidden", httpd, func(f *facts) { f.exe = "" }, false, true},
		{"its httpd, through a link", filepath.Join(top, "link"), nil, false, true},
		{"started by a script", wrapper, func(f *facts) { f.exe = "/usr/sbin/apache2" }, false, true},
		{"another program, httpd is started by a script", wrapper, func(f *facts) { f.exe = "/usr/bin/vim" }, false, false},
		{"the environment was moved", "/gone/httpd.bin", nil, false, true},
		{"another program, the environment was moved", "/gone/httpd.bin", func(f *facts) { f.exe = "/usr/bin/vim" }, false, false},
	} {
		h := &HTTPD{Program: c.httpd, Args: []string{"-f", "/r/httpd.conf"}, UID: 21}
		if c.debug {
			h.Args = append(h.Args, "-DONE_PROCESS")
		}
		f := facts{uids: []int{us, us, us, us}, exe: httpd, args: args}
		if c.change != nil {
			c.change(&f)
		}
		if got := h.isHTTPD(f); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// TestProcessIsHeld checks that a signal reaches no other process if the identified
// process ends first.
func TestProcessIsHeld(t *testing.T) {
	const script = "read line" // run by a shell, so that the command line can be chosen
	cmd := exec.Command("/bin/sh", "-c", script, "-f", "/r/httpd.conf")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var proc *Process
	for end := time.Now().Add(10 * time.Second); proc == nil && time.Now().Before(end); {
		// For a moment after execve(2), a process has no command line yet.
		proc, err = Identify(cmd.Process.Pid, &HTTPD{Program: "/bin/sh", Args: []string{"-f", "/r/httpd.conf"}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if proc == nil {
		t.Fatal("the process was not identified")
	}
	defer proc.Release()
	_ = in.Close()
	_ = cmd.Wait()
	for _, held := range []*Process{proc, {Pid: proc.Pid, fd: -1, started: proc.started}} { // old kernels have no pidfds
		if err := held.Signal(Terminate); !errors.Is(err, os.ErrProcessDone) || !held.Ended() {
			t.Errorf("%+v: %v", held, err)
		}
	}
	// Another process has reused the ID.
	if reused := (&Process{Pid: os.Getpid(), fd: -1, started: proc.started}); !reused.Ended() || !errors.Is(reused.Signal(Terminate), os.ErrProcessDone) {
		t.Error("a process with another start time is accepted")
	}
}
