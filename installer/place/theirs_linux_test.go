package place_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"modwsgi/installer/place"
	"modwsgi/internal/otheruser"
)

// theirWorld is a world in which everything belongs to the other user, beside files of
// root under the same names.
func theirWorld(t *testing.T) (w world, victim string) {
	t.Helper()
	otheruser.Need(t)
	root := memory(t)
	must(t, os.Chmod(root, 0o755))
	w = newWorld(t, root)
	give(t, w.prefix)
	victim = filepath.Join(root, "victim")
	write(t, victim, map[string]string{
		"ours.py": "root's", "__init__.py": "root's", "prog": "#!root's", "retired": "#!root's", "data/x": "root's", "old/only.py": "root's",
		"readme": "root's", "__pycache__/ours.cpython-311.pyc": "root's", "demo-1.0.dist-info/RECORD": "root's", "demo/__init__.py": "root's",
	})
	return w, victim
}

func give(t *testing.T, root string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			otheruser.Give(t, path)
		}
		return err
	}))
}

func snapshotOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	return world{prefix: dir}.snapshot(t)
}

// exchanges are the attacks of an environment's owner between two steps of a change:
// replacing a directory with a link to something of root's.
func (w world) exchanges() map[string][]string {
	return map[string][]string{
		"packages":     {filepath.Join(w.site, "mixed", "__pycache__"), filepath.Join(w.site, "mixed"), filepath.Join(w.site, "demo")},
		"other places": {w.bin, filepath.Join(w.prefix, "share")},
		"all of it":    {w.site, filepath.Dir(filepath.Dir(w.site))},
	}
}

// TestExchangedAtEveryMoment has the owner exchange each of these, and each hidden
// directory, at every moment between two steps of a change, of undoing it, and of a
// recovery.
func TestExchangedAtEveryMoment(t *testing.T) {
	otheruser.Need(t)
	points := 0
	for point := 1; ; point += stride() {
		seen := false
		for what := range worldAt("/").exchanges() {
			seen = exchangeAt(t, point, what) || seen
		}
		seen = exchangeAt(t, point, "hidden") || seen
		if !seen {
			break
		}
		points = point
	}
	if points < 20 {
		t.Errorf("only %d moments", points)
	}
}

// exchangeAt reports whether the change has that many moments.
func exchangeAt(t *testing.T, point int, what string) bool {
	t.Helper()
	w, victim := theirWorld(t)
	defer os.RemoveAll(filepath.Dir(w.prefix))
	before := snapshotOf(t, victim)
	reached, at := 0, ""
	place.SetHook(func(name string) {
		if reached++; reached != point {
			return
		}
		at = name
		paths := w.exchanges()[what]
		if what == "hidden" {
			paths, _ = filepath.Glob(filepath.Join(w.prefix, "*", ".modwsgi-*"))
			more, _ := filepath.Glob(filepath.Join(strings.ReplaceAll(w.site, "'", "?"), ".modwsgi-*"))
			paths = append(paths, more...)
		}
		for _, path := range paths {
			if os.Rename(path, path+".away") == nil {
				must(t, os.Symlink(victim, path))
				otheruser.Give(t, path)
			}
		}
	})
	defer place.SetHook(func(string) {})
	change := func() {
		l, err := place.Lock(t.Context(), w.site, 0, nil)
		if err != nil {
			return
		}
		defer l.Unlock()
		tx, err := l.Apply(t.Context(), w.request(t))
		if err == nil && point%2 == 0 {
			err = tx.Rollback()
		} else if err == nil {
			err = tx.Commit()
		}
		_ = err // the owner may well spoil it
	}
	change()
	if l, err := place.Lock(t.Context(), w.site, 0, nil); err == nil {
		_, _ = l.Recover(w.prefix)
		_ = l.Unlock()
	}
	if d := difference(snapshotOf(t, victim), before); d != "" {
		t.Errorf("%s exchanged at %d (%s):\n%s", what, point, at, d)
	}
	return at != ""
}

func init() { exchange = exchangeForEver }

// exchangeForEver runs as the other user.
func exchangeForEver(w world) {
	victim := filepath.Join(filepath.Dir(w.prefix), "victim")
	paths := append(w.exchanges()["packages"], w.exchanges()["other places"]...)
	pause := func(most int) { time.Sleep(time.Duration(rand.IntN(most)) * time.Microsecond) } // random moments are the point of the test
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		path := paths[rand.IntN(len(paths))]
		link := path + ".link"
		_ = os.Symlink(victim, link)
		if unix.Renameat2(unix.AT_FDCWD, link, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE) == nil {
			pause(500)
			_ = unix.Renameat2(unix.AT_FDCWD, link, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
		}
		_ = os.Remove(link)
		pause(8000) // most of a change, so that many reach their renames
	}
}

// TestRaceWithTheOwner is the same without hooks: 200 changes against a process of the
// owner that constantly exchanges directories for links.
func TestRaceWithTheOwner(t *testing.T) {
	w, victim := theirWorld(t)
	program := filepath.Join(filepath.Dir(w.prefix), "program")
	self, err := os.Executable()
	must(t, err)
	data, err := os.ReadFile(self)
	must(t, err)
	must(t, os.WriteFile(program, data, 0o755))
	attack := otheruser.Command(t, program)
	attack.Env = []string{"PLACE_TEST=exchange 0 yes " + filepath.Dir(w.prefix)}
	must(t, attack.Start())
	defer func() { _ = attack.Process.Signal(syscall.SIGKILL); _ = attack.Wait() }()
	before := snapshotOf(t, victim)
	r := w.request(t)
	done := 0
	for range 200 / stride() {
		l, err := place.Lock(t.Context(), w.site, time.Second, nil)
		must(t, err)
		tx, err := l.Apply(t.Context(), r)
		if err == nil {
			err = tx.Rollback()
		}
		_, _ = l.Recover(w.prefix)
		must(t, l.Unlock())
		if err == nil {
			done++
			continue
		}
		// Both worlds are spoilt. The new one is created where nobody exchanges anything.
		spare := newWorld(t, filepath.Join(filepath.Dir(w.prefix), "spare"))
		give(t, spare.prefix)
		must(t, os.Rename(w.prefix, w.prefix+".old"))
		must(t, os.Rename(spare.prefix, w.prefix))
		must(t, os.RemoveAll(w.prefix+".old"))
		must(t, os.RemoveAll(filepath.Dir(spare.prefix)))
	}
	if done == 0 || done == 200 {
		t.Errorf("%d of 200 changes succeeded: that was no race", done)
	}
	if d := difference(snapshotOf(t, victim), before); d != "" {
		t.Error(d)
	}
	t.Logf("%d of 200 changes succeeded", done)
}

// TestJournalOfTheOwner: a run of the owner is killed, and root comes next. Root reports
// it and continues, and the owner's next run does not undo what root did.
func TestJournalOfTheOwner(t *testing.T) {
	w, _ := theirWorld(t)
	program := filepath.Join(filepath.Dir(w.prefix), "program")
	self, err := os.Executable()
	must(t, err)
	data, err := os.ReadFile(self)
	must(t, err)
	must(t, os.WriteFile(program, data, 0o755))
	as := func(mode string, point int) string {
		cmd := otheruser.Command(t, program)
		cmd.Env = []string{fmt.Sprintf("PLACE_TEST=%s %d yes %s", mode, point, filepath.Dir(w.prefix))}
		out, _ := cmd.CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	steps := []string{}
	for point := 1; len(steps) == 0 || steps[len(steps)-1] != "placed"; point++ {
		must(t, os.RemoveAll(w.prefix))
		must(t, os.RemoveAll(w.stage))
		newWorld(t, filepath.Dir(w.prefix))
		give(t, w.prefix)
		if steps = append(steps, as("commit", point)); point > 60 {
			t.Fatalf("no step before the end: %q", steps)
		}
	}
	must(t, os.RemoveAll(w.prefix))
	must(t, os.RemoveAll(w.stage))
	newWorld(t, filepath.Dir(w.prefix))
	give(t, w.prefix)
	as("commit", len(steps)-1) // the last rename
	l := w.lock(t)
	out, err := l.Recover(w.prefix)
	must(t, err)
	if len(out.Left) != 1 || !strings.Contains(out.Left[0].String(), fmt.Sprintf("run modwsgi once as the user with the id %d", otheruser.UID)) || len(out.Undone) != 0 {
		t.Fatalf("outcome %+v", out)
	}
	// All of the renames were done, except the end: what is there can be replaced.
	r := w.request(t)
	for _, i := range []string{"share/demo/readme", "bin/added"} {
		r.Remove = append(r.Remove, filepath.Join(w.prefix, i))
	}
	tx, err := l.Apply(t.Context(), r)
	must(t, err)
	must(t, tx.Commit())
	after := w.snapshot(t)
	must(t, l.Unlock())
	if said := as("recover", 0); said != "" {
		t.Errorf("the owner's recovery: %s", said)
	}
	for name, v := range w.snapshot(t) {
		if !strings.Contains(name, ".modwsgi-") && after[name] != v {
			t.Errorf("the owner's recovery changed %s: %.60q, was %.60q", name, v, after[name])
		}
	}
	w.pipSeesWhole(t, "after both")
	if left, _ := filepath.Glob(filepath.Join(strings.ReplaceAll(w.site, "'", "?"), ".modwsgi*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestJournalsThatNoPlanWrites: the journals belong to root, so that only their paths are
// wrong.
func TestJournalsThatNoPlanWrites(t *testing.T) {
	const home = ".modwsgi-0123456789abcdef"
	outer := memory(t)
	for name, journal := range map[string]string{
		"a side elsewhere":     `{"schema":1,"state":"placed","sides":["../../../../victim/` + home + `"],"ops":[]}`,
		"an invalid side":      `{"schema":1,"state":"placed","sides":["../../../bin"],"ops":[]}`,
		"an absolute side":     `{"schema":1,"state":"placed","sides":["` + outer + `/victim"],"ops":[]}`,
		"a side in the anchor": `{"schema":1,"state":"placed","sides":["other/` + home + `"],"ops":[]}`,
		"an unclean path":      `{"schema":1,"state":"placed","sides":["../../../bin/../bin/` + home + `"],"ops":[]}`,
		"made elsewhere":       `{"schema":1,"state":"moving","made":["../../../../victim"],"ops":[]}`,
		"made absolute":        `{"schema":1,"state":"moving","made":["` + outer + `/victim"],"ops":[]}`,
		"an absolute target":   `{"schema":1,"state":"moving","ops":[{"op":"put","target":"` + outer + `/victim/ours.py","staged":"` + home + `/new-1"}]}`,
		"staged elsewhere":     `{"schema":1,"state":"moving","ops":[{"op":"put","target":"demo","staged":"../../../../victim/new-1"}]}`,
		"staged beside":        `{"schema":1,"state":"moving","ops":[{"op":"put","target":"demo","staged":"` + home + `/../other"}]}`,
		"staged out of it":     `{"schema":1,"state":"moving","ops":[{"op":"put","target":"demo","staged":"other"}]}`,
		"saved elsewhere":      `{"schema":1,"state":"moving","ops":[{"op":"take","target":"gone","saved":"../../../bin/python"}]}`,
		"saved deep":           `{"schema":1,"state":"moving","ops":[{"op":"take","target":"gone","saved":"` + home + `/old-1/x"}]}`,
		"the journal as saved": `{"schema":1,"state":"moving","ops":[{"op":"take","target":"gone","saved":"` + home + `/journal.json"}]}`,
		"the anchor itself":    `{"schema":1,"state":"moving","ops":[{"op":"put","target":".","staged":"` + home + `/new-1"}]}`,
		"in another hidden":    `{"schema":1,"state":"moving","ops":[{"op":"put","target":".modwsgi-ffffffffffffffff/x","staged":"` + home + `/new-1"}]}`,
		"through a link":       `{"schema":1,"state":"moving","ops":[{"op":"put","target":"way/python","staged":"` + home + `/new-1"}]}`,
		"no operation":         `{"schema":1,"state":"moving","ops":[{"op":"remove","target":"demo","staged":"` + home + `/new-1"}]}`,
		"too much":             `{"schema":1,"state":"moving","ops":[{"op":"put","target":"demo","staged":"` + home + `/new-1","saved":"` + home + `/old-1"}]}`,
		"a swap without mark":  `{"schema":1,"state":"moving","ops":[{"op":"swap","target":"demo","staged":"` + home + `/new-1","saved":"` + home + `/old-1"}]}`,
		"no state":             `{"schema":1,"state":"over","ops":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, outer)
			defer os.RemoveAll(w.prefix)
			defer os.RemoveAll(w.stage)
			victim := filepath.Join(outer, "victim")
			write(t, victim, map[string]string{"ours.py": "x", home + "/x": "x", "new-1": "x"})
			defer os.RemoveAll(victim)
			must(t, os.Symlink("../../../bin", filepath.Join(w.site, "way")))
			write(t, filepath.Join(w.site, home), map[string]string{"journal.json": journal, "old-1/x": "y"})
			before, other := w.snapshot(t), snapshotOf(t, victim)
			l := w.lock(t)
			out, err := l.Recover(w.prefix)
			must(t, err)
			if len(out.Left) != 1 || !strings.HasSuffix(out.Left[0].Dir, home) || out.Left[0].Hint == "" {
				t.Errorf("outcome %+v", out)
			}
			w.mustBe(t, before, "after recover")
			tx, err := l.Apply(t.Context(), w.request(t))
			must(t, err)
			must(t, tx.Rollback())
			w.mustBe(t, before, "after a change that was undone")
			if d := difference(snapshotOf(t, victim), other); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestStageOfAnotherUser: a file that another user owns, who could write to it later, is
// not hard-linked.
func TestStageOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	root := memory(t)
	w := newWorld(t, root)
	mine, other := filepath.Join(w.stage, "mine.py"), filepath.Join(w.stage, "theirs.py")
	write(t, w.stage, map[string]string{"mine.py": "x", "theirs.py": "x"})
	otheruser.Give(t, other)
	r := place.Request{Spent: true}
	for _, source := range []string{mine, other} {
		r.Items = append(r.Items, place.Item{Source: source, Target: filepath.Join(w.site, filepath.Base(source))})
	}
	tx, err := w.lock(t).Apply(t.Context(), r)
	must(t, err)
	must(t, tx.Commit())
	for source, want := range map[string]bool{mine: true, other: false} {
		a, err := os.Stat(source)
		must(t, err)
		b, err := os.Stat(filepath.Join(w.site, filepath.Base(source)))
		must(t, err)
		if os.SameFile(a, b) != want {
			t.Errorf("%s: the same file: %v", source, !want)
		}
		if b.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("%s belongs to another user after placement", source)
		}
	}
}
