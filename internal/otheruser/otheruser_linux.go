//go:build linux

// Package otheruser helps tests to act as a second user of the machine, which
// only root can. It is imported by tests only.
package otheruser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/filetree"
)

// UID is a user without an account, GID its group.
const (
	UID = 21977
	GID = 21977
)

// Need skips the test where this process cannot become another user.
func Need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can act as another user")
	}
}

// Dir makes a directory that other users can enter, as root's own, and removes it
// at the end of the test. Nobody else can write to it.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "modwsgi-otheruser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Give makes the other user the owner of a path, links not followed.
func Give(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.Lchown(path, UID, GID); err != nil {
			t.Fatal(err)
		}
	}
}

// Credential starts a process as the other user, without other groups.
func Credential() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: UID, Gid: GID},
		Pdeathsig:  syscall.SIGKILL,
	}
}

// Command is a command that runs as the other user for at most a minute.
func Command(t testing.TB, argv ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = Credential()
	cmd.Dir = "/"
	return cmd
}

// Shell runs a script of the shell as the other user and returns what it prints.
func Shell(t testing.TB, script string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("mv"); err != nil {
		t.Skip("no POSIX utilities on PATH")
	}
	cmd := Command(t, append([]string{"/bin/sh", "-c", script, "sh"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("as the other user: %v\n%s", err, out)
	}
	return string(out)
}

// again is the variable that tells a test that it runs as the other user.
const again = "MODWSGI_OTHER_USER"

// Rerun runs the calling test once more, in a process of the other user, and
// returns false there after it has reported the outcome here; in that process it
// returns true at once. Variables for it are "NAME=value". Usage:
//
//	if !otheruser.Rerun(t) {
//		return
//	}
//	// what follows runs as the other user
func Rerun(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv(again) != "" {
		return true
	}
	Need(t)
	dir := Dir(t)
	program := filepath.Join(dir, "test")
	copyProgram(t, program)
	temp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	Give(t, temp)
	cmd := Command(t, program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = temp
	cmd.Env = append(append(os.Environ(), again+"="+strconv.Itoa(UID), "TMPDIR="+temp, "HOME="+temp), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as the other user: %v\n%s", err, out)
	}
	return false
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := filetree.Copy(self, to, 0o755); err != nil {
		t.Fatal(err)
	}
}
