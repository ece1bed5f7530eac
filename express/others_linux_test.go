package express

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/owned"
)

// at sets what happens at a moment between a check and the use of its result.
func at(t *testing.T, name string, f func()) {
	t.Helper()
	before := instance.Moment
	t.Cleanup(func() { instance.Moment = before })
	instance.Moment = func(m string) {
		if m == name {
			f()
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// noExec records the program that would have replaced the test.
func noExec(t *testing.T) *[]string {
	t.Helper()
	var ran []string
	t.Cleanup(func() { become = nil })
	become = func(c host.Command) (int, error) {
		ran = append(ran, c.Path+" "+strings.Join(c.Argv[1:], " "))
		return 1, syscall.ENOEXEC
	}
	return &ran
}

// plantRoot makes a server root by hand, with a program of the caller's as httpd.
func plantRoot(t *testing.T, root, httpd string) *instance.Launch {
	t.Helper()
	l := &instance.Launch{
		HTTPD: httpd, Argv0: "httpd", Args: []string{"-f", filepath.Join(root, instance.ConfFile)}, Dir: "/", Root: root, Host: "127.0.0.1", Port: 47313,
		Pid: filepath.Join(root, "httpd.pid"), Drain: 1,
	}
	must(t, os.MkdirAll(root, 0o755), os.WriteFile(filepath.Join(root, instance.ConfFile), nil, 0o600), os.WriteFile(filepath.Join(root, config.HandlerFile), nil, 0o600))
	saveLaunch(t, l)
	return l
}

func saveLaunch(t *testing.T, l *instance.Launch) {
	t.Helper()
	data, err := json.Marshal(l)
	must(t, err, os.WriteFile(filepath.Join(l.Root, instance.InstanceFile), data, 0o600))
}

// program copies the shell, so that the copy is a separate program.
func program(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile("/bin/sh")
	must(t, err, os.WriteFile(path, data, 0o755))
	return path
}

// serverProcess starts a process that looks like an httpd: the program waits, and its
// command line ends with the words.
func serverProcess(t *testing.T, attr *syscall.SysProcAttr, path string, words ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, append([]string{"-c", "echo; read x"}, words...)...)
	cmd.SysProcAttr = attr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	must(t, err1, err2, cmd.Start())
	if _, err := out.Read(make([]byte, 1)); err != nil { // the process is that program now
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}

func writePID(t *testing.T, l *instance.Launch, text string) {
	t.Helper()
	must(t, os.WriteFile(l.Pid, []byte(text), 0o644))
}

// TestServerRootOfAnotherUser: whatever the command, root neither trusts nor writes a
// server root that another user owns or can replace.
func TestServerRootOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	ran := noExec(t)
	top := otheruser.Dir(t)
	exe := fakeServer(t, filepath.Join(top, "base"), nil)
	marker := filepath.Join(top, "marker")
	script := filepath.Join(top, "script")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\ntouch "+marker+"\n"), 0o755))
	theirs := filepath.Join(top, "theirs")
	inside, own, linked, open := filepath.Join(theirs, "root"), filepath.Join(top, "own"), filepath.Join(top, "link"), filepath.Join(top, "open")
	for _, root := range []string{inside, own, open} {
		plantRoot(t, root, script)
	}
	otheruser.Give(t, theirs, own)
	must(t, os.Symlink(inside, linked), os.Chmod(open, 0o777))
	link2 := filepath.Join(top, "parent-link")
	must(t, os.Symlink(theirs, link2))
	commands := [][]string{{"status"}, {"status", "--json"}, {"stop"}, {"reload"}}
	for _, verb := range []string{"setup-server", "show-config", "start-server"} {
		commands = append(commands, append([]string{verb, "app.py", "--port", "47312"}, testUser()...))
	}
	for _, words := range []string{"stop", "graceful-stop", "status", "restart", "graceful", "start", "configtest", "-v", "-k stop", "version", ""} {
		commands = append(commands, append([]string{"apachectl"}, strings.Fields(words)...))
	}
	for root, want := range map[string]string{
		inside: "can replace the server root " + inside, filepath.Join(link2, "root"): "can replace the server root", own: "belongs to another user",
		linked: "is a symbolic link", open: "can be written by others",
	} {
		for _, words := range commands {
			args := append(append([]string{}, words...), "--server-root", root)
			if words[0] == "apachectl" {
				args = append([]string{"apachectl", root}, words[1:]...)
			}
			code, _, stderr := runProgram(t, &Invocation{Executable: exe, Dir: filepath.Join(top, "base"), Env: []string{"LANG=C.UTF-8"}}, args...)
			if code == 0 || code == 3 || !strings.Contains(stderr, want) {
				t.Errorf("%q: %d %s", args, code, stderr)
			}
			hint := map[string]string{inside: "sudo -u '#" + strconv.Itoa(otheruser.UID) + "' mod_wsgi-express", open: "chmod go-w " + open}[root]
			if !strings.Contains(stderr, hint) {
				t.Errorf("%q: no hint %q: %s", args, hint, stderr)
			}
		}
	}
	if _, err := os.Lstat(marker); err == nil {
		t.Error("a program was run")
	}
	for _, root := range []string{inside, own, open} {
		if entries, _ := os.ReadDir(root); len(entries) != 3 {
			t.Errorf("%s was written to: %v", root, entries)
		}
	}
	if len(*ran) > 0 {
		t.Errorf("programs were run: %q", *ran)
	}
	// In /tmp only the owner of a directory can replace it.
	sticky := filepath.Join(top, "sticky")
	must(t, os.Mkdir(sticky, 0o700), os.Chmod(sticky, 0o777|os.ModeSticky))
	good := filepath.Join(sticky, "root")
	plantRoot(t, good, script)
	if code, stdout, stderr := runProgram(t, &Invocation{Executable: exe, Dir: top}, "status", "--server-root", good); code != 3 || !strings.Contains(stdout, "not running") {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
}

// TestOrdinaryUserAndAnotherUsersServerRoot: an ordinary user does not trust another
// user's server root either, only their own and root's.
func TestOrdinaryUserAndAnotherUsersServerRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		dir := otheruser.Dir(t)
		plantRoot(t, dir+"/third", "/bin/true")
		plantRoot(t, dir+"/place/root", "/bin/true")
		must(t, os.Chown(dir+"/third", 65534, 65534), os.Chown(dir+"/place", 65534, 65534))
		otheruser.Give(t, dir+"/place/root", dir+"/place/root/"+instance.InstanceFile)
		t.Setenv("EXPRESS_ROOTS", dir)
	}
	if !otheruser.Rerun(t) {
		return
	}
	own := filepath.Join(t.TempDir(), "own")
	plantRoot(t, own, "/bin/true")
	for root, want := range map[string]string{
		os.Getenv("EXPRESS_ROOTS") + "/third": "belongs to another user", os.Getenv("EXPRESS_ROOTS") + "/place/root": "can replace the server root", own: "",
	} {
		l, err := instance.ReadLaunch(root)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", root, l, err)
		}
	}
}

// TestServerRootIsOpenedOnce: everything is read from the directory that was checked,
// whatever its name points to by then.
func TestServerRootIsOpenedOnce(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	root, away, evil := filepath.Join(top, "root"), filepath.Join(top, "away"), filepath.Join(top, "evil")
	httpd := program(t, filepath.Join(top, "httpd"))
	good := plantRoot(t, root, httpd)
	bad := plantRoot(t, evil, "/bin/false")
	bad.Root, bad.Pid, bad.Args = root, good.Pid, good.Args
	data, err := json.Marshal(bad)
	victim := serverProcess(t, nil, httpd, "-f", good.Args[1])
	must(t, err, os.WriteFile(filepath.Join(evil, instance.InstanceFile), data, 0o600), os.WriteFile(filepath.Join(evil, "httpd.pid"), []byte(strconv.Itoa(victim.Process.Pid)), 0o600))
	otheruser.Give(t, evil, filepath.Join(evil, instance.InstanceFile), filepath.Join(evil, "httpd.pid"), filepath.Join(evil, instance.ConfFile))
	once := true
	at(t, "server root opened", func() {
		if once {
			once = false
			must(t, os.Rename(root, away), os.Rename(evil, root))
		}
	})
	l, err := instance.ReadLaunch(root)
	if err != nil || l.HTTPD != httpd {
		t.Fatalf("%+v %v", l, err)
	}
	defer l.Close()
	if proc, err := l.Running(); proc != nil || err != nil {
		t.Errorf("the planted PID file was trusted: %v %v", proc, err)
	}
	if proc, err := os.ReadFile(filepath.Join(root, instance.InstanceFile)); err != nil || !strings.Contains(string(proc), "/bin/false") {
		t.Fatalf("the directories were not swapped: %v", err)
	}
	// From now on the name itself is refused.
	if _, err := instance.ReadLaunch(root); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("%v", err)
	}
}

// TestCopiedServerRoot: the files of a server root contain the path where they were
// written.
func TestCopiedServerRoot(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.Chmod(top, 0o755))
	root := filepath.Join(top, "root")
	plantRoot(t, root, "/bin/true")
	parent := filepath.Join(top, "parent")
	must(t, os.Symlink(top, parent))
	if l, err := instance.ReadLaunch(filepath.Join(parent, "root")); err != nil || l.Root != root {
		t.Errorf("by another name: %v", err)
	}
	must(t, os.CopyFS(filepath.Join(top, "copy"), os.DirFS(root)))
	must(t, os.Chmod(filepath.Join(top, "copy"), 0o700), os.Chmod(filepath.Join(top, "copy", instance.InstanceFile), 0o600))
	if _, err := instance.ReadLaunch(filepath.Join(top, "copy")); err == nil || !strings.Contains(err.Error(), "was written for the server root "+root) {
		t.Errorf("a copy: %v", err)
	}
}

// TestDirectoriesAreGivenAwayByHandle: a new directory is replaced with a link or
// another directory before it is given to the application.
func TestDirectoriesAreGivenAwayByHandle(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	a := &host.Account{User: "nobody", UID: otheruser.UID, GID: otheruser.GID, Other: true}
	victim := filepath.Join(top, "victim")
	must(t, os.Mkdir(victim, 0o700), os.WriteFile(filepath.Join(victim, "secret"), nil, 0o600))
	before, err := os.Stat(victim)
	must(t, err)
	unchanged := func(what string) {
		t.Helper()
		now, err := os.Stat(victim)
		if err != nil || now.Mode() != before.Mode() || owned.UID(now) != 0 || now.Sys().(*syscall.Stat_t).Gid != 0 {
			t.Errorf("%s: %v %v", what, now.Mode(), err)
		}
	}
	dir := filepath.Join(top, "dir")
	must(t, os.Mkdir(dir, 0o755))
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	swaps := map[string]func(name string){
		"a link":            func(name string) { must(t, os.Remove(name), os.Symlink(victim, name)) },
		"a relative link":   func(name string) { must(t, os.Remove(name), os.Symlink("../victim", name)) },
		"another directory": func(name string) { must(t, os.Remove(name), os.Rename(victim, name)) },
	}
	for what, swap := range swaps {
		for _, mine := range []bool{true, false} {
			name := filepath.Join(dir, "sub")
			at(t, "directory made", func() { swap(name) })
			if err := instance.MakeSub(root, "sub", a, mine); err == nil {
				t.Errorf("%s: no error", what)
			}
			if what == "another directory" {
				must(t, os.Rename(name, victim))
			} else {
				must(t, os.Remove(name))
			}
			unchanged(what)
		}
	}
	instance.Moment = func(string) {}
	handle, err := owned.OpenDir(dir)
	must(t, err)
	defer handle.Close()
	must(t, os.Chmod(victim, 0o750), os.Symlink(victim, filepath.Join(dir, "htdocs")))
	before, err = os.Stat(victim)
	must(t, err)
	if err := instance.PassOn(handle, "htdocs", a); err != nil {
		t.Error(err)
	}
	unchanged("passed on")
	// A file of the server root is replaced, whatever is in its place.
	secret := filepath.Join(victim, "secret")
	must(t, os.Symlink(secret, filepath.Join(dir, settingsFile)))
	if err := instance.Put(handle, instance.RootFile{Name: settingsFile, Data: []byte("{}"), Mode: 0o600, Shared: true}, a); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(secret); err != nil || len(data) > 0 {
		t.Errorf("written through a link: %q %v", data, err)
	}
	info, err := os.Lstat(filepath.Join(dir, settingsFile))
	if err != nil || info.Mode() != 0o640 || info.Sys().(*syscall.Stat_t).Gid != otheruser.GID {
		t.Errorf("%v %v", info, err)
	}
	// A directory that was not replaced is given away as usual.
	must(t, instance.MakeSub(root, "mine", a, true), instance.MakeSub(root, "docs", a, false), instance.MakeSub(root, "docs", a, true))
	for name, want := range map[string][3]int{"mine": {otheruser.UID, otheruser.GID, 0o700}, "docs": {0, otheruser.GID, 0o750}} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if got := [3]int{owned.UID(info), int(info.Sys().(*syscall.Stat_t).Gid), int(info.Mode().Perm())}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestRaceForTheServerRoot: another user swaps two directories as fast as possible, one
// of them root's, while root controls the instance. root never runs a program named by
// the other user's.
func TestRaceForTheServerRoot(t *testing.T) {
	if testing.Short() {
		t.Skip("-short does not start Python")
	}
	otheruser.Need(t)
	const python = "/usr/bin/python3" // pyenv below root's home is closed to the other user
	if _, err := os.Stat(python); err != nil {
		t.Skip("no Python to swap directories")
	}
	top := otheruser.Dir(t)
	theirs, marker := filepath.Join(top, "theirs"), filepath.Join(top, "marker")
	root, evil := filepath.Join(theirs, "root"), filepath.Join(theirs, "evil")
	script := filepath.Join(theirs, "httpd")
	l := plantRoot(t, root, "/bin/true")
	bad := plantRoot(t, evil, script)
	bad.Root, bad.Pid, bad.Args = root, l.Pid, l.Args
	data, err := json.Marshal(bad)
	must(t, err, os.WriteFile(filepath.Join(evil, instance.InstanceFile), data, 0o644), os.WriteFile(script, []byte("#!/bin/sh\ntouch "+marker+"\n"), 0o755), os.Chmod(top, 0o777))
	fake := otheruser.Command(t, "/bin/sh", "-c", "read x", "-f", l.Args[1])
	in, err := fake.StdinPipe()
	must(t, err, fake.Start())
	t.Cleanup(func() { in.Close(); _ = fake.Process.Kill(); _ = fake.Wait() })
	for _, dir := range []string{root, evil} {
		must(t, os.WriteFile(filepath.Join(dir, "httpd.pid"), []byte(strconv.Itoa(fake.Process.Pid)), 0o644))
	}
	otheruser.Give(t, theirs, evil, script, filepath.Join(evil, instance.InstanceFile), filepath.Join(evil, instance.ConfFile), filepath.Join(evil, "httpd.pid"))
	swapper := otheruser.Command(t, python, "-c", `
import os, sys
a, b, c = sys.argv[1:]
print(flush=True)
while True:
    os.rename(a, c); os.rename(b, a); os.rename(a, b); os.rename(c, a)
`, root, evil, filepath.Join(theirs, "aside"))
	out, err := swapper.StdoutPipe()
	must(t, err, swapper.Start())
	t.Cleanup(func() { _ = swapper.Process.Kill(); _ = swapper.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for k := range 200 {
		verb := []string{"status", "reload", "stop"}[k%3]
		code, stdout, _ := runProgram(t, &Invocation{Executable: "/nonexistent/x", Dir: "/"}, verb, "--server-root", root)
		if code == 0 || strings.Contains(stdout, "is running") {
			t.Errorf("%s: %d %s", verb, code, stdout)
		}
		if _, err := os.Lstat(marker); err == nil {
			t.Fatalf("%s ran the other user's program, at try %d after %v", verb, k+1, time.Since(began))
		}
	}
	if !alive(fake.Process.Pid) {
		t.Error("the other user's process was ended")
	}
}

// TestHint: the hint of a refusal offers a way to continue.
func TestHint(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	theirs := filepath.Join(top, "theirs")
	must(t, os.Mkdir(theirs, 0o755), os.Chown(theirs, 65534, 65534))
	_, err := instance.OpenRoot(filepath.Join(theirs, "root"))
	if hint := fault.HintOf(err); !strings.Contains(hint, "sudo -u nobody mod_wsgi-express") || !strings.Contains(hint, "--server-root") {
		t.Errorf("%v: %s", err, hint)
	}
}
