package toolrelease

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"modwsgi/internal/otheruser"
	"modwsgi/internal/owned"
	"modwsgi/packaging/sign"
)

// TestReleaseOfAnotherUser: nothing outside is removed, and nothing that another user
// wrote is signed.
func TestReleaseOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	project, victim := filepath.Join(top, "project"), filepath.Join(top, "victim")
	for _, dir := range []string{project, victim, filepath.Join(project, "theirs")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{SumsName, "kept"} {
		if err := os.WriteFile(filepath.Join(victim, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	otheruser.Give(t, project, filepath.Join(project, "theirs"))
	otheruser.Shell(t, `ln -s "$2" "$1/link" && : >"$1/theirs/`+SumsName+`"`, project, victim)
	extras := t.TempDir()
	from := Source{Commit: commit, Tools: write(t, filepath.Join(extras, "go.mod"), "require github.com/goreleaser/goreleaser/v2 v2.15.1\n")}
	finish := func(dir string) error {
		_, err := Finish(t.Context(), dir, from, sign.Keys{}, time.Now)
		return err
	}
	for name, f := range map[string]func(string) error{"sweep": Sweep, "finish": finish} {
		if err := f(filepath.Join(project, "link")); !owned.IsUntrusted(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(victim, "kept")); err != nil {
		t.Error(err)
	}
	theirs, err := openDir(filepath.Join(project, "theirs"))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.close()
	if err := theirs.MaySign(); !owned.IsUntrusted(err) {
		t.Errorf("sign: %v", err)
	}
}
