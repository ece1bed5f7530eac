//go:build acceptance

package acceptance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/buildcache"
)

// steps are the names of the steps that a run started, and its notes, from --json.
func steps(t *testing.T, r result) (names, notes []string) {
	t.Helper()
	for line := range strings.Lines(r.stdout) {
		var e struct{ Event, Step, Text string }
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		switch e.Event {
		case "start":
			names = append(names, e.Step)
		case "note", "warn":
			notes = append(notes, e.Text)
		}
	}
	return names, notes
}

func began(names []string, prefix string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, prefix) })
}

func said(notes []string, words string) bool {
	return slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, words) })
}

// module is the only module of an environment.
func module(t *testing.T, env string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(env, "lib/python*/site-packages/mod_wsgi/server/mod_wsgi-py*.so"))
	if len(found) != 1 {
		t.Fatalf("modules: %v", found)
	}
	return found[0]
}

func contents(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// ownCache is a copy of the tests' cache, for tests that damage it or only read it.
func ownCache(t *testing.T, dir string) string {
	t.Helper()
	cache := filepath.Join(dir, "cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	from := setting(t, "MODWSGI_TEST_CACHE")
	must(t, "/", bareEnv(), "cp", "-a", filepath.Join(from, "builds"), filepath.Join(cache, "builds"))
	must(t, "/", bareEnv(), "cp", "-a", filepath.Join(from, "downloads"), filepath.Join(cache, "downloads"))
	return cache
}

func cached(t *testing.T, dir, cache, env string, more ...string) result {
	t.Helper()
	return command(t, dir, bareEnv(), append([]string{
		program(t, "modwsgi"), "install", "--json", "--httpd", "bundled", "--cache-dir", cache,
		"--lock-file", filepath.Join(filepath.Dir(setting(t, "MODWSGI_TEST_CACHE")), "modwsgi.lock"), "--python", env,
	}, more...)...)
}

// TestWarm installs the same into two environments. The second install compiles,
// fetches and unpacks nothing, produces the same bytes, and uses little memory.
func TestWarm(t *testing.T) {
	dir := workdir(t, "warm")
	cache := setting(t, "MODWSGI_TEST_CACHE")
	python := setting(t, "MODWSGI_TEST_PYTHON")
	a := venv(t, python, filepath.Join(dir, "a"), "--without-pip")
	b := venv(t, python, filepath.Join(dir, "another", "place for b"), "--without-pip")
	if r := cached(t, dir, cache, a); r.code != 0 {
		t.Fatal(r)
	}
	r := cached(t, dir, cache, b)
	if r.code != 0 {
		t.Fatal(r)
	}
	names, notes := steps(t, r)
	for _, not := range []string{"fetch", "unpack", "configure", "compile", "link"} {
		if began(names, not) {
			t.Errorf("%s ran: %v", not, names)
		}
	}
	if !began(names, "verify stage") || !began(names, "verify") || !said(notes, "built before") {
		t.Errorf("steps %v, notes %v", names, notes)
	}
	if contents(t, module(t, a)) != contents(t, module(t, b)) {
		t.Error("the modules differ")
	}
	if strings.Contains(contents(t, module(t, b)), dir) {
		t.Error("the module contains a path where it was built or installed")
	}
	if got := serve(t, b); got.Prefix != b {
		t.Errorf("answer %+v", got)
	}
	// A changed file in the environment must not change the cache.
	if err := os.WriteFile(module(t, b), []byte("damaged"), 0o755); err != nil {
		t.Fatal(err)
	}
	if r := command(t, dir, bareEnv(), program(t, "modwsgi"), "cache", "verify", "--cache-dir", cache, "--json"); r.code != 0 {
		t.Error(r)
	}
}

// TestModuleAlone builds only the module if the httpd is in the cache. Then it damages
// the cached module in several ways: each time it is discarded and rebuilt, at another
// path, with the same bytes.
func TestModuleAlone(t *testing.T) {
	dir := workdir(t, "alone")
	python := setting(t, "MODWSGI_TEST_PYTHON")
	cache := ownCache(t, dir)
	must(t, dir, bareEnv(), program(t, "modwsgi"), "cache", "clear", "--kind", "module", "--cache-dir", cache)
	env := venv(t, python, filepath.Join(dir, "env"), "--without-pip")
	r := cached(t, dir, cache, env, "--timings", filepath.Join(dir, "t.json"))
	if r.code != 0 {
		t.Fatal(r)
	}
	names, _ := steps(t, r)
	if !began(names, "compile mod_wsgi") || began(names, "compile httpd") || began(names, "configure") {
		t.Errorf("steps %v", names)
	}
	if !json.Valid([]byte(contents(t, filepath.Join(dir, "t.json")))) {
		t.Error("the trace is not JSON")
	}
	want := contents(t, module(t, env))
	for i, damage := range []func(string) error{
		func(f string) error { // a byte
			data := []byte(contents(t, f))
			data[len(data)/2] ^= 1
			return os.WriteFile(f, data, 0o755)
		},
		func(f string) error { // a pipe
			if err := os.Remove(f); err != nil {
				return err
			}
			return exec.Command("mkfifo", f).Run()
		},
	} {
		if err := damage(cachedModule(t, cache, module(t, env), want)); err != nil {
			t.Fatal(err)
		}
		place := filepath.Join(dir, strings.Repeat("x", 1+20*i))
		if err := os.Rename(cache, place); err != nil {
			t.Fatal(err)
		}
		cache = place
		env = venv(t, python, filepath.Join(dir, fmt.Sprint("another env ", i)), "--without-pip")
		r := cached(t, dir, cache, env)
		names, notes := steps(t, r)
		if r.code != 0 || !began(names, "compile mod_wsgi") || began(names, "compile httpd") || !said(notes, "damaged") {
			t.Errorf("steps %v, notes %v: %v", names, notes, r)
		}
		if contents(t, module(t, env)) != want || contents(t, cachedModule(t, cache, module(t, env), want)) != want {
			t.Error("the rebuilt module differs")
		}
	}
}

// cachedModule is the file of the module in a cache.
func cachedModule(t *testing.T, cache, module, want string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(cache, "builds/*/*/tree", filepath.Base(module)))
	for _, f := range found {
		// Entries of other versions of modwsgi may contain the same bytes.
		var m struct{ Schema int }
		data, err := os.ReadFile(filepath.Join(filepath.Dir(f), "../manifest.json"))
		if err == nil && json.Unmarshal(data, &m) == nil && m.Schema == buildcache.Schema && contents(t, f) == want {
			return f
		}
	}
	t.Fatalf("the cache has no such module: %v", found)
	return ""
}

// TestUnusableCaches uses caches that are read-only, owned by another user,
// and on a full file system.
func TestUnusableCaches(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount file systems")
	}
	dir := workdir(t, "unusable")
	cache := ownCache(t, dir)
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	argv := func(cache string) string {
		return strings.Join([]string{
			program(t, "modwsgi"), "install --json --httpd bundled --reinstall --cache-dir", cache,
			"--lock-file", filepath.Join(filepath.Dir(setting(t, "MODWSGI_TEST_CACHE")), "modwsgi.lock"), "--python", env,
		}, " ")
	}
	t.Run("read only", func(t *testing.T) {
		r := command(t, dir, bareEnv(), "unshare", "-m", "sh", "-euc", "mount --bind "+cache+" "+cache+"; mount -o remount,ro,bind "+cache+"; "+
			strings.Replace(argv(cache), "--reinstall", "", 1))
		names, notes := steps(t, r)
		if r.code != 0 || began(names, "compile") || !said(notes, "is read-only") {
			t.Errorf("notes %v: %v", notes, r)
		}
	})
	t.Run("another user's", func(t *testing.T) {
		must(t, dir, bareEnv(), "chown", "nobody", filepath.Join(cache, "builds"))
		defer must(t, dir, bareEnv(), "chown", "root", filepath.Join(cache, "builds"))
		// Without sources only the cache could provide the build.
		must(t, dir, bareEnv(), "rm", "-rf", env, filepath.Join(cache, "downloads"))
		venv(t, setting(t, "MODWSGI_TEST_PYTHON"), env, "--without-pip")
		r := cached(t, dir, cache, env, "--offline")
		if _, notes := steps(t, r); r.code != 4 || !said(notes, "neither read nor written") {
			t.Errorf("a build that another user could have changed was used: %v", r)
		}
		if _, err := os.Stat(filepath.Join(env, "lib/python3/site-packages/mod_wsgi")); err == nil {
			t.Error("it was installed")
		}
	})
	t.Run("no room", func(t *testing.T) {
		small := filepath.Join(dir, "small")
		if err := os.Mkdir(small, 0o755); err != nil {
			t.Fatal(err)
		}
		r := command(t, dir, bareEnv(), "unshare", "-m", "sh", "-euc", "mount -t tmpfs -o size=4m,mode=700 none "+small+"; "+argv(small)+"; exit $?")
		if r.code != 3 || !strings.Contains(r.stderr, "MiB free") || !strings.Contains(r.stderr, "are needed") {
			t.Error(r)
		}
	})
}

// TestMemory measures the largest resident set of the tool itself.
func TestMemory(t *testing.T) {
	dir := workdir(t, "memory")
	env := venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, "env"), "--without-pip")
	key := filepath.Join(dir, "key")
	must(t, dir, bareEnv(), program(t, "modwsgi"), "cache", "keygen", key)
	shared := "oci-layout:" + filepath.Join(dir, "shared")
	for i, more := range [][]string{
		{"--cache-dir", setting(t, "MODWSGI_TEST_CACHE"), "--cache", shared, "--cache-sign-key", key},  // uses and pushes
		{"--cache-dir", filepath.Join(dir, "fresh"), "--cache", shared, "--cache-trust", key + ".pub"}, // pulls
	} {
		if err := os.RemoveAll(env); err != nil {
			t.Fatal(err)
		}
		venv(t, setting(t, "MODWSGI_TEST_PYTHON"), env, "--without-pip")
		peak, out := peakMemory(t, dir, append([]string{
			program(t, "modwsgi"), "install", "--json", "--httpd", "bundled", "--python", env,
			"--lock-file", filepath.Join(filepath.Dir(setting(t, "MODWSGI_TEST_CACHE")), "modwsgi.lock"),
		}, more...)...)
		if peak <= 0 || peak > 150<<10 {
			t.Errorf("run %d: %d KiB\n%s", i, peak, out)
		}
		if i == 1 && (strings.Contains(out, `"compile`) || !strings.Contains(out, "restored from the shared cache")) {
			t.Errorf("the shared cache was not used: %s", out)
		}
		t.Logf("run %d: %d MiB", i, peak>>10)
	}
}

// peakMemory runs a program and returns VmHWM in KiB, as last seen.
func peakMemory(t *testing.T, dir string, argv ...string) (peak int, out string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	c.Dir, c.Env = dir, bareEnv()
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(pipe)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			out += lines.Text() + "\n"
		}
	}()
	for {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
				peak = max(peak, n)
			}
		}
		select {
		case <-done:
			if err := c.Wait(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return peak, out
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// TestRefusedSharedEntry uses a shared cache that a stranger filled: the install
// reports it and builds the module itself.
func TestRefusedSharedEntry(t *testing.T) {
	dir := workdir(t, "refused")
	python := setting(t, "MODWSGI_TEST_PYTHON")
	for _, name := range []string{"stranger", "friend"} {
		must(t, dir, bareEnv(), program(t, "modwsgi"), "cache", "keygen", filepath.Join(dir, name))
	}
	shared := "oci-layout:" + filepath.Join(dir, "shared")
	a := venv(t, python, filepath.Join(dir, "a"), "--without-pip")
	if r := cached(t, dir, setting(t, "MODWSGI_TEST_CACHE"), a, "--cache", shared, "--cache-sign-key", filepath.Join(dir, "stranger")); r.code != 0 {
		t.Fatal(r)
	}
	cache := ownCache(t, dir)
	must(t, dir, bareEnv(), program(t, "modwsgi"), "cache", "clear", "--kind", "module", "--cache-dir", cache)
	b := venv(t, python, filepath.Join(dir, "b"), "--without-pip")
	r := cached(t, dir, cache, b, "--cache", shared, "--cache-trust", filepath.Join(dir, "friend.pub"))
	names, notes := steps(t, r)
	if r.code != 0 || !began(names, "compile mod_wsgi") || !said(notes, "not trusted") {
		t.Errorf("notes %v: %v", notes, r)
	}
	if contents(t, module(t, a)) != contents(t, module(t, b)) {
		t.Error("the modules differ")
	}
}
