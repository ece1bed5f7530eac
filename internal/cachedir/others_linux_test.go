package cachedir_test

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/fault"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/testkit"
)

// TestUntrustedPartOfTheCache: whichever part it is, nothing is removed, read or written,
// an install works elsewhere, and commands on the cache fail.
func TestUntrustedPartOfTheCache(t *testing.T) {
	otheruser.Need(t)
	for _, part := range []string{"builds", "downloads", "host", "logs", "work"} {
		for name, plant := range plants {
			t.Run(part+" is "+name, func(t *testing.T) {
				top := otheruser.Dir(t)
				cache, foreign := top+"/cache", top+"/foreign"
				bait(t, foreign)
				if err := os.MkdirAll(cache, 0o755); err != nil {
					t.Fatal(err)
				}
				plant(t, cache+"/"+part, foreign)
				refused(t, cache, top)
			})
		}
	}
}

// TestUntrustedCache is the same for the cache directory itself.
func TestUntrustedCache(t *testing.T) {
	otheruser.Need(t)
	for name, plant := range plants {
		if strings.HasPrefix(name, "a link to a dir") {
			continue // a link of root is followed to root's files
		}
		t.Run(name, func(t *testing.T) {
			top := otheruser.Dir(t)
			if err := os.Mkdir(top+"/shared", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(top+"/shared", 0o777|fs.ModeSticky); err != nil {
				t.Fatal(err)
			}
			bait(t, top+"/foreign/logs")
			plant(t, top+"/shared/cache", top+"/foreign")
			refused(t, top+"/shared/cache", top)
		})
	}
	t.Run("in a directory of another user", func(t *testing.T) {
		top := otheruser.Dir(t)
		bait(t, top+"/home/cache/logs")
		otheruser.Give(t, top+"/home")
		refused(t, top+"/home/cache", top)
	})
	t.Run("to be made in a directory of another user", func(t *testing.T) {
		top := otheruser.Dir(t)
		bait(t, top+"/home/x")
		otheruser.Give(t, top+"/home")
		refused(t, top+"/home/.cache/modwsgi", top)
	})
}

// refused does everything with a cache that must be left alone, and compares all below
// top before and after.
func refused(t *testing.T, cache, top string) {
	t.Helper()
	before := testkit.Snapshot(t, top)
	var h testkit.Events
	q := request{CacheDir: cache, Events: h.Sink, Env: []string{"TMPDIR=" + t.TempDir()}}
	w, err := newWorkspace(&q)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{w.Dir, w.Logs, w.Downloads} {
		if dir == "" || strings.HasPrefix(dir, top) {
			t.Errorf("works in %q", dir)
		}
	}
	if ok, err := w.builds.Has(t.Context(), baitKey); ok || err != nil {
		t.Errorf("a build was found: %v", err)
	}
	w.builds.Forget(baitKey)
	built := t.TempDir()
	testkit.Write(t, built, map[string]string{"file": "built"})
	key, about := wantAbout(w.builds, "module")
	w.builds.Keep(t.Context(), key, built, about)
	w.Close()
	if warned := slices.DeleteFunc(slices.Clone(h.Texts()), func(s string) bool { return !strings.HasPrefix(s, "warn ") }); len(warned) != 1 ||
		!strings.Contains(warned[0], cache) || !strings.Contains(warned[0], "--cache-dir") && !strings.Contains(warned[0], "remove the link") {
		t.Errorf("warnings: %q", warned)
	}
	q = request{CacheDir: cache}
	for what, do := range map[string]func() error{
		"list":   func() error { _, err := list(q); return err },
		"info":   func() error { _, err := find(q, "run-dead"); return err },
		"clear":  func() error { _, err := prune(q, cachedir.Policy{All: true}); return err },
		"prune":  func() error { _, err := prune(q, cachedir.Policy{MaxSize: 0, OlderThan: time.Nanosecond}); return err },
		"verify": func() error { _, err := verify(t, q, true); return err },
	} {
		err := do()
		if err == nil {
			if !fileExists(cache) {
				continue // no cache, no error
			}
			t.Errorf("cache %s: no error", what)
			continue
		}
		testkit.WantFault(t, err, fault.Environment, cache)
	}
	testkit.Unchanged(t, before, testkit.Snapshot(t, top))
}

// TestEntriesOfOthersAreLeftAlone: files that another user or a link has put among the
// entries are not removed with them.
func TestEntriesOfOthersAreLeftAlone(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	cache, foreign := top+"/cache", top+"/foreign"
	bait(t, foreign)
	bait(t, cache+"/work/run-theirs")
	giveAll(t, cache+"/work/run-theirs")
	symlink(t, foreign, cache+"/work/run-link")
	testkit.Write(t, cache, map[string]string{"work/run-loose/x": "", "work/.hidden/x": "", "work/run-ours/x": ""})
	if err := os.Chmod(cache+"/work/run-loose", 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		testkit.Write(t, cache, map[string]string{fmt.Sprintf("logs/20200101T0000%02dZ-x/step.log", i): "log"})
	}
	giveAll(t, cache+"/logs/20200101T000000Z-x")
	symlink(t, foreign, cache+"/logs/20190101T000000Z-x")
	testkit.Write(t, cache, map[string]string{"logs/.hidden/x": ""})
	before := testkit.Snapshot(t, foreign, cache+"/work/run-theirs", cache+"/work/run-loose", cache+"/work/.hidden", cache+"/logs/20200101T000000Z-x", cache+"/logs/.hidden")
	w, err := newWorkspace(&request{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if fileExists(cache + "/work/run-ours") {
		t.Error("the directory of a killed run of this user is there")
	}
	var h testkit.Events
	if _, err := prune(request{CacheDir: cache, Events: h.Sink}, cachedir.Policy{All: true, Kinds: []string{cachedir.KindLog}}); err != nil || !h.Has("warn left alone") {
		t.Errorf("%v, %q", err, h.Texts())
	}
	testkit.Unchanged(t, before, testkit.Snapshot(t, foreign, cache+"/work/run-theirs", cache+"/work/run-loose", cache+"/work/.hidden", cache+"/logs/20200101T000000Z-x", cache+"/logs/.hidden"))
	if fileExists(cache + "/logs/20200101T000011Z-x") {
		t.Error("old logs of this user are there")
	}
}

// TestRaceForTheCache lets another user exchange the parts of a cache for links to a
// directory of root, as often as possible, while root clears and uses it.
func TestRaceForTheCache(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	home, precious := top+"/home", top+"/precious"
	bait(t, precious)
	for _, part := range []string{"work", "logs", "downloads", "builds"} {
		bait(t, home+"/cache/"+part)
	}
	giveAll(t, home)
	for _, dir := range []string{home, home + "/cache"} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	before := testkit.Snapshot(t, precious)
	cmd := otheruser.Command(t, "/bin/sh", "-c",
		`cd "$1"; while :; do for p in work logs downloads builds; do mv $p $p.away; ln -s "$2" $p; rm $p; mv $p.away $p; done; done 2>/dev/null`, "sh", home+"/cache", precious)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	tmp := t.TempDir()
	for range 200 {
		_, _ = prune(request{CacheDir: home + "/cache"}, cachedir.Policy{All: true})
		if w, err := newWorkspace(&request{CacheDir: home + "/cache", Env: []string{"TMPDIR=" + tmp}}); err == nil {
			if strings.HasPrefix(w.Dir, top) || strings.HasPrefix(w.Logs, top) {
				t.Errorf("works in %s, logs to %s", w.Dir, w.Logs)
			}
			w.Close()
		}
	}
	testkit.Unchanged(t, before, testkit.Snapshot(t, precious))
}

// TestHomeOfAnotherUser: sudo may keep HOME, and then root creates nothing there.
func TestHomeOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	testkit.Write(t, top, map[string]string{"home/": "", "xdg/": "", "root/": ""})
	otheruser.Give(t, top+"/home", top+"/xdg")
	own := top + "/root"
	cachedir.OwnHome = func() string { return own }
	defer func(f func() string) { cachedir.OwnHome = f }(passwdHome)
	for _, env := range [][]string{{"HOME=" + top + "/home"}, {"HOME=" + own, "XDG_CACHE_HOME=" + top + "/xdg"}} {
		var h testkit.Events
		q := request{Env: env, Events: h.Sink}
		before := testkit.Snapshot(t, top+"/home", top+"/xdg")
		if err := q.findCache(); err != nil || q.CacheDir != own+"/.cache/modwsgi" {
			t.Fatalf("%s, %v", q.CacheDir, err)
		}
		name, _, _ := strings.Cut(env[len(env)-1], "=")
		if !h.Has("note "+name+" is ") || !h.Has("belongs to") || !h.Has(own+"/.cache/modwsgi instead") {
			t.Errorf("%q", h.Texts())
		}
		w, err := newWorkspace(&q)
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		testkit.Unchanged(t, before, testkit.Snapshot(t, top+"/home", top+"/xdg"))
	}
	q := request{Env: []string{"HOME=" + own, "CCACHE_DIR=" + top + "/xdg", "CC=cc"}}
	if got := cachedir.ToolEnv(q.Env); !slices.Equal(got, []string{"HOME=" + own, "CC=cc"}) {
		t.Errorf("%q", got)
	}
	q.Env = []string{"HOME=" + top + "/home"}
	if got := cachedir.ToolEnv(q.Env); !slices.Equal(got, []string{"HOME=" + own}) {
		t.Errorf("%q", got)
	}
	// A home that this user's own one cannot replace is reported when it is used.
	own = top + "/home"
	q = request{Env: []string{"HOME=" + top + "/home"}}
	if err := q.findCache(); err != nil || q.CacheDir != top+"/home/.cache/modwsgi" {
		t.Errorf("%s, %v", q.CacheDir, err)
	}
}

// TestModesWhateverTheUmask: the cache is private.
func TestModesWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o002, 0o077} {
		base := t.TempDir()
		before := syscall.Umask(umask)
		w, err := newWorkspace(&request{CacheDir: base + "/a/cache"})
		if err == nil {
			err = (buildcache.Cache{Dir: base + "/a/cache/builds"}).Import(baitKey, &buildcache.Manifest{Schema: buildcache.Schema, Key: baitKey}, func(to string) error {
				tree, err := buildcache.NewWriter(to)
				if err == nil {
					err = tree.Close()
				}
				return err
			})
		}
		syscall.Umask(before)
		if err != nil {
			t.Fatalf("umask %03o: %v", umask, err)
		}
		for _, dir := range []string{base + "/a", base + "/a/cache", base + "/a/cache/work", base + "/a/cache/logs", base + "/a/cache/builds", w.Dir, w.Logs} {
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("umask %03o: %s: %v, %v", umask, dir, info.Mode(), err)
			}
		}
		w.Close()
	}
}

// TestCachesOfAnOrdinaryUser runs as the other user: a cache that root keeps for
// everybody is read, one of a third user is not, and one behind a link of theirs works.
func TestCachesOfAnOrdinaryUser(t *testing.T) {
	top := os.Getenv("MODWSGI_TEST_TOP")
	if top == "" && os.Geteuid() == 0 {
		top = otheruser.Dir(t)
		made := t.TempDir()
		testkit.Write(t, made, map[string]string{"file": "built"})
		for _, who := range []string{"root", "third"} {
			c := buildcache.Cache{Dir: top + "/" + who + "/builds"}
			key, about := about("module")
			if err := c.Store(t.Context(), key, made, about); err != nil {
				t.Fatal(err)
			}
			for _, path := range testkit.Paths(t, top+"/"+who) {
				info, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, info.Mode().Perm()|0o444|info.Mode().Perm()&0o100>>3|info.Mode().Perm()&0o100>>6); err != nil {
					t.Fatal(err)
				}
				if who == "third" {
					if err := os.Lchown(path, 12345, 12345); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		testkit.Write(t, top, map[string]string{"theirs/data/": ""})
		symlink(t, "data", top+"/theirs/link")
		giveAll(t, top+"/theirs")
	}
	if !otheruser.Rerun(t, "MODWSGI_TEST_TOP="+top) {
		return
	}
	for name, c := range map[string]struct {
		found bool
		word  string
	}{
		"root": {true, "note the cache directory " + top + "/root is read-only"}, "third": {false, "warn the cache is neither read nor written: " + top + "/third"},
	} {
		var h testkit.Events
		q := request{CacheDir: top + "/" + name, Events: h.Sink, Env: []string{"TMPDIR=" + t.TempDir()}}
		w, err := newWorkspace(&q)
		if err != nil {
			t.Fatal(err)
		}
		key, _ := wantAbout(w.builds, "module")
		if ok, err := w.builds.Has(t.Context(), key); ok != c.found || err != nil {
			t.Errorf("%s: found %v, %v", name, ok, err)
		}
		if !h.Has(c.word) || len(h.Texts()) != 1 {
			t.Errorf("%s: %q", name, h.Texts())
		}
		w.Close()
	}
	w, err := newWorkspace(&request{CacheDir: top + "/theirs/link"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if !strings.HasPrefix(w.Dir, top+"/theirs/data/work/") {
		t.Errorf("works in %s", w.Dir)
	}
}

// TestLogsOfRunningBuildsStay although more than ten are running.
func TestLogsOfRunningBuildsStay(t *testing.T) {
	q := request{CacheDir: t.TempDir() + "/cache"}
	var all []*workspace
	for range cachedir.KeptLogs + 5 {
		w, err := newWorkspace(&request{CacheDir: q.CacheDir})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		testkit.Write(t, w.Logs, map[string]string{"step.log": "x"})
		all = append(all, w)
	}
	gone, err := prune(q, cachedir.Policy{All: true})
	if err != nil || len(gone) != 0 {
		t.Errorf("removed %v, %v", gone, err)
	}
	for _, w := range all {
		if !fileExists(w.Logs+"/step.log") || !fileExists(w.Dir) {
			t.Errorf("%s or %s was removed", w.Logs, w.Dir)
		}
	}
}
