package instance

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/otheruser"
)

// serves is set in a process that stands for an httpd.
const serves = "INSTANCE_TEST_SERVES"

func TestMain(m *testing.M) {
	if os.Getenv(serves) != "" {
		_, _ = os.Stdout.WriteString("\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startServer starts a copy of this program as httpd, with a configuration file on its
// command line. It runs until the test ends.
func startServer(t *testing.T, attr *syscall.SysProcAttr, httpd, conf string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	if _, err := os.Lstat(httpd); err != nil {
		must(t, filetree.Copy(self, httpd, 0o755))
	}
	cmd := exec.CommandContext(t.Context(), httpd, "-f", conf)
	cmd.SysProcAttr, cmd.Env = attr, append(os.Environ(), serves+"=1")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	must(t, err1, err2, cmd.Start())
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil { // the new program has started
		t.Fatal(err)
	}
	return cmd
}

// TestRunning: only a process that is the httpd of the instance is found.
func TestRunning(t *testing.T) {
	top := tempDir(t)
	root := filepath.Join(top, "root")
	plantRoot(t, root, filepath.Join(top, "httpd"))
	l, err := ReadLaunch(root)
	must(t, err)
	defer l.Close()
	conf := filepath.Join(root, ConfFile)
	server := startServer(t, nil, l.HTTPD, conf)
	for what, text := range map[string]string{
		"no process": "4194305", "this process": strconv.Itoa(os.Getpid()), "its parent": strconv.Itoa(os.Getppid()), "a process group": "-" + strconv.Itoa(server.Process.Pid),
		"another server root": strconv.Itoa(startServer(t, nil, l.HTTPD, conf+".new").Process.Pid),
		"another program":     strconv.Itoa(startServer(t, nil, filepath.Join(top, "other"), conf).Process.Pid),
	} {
		write(t, l.Pid, text+"\n", 0o644)
		if proc, err := l.Running(); proc != nil || err != nil {
			t.Errorf("%s: %v %v", what, proc, err)
		}
		if err := l.CheckStopped(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	write(t, l.Pid, strconv.Itoa(server.Process.Pid)+"\n", 0o644)
	proc, err := l.Running()
	if err != nil || proc == nil || proc.Pid != server.Process.Pid {
		t.Fatalf("httpd was not found: %v %v", proc, err)
	}
	proc.Release()
	wants(t, "httpd runs", l.CheckStopped(), fault.Busy, "an httpd already runs with the server root "+root+" (process "+strconv.Itoa(server.Process.Pid)+")")
	// A PID file that cannot be read is not the same as none.
	write(t, l.Pid, strings.Repeat("1", 100), 0o644)
	_, err = l.Running()
	wants(t, "a long PID file", err, fault.Environment, "the PID file of "+root+" is not trusted")
	wants(t, "a long PID file", l.CheckStopped(), fault.Environment, "is not trusted")
	l.RemovePIDFile()
	if proc, err := l.Running(); proc != nil || err != nil {
		t.Errorf("after the PID file was removed: %v %v", proc, err)
	}
	must(t, os.RemoveAll(root))
	if err := l.CheckStopped(); err != nil {
		t.Errorf("without a server root: %v", err)
	}
	must(t, os.Mkdir(root, 0o700), os.Chmod(root, 0o777))
	wants(t, "a server root of everybody's", l.CheckStopped(), fault.Environment, "can be written by others")
}

// TestRunningProcessIsHeld: a process that ends between its check and a signal is not
// mistaken for another one.
func TestRunningProcessIsHeld(t *testing.T) {
	top := tempDir(t)
	l := plantRoot(t, filepath.Join(top, "root"), filepath.Join(top, "httpd"))
	server := startServer(t, nil, l.HTTPD, l.Args[1])
	l.Handle = opened(t, l.Root)
	write(t, l.Pid, strconv.Itoa(server.Process.Pid), 0o644)
	at(t, "process identified", func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	proc, err := l.Running()
	if err != nil || proc == nil {
		t.Fatalf("%v %v", proc, err)
	}
	defer proc.Release()
	if err := proc.Signal(host.Terminate); !errors.Is(err, os.ErrProcessDone) || !proc.Ended() {
		t.Errorf("%+v: %v", proc, err)
	}
}

// TestPIDFilesThatAnotherUserCanChange: they are neither believed nor accepted for
// --pid-file.
func TestPIDFilesThatAnotherUserCanChange(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	l := plantRoot(t, filepath.Join(top, "root"), filepath.Join(top, "httpd"))
	l.Handle = opened(t, l.Root)
	number := strconv.Itoa(startServer(t, nil, l.HTTPD, l.Args[1]).Process.Pid)
	file := func(name string, dir fs.FileMode, mode fs.FileMode) string {
		path := filepath.Join(top, name)
		mkdir(t, filepath.Dir(path), dir)
		return write(t, path, number, mode)
	}
	theirs, given, open := file("theirs/pid", 0o755, 0o644), file("ours/given", 0o755, 0o644), file("ours/open", 0o755, 0o666)
	sticky, good := file("sticky/pid", 0o777|fs.ModeSticky, 0o644), file("ours/good", 0o755, 0o644)
	inside := file("root/httpd.pid", 0o755, 0o644)
	link := filepath.Join(top, "ours", "link")
	must(t, os.Symlink("good", link))
	otheruser.Give(t, filepath.Dir(theirs), given, inside)
	for path, want := range map[string]string{
		theirs: "httpd would write " + theirs + ", and another user can replace it (" + top + "/theirs: it belongs to", sticky: "another user can replace it (" + top + "/sticky: everybody may write to it",
		given: "it belongs to the user", open: "everybody may write to it", link: "it is a symbolic link", inside: "it belongs to the user",
	} {
		l.Pid = path
		proc, err := l.Running()
		wants(t, path, err, fault.Environment, "the PID file of "+l.Root+" is not trusted")
		if proc != nil {
			t.Errorf("%s: process %d is believed", path, proc.Pid)
		}
		wants(t, path, CheckPIDFile(path), fault.Environment, want)
	}
	l.Pid = good
	proc, err := l.Running()
	if err != nil || proc == nil {
		t.Errorf("root's own: %v %v", proc, err)
	}
	proc.Release()
	if err := CheckPIDFile(good); err != nil {
		t.Errorf("root's own: %v", err)
	}
	// A server that runs as another user is not root's.
	server := startServer(t, otheruser.Credential(), l.HTTPD, l.Args[1])
	write(t, good, strconv.Itoa(server.Process.Pid), 0o644)
	if proc, err := l.Running(); proc != nil || err != nil {
		t.Errorf("another user's process: %v %v", proc, err)
	}
	if data, err := os.ReadFile(theirs); err != nil || !bytes.Equal(data, []byte(number)) {
		t.Errorf("another user's file is now %q, %v", data, err)
	}
}
