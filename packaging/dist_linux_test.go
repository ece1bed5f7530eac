package packaging

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/owned"
)

// foreign makes an output directory of the other user, and a directory of root's that
// only root can enter.
func foreign(t *testing.T) (out, victim string) {
	t.Helper()
	otheruser.Need(t)
	top := otheruser.Dir(t)
	victim, project := filepath.Join(top, "victim"), filepath.Join(top, "project")
	out = filepath.Join(project, "dist")
	for dir, mode := range map[string]os.FileMode{victim: 0o700, project: 0o755, out: 0o755} {
		if err := os.Mkdir(dir, mode); err != nil && !os.IsExist(err) {
			if err = os.MkdirAll(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	otheruser.Give(t, project, out)
	return out, victim
}

func stillEmpty(t *testing.T, victim string) {
	t.Helper()
	if entries, err := os.ReadDir(victim); err != nil || len(entries) != 0 {
		t.Errorf("written to another directory: %v, %v", entries, err)
	}
}

// TestOutputDirectoryReplaced: between two calls, the owner of the parent directory
// replaces parts of it with links to root's directory.
func TestOutputDirectoryReplaced(t *testing.T) {
	const hidden = `cd "$1" && for p in .modwsgi-*.part; do mv "$p" gone && ln -s "$2" "$p"; done`
	const whole = `mv "$1" "$1.gone" && ln -s "$2" "$1"`
	for _, c := range []struct{ name, when, script string }{
		{"hidden directory before a file", "open", hidden},
		{"hidden directory before the commit", "add", hidden},
		{"whole directory before a file", "open", whole},
		{"whole directory before the commit", "add", whole},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, victim := foreign(t)
			d := open(t, out, false)
			attack := func(when string) {
				if when == c.when {
					otheruser.Shell(t, c.script, out, victim)
				}
			}
			attack("open")
			err := artifact(d, "a.whl", "text")
			attack("add")
			if err == nil {
				err = d.Meta("simple/index.html", []byte("page"))
			}
			if err == nil {
				err = d.Commit()
			}
			d.Abort()
			t.Log(err)
			stillEmpty(t, victim)
		})
	}
}

// racing marks this test program as the other side of the race.
const racing = "MODWSGI_TEST_RACE"

// TestOutputDirectoryRace does the same against a loop of the other user.
func TestOutputDirectoryRace(t *testing.T) {
	if place := os.Getenv(racing); place != "" {
		exchange(place)
		return
	}
	out, victim := foreign(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(victim), "racer")
	if err := CopyFile(self, program, 0o755); err != nil {
		t.Fatal(err)
	}
	const tries = 200
	dir := func(i int) string { return filepath.Join(out, fmt.Sprint(i)) }
	for i := range tries {
		if err := os.Mkdir(dir(i), 0o755); err != nil {
			t.Fatal(err)
		}
		otheruser.Give(t, dir(i))
	}
	cmd := otheruser.Command(t, program, "-test.run=^TestOutputDirectoryRace$")
	cmd.Env = append(os.Environ(), racing+"="+out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer stop(t, cmd)
	committed := 0
	for i := range tries {
		d, err := Open(dir(i), true)
		if err != nil {
			continue
		}
		for k := range 3 {
			err = errors.Join(err, artifact(d, fmt.Sprintf("a%d.whl", k), "text"))
		}
		if err == nil {
			err = d.Commit()
		}
		d.Abort()
		if err == nil {
			committed++
		}
	}
	t.Logf("%d of %d were committed", committed, tries)
	stillEmpty(t, victim)
}

// exchange replaces each hidden directory with a link to victim as soon as it appears.
func exchange(out string) {
	victim := filepath.Join(filepath.Dir(filepath.Dir(out)), "victim")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		names, _ := filepath.Glob(filepath.Join(out, "*", partPrefix+"*"+partSuffix))
		for i, name := range names {
			if info, err := os.Lstat(name); err == nil && info.IsDir() && os.Rename(name, fmt.Sprint(name, ".gone", i)) == nil {
				_ = os.Symlink(victim, name)
			}
		}
	}
}

func stop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}

// TestLinkAsOutputDirectory: root's directory is neither filled nor emptied.
func TestLinkAsOutputDirectory(t *testing.T) {
	out, victim := foreign(t)
	otheruser.Shell(t, `rmdir "$1" && ln -s "$2" "$1"`, out, victim)
	left := filepath.Join(victim, partPrefix+"x"+partSuffix)
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{out, filepath.Join(out, "below")} {
		d, err := Open(name, false)
		if err == nil {
			d.Abort()
		}
		if !owned.IsUntrusted(err) || !strings.Contains(fault.HintOf(err), "only you and root") {
			t.Errorf("%s: %v (%s)", name, err, fault.HintOf(err))
		}
	}
	if err := os.Remove(left); err != nil {
		t.Errorf("root's directory was cleared: %v", err)
	}
	stillEmpty(t, victim)
}

// TestPlantedIndex uses an index of "earlier runs" that points to files of root's.
func TestPlantedIndex(t *testing.T) {
	out, victim := foreign(t)
	secret := filepath.Join(victim, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, a := range []Artifact{
		{Name: "link.whl", SHA256: sumText("secret")},
		{Name: "a.whl", SHA256: sumText("text"), Sidecars: []string{"link.whl"}},
		{Name: "a.whl", SHA256: sumText("text"), Sidecars: []string{"../../victim/secret"}},
		{Name: "a.whl", SHA256: sumText("text"), Sidecars: []string{"pipe"}},
	} {
		data, err := json.Marshal(Index{Schema: 1, Artifacts: []Artifact{a}})
		if err != nil {
			t.Fatal(err)
		}
		otheruser.Shell(t, `cd "$1" && printf text >a.whl && ln -sf "$2" link.whl && rm -f pipe && mkfifo pipe && printf %s "$3" >index.json`, out, secret, string(data))
		within(t, a.Name, func() {
			if d, err := Open(out, false); err == nil {
				t.Errorf("taken over: %+v", d.Artifacts())
				d.Abort()
			}
		})
	}
	otheruser.Shell(t, `cd "$1" && rm -f index.json && mkfifo index.json`, out)
	within(t, "index.json", func() {
		if d, err := Open(out, false); err == nil {
			t.Error("a pipe is an index")
			d.Abort()
		}
	})
}

func sumText(text string) string {
	sum, _ := digest.Of(strings.NewReader(text))
	return sum
}

// within fails the test if it waits for a pipe without a writer.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan bool)
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: still waiting", what)
	}
}

// TestAbortRemovesItsOwnDirectoryOnly: the parent of a new output directory is
// replaced before the transaction is aborted.
func TestAbortRemovesItsOwnDirectoryOnly(t *testing.T) {
	out, victim := foreign(t)
	fresh := filepath.Join(out, "fresh")
	d, err := Open(fresh, false)
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(victim, "fresh")
	if err := os.Mkdir(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	otheruser.Shell(t, `mv "$1" "$1.gone" && ln -s "$2" "$1"`, out, victim)
	d.Abort()
	if err := syscall.Rmdir(kept); err != nil {
		t.Errorf("a directory of root's was removed: %v", err)
	}
}

// TestScratchOfASharedDirectory: tools open its files by name.
func TestScratchOfASharedDirectory(t *testing.T) {
	out, _ := foreign(t)
	d := open(t, out, false)
	dir, err := d.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	if err := owned.Check(dir); err != nil {
		t.Error(err)
	}
	if err := d.MaySign(); !owned.IsUntrusted(err) || fault.ClassOf(err) != fault.Environment {
		t.Errorf("may be signed: %v", err)
	}
	d.Abort()
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("left: %v", err)
	}
	if err := open(t, filepath.Join(otheruser.Dir(t), "dist"), false).MaySign(); err != nil {
		t.Error(err)
	}
}

// TestTakeIntoASharedDirectory copies what cannot be moved by name.
func TestTakeIntoASharedDirectory(t *testing.T) {
	out, _ := foreign(t)
	to := open(t, out, false)
	dir, err := to.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	from := open(t, filepath.Join(dir, "0"), false)
	if err := artifact(from, "a.whl", "text"); err != nil {
		t.Fatal(err)
	}
	if err := to.Take(from, "a.whl"); err != nil {
		t.Fatal(err)
	}
	a := from.Added()[0]
	if err := to.Add(&a); err != nil {
		t.Fatal(err)
	}
	if err := to.Commit(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(out, "a.whl")); err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
}
