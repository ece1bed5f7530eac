//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// marker is in the environment of everything that a part starts, so that what is left
// of it can be found.
const marker = "MODWSGI_TORTURE"

// world is where one part works: a cache, a home and a temporary directory of its own.
type world struct {
	base, bin, cache, python string
	id                       string
}

func newWorld(ctx context.Context, name string) (*world, error) {
	w := &world{bin: os.Getenv("MODWSGI_TEST_BIN"), python: os.Getenv("MODWSGI_TEST_PYTHON"), id: fmt.Sprintf("%s-%d-%d", name, os.Getpid(), time.Now().UnixNano())}
	given := os.Getenv("MODWSGI_TEST_CACHE")
	if w.bin == "" || given == "" || w.python == "" {
		return nil, errors.New("MODWSGI_TEST_BIN, MODWSGI_TEST_CACHE and MODWSGI_TEST_PYTHON are not set: run make torture")
	}
	var err error
	if w.base, err = os.MkdirTemp("/var/tmp", "modwsgi-torture-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(w.base, 0o755); err != nil { // who serves has to come in
		return nil, err
	}
	w.cache = filepath.Join(w.base, "cache")
	for _, dir := range []string{"cache", "home", "tmp", "work", "sources"} {
		if err := os.Mkdir(filepath.Join(w.base, dir), 0o755); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.choosePrograms(), w.fillCache(ctx, given)); err != nil {
		return nil, err
	}
	return w, os.WriteFile(w.path("work/hello.wsgi"), []byte(application), 0o644)
}

// choosePrograms makes the directory of programs that the part's PATH is. apt is not
// among them: the package mirror of the host would be asked.
func (w *world) choosePrograms() error {
	at := w.path("programs")
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		all, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range all {
			if strings.HasPrefix(e.Name(), "apt") {
				continue
			}
			if err := os.Symlink(filepath.Join(dir, e.Name()), filepath.Join(at, e.Name())); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	return nil
}

const application = `def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
`

// fillCache copies what was built and fetched before, and lays the archives where
// --source-dir finds them: the network is not asked.
func (w *world) fillCache(ctx context.Context, given string) error {
	for _, part := range []string{"builds", "downloads"} {
		if r := w.do(ctx, "cp", "-a", filepath.Join(given, part), w.cache); r.code != 0 {
			return errors.New(r.String())
		}
	}
	archives, err := filepath.Glob(filepath.Join(w.cache, "downloads/archives/sha256/*/*"))
	for _, a := range archives {
		if !strings.HasPrefix(filepath.Base(a), "partial") {
			err = errors.Join(err, os.Link(a, filepath.Join(w.base, "sources", filepath.Base(a))))
		}
	}
	return err
}

func (w *world) path(name string) string { return filepath.Join(w.base, name) }

func (w *world) environ(more ...string) []string {
	return append([]string{
		"PATH=" + w.path("programs"), "MODWSGI_CACHE_DIR=" + w.cache, "LANG=C.UTF-8", "HOME=" + w.path("home"), "TMPDIR=" + w.path("tmp"),
		"HTTPS_PROXY=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9", marker + "=" + w.id,
	}, more...)
}

// result is a program that has ended.
type result struct {
	argv   []string
	output string
	code   int
}

func (r result) String() string {
	return fmt.Sprintf("%s: exit %d\n%s", strings.Join(r.argv, " "), r.code, r.output)
}

// command prepares a program in a process group of its own.
func (w *world) command(argv ...string) (*exec.Cmd, *bytes.Buffer) {
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir, c.Env = w.path("work"), w.environ()
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := new(bytes.Buffer)
	c.Stdout, c.Stderr = out, out
	c.WaitDelay = time.Minute // what is in the pipe is read, however busy the machine is
	return c, out
}

// do runs a program to its end, or for ten minutes.
func (w *world) do(ctx context.Context, argv ...string) result {
	c, out := w.command(argv...)
	if err := c.Start(); err != nil {
		return result{argv, err.Error(), -1}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })()
	_ = c.Wait()
	return result{argv, out.String(), c.ProcessState.ExitCode()}
}

func (w *world) modwsgi(args ...string) []string {
	return append([]string{filepath.Join(w.bin, "modwsgi")}, args...)
}

func (w *world) install(env string, more ...string) []string {
	return w.modwsgi(append([]string{"install", "--httpd", "bundled", "--python", env, "--cache-dir", w.cache, "--source-dir", w.path("sources"), "--offline"}, more...)...)
}

func (w *world) venv(ctx context.Context, name string) (string, error) {
	env := w.path(name)
	if _, err := os.Stat(filepath.Join(env, "pyvenv.cfg")); err == nil {
		return env, nil // of the part before, in a short run
	}
	if r := w.do(ctx, w.python, "-m", "venv", "--without-pip", env); r.code != 0 {
		return "", errors.New(r.String())
	}
	return env, nil
}

func site(env string) string {
	found, _ := filepath.Glob(filepath.Join(env, "lib/python3*/site-packages"))
	if len(found) == 0 {
		return env
	}
	return found[0]
}

// snapshot maps each path of an environment to what it is. What Python compiles for
// itself is left out.
func snapshot(env string) map[string]string {
	all := map[string]string{}
	_ = filepath.WalkDir(env, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			all[path] = err.Error()
			return nil
		}
		if d.Name() == "__pycache__" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		all[path] = info.Mode().String()
		if info.Mode().IsRegular() {
			all[path] = fmt.Sprintf("%s %d", info.Mode(), info.Size())
		}
		return nil
	})
	return all
}

func differences(before, after map[string]string) (out []string) {
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if before[path] != after[path] {
			out = append(out, path+" is "+after[path]+", was "+before[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(before)) {
		if _, there := after[path]; !there {
			out = append(out, path+" is gone")
		}
	}
	return out[:min(len(out), 6)]
}

// leftovers are what no ended run may leave: hidden directories in an environment,
// temporary files, working directories in the cache.
func (w *world) leftovers(envs ...string) (out []string) {
	for _, env := range envs {
		_ = filepath.WalkDir(env, func(path string, d fs.DirEntry, err error) error {
			if err == nil && (strings.HasPrefix(d.Name(), ".modwsgi-") || d.Name() == ".modwsgi.lock") {
				out = append(out, path)
			}
			return nil
		})
	}
	for _, pattern := range []string{"tmp/*", "cache/work/*"} {
		found, _ := filepath.Glob(w.path(pattern))
		out = append(out, found...)
	}
	return out
}

// processes are the ids of what this part has started and what runs still.
func (w *world) processes() (out []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ")); err == nil && bytes.Contains(env, []byte(marker+"="+w.id)) {
			out = append(out, pid)
		}
	}
	return out
}

// quiet waits until nothing runs any more, and names what does not end.
func (w *world) quiet(limit time.Duration) (out []string) {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if len(w.processes()) == 0 {
			return nil
		}
	}
	for _, pid := range w.processes() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		out = append(out, fmt.Sprintf("%d %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
	}
	return out
}

// end ends what runs still, by its ids, and removes the working directory.
func (w *world) end(keep bool) {
	for _, pid := range w.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	w.quiet(5 * time.Second)
	if keep {
		fmt.Println("kept:", w.base)
		return
	}
	_ = os.RemoveAll(w.base)
}

// moment is log-uniform between a few milliseconds and a little more than a duration:
// as many kills in the first tenth of it as in the rest.
func (t *torture) moment(of time.Duration) time.Duration {
	low, high := math.Log(float64(3*time.Millisecond)), math.Log(float64(max(of, 10*time.Millisecond))*1.1)
	return time.Duration(math.Exp(low + t.rand.Float64()*(high-low)))
}

// interrupted starts a program, does something to it after a while, and waits for
// its end.
func (t *torture) interrupted(after time.Duration, do func(pid int), argv ...string) result {
	c, out := t.command(argv...)
	if err := c.Start(); err != nil {
		return result{argv, err.Error(), -1}
	}
	done := make(chan struct{})
	timer := time.AfterFunc(after, func() { do(c.Process.Pid); close(done) })
	_ = c.Wait()
	if !timer.Stop() {
		<-done // what was begun on time may end after the program
	}
	return result{argv, out.String(), c.ProcessState.ExitCode()}
}

// send sends a signal to one process, and never to a group: 0 would be that of torture
// itself.
func send(pid int, s syscall.Signal) error {
	if pid <= 1 {
		return fmt.Errorf("%d is not a process of a server", pid)
	}
	return syscall.Kill(pid, s)
}

func kill9(pid int) { _ = send(pid, syscall.SIGKILL) }

// whole checks that an environment is complete: list sees it, and a request proves it.
func (t *torture) whole(when, env string) {
	if r := t.do(t.ctx, t.modwsgi("list", "--python", env)...); r.code != 0 || !strings.Contains(r.output, "mod_wsgi") {
		t.fail("%s: %v", when, r)
	}
	if r := t.do(t.ctx, t.modwsgi("verify", "--python", env)...); r.code != 0 {
		t.fail("%s: %v", when, r)
	}
}

// clean checks that nothing is left after a run that has ended well.
func (t *torture) clean(when string, envs ...string) {
	if left := t.quiet(30 * time.Second); len(left) > 0 {
		t.fail("%s: these run still: %q", when, left)
		for _, pid := range t.processes() {
			kill9(pid)
		}
	}
	if left := t.leftovers(envs...); len(left) > 0 {
		t.fail("%s: left behind: %q", when, left)
	}
}
