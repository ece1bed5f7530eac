package scratch

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/otheruser"
)

// TestTemporaryDirectoryOfAnotherUser: it is skipped.
func TestTemporaryDirectoryOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	makeDirs(t, top+"/theirs", top+"/loose", top+"/sticky")
	otheruser.Give(t, top+"/theirs")
	for dir, mode := range map[string]fs.FileMode{"loose": 0o777, "sticky": 0o777 | fs.ModeSticky} {
		if err := os.Chmod(top+"/"+dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"theirs": "/tmp", "loose": "/tmp", "sticky": top + "/sticky"} {
		env := []string{"TMPDIR=" + top + "/" + name, "A=b"}
		dir, err := Temp(env, "test", false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if filepath.Dir(dir.Path()) != want {
			t.Errorf("%s: %s", name, dir.Path())
		}
		if err := dir.Discard(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(dir.Path()); err == nil {
			t.Errorf("%s is there", dir.Path())
		}
		var notes []string
		env = OwnTemp(env, func(text string) { notes = append(notes, text) })
		if kept := len(env) == 2; kept != (name == "sticky") || strings.Contains(strings.Join(notes, "\n"), "TMPDIR") == kept {
			t.Errorf("%s: %q, %q", name, env, notes)
		}
	}
}

// TestScratchOfOthersIsLeftAlone: each user has some among the temporary directories.
func TestScratchOfOthersIsLeftAlone(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	sticky := top + "/tmp"
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"modwsgi-work-aaaaaaaaaaaa", "modwsgi-verify-bbbbbbbbbbbb", "modwsgi-work-21977", "modwsgi-verify-cccccccccccc"} {
		makeDirs(t, sticky+"/"+name+"/x")
		if err := os.Chtimes(sticky+"/"+name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(sticky, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	otheruser.Give(t, sticky+"/modwsgi-work-aaaaaaaaaaaa", sticky+"/modwsgi-work-aaaaaaaaaaaa/x")
	if err := os.Lchown(sticky+"/modwsgi-verify-bbbbbbbbbbbb", 65534, 65534); err != nil {
		t.Fatal(err)
	}
	made, err := Temp([]string{"TMPDIR=" + sticky}, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Discard(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"modwsgi-work-aaaaaaaaaaaa": true, "modwsgi-verify-bbbbbbbbbbbb": true, "modwsgi-work-21977": true, "modwsgi-verify-cccccccccccc": false,
	} {
		if there(sticky+"/"+name) != want {
			t.Errorf("%s: there %v", name, !want)
		}
	}
}
