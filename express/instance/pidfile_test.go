//go:build unix

package instance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// TestPIDFileContents has a row for each content: the process that is read, and whether
// httpd may replace the file.
func TestPIDFileContents(t *testing.T) {
	top := tempDir(t)
	dir := opened(t, top)
	for _, c := range []struct {
		what, text string
		pid        int // 0 if none is believed
		replace    bool
	}{
		{"empty", "", 0, true},
		{"blank", " \n", 0, true},
		{"a number", "17", 17, true},
		{"a number with its line", "17\n", 17, true},
		{"spaces", " 17 \n", 17, true},
		{"the highest", "2147483647", 2147483647, true},
		{"too high", "2147483648", 0, true},
		{"overflow of 32 bits", "4294967313", 0, true},
		{"overflow of 64 bits", "99999999999999999999", 0, false},
		{"zero", "0", 0, true},
		{"init", "1", 0, true},
		{"a group", "-17", 0, true},
		{"signed", "+17", 0, true},
		{"this process", strconv.Itoa(os.Getpid()), 0, true},
		{"hexadecimal", "0x11", 0, false},
		{"underscores", "1_7", 0, false},
		{"two numbers", "17 18", 0, false},
		{"two lines", "17\n18\n", 0, false},
		{"words", "pid 17", 0, false},
		{"NUL", "17\x00", 0, false},
		{"a program", "def f(): pass\n", 0, false},
		{"zeros", strings.Repeat("0", 30) + "17", 17, true},
		{"longer than a number", strings.Repeat(" ", 40) + "17", 17, false},
	} {
		write(t, filepath.Join(top, "pid"), c.text, 0o600)
		if pid, err := ReadPID(dir, "pid"); pid != c.pid || err != nil {
			t.Errorf("%s: process %d, %v, want %d", c.what, pid, err, c.pid)
		}
		if good, err := IsPIDFile(dir, "pid"); good != c.replace || err != nil {
			t.Errorf("%s: may be replaced: %v, %v, want %v", c.what, good, err, c.replace)
		}
		wrong := CheckPIDFile(filepath.Join(top, "pid"))
		if c.replace && wrong != nil {
			t.Errorf("%s: %v", c.what, wrong)
		} else if !c.replace {
			wants(t, c.what, wrong, fault.Usage, "is not the PID file of an httpd")
		}
		if data, err := os.ReadFile(filepath.Join(top, "pid")); err != nil || string(data) != c.text {
			t.Errorf("%s: the file was changed: %q, %v", c.what, data, err)
		}
	}
}

// TestPIDFileOfAnotherKind: what is in the place of a PID file without being one.
func TestPIDFileOfAnotherKind(t *testing.T) {
	top := tempDir(t)
	mkdir(t, filepath.Join(top, "dir"), 0o700)
	write(t, filepath.Join(top, "real"), "17", 0o600)
	write(t, filepath.Join(top, "open"), "17", 0o666)
	write(t, filepath.Join(top, "huge"), strings.Repeat("17\n", 1<<20), 0o600)
	must(t, os.Symlink("real", filepath.Join(top, "link")), syscall.Mkfifo(filepath.Join(top, "pipe"), 0o600))
	mkdir(t, filepath.Join(top, "loose"), 0o777)
	dir := opened(t, top)
	for _, c := range []struct {
		name      string
		read      string // the error of reading it
		untrusted bool
		class     fault.Class // of the refusal of --pid-file; Internal if accepted
		refusal   string
	}{
		{"none", "", false, fault.Internal, ""},
		{"dir", "not a regular file", false, fault.Usage, "is not the PID file of an httpd"},
		{"pipe", "not a regular file", false, fault.Usage, "is not the PID file of an httpd"},
		{"huge", "more than 64 bytes", false, fault.Usage, "is not the PID file of an httpd"},
		{"link", "symbolic link", true, fault.Environment, "symbolic link"},
		{"open", "everybody may write to it", true, fault.Environment, "everybody may write to it"},
	} {
		pid, err := ReadPID(dir, c.name)
		if pid != 0 || (err == nil) != (c.read == "") || err != nil && !strings.Contains(err.Error(), c.read) {
			t.Errorf("%s: process %d, %v, want %q", c.name, pid, err, c.read)
		}
		good, err := IsPIDFile(dir, c.name)
		if good != (c.class == fault.Internal) || owned.IsUntrusted(err) != c.untrusted || (err != nil) != c.untrusted {
			t.Errorf("%s: may be replaced: %v, %v", c.name, good, err)
		}
		err = CheckPIDFile(filepath.Join(top, c.name))
		if c.refusal != "" {
			wants(t, c.name, err, c.class, c.refusal)
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	wants(t, "no directory", CheckPIDFile(filepath.Join(top, "no", "pid")), fault.Usage, "option --pid-file: ")
	wants(t, "below a file", CheckPIDFile(filepath.Join(top, "real", "pid")), fault.Usage, "not a directory")
	wants(t, "a directory of everybody's", CheckPIDFile(filepath.Join(top, "loose", "pid")), fault.Environment, "another user can replace it")
}

// TestWithPIDFile: which directory a PID file is looked for in.
func TestWithPIDFile(t *testing.T) {
	top := tempDir(t)
	l := plantRoot(t, filepath.Join(top, "root"), "/bin/true")
	other := mkdir(t, filepath.Join(top, "other"), 0o700)
	loose := mkdir(t, filepath.Join(top, "loose"), 0o777)
	handle := opened(t, l.Root)
	failed := errors.New("failed")
	for _, c := range []struct {
		what, pid string
		handle    *owned.Dir
		want      string // the directory; "" if the function is not called
		refused   bool
	}{
		{what: "none", handle: handle},
		{what: "in the server root", pid: l.Root + "/httpd.pid", handle: handle, want: l.Root},
		{what: "in a server root that does not exist yet", pid: l.Root + "/httpd.pid"},
		{what: "elsewhere", pid: other + "/x.pid", handle: handle, want: other},
		{what: "elsewhere, without a server root", pid: other + "/x.pid", want: other},
		{what: "in a missing directory", pid: top + "/none/x.pid", handle: handle},
		{what: "in a directory of everybody's", pid: loose + "/x.pid", handle: handle, refused: true},
	} {
		there := Launch{Root: l.Root, Pid: c.pid, Handle: c.handle}
		got := ""
		err := there.WithPIDFile(func(dir *owned.Dir, name string) error {
			if name != filepath.Base(c.pid) {
				t.Errorf("%s: the name is %q", c.what, name)
			}
			got = dir.Path()
			return failed
		})
		if got != c.want || errors.Is(err, failed) != (c.want != "") || owned.IsUntrusted(err) != c.refused || c.want == "" && !c.refused && err != nil {
			t.Errorf("%s: directory %q, %v", c.what, got, err)
		}
	}
}

func TestRemovePIDFile(t *testing.T) {
	top := tempDir(t)
	l := plantRoot(t, filepath.Join(top, "root"), "/bin/true")
	l.Handle = opened(t, l.Root)
	for _, path := range []string{l.Pid, filepath.Join(top, "other.pid")} {
		l.Pid = write(t, path, "17", 0o644)
		l.RemovePIDFile()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s still exists: %v", path, err)
		}
		l.RemovePIDFile() // again: nothing to do
	}
	if _, err := os.Lstat(filepath.Join(l.Root, InstanceFile)); err != nil {
		t.Error(err)
	}
}
