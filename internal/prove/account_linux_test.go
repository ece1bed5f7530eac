package prove

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"modwsgi/internal/otheruser"
	"modwsgi/internal/run"
	"modwsgi/internal/testkit"
)

func TestPrivateAccount(t *testing.T) {
	seen := map[uint32]bool{}
	for range 5 {
		a := privateAccount()
		if a == nil || a.UID != a.GID || a.ReadAll || seen[a.UID] || named(a.UID) || a.UID == 0 || a.UID == 65534 {
			t.Errorf("%+v", a)
			continue
		}
		seen[a.UID] = true
	}
	if os.Geteuid() != 0 {
		if a, err := servingAccount(); a != nil || err != nil {
			t.Errorf("an ordinary user serves as %+v, %v", a, err)
		}
	}
	if !named(0) {
		t.Error("root is unknown")
	}
}

func TestRunningIDs(t *testing.T) {
	otheruser.Need(t)
	r := &run.Runner{}
	p, err := r.Start(t.Context(), run.Cmd{Argv: []string{"/bin/sleep", "30"}, Dir: "/", Account: &run.Account{UID: otheruser.UID, GID: otheruser.GID + 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Signal(os.Kill); _ = p.Wait() }()
	if ids := runningIDs(); !ids[otheruser.UID] || !ids[otheruser.GID+1] || ids[otheruser.UID+2] {
		t.Errorf("%v", ids)
	}
}

func TestNumbersOfNamespaceAndUsers(t *testing.T) {
	dir := t.TempDir()
	testkit.Write(t, dir, map[string]string{
		"map":    "         0       1000          1\n         1     100000      65536\n",
		"subuid": "anna:100000:65536\n# a comment\nbert:2013265920:10\nwrong:x:1\n",
	})
	ids, delegated := idsOf(filepath.Join(dir, "map")), subordinate(filepath.Join(dir, "subuid"))
	for _, c := range []struct {
		id     uint32
		exists bool
		theirs bool
	}{{0, true, false}, {1, true, false}, {65536, true, false}, {65537, false, false}, {100000, false, true}, {165535, false, true}, {165536, false, false}, {2013265929, false, true}, {4294967294, false, false}} {
		if got := contains(ids, c.id); got != c.exists {
			t.Errorf("%d exists: %v", c.id, got)
		}
		if got := contains(delegated, c.id); got != c.theirs {
			t.Errorf("%d is delegated: %v", c.id, got)
		}
	}
	if all := idsOf(filepath.Join(dir, "none")); !contains(all, 4294967294) {
		t.Error("without namespaces not every number exists")
	}
	for _, r := range idRanges {
		for range 1000 {
			if id := r[0] + random(r[1]-r[0]+1); id < r[0] || id > r[1] {
				t.Fatal(strconv.Itoa(int(id)) + " is out of range")
			}
		}
	}
}

// TestClosedSysroot: a server whose loader or emulated system is closed to the account is
// admitted only if the account may read all, whether or not its Python is open.
func TestClosedSysroot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: others start the server as themselves")
	}
	server := newServer(t)
	root := filepath.Join(otheruser.Dir(t), "closed", "root")
	loader := filepath.Join(root, "lib/ld.so")
	if err := os.MkdirAll(filepath.Dir(loader), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(loader, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, emulator := range []string{loader, "/bin/sh"} {
		s := Subject{Executable: "/bin/sh", Module: "/bin/sh", Root: root, Emulator: []string{emulator}}
		if err := os.Chmod(filepath.Dir(root), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := server.admit(s); err != nil || server.account.ReadAll {
			t.Errorf("%s in an open directory: %v, reads all: %v", emulator, err, server.account.ReadAll)
		}
		if err := os.Chmod(filepath.Dir(root), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := server.admit(s); Untried(err) == nil || !strings.Contains(err.Error(), root) {
			t.Errorf("%s in a closed directory: %v", emulator, err)
		}
	}
}
