package express

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/express/instance"
	"modwsgi/internal/otheruser"
)

// TestPIDFileIsNotBelieved: the number in a PID file is another process's, or nonsense.
// Nothing is signalled.
func TestPIDFileIsNotBelieved(t *testing.T) {
	otheruser.Need(t)
	ran := noExec(t)
	top := otheruser.Dir(t)
	root := filepath.Join(top, "root")
	httpd := program(t, filepath.Join(top, "httpd"))
	other := program(t, filepath.Join(top, "other"))
	plantRoot(t, root, httpd)
	l, err := instance.ReadLaunch(root)
	must(t, err)
	defer l.Close()
	conf := l.Args[1]
	sleep := exec.CommandContext(t.Context(), "/bin/sleep", "60")
	must(t, sleep.Start())
	t.Cleanup(func() { _ = sleep.Process.Kill(); _ = sleep.Wait() })
	real := serverProcess(t, nil, httpd, "-f", conf)
	pids := map[string]int{
		"ourselves": os.Getpid(), "our parent": os.Getppid(), "/bin/sleep": sleep.Process.Pid,
		"another program": serverProcess(t, nil, other, "-f", conf).Process.Pid,
		"another user":    serverProcess(t, otheruser.Credential(), httpd, "-f", conf).Process.Pid,
		"another root":    serverProcess(t, nil, httpd, "-f", conf+".new").Process.Pid,
		"the name only":   serverProcess(t, nil, httpd, conf, root).Process.Pid,
		"the launcher":    serverProcess(t, nil, other, "stop", "--server-root", root).Process.Pid,
	}
	texts := map[string]string{"0": "0", "1": "1", "-1": "-1", "a group": "-" + strconv.Itoa(real.Process.Pid), "huge": "99999999999999999999", "2^32": "4294967297", "none": "", "words": "12 13", "signed": "+" + strconv.Itoa(real.Process.Pid), "no process": "4194305"}
	for what, pid := range pids {
		texts[what] = strconv.Itoa(pid)
	}
	// Threads have numbers too, and a signal to one would reach the whole process.
	threads, err := os.ReadDir("/proc/self/task")
	must(t, err)
	for _, thread := range threads {
		if thread.Name() != strconv.Itoa(os.Getpid()) {
			texts["a thread"] = thread.Name()
		}
	}
	for what, text := range texts {
		writePID(t, l, text+"\n")
		if proc, err := l.Running(); proc != nil || err != nil {
			t.Errorf("%s (%s) is trusted: %v %v", what, text, proc, err)
		}
		for _, args := range [][]string{{"stop", "--server-root", root}, {"reload", "--server-root", root}, {"apachectl", root, "stop"}, {"apachectl", root, "graceful-stop"}, {"apachectl", root, "-k", "stop"}} {
			if code, stdout, stderr := runProgram(t, &Invocation{Executable: "/nonexistent/x", Dir: top}, args...); code > 1 || !strings.Contains(stdout+stderr, "is not running") {
				t.Errorf("%s: %q: %d %s %s", what, args, code, stdout, stderr)
			}
		}
	}
	for what, pid := range pids {
		if !alive(pid) {
			t.Errorf("%s was ended", what)
		}
	}
	if len(*ran) > 0 {
		t.Errorf("programs were run: %q", *ran)
	}
	writePID(t, l, fmt.Sprintf("%d\n", real.Process.Pid))
	proc, err := l.Running()
	if err != nil || proc == nil {
		t.Fatalf("the real httpd is not found: %v", err)
	}
	proc.Release()
	// Its program may have been replaced or removed since.
	must(t, os.Remove(httpd))
	if proc, err := l.Running(); err != nil || proc == nil {
		t.Errorf("after its program was removed: %v %v", proc, err)
	}
	program(t, httpd)
	if code, _, stderr := runProgram(t, &Invocation{Executable: "/nonexistent/x", Dir: top}, "stop", "--server-root", root); code != 0 {
		t.Errorf("stop: %d %s", code, stderr)
	}
	if alive(real.Process.Pid) {
		t.Error("the real httpd was not stopped")
	}
}

// TestPIDFileOfAnotherUser: a PID file that another user has written or can replace is
// not trusted, and root does not write one there.
func TestPIDFileOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	ran := noExec(t)
	top := otheruser.Dir(t)
	httpd := program(t, filepath.Join(top, "httpd"))
	root := filepath.Join(top, "root")
	l := plantRoot(t, root, httpd)
	server := serverProcess(t, nil, httpd, "-f", l.Args[1])
	number := []byte(strconv.Itoa(server.Process.Pid))
	theirs, sticky := filepath.Join(top, "theirs"), filepath.Join(top, "sticky")
	must(t, os.Mkdir(theirs, 0o755), os.Mkdir(sticky, 0o755), os.Chmod(sticky, 0o777|os.ModeSticky), os.WriteFile(theirs+"/pid", number, 0o644), os.WriteFile(sticky+"/pid", number, 0o644),
		os.WriteFile(top+"/given", number, 0o644), os.WriteFile(top+"/open", number, 0o644), os.Chmod(top+"/open", 0o666), os.Symlink(top+"/given", top+"/link"))
	otheruser.Give(t, theirs, top+"/given")
	exe := fakeServer(t, filepath.Join(top, "base"), nil)
	for _, pid := range []string{theirs + "/pid", sticky + "/pid", top + "/given", top + "/open", top + "/link"} {
		l.Pid = pid
		data, err := json.Marshal(l)
		must(t, err, os.WriteFile(filepath.Join(root, instance.InstanceFile), data, 0o600))
		for _, args := range [][]string{{"stop", "--server-root", root}, {"status", "--server-root", root}, {"apachectl", root, "stop"}, {"apachectl", root, "restart"}} {
			if code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: top}, args...); code != 1 || !strings.Contains(stderr, "is not trusted") {
				t.Errorf("%s: %q: %d %s", pid, args, code, stderr)
			}
		}
		args := append([]string{"setup-server", "app.py", "--port", "47312", "--server-root", filepath.Join(top, "new"), "--pid-file", pid}, testUser()...)
		if code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: filepath.Join(top, "base"), Env: []string{"LANG=C.UTF-8"}}, args...); code != 1 || !strings.Contains(stderr, "option --pid-file: ") || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%s: %d %s", pid, code, stderr)
		}
	}
	if !alive(server.Process.Pid) || len(*ran) > 0 {
		t.Errorf("httpd was stopped, or programs were run: %q", *ran)
	}
}
