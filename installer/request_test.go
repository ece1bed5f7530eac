package installer

import (
	"runtime"
	"testing"

	"modwsgi/internal/fault"
)

func TestNormalise(t *testing.T) {
	q := Request{Dir: "/work", SourceDirs: []string{"a/../b", "/c"}, With: []string{"tls"}}
	given := q.SourceDirs
	if err := q.normalise(); err != nil {
		t.Fatal(err)
	}
	if q.HTTPD != "auto" || q.LockFile != "/work/modwsgi.lock" || q.Jobs != runtime.NumCPU() || q.SourceDirs[0] != "/work/b" || q.SourceDirs[1] != "/c" {
		t.Errorf("%+v", q)
	}
	if given[0] != "a/../b" {
		t.Error("the caller's list is changed")
	}
	before := q.LockFile
	if err := q.normalise(); err != nil || q.LockFile != before {
		t.Errorf("a second time: %v", err)
	}
	for word, q := range map[string]Request{
		"--offline": {Offline: true, Mirrors: []string{"https://example.org"}},
		"--upgrade": {Locked: true, Upgrade: true},
		"--jobs -1": {Jobs: -1},
	} {
		wantFault(t, q.normalise(), fault.Usage, word)
	}
}

func TestLookingNeedsNoCache(t *testing.T) {
	env := python(t)
	q := request(t)
	q.CacheDir, q.Python = "", env
	py, all, err := List(t.Context(), q)
	if err != nil || len(all) != 0 || py.Prefix == "" {
		t.Errorf("%v, %v", all, err)
	}
	if names, err := Uninstall(t.Context(), q); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	_, err = Verify(t.Context(), q)
	wantFault(t, err, fault.Environment, "modwsgi install --python "+env)
}

func TestTools(t *testing.T) {
	q := Request{ToolsDir: t.TempDir()}
	_, err := q.tool("mod_wsgi-express")
	wantFault(t, err, fault.Environment, "mod_wsgi-express", q.ToolsDir)
	write(t, q.ToolsDir, map[string]string{"mod_wsgi-express/": ""})
	_, err = q.tool("mod_wsgi-express")
	wantFault(t, err, fault.Environment, "mod_wsgi-express")
}
