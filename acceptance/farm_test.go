//go:build acceptance && linux

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/testkit"
)

// A compile farm of two machines, which are network namespaces of this one, with the real
// daemons (scripts/farm). Wherever objects are compiled, the environment must have the same
// bytes.

// farmCase is an install with a farm.
type farmCase struct {
	name  string
	kind  string   // "distcc" or "icecream"
	env   []string // of modwsgi
	farm  []string // of scripts/farm
	notes []string // that must appear
	idle  bool     // the second machine compiles at most the sample
}

// farmHost prepares a directory for the cases, and skips the test where the farm cannot run.
func farmHost(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	fixture := os.Getenv("MODWSGI_TEST_FARM")
	if fixture == "" {
		fixture = "/var/tmp/modwsgi-test/farm"
	}
	if _, err := os.Stat(filepath.Join(fixture, "complete")); err != nil {
		t.Skip("distcc and icecream were not unpacked: run scripts/test-prerequisites")
	}
	try := "ip link set lo up && mount -t tmpfs none /run && ip netns add a && mount -t overlay overlay -o lowerdir=" + fixture + "/usr:/usr /usr"
	if out, err := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", try).CombinedOutput(); err != nil {
		t.Skipf("the namespaces for a farm are unavailable here: %v: %s", err, out)
	}
	return workdir(t, "farm")
}

// farmed installs into the environment "e" of work, alone or on a farm, and returns its
// files. more is added to the arguments.
func farmed(t *testing.T, work string, c farmCase, more ...string) (files map[string]string, logs string, r result) {
	t.Helper()
	env := filepath.Join(work, "e")
	if err := os.RemoveAll(env); err != nil {
		t.Fatal(err)
	}
	must(t, work, bareEnv(), "/usr/bin/python3", "-m", "venv", "--without-pip", env)
	argv := append([]string{program(t, "modwsgi"), "install", "--progress", "plain", "--python", env, "--httpd", "bundled", "--offline", "--lock-file", filepath.Join(work, "lock")}, more...)
	logs = filepath.Join(work, strings.ReplaceAll(c.name, " ", "-"))
	if c.kind != "" {
		script, err := filepath.Abs("../scripts/farm")
		if err != nil {
			t.Fatal(err)
		}
		argv = append([]string{"timeout", "1200", script, c.kind, logs}, argv...)
	}
	r = must(t, work, slices.Concat(bareEnv(), c.farm, c.env), argv...)
	return snapshot(t, env), logs, r
}

var compiledThere = map[string]*regexp.Regexp{
	"distcc":   regexp.MustCompile(`COMPILE_OK .* \S+\.c\n`),
	"icecream": regexp.MustCompile(`Remote compilation completed with exit code 0`),
}

// there counts the objects that the daemons compiled, from their logs.
func there(t *testing.T, kind, logs string) (first, second int) {
	t.Helper()
	var n [2]int
	for i, name := range []string{"daemon1.log", "daemon2.log"} {
		data, err := os.ReadFile(filepath.Join(logs, name))
		if err != nil {
			t.Fatal(err)
		}
		n[i] = len(compiledThere[kind].FindAll(data, -1))
	}
	return n[0], n[1]
}

// check compares an install on a farm with one without. The machines must have compiled
// that many objects. Icecream may also choose the client's own machine.
func (c farmCase) check(t *testing.T, want, got map[string]string, logs string, r result, objects int) {
	t.Helper()
	if d := differences(want, got); len(d) > 0 {
		t.Errorf("files differ: %q", d)
	}
	first, second := there(t, c.kind, logs)
	t.Logf("the machines compiled %d and %d objects in %s", first, second, r.elapsed)
	if first+second < objects || first == 0 || !c.idle && second == 0 || c.idle && second > 1 {
		t.Errorf("the machines compiled %d and %d objects of %d: %v", first, second, objects, r)
	}
	for _, note := range append(c.notes, "objects compiled through "+c.kind+": ") {
		if !strings.Contains(r.stderr+r.stdout, note) {
			t.Errorf("no note %q: %v", note, r)
		}
	}
	if strings.Contains(r.stderr, "distcc[") || strings.Contains(r.stderr, "ICECC[") {
		t.Errorf("messages of the client: %v", r)
	}
}

// TestCompileFarm compiles mod_wsgi for an httpd from the cache on both farms, and on farms
// that fail.
func TestCompileFarm(t *testing.T) {
	testkit.Turn(t, "builds")
	work := farmHost(t)
	// Builds from a farm are marked, so they must not get into the tests' cache.
	copied := filepath.Join(work, "cache")
	must(t, work, bareEnv(), "mkdir", copied)
	for _, part := range []string{"builds", "downloads"} {
		must(t, work, bareEnv(), "cp", "-a", filepath.Join(setting(t, "MODWSGI_TEST_CACHE"), part), copied)
	}
	cache := []string{"--cache-dir", copied}
	// The cached httpd was compiled here, by cc: its key does not depend on a farm.
	want, _, r := farmed(t, work, farmCase{}, cache...)
	if !strings.Contains(r.stderr+r.stdout, "restored from") {
		t.Fatalf("httpd is not in the cache: %v", r)
	}
	other := filepath.Join(work, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gcc", "cc", "x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc"} {
		if err := os.WriteFile(filepath.Join(other, name), []byte("#!/bin/sh\nexec /usr/bin/clang \"$@\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	home := "HOME=" + work
	path := "PATH=/usr/lib/%:/usr/local/bin:/usr/bin:/bin"
	for _, c := range []farmCase{
		{name: "distcc", kind: "distcc", env: []string{home, "CC=distcc cc"}},
		{name: "links to distcc", kind: "distcc", env: []string{home, strings.Replace(path, "%", "distcc", 1)}},
		{name: "a daemon that is down", kind: "distcc", env: []string{home, "CC=distcc cc"}, farm: []string{"FARM_DAEMONS=1"}, idle: true, notes: []string{"distcc host 10.9.2.2/4 is not used: "}},
		{name: "another compiler", kind: "distcc", env: []string{home, "CC=distcc cc"}, farm: []string{"FARM_PATH2=" + other + ":/usr/bin:/bin"}, idle: true, notes: []string{"distcc host 10.9.2.2/4 is not used: its compiler is ", "clang"}},
		{name: "icecream", kind: "icecream", env: []string{home, "CC=icecc cc"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath("clang"); err != nil && c.name == "another compiler" {
				t.Skip(err)
			}
			got, logs, r := farmed(t, work, c, append([]string{"--reinstall"}, cache...)...)
			c.check(t, want, got, logs, r, map[string]int{"distcc": 14, "icecream": 5}[c.kind])
		})
	}
	t.Run("doctor", func(t *testing.T) {
		script, err := filepath.Abs("../scripts/farm")
		if err != nil {
			t.Fatal(err)
		}
		env := append(bareEnv(home, "CC=distcc cc"), "FARM_DAEMONS=1")
		r := command(t, work, env, "timeout", "120", script, "distcc", filepath.Join(work, "doctor"), program(t, "modwsgi"), "doctor", "--python", filepath.Join(work, "e"))
		if !strings.Contains(r.stdout, "distcc host 10.9.2.2/4 is not used") || strings.Contains(r.stdout, "10.9.1.2") {
			t.Error(r)
		}
	})
}

// TestCompileFarmForHTTPD compiles everything on both farms. The scheduler of icecream also
// gives objects to the machine of the client.
func TestCompileFarmForHTTPD(t *testing.T) {
	testkit.Turn(t, "builds")
	work := farmHost(t)
	want, _, _ := farmed(t, work, farmCase{}, "--cache-dir", setting(t, "MODWSGI_TEST_CACHE"))
	for _, c := range []farmCase{
		{name: "distcc", kind: "distcc", env: []string{"CC=distcc cc"}},
		{name: "icecream", kind: "icecream", env: []string{"CC=icecc cc"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := filepath.Join(work, "cache-"+c.kind)
			must(t, work, bareEnv(), "mkdir", cache)
			must(t, work, bareEnv(), "cp", "-r", filepath.Join(setting(t, "MODWSGI_TEST_CACHE"), "downloads"), cache)
			got, logs, r := farmed(t, work, c, "--cache-dir", cache)
			c.check(t, want, got, logs, r, map[string]int{"distcc": 300, "icecream": 40}[c.kind])
		})
	}
}
