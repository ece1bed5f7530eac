package owned

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"modwsgi/internal/otheruser"
)

func write(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, mode)
	return path
}

func mkdir(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, mode)
	return path
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) string {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRule has a row for each sentence of the package comment. at is the end of the
// offending path, "" for a trusted one.
func TestRule(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	sticky := mkdir(t, top+"/sticky", 0o777|fs.ModeSticky)
	theirs := mkdir(t, top+"/theirs", 0o755)
	otheruser.Give(t, theirs)
	good := write(t, top+"/good/file", 0o644)
	foreign := write(t, top+"/good/foreign", 0o644)
	otheruser.Give(t, foreign)
	inSticky := write(t, sticky+"/ours", 0o644)
	write(t, sticky+"/dir/file", 0o644)
	planted := write(t, sticky+"/planted", 0o644)
	otheruser.Give(t, planted)
	write(t, theirs+"/root's", 0o644)
	loose := mkdir(t, top+"/loose", 0o777)
	write(t, loose+"/file", 0o644)
	group := mkdir(t, top+"/group", 0o775)
	if err := os.Chown(group, 0, otheruser.GID); err != nil {
		t.Fatal(err)
	}
	write(t, group+"/file", 0o644)
	rootsGroup := mkdir(t, top+"/roots-group", 0o775)
	write(t, rootsGroup+"/file", 0o644)
	link(t, "good", top+"/link")
	link(t, top+"/good/file", top+"/absolute")
	link(t, "../good/../good/file", sticky+"/our-link")
	otheruser.Give(t, link(t, top+"/good/file", sticky+"/their-link"))
	link(t, "theirs/root's", top+"/into-theirs")
	link(t, "circle", top+"/circle")
	link(t, ".", sticky+"/itself")

	for _, c := range []struct{ path, at string }{
		{good, ""},
		{filepath.Dir(good), ""},
		{foreign, foreign},
		{theirs, theirs},
		{theirs + "/root's", theirs},
		{loose, loose},
		{loose + "/file", loose},
		{write(t, top+"/good/anybody", 0o666), top + "/good/anybody"},
		{sticky, sticky},
		{sticky + "/itself", sticky},
		{inSticky, ""},
		{sticky + "/dir/file", ""},
		{planted, planted},
		{group + "/file", group},
		{rootsGroup + "/file", ""},
		{top + "/link/file", ""},
		{top + "/absolute", ""},
		{sticky + "/our-link", ""},
		{sticky + "/their-link", sticky + "/their-link"},
		{top + "/into-theirs", theirs},
	} {
		err := Check(c.path)
		var u *Untrusted
		switch {
		case c.at == "" && err != nil:
			t.Errorf("%s: %v", c.path, err)
		case c.at != "" && !errors.As(err, &u):
			t.Errorf("%s is trusted (%v)", c.path, err)
		case c.at != "" && u.At != c.at:
			t.Errorf("%s: %s is blamed, want %s", c.path, u.At, c.at)
		case c.at != "" && (u.Hint() == "" || !strings.Contains(u.Error(), c.path)):
			t.Errorf("%s: %v (%s)", c.path, u, u.Hint())
		}
	}
	if err := Check(top + "/circle"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a circle of links: %v", err)
	}
	if err := Check(top + "/missing/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing path: %v", err)
	}
	if err := Check(good + "/below"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
}

// TestVouch: the named directory and its parents are accepted, those below it are judged.
func TestVouch(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	t.Cleanup(func() { Vouch("") })
	write(t, top+"/loose/workspace/file", 0o644)
	write(t, top+"/loose/workspace/below/file", 0o644)
	chmod(t, top+"/loose", 0o777)
	chmod(t, top+"/loose/workspace/below", 0o777)
	otheruser.Give(t, top+"/loose/workspace")
	link(t, "loose/workspace", top+"/link")
	path := top + "/loose/workspace/file"
	if err := Check(path); !IsUntrusted(err) {
		t.Fatalf("before: %v", err)
	}
	for _, list := range []string{top + "/loose/workspace", "/nowhere:" + top + "/link", top + "/loose/workspace/:"} {
		Vouch(list)
		if err := Check(path); err != nil {
			t.Errorf("%s: %v", list, err)
		}
		if err := Check(top + "/loose/workspace/below/file"); !IsUntrusted(err) {
			t.Errorf("%s: below it: %v", list, err)
		}
	}
	if ignored := Vouch("relative:/nowhere:/"); len(ignored) != 2 {
		t.Errorf("ignored %q", ignored)
	}
	if err := Check(path); !IsUntrusted(err) {
		t.Errorf("the top of the file system vouches for its children: %v", err)
	}
}

// TestOwnFilesOfAnOrdinaryUser runs as the other user, for whom root's files and their
// own are trusted and a third user's are not.
func TestOwnFilesOfAnOrdinaryUser(t *testing.T) {
	if !otheruser.Rerun(t) {
		return
	}
	dir := t.TempDir()
	mine := write(t, dir+"/mine", 0o600)
	for _, path := range []string{mine, "/etc/passwd", "/etc"} {
		if err := Check(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := Check("/tmp"); !IsUntrusted(err) {
		t.Errorf("/tmp: %v", err)
	}
	if d, err := Scratch("/tmp", "modwsgi-test-"); err != nil {
		t.Error(err)
	} else {
		if info, err := os.Stat(d.Path()); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("scratch directory: %v, %v", info, err)
		}
		if err := d.Discard(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(d.Path()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Discard: %v", err)
		}
	}
	// A tree that even its owner cannot write to, with a link out of it.
	kept := mkdir(t, dir+"/kept", 0o500)
	deep := write(t, dir+"/tree/a/b/file", 0o400)
	link(t, kept, dir+"/tree/a/b/out")
	for _, p := range []string{filepath.Dir(deep), dir + "/tree/a", dir + "/tree"} {
		chmod(t, p, 0)
	}
	if err := RemoveAll(dir + "/tree"); err != nil {
		t.Errorf("remove: %v", err)
	}
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("the mode of what a link leads to was changed: %v, %v", info, err)
	}
	chmod(t, kept, 0o700)
}

func TestOpenFile(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	good := write(t, top+"/file", 0o644)
	if data, err := ReadFile(good, 100); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := ReadFile(good, 3); err == nil {
		t.Error("a file over the limit was read")
	}
	if err := unix.Mkfifo(top+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{top + "/pipe", top, "/dev/null"} {
		if f, err := OpenFile(path); err == nil || IsUntrusted(err) {
			t.Errorf("%s: %v, %v", path, f, err)
		}
	}
	otheruser.Give(t, good)
	if _, err := OpenFile(good); !IsUntrusted(err) {
		t.Errorf("another user's file: %v", err)
	}
}

func TestReadSecret(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	key := write(t, top+"/key", 0o600)
	if data, err := ReadSecret(key, 100); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
	for _, mode := range []fs.FileMode{0o644, 0o604} {
		chmod(t, key, mode)
		var e *Exposed
		if _, err := ReadSecret(key, 100); !errors.As(err, &e) || e.Hint() == "" {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	chmod(t, key, 0o640) // root's group has no other members
	if _, err := ReadSecret(key, 100); err != nil {
		t.Error(err)
	}
	if err := os.Chown(key, 0, otheruser.GID); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecret(key, 100); err == nil {
		t.Error("a key that another group can read was read")
	}
	// A closed directory does not protect copies of its files.
	write(t, top+"/closed/key", 0o644)
	chmod(t, top+"/closed", 0o700)
	if _, err := ReadSecret(top+"/closed/key", 100); err == nil {
		t.Error("the mode of a key in a closed directory does not count")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("phrase"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if _, err := ReadFile("/dev/fd/"+strconv.Itoa(int(w.Fd()))+"/x", 100); err == nil {
		t.Error("a path below a descriptor was read")
	}
	if data, err := ReadSecret("/dev/fd/"+strconv.Itoa(int(r.Fd())), 100); err != nil || string(data) != "phrase" {
		t.Errorf("a descriptor: %q, %v", data, err)
	}
}

// TestDirStaysTheSame exchanges a directory for another one after it was opened:
// operations still apply to the first.
func TestDirStaysTheSame(t *testing.T) {
	top := t.TempDir()
	d, err := MakeDir(top + "/a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Rename(top+"/a/b", top+"/moved"); err != nil {
		t.Fatal(err)
	}
	mkdir(t, top+"/a/b", 0o755)
	if err := d.WriteFile("file", []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(top + "/moved/file"); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	sub, err := d.MakeSub("sub", 0o750)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if info, err := os.Stat(top + "/moved/sub"); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", info, err)
	}
	if entries, _ := os.ReadDir(top + "/a/b"); len(entries) != 0 {
		t.Errorf("written into the other directory: %v", entries)
	}
	if err := d.RemoveAll("sub"); err != nil {
		t.Error(err)
	}
	entries, err := d.Entries()
	if err != nil || len(entries) != 1 || entries[0].Name() != "file" {
		t.Errorf("entries %v, %v", entries, err)
	}
}

func TestDirChecksItsEntries(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	d, err := OpenDir(top)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	write(t, top+"/file", 0o600)
	link(t, "file", top+"/link")
	mkdir(t, top+"/dir", 0o700)
	link(t, "dir", top+"/dirlink")
	otheruser.Give(t, write(t, top+"/theirs", 0o644), mkdir(t, top+"/their-dir", 0o755))
	mkdir(t, top+"/loose", 0o777)
	if err := unix.Mkfifo(top+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadFile("file", 100); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"link", "theirs", "pipe", "dir", "..", ".", "", "dir/x", "/etc/passwd"} {
		if f, err := d.Open(name); err == nil {
			t.Errorf("Open(%q) = %v", name, f.Name())
		}
	}
	for _, name := range []string{"dirlink", "their-dir", "loose", "file", "..", ".", "a/b"} {
		if s, err := d.Sub(name); err == nil {
			t.Errorf("Sub(%q) = %v", name, s.Path())
		}
		if s, err := d.MakeSub(name, 0o700); err == nil {
			t.Errorf("MakeSub(%q) = %v", name, s.Path())
		}
	}
	// A link in place of a file is replaced, a pipe is not.
	if err := d.WriteFile("link", []byte("new"), 0o600); err != nil {
		t.Error(err)
	}
	if data, _ := os.ReadFile(top + "/file"); string(data) != "content" {
		t.Errorf("written through a link: %q", data)
	}
	if err := d.WriteFile("pipe", nil, 0o600); err == nil {
		t.Error("a pipe was replaced")
	}
}

// TestExchangedOnTheWay exchanges each part of a path at the moment before it is opened.
// The walk ends in the directory that it judged or with an error, and never in the other
// user's.
func TestExchangedOnTheWay(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	sticky := mkdir(t, top+"/sticky", 0o777|fs.ModeSticky)
	defer func() { hook = func(string) {} }()
	for _, part := range []string{"a", "b", "file"} {
		if err := os.RemoveAll(sticky + "/a"); err != nil {
			t.Fatal(err)
		}
		write(t, sticky+"/a/b/file", 0o644)
		mkdir(t, sticky+"/theirs/b", 0o755)
		otheruser.Give(t, write(t, sticky+"/theirs/b/file", 0o644), sticky+"/theirs/b", sticky+"/theirs")
		hook = func(at string) {
			if filepath.Base(at) != part {
				return
			}
			hook = func(string) {}
			if err := os.Rename(at, top+"/away-"+part); err != nil {
				t.Error(err)
			}
			link(t, sticky+"/theirs"+strings.TrimPrefix(at, sticky+"/a"), at)
			otheruser.Give(t, at)
		}
		f, err := OpenFile(sticky + "/a/b/file")
		if err == nil {
			info, _ := f.Stat()
			if UID(info) != 0 {
				t.Errorf("exchanged at %s: the file of %s was opened", part, Owner(info))
			}
		}
		if part == "a" && !IsUntrusted(err) {
			t.Errorf("another user's link was followed: %v", err)
		}
		_ = os.RemoveAll(top + "/away-" + part)
		_ = os.RemoveAll(sticky + "/theirs")
	}
}

func TestGroupsWithoutOtherMembers(t *testing.T) {
	dir := t.TempDir()
	oldGroup, oldPasswd := groupFile, passwdFile
	defer func() { groupFile, passwdFile = oldGroup, oldPasswd }()
	groupFile, passwdFile = dir+"/group", dir+"/passwd"
	text := func(file, s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text(passwdFile, "root:x:0:0::/root:/bin/sh\nsync:x:5:0::/:/bin/sync\nme:x:"+strconv.Itoa(os.Geteuid())+":500::/:/bin/sh\nalice:x:1001:600::/:/bin/sh\n")
	text(groupFile, "root:x:0:\nme:x:500:\nalice:x:600:\nstaff:x:50:root,me\nweb:x:51:me,alice\nghost:x:52:nobody-knows\n")
	for gid, want := range map[int]bool{0: true, 500: true, 600: false, 50: true, 51: false, 52: false, 4711: false} {
		if got := alone(gid, 0); got != want {
			t.Errorf("alone(%d) = %v", gid, got)
		}
	}
	text(groupFile, "me:x:500:\nagain:x:500:alice\n")
	if alone(500, 0) {
		t.Error("the second line of a group was not read")
	}
}

func TestAccessControlListCountsAsOthers(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	file := write(t, top+"/file", 0o664)
	if err := Check(file); err != nil {
		t.Fatal(err)
	}
	// user::rw- user:UID:rw- group::r-- mask::rw- other::r--, as in acl(5).
	acl := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, ^uint32(0)}, {2, 6, otheruser.UID}, {4, 4, ^uint32(0)}, {16, 6, ^uint32(0)}, {32, 4, ^uint32(0)}} {
		acl = append(acl, byte(e.tag), byte(e.tag>>8), byte(e.perm), byte(e.perm>>8), byte(e.id), byte(e.id>>8), byte(e.id>>16), byte(e.id>>24))
	}
	if err := unix.Setxattr(file, "system.posix_acl_access", acl, 0); err != nil {
		t.Skip("access control lists are unavailable here: ", err)
	}
	if err := Check(file); !IsUntrusted(err) {
		t.Errorf("a file that a list opens to another user: %v", err)
	}
}

func TestRemoveAllFollowsNoLink(t *testing.T) {
	top := t.TempDir()
	outside := write(t, top+"/outside/file", 0o600)
	mkdir(t, top+"/tree/sub", 0o755)
	link(t, top+"/outside", top+"/tree/sub/out")
	link(t, top+"/outside", top+"/itself")
	for _, path := range []string{top + "/tree", top + "/itself", top + "/missing", top + "/no/such"} {
		if err := RemoveAll(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", path)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	if err := RemoveAll("/"); err == nil {
		t.Error("the root directory was accepted")
	}
}

// TestCheckFor: one more account is trusted, and its private group; a third is not.
func TestCheckFor(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	file := write(t, top+"/theirs/file", 0o664)
	third := write(t, top+"/theirs/third", 0o644)
	otheruser.Give(t, top+"/theirs", file)
	if err := os.Chown(third, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	passwd, groups := passwdFile, groupFile
	t.Cleanup(func() { passwdFile, groupFile = passwd, groups })
	passwdFile, groupFile = top+"/passwd", top+"/group-file"
	for name, text := range map[string]string{
		passwdFile: fmt.Sprintf("root:x:0:0::/:/bin/sh\nalice:x:%d:%d::/:/bin/sh\n", otheruser.UID, otheruser.GID),
		groupFile:  fmt.Sprintf("root:x:0:\nalice:x:%d:\n", otheruser.GID),
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Check(file); !IsUntrusted(err) {
		t.Errorf("Check: %v", err)
	}
	if err := CheckFor(file, otheruser.UID); err != nil {
		t.Errorf("their file: %v", err)
	}
	for what, err := range map[string]error{"a third user's": CheckFor(third, otheruser.UID), "for a third user": CheckFor(file, 65534)} {
		if !IsUntrusted(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestOpenTemp: a sticky directory is opened, and its entries are judged.
func TestOpenTemp(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	sticky := mkdir(t, top+"/sticky", 0o777|fs.ModeSticky)
	write(t, sticky+"/ours", 0o644)
	otheruser.Give(t, write(t, sticky+"/planted", 0o644))
	if _, err := OpenDir(sticky); !IsUntrusted(err) {
		t.Errorf("OpenDir: %v", err)
	}
	dir, err := OpenTemp(sticky)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if data, err := dir.ReadFile("ours", 100); err != nil || string(data) != "content" {
		t.Errorf("%q %v", data, err)
	}
	if _, err := dir.ReadFile("planted", 100); !IsUntrusted(err) {
		t.Errorf("a planted file: %v", err)
	}
	for _, path := range []string{mkdir(t, top+"/loose", 0o777), top + "/loose/sub"} {
		mkdir(t, path, 0o777)
		if _, err := OpenTemp(path); !IsUntrusted(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
