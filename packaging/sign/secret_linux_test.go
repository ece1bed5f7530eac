package sign

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/owned"
)

// TestPassphraseFile: a file that others can read or replace is refused, with a hint.
func TestPassphraseFile(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("phrase\r\nrest"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	theirs := file("theirs", 0o600)
	below := file("their-directory/pass", 0o600)
	otheruser.Give(t, theirs, filepath.Dir(below))
	for name, c := range map[string]struct{ file, says, hint string }{
		"closed":                   {file("closed", 0o600), "", ""},
		"readable":                 {file("readable", 0o644), "can be read by other users", "chmod 600"},
		"another user's":           {theirs, "is not trusted", "only you and root"},
		"in another's directory":   {below, "is not trusted", "only you and root"},
		"missing":                  {filepath.Join(top, "missing"), "no such file", "whose first line"},
		"a device that never ends": {"/dev/zero", "not a regular file", "whose first line"},
	} {
		got, err := Keys{PassphraseFile: c.file}.passphrase()
		if c.says == "" {
			if err != nil || string(got) != "phrase" {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			continue
		}
		if fault.ClassOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: %v (%s)", name, err, fault.HintOf(err))
		}
	}
}

// TestPassphraseFromADescriptor uses the descriptor that a shell's <(command) passes.
func TestPassphraseFromADescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("phrase\n"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	got, err := Keys{PassphraseFile: "/dev/fd/" + strconv.Itoa(int(r.Fd()))}.passphrase()
	if err != nil || string(got) != "phrase" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestKeyInADirectoryOfAnotherUser: the directory's owner could replace the key, so
// that releases would be signed with another one.
func TestKeyInADirectoryOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	dir := filepath.Join(otheruser.Dir(t), "theirs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	otheruser.Give(t, dir)
	for name, read := range map[string]func(string) error{"openpgp": openPGP, "minisign": minisign, "ecdsa": ecdsaKey} {
		if err := read(key); !owned.IsUntrusted(err) || fault.ClassOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
