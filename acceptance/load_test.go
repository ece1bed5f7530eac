//go:build acceptance && linux

package acceptance

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// coldModule is a directory with environments and a cache that has the httpd but no
// module.
func coldModule(t *testing.T, name string, envs int) (dir, cache string, made []string) {
	t.Helper()
	dir = workdir(t, name)
	cache = filepath.Join(dir, "cache")
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	must(t, dir, bareEnv(), "cp", "-a", filepath.Join(setting(t, "MODWSGI_TEST_CACHE"), "builds"), filepath.Join(cache, "builds"))
	must(t, dir, bareEnv(), program(t, "modwsgi"), "cache", "clear", "--kind", "module", "--cache-dir", cache)
	for i := range envs {
		made = append(made, venv(t, setting(t, "MODWSGI_TEST_PYTHON"), filepath.Join(dir, fmt.Sprint("env", i)), "--without-pip"))
	}
	return dir, cache, made
}

// sourceFlags are the flags for the tests' archives.
func sourceFlags(t *testing.T) (args []string) {
	for _, d := range sources(t) {
		args = append(args, "--source-dir", d)
	}
	return args
}

// workingIn returns the processes whose working directory is below dir.
func workingIn(dir string) (pids []string) {
	found, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range found {
		if at, err := os.Readlink(link); err == nil && strings.HasPrefix(at, dir+"/") {
			pids = append(pids, filepath.Base(filepath.Dir(link)))
		}
	}
	return pids
}

// eventually waits for a condition, for up to five minutes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestKilledCompile: the processes of a killed install end, including compilers'
// children, and the next command removes its leftovers even if it has nothing else to
// do. Directories in use by a process stay.
func TestKilledCompile(t *testing.T) {
	t.Parallel()
	dir, cache, envs := coldModule(t, "killed", 1)
	temp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	env := bareEnv("TMPDIR="+temp, "MODWSGI_CACHE_DIR="+cache)
	argv := append([]string{"install", "--httpd", "bundled", "--python", envs[0]}, sourceFlags(t)...)
	c := exec.Command(program(t, "modwsgi"), argv...)
	c.Dir, c.Env, c.SysProcAttr = dir, env, &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("it showed:\n%s", out.String())
		}
	}()
	compiling := func() bool { // the compiler proper, below its driver
		for _, pid := range workingIn(filepath.Join(cache, "work")) {
			if name, _ := os.ReadFile(filepath.Join("/proc", pid, "comm")); string(name) == "cc1\n" {
				return true
			}
		}
		return false
	}
	eventually(t, "no compiler started", compiling)
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	_ = c.Wait()
	eventually(t, "compilers kept running", func() bool { return len(workingIn(cache)) == 0 })
	held := filepath.Join(temp, "modwsgi-probe-aaaaaaaaaaaa")
	left := filepath.Join(temp, "modwsgi-sign-aaaaaaaaaaaa")
	for _, d := range []string{held, left} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := os.Open(held)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if len(namesIn(t, filepath.Join(cache, "work"))) == 0 {
		t.Error("the killed run left nothing to remove")
	}
	must(t, dir, env, program(t, "modwsgi"), "list", "--python", envs[0])
	if got := namesIn(t, filepath.Join(cache, "work")); len(got) > 0 {
		t.Errorf("work directories are left: %v", got)
	}
	if got := namesIn(t, filepath.Join(cache, "locks")); len(got) > 0 {
		t.Errorf("locks are left: %v", got)
	}
	if got := namesIn(t, temp); len(got) != 1 || got[0] != filepath.Base(held) {
		t.Errorf("in the temporary directory: %v, want only %s", got, filepath.Base(held))
	}
}

// together runs an install in each environment concurrently and returns their outputs.
func together(t *testing.T, dir, cache string, envs []string, args ...string) []result {
	t.Helper()
	out := make([]result, len(envs))
	var wg sync.WaitGroup
	for i, env := range envs {
		wg.Go(func() {
			argv := []string{program(t, "modwsgi"), "install", "--httpd", "bundled", "--python", env, "--cache-dir", cache}
			out[i] = command(t, dir, bareEnv(), append(argv, args...)...)
		})
	}
	wg.Wait()
	return out
}

// TestColdInstallsCompileOnce: of several runs that need the same module one compiles
// it. The others report that they wait, and use it.
func TestColdInstallsCompileOnce(t *testing.T) {
	t.Parallel()
	dir, cache, envs := coldModule(t, "cold", 4)
	compiled, told := 0, 0
	for _, r := range together(t, dir, cache, envs, sourceFlags(t)...) {
		if r.code != 0 {
			t.Errorf("%v", r)
		}
		compiled += strings.Count(r.stderr, "compile mod_wsgi: done")
		told += strings.Count(r.stderr, "builds the same module: waiting")
	}
	if compiled != 1 || told == 0 {
		t.Errorf("compiled %d times, %d runs reported that they wait", compiled, told)
	}
	if got := namesIn(t, filepath.Join(cache, "locks")); len(got) > 0 {
		t.Errorf("locks are left: %v", got)
	}
}

// TestInstallsWhileTheCacheIsCleared: the manual allows clear and prune at any time.
// The archive comes from a mirror, so that it is in the cache, and is removed from
// there.
func TestInstallsWhileTheCacheIsCleared(t *testing.T) {
	t.Parallel()
	dir, cache, envs := coldModule(t, "cleared", 3)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, d := range sources(t) {
			if path := filepath.Join(d, filepath.Base(r.URL.Path)); strings.Contains(path, "mod_wsgi") {
				if _, err := os.Stat(path); err == nil {
					http.ServeFile(w, r, path)
					return
				}
			}
		}
		http.NotFound(w, r)
	}))
	defer mirror.Close()
	tree, err := filepath.Glob(filepath.Join(setting(t, "MODWSGI_TEST_ENV"), "lib/python3*/site-packages/mod_wsgi_packages/httpd"))
	if err != nil || len(tree) != 1 {
		t.Fatalf("the httpd of the tests: %v, %v", tree, err)
	}
	must(t, dir, bareEnv(), "cp", "-a", tree[0], filepath.Join(dir, "httpd"))
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for _, args := range [][]string{{"clear"}, {"prune", "--max-size", "0"}} {
				select {
				case <-stop:
					return
				default:
				}
				if r := command(t, dir, bareEnv(), append([]string{program(t, "modwsgi"), "cache", "--cache-dir", cache}, args...)...); r.code != 0 {
					t.Errorf("%v", r)
				}
			}
		}
	}()
	out := make([]result, len(envs))
	var wg sync.WaitGroup
	for i, env := range envs {
		wg.Go(func() {
			out[i] = command(t, dir, bareEnv(), program(t, "modwsgi"), "install", "--httpd", filepath.Join(dir, "httpd"), "--python", env, "--cache-dir", cache, "--mirror", mirror.URL)
		})
	}
	wg.Wait()
	close(stop)
	<-ended
	for _, r := range out {
		if r.code != 0 {
			t.Errorf("%v", r)
		}
	}
}

// TestLimitsAreNamed: errors name the exhausted resource rather than the operation
// that failed. The limits and file systems are real.
func TestLimitsAreNamed(t *testing.T) {
	t.Parallel()
	dir, cache, envs := coldModule(t, "limits", 1)
	before := snapshot(t, envs[0])
	temp, small := filepath.Join(dir, "tmp"), filepath.Join(dir, "small")
	for _, d := range []string{temp, small} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	full := "; dd if=/dev/zero of=" + temp + "/x bs=4k 2>/dev/null"
	for name, tt := range map[string]struct {
		script, cache string
		words         []string
	}{
		"open files":                {"ulimit -n 16", cache, []string{"(ulimit -n) allows: 16", "raise the limit (ulimit -n"}},
		"size of files":             {"ulimit -f 8", cache, []string{"(ulimit -f) allows: ", "raise the limit (ulimit -f"}},
		"size of unpacked files":    {"ulimit -f 400", cache, []string{"(ulimit -f) allows: ", "raise the limit (ulimit -f"}},
		"no space for compilers":    {"mount -t tmpfs -o size=1m,mode=700 none " + temp + full, cache, []string{"the file system of " + temp + " is full", "TMPDIR"}},
		"no inodes for compilers":   {"mount -t tmpfs -o nr_inodes=5,mode=700 none " + temp, cache, []string{"the file system of " + temp + " has no room for more files (inodes)", "TMPDIR"}},
		"no inodes in the cache":    {"mount -t tmpfs -o nr_inodes=90,mode=700 none " + small, small, []string{"(inodes)", "cache prune"}},
		"read-only temporary files": {"mount -t tmpfs -o ro none " + temp, cache, []string{"the file system of " + temp + " is read-only", "TMPDIR"}},
	} {
		t.Run(name, func(t *testing.T) {
			argv := append([]string{program(t, "modwsgi"), "install", "--httpd", "bundled", "--python", envs[0], "--cache-dir", tt.cache}, sourceFlags(t)...)
			run := private
			if strings.HasPrefix(tt.script, "ulimit") {
				run = func(t *testing.T, dir, script string, env []string, argv ...string) result {
					return command(t, dir, env, append([]string{"sh", "-c", script + "\nexec \"$@\"", "sh"}, argv...)...)
				}
			}
			r := run(t, dir, tt.script, bareEnv("TMPDIR="+temp), argv...)
			failed(t, r, 3, envs[0], before, tt.words...)
			if tt.cache == cache && strings.Contains(r.stderr, "cache prune") {
				t.Errorf("the cache has not run out of anything: %v", r)
			}
			if strings.Contains(r.stderr, "apt-get install") {
				t.Errorf("nothing is to be installed: %v", r)
			}
		})
	}
}
