package owned

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"modwsgi/internal/otheruser"
)

// TestOutputDir has a row for each kind of path to a directory that the user named for
// output: another user's directories are accepted, their links are not followed.
func TestOutputDir(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	closed := mkdir(t, top+"/closed", 0o700)
	sticky := mkdir(t, top+"/sticky", 0o777|fs.ModeSticky)
	loose := mkdir(t, top+"/loose", 0o777)
	theirs := mkdir(t, top+"/theirs/dist", 0o755)
	ours := mkdir(t, top+"/theirs/ours/in", 0o755)
	otheruser.Give(t, top+"/theirs", theirs)
	link(t, "closed", top+"/link")
	link(t, closed, sticky+"/our-link")
	link(t, closed, loose+"/our-link")
	link(t, "../theirs", sticky+"/into-theirs")
	link(t, closed, top+"/theirs/roots-link")
	link(t, "../../closed", top+"/theirs/ours/roots-link")
	for _, dir := range []string{sticky, loose, top + "/theirs"} {
		otheruser.Give(t, link(t, closed, dir+"/their-link"))
	}
	for _, c := range []struct {
		path   string
		real   string // "" if it is refused
		shared bool
	}{
		{path: closed, real: closed},
		{path: top + "/link", real: closed},
		{path: sticky, real: sticky, shared: true},
		{path: sticky + "/our-link", real: closed},
		{path: sticky + "/into-theirs", real: top + "/theirs", shared: true},
		{path: sticky + "/their-link"},
		{path: loose + "/our-link", real: closed, shared: true},
		{path: loose + "/their-link"},
		{path: theirs, real: theirs, shared: true},
		{path: ours, real: ours, shared: true},
		{path: top + "/theirs/their-link"},
		{path: top + "/theirs/their-link/new"},
		{path: top + "/theirs/roots-link"},
		{path: top + "/theirs/ours/roots-link"},
		{path: top + "/theirs/new/dir", real: top + "/theirs/new/dir", shared: true},
	} {
		d, err := MakeOutputDir(c.path)
		if c.real == "" {
			if !IsUntrusted(err) {
				t.Errorf("%s: %v", c.path, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		if d.Path() != c.real || d.Shared() != c.shared {
			t.Errorf("%s is %s, shared: %v", c.path, d.Path(), d.Shared())
		}
		_ = d.Close()
	}
	if entries, err := os.ReadDir(closed); err != nil || len(entries) != 0 {
		t.Errorf("made through a link: %v, %v", entries, err)
	}
}

// TestOutputDirExchangedOnTheWay exchanges a directory of another user for a link
// while it is walked.
func TestOutputDirExchangedOnTheWay(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	closed := mkdir(t, top+"/closed", 0o700)
	theirs := mkdir(t, top+"/theirs/a/b", 0o755)
	otheruser.Give(t, top+"/theirs", top+"/theirs/a", theirs)
	defer func() { hook = func(string) {} }()
	for _, at := range []string{top + "/theirs/a", theirs} {
		hook = func(path string) {
			if path == at {
				otheruser.Shell(t, `mv "$1" "$1.old" && ln -s "$2" "$1"`, at, closed)
			}
		}
		if d, err := OutputDir(theirs); err == nil {
			t.Errorf("%s was exchanged: %s was opened", at, d.Path())
		}
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(at+".old", at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenAny(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	theirs := mkdir(t, top+"/theirs", 0o755)
	write(t, theirs+"/file", 0o644)
	otheruser.Give(t, theirs, theirs+"/file")
	link(t, "file", theirs+"/link")
	if err := syscall.Mkfifo(theirs+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OutputDir(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := d.OpenAny("file")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(f); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
	_ = f.Close()
	for _, name := range []string{"link", "pipe", "../theirs/file", filepath.Join(theirs, "file")} {
		if f, err := d.OpenAny(name); err == nil {
			t.Errorf("%s was opened: %s", name, f.Name())
		}
	}
}

func TestChmodFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir+"/out/file", 0o600)
	link(t, "out/file", dir+"/link")
	if err := Chmod(dir+"/link", 0o755); err == nil {
		t.Error("the mode of a link's target was changed")
	}
	for _, path := range []string{file, filepath.Dir(file)} {
		if err := Chmod(path, 0o705); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o705 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if err := Chmod(dir+"/missing", 0o600); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}
