//go:build unix

package place_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/installer/place"
	"modwsgi/internal/fault"
)

func TestApplyAndCommit(t *testing.T) {
	w := newWorld(t, memory(t))
	tx, err := w.lock(t).Apply(t.Context(), w.request(t))
	must(t, err)
	w.pipSeesWhole(t, "before commit")
	must(t, tx.Commit())
	w.pipSeesWhole(t, "after commit")
	got := w.snapshot(t)
	site, past := "lib/python3.11/site-packages/", "lib/python3.10/site-packages/"
	for name, want := range map[string]string{
		site + "demo/__init__.py": "new", site + "demo/fresh.py": "new", site + "demo/link": "-> data/y",
		site + "demo/empty": "drwxr-xr-x", site + "mixed/ours.py": "new ours", site + "mixed/theirs.py": "theirs",
		site + "mixed/__pycache__/theirs.cpython-311.pyc": "cache", site + "mixed/sub/a": "new", site + "apart.py": "new",
		site + "other/__init__.py": "other", site + "demo-2.0.dist-info/INSTALLER": "modwsgi\n",
		past + "mixed/theirs.py": "theirs", "bin/python": "#!python", "bin/prog": "#!new prog", "bin/added": "#!new added", "share/demo/readme": "new",
	} {
		if !strings.HasSuffix(got[name], want) {
			t.Errorf("%s is %q", name, got[name])
		}
	}
	for _, name := range []string{
		site + "demo/gone.py", site + "demo/__pycache__", site + "demo/data/x", site + "mixed/old", site + "dropped",
		site + "mixed/__pycache__/ours.cpython-311.pyc", site + "demo-1.0.dist-info", "bin/retired",
		past + "demo", past + "demo-0.9.dist-info", past + "mixed/ours.py",
	} {
		if got[name] != "" {
			t.Errorf("%s still exists: %q", name, got[name])
		}
	}
	for name := range got {
		if strings.Contains(name, ".modwsgi") {
			t.Errorf("left behind: %s", name)
		}
	}
	info, err := os.Stat(filepath.Join(w.bin, "prog"))
	must(t, err)
	if info.Mode() != 0o755 || !info.ModTime().Equal(oldTime) {
		t.Errorf("the program has %v, %v", info.Mode(), info.ModTime())
	}
	if err := tx.Commit(); err == nil {
		t.Error("committed twice")
	}
	if err := tx.Rollback(); err == nil {
		t.Error("rolled back after commit")
	}
}

func TestRollbackRestoresEverything(t *testing.T) {
	w := newWorld(t, memory(t))
	before := w.snapshot(t)
	l := w.lock(t)
	tx, err := l.Apply(t.Context(), w.request(t))
	must(t, err)
	if _, err := l.Apply(t.Context(), w.request(t)); err == nil {
		t.Error("a second transaction was started within the first one")
	}
	// Files that Python writes when the new code runs once must be removed as well.
	write(t, w.site, map[string]string{
		"demo/__pycache__/fresh.cpython-311.pyc": "run", "mixed/__pycache__/ours.cpython-311.pyc": "run", "__pycache__/apart.cpython-311.pyc": "run",
	})
	must(t, tx.Rollback())
	w.mustBe(t, before, "after rollback")
}

func TestUninstallRemovesOnlyListedFiles(t *testing.T) {
	w := newWorld(t, memory(t))
	r := w.request(t)
	tx, err := w.lock(t).Apply(t.Context(), place.Request{Remove: append(r.Remove, filepath.Join(w.site, "never-was")), Beside: r.Beside, Roots: r.Roots})
	must(t, err)
	must(t, tx.Commit())
	clean := worldAt(memory(t))
	write(t, clean.site, map[string]string{
		"mixed/theirs.py": "theirs", "mixed/__pycache__/theirs.cpython-311.pyc": "cache", "other/__init__.py": "other",
	})
	write(t, clean.past, map[string]string{"mixed/theirs.py": "theirs"})
	write(t, clean.bin, map[string]string{"python": "#!python"})
	describe(t, clean.site, "", "other", "3", "other/__init__.py")
	got, want := w.forget(w.snapshot(t)), clean.forget(clean.snapshot(t))
	if d := difference(got, want); d != "" {
		t.Error(d)
	}
}

func TestRefusedRequestsChangeNothing(t *testing.T) {
	for what, row := range map[string]struct {
		change func(t *testing.T, w world, r *place.Request)
		say    string
	}{
		"a foreign file at a target": {func(t *testing.T, w world, r *place.Request) {
			write(t, w.bin, map[string]string{"added": "#!theirs"})
		}, "added exists already"},
		"a foreign file deep in a merge": {func(t *testing.T, w world, r *place.Request) {
			write(t, w.site, map[string]string{"mixed/sub/a": "theirs"})
		}, "a exists already"},
		"a foreign file in place of a new directory": {func(t *testing.T, w world, r *place.Request) {
			write(t, w.prefix, map[string]string{"share/demo": "theirs"})
		}, "not a directory"},
		"a dangling link at a target": {func(t *testing.T, w world, r *place.Request) {
			must(t, os.Symlink("nowhere", filepath.Join(w.bin, "added")))
		}, "added exists already"},
		"a target outside": {func(t *testing.T, w world, r *place.Request) {
			r.Items[0].Target = filepath.Join(w.prefix, "..", "evil")
		}, "outside the environment"},
		"a target through a link": {func(t *testing.T, w world, r *place.Request) {
			must(t, os.Symlink(w.stage, filepath.Join(w.site, "out")))
			r.Items[0].Target = filepath.Join(w.site, "out", "x")
		}, "outside the environment"},
		"a removal outside": {func(t *testing.T, w world, r *place.Request) {
			r.Remove = append(r.Remove, filepath.Join(w.site, "..", "..", "..", "..", "stage"))
		}, "outside the environment"},
		"a removal through a link": {func(t *testing.T, w world, r *place.Request) {
			must(t, os.Symlink(w.stage, filepath.Join(w.site, "out")))
			r.Remove = append(r.Remove, filepath.Join(w.site, "out", "site"))
		}, "outside the environment"},
		"removal of a root":       {func(t *testing.T, w world, r *place.Request) { r.Remove = append(r.Remove, w.site) }, "root"},
		"removal above a root":    {func(t *testing.T, w world, r *place.Request) { r.Remove = append(r.Remove, filepath.Dir(w.site)) }, "root"},
		"a relative target":       {func(t *testing.T, w world, r *place.Request) { r.Items[0].Target = "x" }, "absolute"},
		"overlapping targets":     {func(t *testing.T, w world, r *place.Request) { r.Items[1].Target = r.Items[0].Target + "/x" }, "overlap"},
		"a missing staged file":   {func(t *testing.T, w world, r *place.Request) { r.Items[0].Source += "x" }, "staged"},
		"a target without a root": {func(t *testing.T, w world, r *place.Request) { r.Roots = nil }, "outside the environment"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, memory(t))
			r := w.request(t)
			row.change(t, w, &r)
			before := w.snapshot(t)
			_, err := w.lock(t).Apply(t.Context(), r)
			if err == nil || !strings.Contains(err.Error(), row.say) {
				t.Errorf("error is %v", err)
			}
			if fault.ClassOf(err) == fault.Place && fault.HintOf(err) == "" {
				t.Error("no hint")
			}
			w.mustBe(t, before, "after the refusal")
		})
	}
}

// A new --target directory has no programs yet.
func TestMissingRoot(t *testing.T) {
	w := newWorld(t, memory(t))
	must(t, os.RemoveAll(w.bin))
	before := w.snapshot(t)
	r := w.request(t)
	r.Roots = []string{filepath.Dir(w.past), w.bin, filepath.Join(w.prefix, "share")}
	tx, err := w.lock(t).Apply(t.Context(), r)
	must(t, err)
	w.pipSeesWhole(t, "applied")
	must(t, tx.Rollback())
	w.mustBe(t, before, "rolled back")
}

// Two versions in a row: the second one replaces what the first one placed, and files
// that a program has written into its directories stay.
func TestUpgradeKeepsWhatOthersWrote(t *testing.T) {
	w := newWorld(t, memory(t))
	l := w.lock(t)
	for round := range 2 {
		r := w.request(t)
		r.Items = r.Items[:len(r.Items)-1] // the one that is not in RECORD
		tx, err := l.Apply(t.Context(), r)
		must(t, err)
		must(t, tx.Commit())
		w.pipSeesWhole(t, "round")
		if round == 0 {
			write(t, w.site, map[string]string{"demo/data/error_log": "theirs"})
		}
	}
	got := w.snapshot(t)
	for name, want := range map[string]string{"data/error_log": "theirs", "fresh.py": "new", "data/y": "new"} {
		if !strings.HasSuffix(got["lib/python3.11/site-packages/demo/"+name], want) {
			t.Errorf("%s is %q", name, got["lib/python3.11/site-packages/demo/"+name])
		}
	}
}

// The directory of programs may be somewhere else.
func TestProgramsBehindALink(t *testing.T) {
	root := memory(t)
	w := newWorld(t, root)
	must(t, os.Rename(w.bin, filepath.Join(root, "programs")))
	must(t, os.Symlink(filepath.Join(root, "programs"), w.bin))
	before := w.snapshot(t)
	l := w.lock(t)
	r := w.request(t)
	if _, err := l.Apply(t.Context(), r); err == nil || !strings.Contains(err.Error(), "outside") {
		t.Errorf("error is %v", err)
	}
	w.mustBe(t, before, "after the refusal")
	r.Roots = append(r.Roots, w.bin)
	tx, err := l.Apply(t.Context(), r)
	must(t, err)
	data, err := os.ReadFile(filepath.Join(root, "programs", "prog"))
	if err != nil || string(data) != "#!new prog" {
		t.Errorf("got %q, %v", data, err)
	}
	must(t, tx.Rollback())
	w.mustBe(t, before, "after rollback")
	left, err := os.ReadDir(filepath.Join(root, "programs"))
	if err != nil || len(left) != 3 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestEndedContextInTheCopy(t *testing.T) {
	why := errors.New("a key was pressed")
	for _, point := range []string{"created", "journal of staging", "created sides"} {
		w := newWorld(t, memory(t))
		before := w.snapshot(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		place.SetFailpoint(func(name string) {
			if name == point {
				cancel(why)
			}
		})
		_, err := w.lock(t).Apply(ctx, w.request(t))
		place.SetFailpoint(func(string) {})
		if !errors.Is(err, why) {
			t.Errorf("at %s: %v", point, err)
		}
		w.mustBe(t, before, "ended at "+point)
		cancel(nil)
	}
}

// Another program creates a target after the check: it must survive, and the change must
// not be half made.
func TestTargetAppearsDuringChange(t *testing.T) {
	w := newWorld(t, memory(t))
	r := w.request(t)
	theirs := filepath.Join(w.bin, "added")
	var before map[string]string
	place.SetFailpoint(func(name string) {
		if name == "synced" {
			must(t, os.WriteFile(theirs, []byte("theirs"), 0o600))
			before = w.snapshot(t)
		}
	})
	defer place.SetFailpoint(func(string) {})
	_, err := w.lock(t).Apply(t.Context(), r)
	if fault.ClassOf(err) != fault.Place || !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), theirs) {
		t.Errorf("error is %v", err)
	}
	for name := range before {
		if strings.Contains(name, ".modwsgi-") {
			delete(before, name)
		}
	}
	w.mustBe(t, before, "after the failure")
}

func TestRecoverLeavesOthersAlone(t *testing.T) {
	w := newWorld(t, memory(t))
	write(t, w.site, map[string]string{
		".modwsgi-not-ours/x": "1", ".modwsgi-0123456789abcdef0/x": "2", ".hidden": "3", ".modwsgi-00000000000000ff": "a file",
	})
	before := w.snapshot(t)
	write(t, w.site, map[string]string{".modwsgi-0123456789abcdef/new-1/x": "killed before there was a journal"})
	out, err := w.lock(t).Recover(w.prefix)
	must(t, err)
	if out.Cleared != 1 || len(out.Completed)+len(out.Undone) != 0 {
		t.Errorf("outcome %+v", out)
	}
	w.mustBe(t, before, "after recover")
}

func TestRecoverRefusesAJournalThatItCannotRead(t *testing.T) {
	for _, text := range []string{"", "{", `{"schema": 99}`} {
		w := newWorld(t, memory(t))
		write(t, w.site, map[string]string{".modwsgi-0123456789abcdef/journal.json": text, ".modwsgi-0123456789abcdef/old-1/x": "precious"})
		before := w.snapshot(t)
		l := w.lock(t)
		_, err := l.Recover(w.prefix)
		if fault.ClassOf(err) != fault.Place || !strings.Contains(fault.HintOf(err), "remove it") {
			t.Errorf("journal %q: %v", text, err)
		}
		if _, err := l.Apply(t.Context(), w.request(t)); err == nil {
			t.Error("applied on top of a state that nobody knows")
		}
		w.mustBe(t, before, "after the refusal")
	}
}
