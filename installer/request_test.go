package installer

import (
	"runtime"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/internal/testkit"
)

func TestListingNeedsNoCache(t *testing.T) {
	env := python(t)
	q := request(t)
	q.CacheDir, q.Python = "", env
	py, all, err := List(t.Context(), q.Python, q.Setting)
	if err != nil || len(all) != 0 || py.Prefix == "" {
		t.Errorf("%v, %v", all, err)
	}
	if names, err := Uninstall(t.Context(), q.Python, q.Setting); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	_, err = Verify(t.Context(), q.Python, q.Setting)
	testkit.WantFault(t, err, fault.Environment, "modwsgi install --python "+env)
}

func TestRequestIsCompleted(t *testing.T) {
	q := Request{Means: Means{Setting: Setting{Dir: "/work"}, SourceDirs: []string{"a/../b", "/c"}}, Wish: Wish{With: []string{"tls"}}}
	given := q.SourceDirs
	w, err := q.Wish.complete(q.Dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := q.Means.complete()
	if err != nil {
		t.Fatal(err)
	}
	if w.HTTPD != "auto" || w.LockFile != "/work/modwsgi.lock" || m.Jobs != runtime.NumCPU() || m.SourceDirs[0] != "/work/b" || m.SourceDirs[1] != "/c" {
		t.Errorf("%+v, %+v", w, m)
	}
	if given[0] != "a/../b" {
		t.Error("the caller's list is changed")
	}
	if again, err := w.complete(m.Dir); err != nil || again.LockFile != w.LockFile {
		t.Errorf("a second time: %v", err)
	}
	_, err = Means{Offline: true, Mirrors: []string{"https://example.org"}}.complete()
	testkit.WantFault(t, err, fault.Usage, "--offline")
	_, err = Wish{Locked: true, Upgrade: true}.complete("/")
	testkit.WantFault(t, err, fault.Usage, "--upgrade")
	_, err = Means{Jobs: -1}.complete()
	testkit.WantFault(t, err, fault.Usage, "--jobs -1")
}

func TestTools(t *testing.T) {
	dir := t.TempDir()
	_, err := tool(dir, "mod_wsgi-express")
	testkit.WantFault(t, err, fault.Environment, "mod_wsgi-express", dir)
	testkit.Write(t, dir, map[string]string{"mod_wsgi-express/": ""})
	_, err = tool(dir, "mod_wsgi-express")
	testkit.WantFault(t, err, fault.Environment, "mod_wsgi-express")
}
