package atomicfile

import (
	"os"
	"path/filepath"
	"testing"

	"modwsgi/internal/otheruser"
	"modwsgi/internal/owned"
)

// TestDirectoryOfAnotherUser: files can be written there, but links of that user are not
// followed.
func TestDirectoryOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	theirs, victim := filepath.Join(top, "theirs"), filepath.Join(top, "victim")
	for _, dir := range []string{theirs, victim} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	otheruser.Give(t, theirs)
	file := filepath.Join(victim, "f")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	otheruser.Shell(t, `cd "$1" && ln -s "$2" out && ln -s "$2/f" f`, theirs, victim)
	if err := Write(filepath.Join(theirs, "out", "f"), []byte("new"), 0o644); !owned.IsUntrusted(err) {
		t.Errorf("through a planted directory: %v", err)
	}
	if err := Write(filepath.Join(theirs, "f"), []byte("new"), 0o644); err != nil {
		t.Errorf("in place of a planted link: %v", err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "old" {
		t.Errorf("root's file contains %q, %v", data, err)
	}
	only(t, victim, "f")
	// The directory is replaced before the new content gets its name.
	f, err := Create(filepath.Join(theirs, "g"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	otheruser.Shell(t, `mv "$1" "$1.gone" 2>/dev/null || true; cd "$1" && rm -f f out`, theirs)
	if err := f.Commit(); err != nil {
		t.Error(err)
	}
	only(t, victim, "f")
}
