//go:build acceptance

package acceptance

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// stranger is a user without an account.
const stranger = 21977

// TestHomeOfAnotherUser installs as root with the HOME and TMPDIR of another user, as
// sudo may leave them. Nothing is created there, not even by a dry run, and the cache
// is root's own, from the password file.
func TestHomeOfAnotherUser(t *testing.T) {
	dir := workdir(t, "home")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	home, root := filepath.Join(dir, "alice"), filepath.Join(dir, "root")
	for _, d := range []string{home + "/tmp", root + "/.cache"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(ownCache(t, dir), root+"/.cache/modwsgi"); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{home, home + "/tmp"} {
		if err := os.Lchown(d, stranger, stranger); err != nil {
			t.Skip("only root can give files away: ", err)
		}
	}
	passwd := filepath.Join(dir, "passwd")
	if err := os.WriteFile(passwd, []byte("root:x:0:0:root:"+root+":/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	environ := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "TMPDIR=" + home + "/tmp", "LANG=C.UTF-8"}
	run := func(args ...string) result {
		return private(t, dir, "mount --bind "+passwd+" /etc/passwd", environ, append([]string{program(t, "modwsgi"), "install", "--progress", "plain", "--httpd", "bundled", "--python", env}, args...)...)
	}
	before := snapshot(t, dir)
	r := run("--dry-run")
	if r.code != 0 || !strings.Contains(r.stderr, "the cache is "+root+"/.cache/modwsgi instead") || !strings.Contains(r.stderr, "TMPDIR is "+home) {
		t.Fatal(r)
	}
	if after := snapshot(t, dir); !reflect.DeepEqual(after, before) {
		t.Errorf("a dry run changed something: %v, was %v", after, before)
	}
	before = snapshot(t, home)
	if r := run(); r.code != 0 || !strings.Contains(r.stdout, "Verified:") || !strings.Contains(r.stderr, "restored from the build cache") {
		t.Error(r)
	}
	if after := snapshot(t, home); !reflect.DeepEqual(after, before) {
		t.Errorf("something was made in another user's home: %v, was %v", after, before)
	}
}

// TestPlantedCache: root's commands on a cache of which another user could have
// replaced a part remove nothing, and an install uses nothing from it.
func TestPlantedCache(t *testing.T) {
	dir := workdir(t, "planted")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	cache, precious := ownCache(t, dir), filepath.Join(dir, "precious")
	for _, name := range []string{"run-dead/file", "20200101T000000Z-x/file"} {
		file := filepath.Join(precious, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{"work", "logs"} {
		if err := os.Symlink(precious, filepath.Join(cache, part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Lchown(filepath.Join(cache, "work"), stranger, stranger); err != nil {
		t.Skip("only root can give files away: ", err)
	}
	before := snapshot(t, dir)
	for _, args := range [][]string{{"list"}, {"clear"}, {"prune", "--max-size", "0"}, {"verify", "--drop"}} {
		r := command(t, dir, bareEnv(), append([]string{program(t, "modwsgi"), "cache", "--cache-dir", cache}, args...)...)
		if r.code != 3 || !strings.Contains(r.stderr, cache) || !strings.Contains(r.stderr, "symbolic link") || !strings.Contains(r.stderr, "hint: ") {
			t.Errorf("%v: %v", args, r)
		}
	}
	r := cached(t, dir, cache, env, "--offline")
	if _, notes := steps(t, r); r.code != 4 || !said(notes, "the cache is neither read nor written") {
		t.Error(r) // without a cache and offline, nothing can be built
	}
	if after := snapshot(t, dir); !reflect.DeepEqual(after, before) {
		t.Errorf("changed: %v, was %v", after, before)
	}
}
