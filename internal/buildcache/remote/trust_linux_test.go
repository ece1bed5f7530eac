package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/owned"
)

// TestKeysOfOtherUsers: anyone who can change a public key decides whose builds are
// installed, and so does anyone who can add one to a directory of keys.
func TestKeysOfOtherUsers(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	dir := func(name string, mode os.FileMode) string {
		path := filepath.Join(top, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := GenerateKey(filepath.Join(path, "key")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, loose, theirs, file := dir("good", 0o755), dir("loose", 0o777), dir("theirs", 0o755), dir("file", 0o755)
	otheruser.Give(t, theirs, filepath.Join(file, "key.pub"))
	if _, err := ReadTrust([]string{good, filepath.Join(good, "key.pub")}, "", nil); err != nil {
		t.Error(err)
	}
	if _, err := ReadSigner(filepath.Join(good, "key"), ""); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{loose, theirs, file, filepath.Join(loose, "key.pub"), filepath.Join(theirs, "key.pub"), filepath.Join(file, "key.pub")} {
		_, err := ReadTrust([]string{bad}, "", nil)
		if !owned.IsUntrusted(err) || fault.ClassOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "only you and root") {
			t.Errorf("%s: %v (%s)", bad, err, fault.HintOf(err))
		}
	}
	for _, bad := range []string{filepath.Join(loose, "key"), filepath.Join(theirs, "key")} {
		if _, err := ReadSigner(bad, ""); !owned.IsUntrusted(err) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestGeneratedKeyIsClosed: whatever the umask, and never through a planted link.
func TestGeneratedKeyIsClosed(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "key")
	if _, err := GenerateKey(name); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	target := filepath.Join(dir, "target")
	if err := os.Symlink(target, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := GenerateKey(filepath.Join(dir, "link")); fault.ClassOf(err) != fault.Usage {
		t.Errorf("a link in its place: %v", err)
	}
	if _, err := os.Lstat(target); !os.IsNotExist(err) {
		t.Errorf("written through a link: %v", err)
	}
}
