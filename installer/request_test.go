package installer

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
	"modwsgi/internal/testkit"
)

// TestBuildLimit: whoever builds the same is waited for longer than a lock, because builds
// take long on slow machines, unless a time is given.
func TestBuildLimit(t *testing.T) {
	for _, c := range []struct {
		s           Setting
		lock, build time.Duration
	}{
		{Setting{}, 10 * time.Minute, 2 * time.Hour},
		{Setting{LockTimeout: "5m"}, 5 * time.Minute, 5 * time.Minute},
		{Setting{Env: []string{"MODWSGI_LOCK_TIMEOUT=30"}}, 30 * time.Second, 30 * time.Second},
		{Setting{LockTimeout: "0"}, -1, -1},
	} {
		if lock, build := c.s.lockLimit(), c.s.BuildLimit(); lock != c.lock || build != c.build {
			t.Errorf("%+v: %v for a lock, %v for a build", c.s, lock, build)
		}
	}
}

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
	m, err := q.Means.complete(t.Context())
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
	_, err = Means{Offline: true, Mirrors: []string{"https://example.org"}}.complete(t.Context())
	testkit.WantFault(t, err, fault.Usage, "--offline")
	_, err = Wish{Locked: true, Upgrade: true}.complete("/")
	testkit.WantFault(t, err, fault.Usage, "--upgrade")
	_, err = Means{Jobs: -1}.complete(t.Context())
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

// A compile farm decides how many jobs there are, and nothing else: the rest of a run sees
// an environment without it.
func TestJobsOfAFarm(t *testing.T) {
	bin := t.TempDir()
	for name, text := range map[string]string{"distcc": "[ \"$1\" = -j ] && echo 5000\n", "gcc": "exit 1\n"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	alone, err := Means{Setting: Setting{Dir: "/work", Env: []string{"PATH=" + bin, "CC=gcc"}, Runner: &run.Runner{}}}.complete(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	with := Means{Setting: Setting{Dir: "/work", Env: []string{"PATH=" + bin, "CC=distcc gcc"}, Runner: &run.Runner{}}}
	m, err := with.complete(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m, err = m.complete(t.Context()); err != nil { // as callers do that plan again
		t.Fatal(err)
	}
	if m.farm == nil || m.Jobs <= alone.Jobs || m.localJobs != alone.Jobs || run.Getenv(m.Env, "CC") != "gcc" {
		t.Errorf("%d jobs, %d here, farm %+v, CC %q; alone %d", m.Jobs, m.localJobs, m.farm, run.Getenv(m.Env, "CC"), alone.Jobs)
	}
	with.Jobs = 1
	if m, err = with.complete(t.Context()); err != nil || m.Jobs != 1 || m.localJobs != 1 {
		t.Errorf("--jobs 1: %d jobs, %d here, %v", m.Jobs, m.localJobs, err)
	}
	if m, err = (Means{Setting: alone.Setting, Jobs: 50}).complete(t.Context()); err != nil || m.Jobs != 50 || m.localJobs != 50 {
		t.Errorf("--jobs 50 without a farm: %d jobs, %d here, %v", m.Jobs, m.localJobs, err)
	}
}
