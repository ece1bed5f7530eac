//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func (t *torture) express(env string) string { return filepath.Join(env, "bin/mod_wsgi-express") }

// port is a free one, which stays the part's.
func (w *world) port() int {
	if data, err := os.ReadFile(w.path("port")); err == nil {
		n, _ := strconv.Atoi(string(data))
		return n
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer func() { _ = l.Close() }()
	n := l.Addr().(*net.TCPAddr).Port
	_ = os.WriteFile(w.path("port"), []byte(strconv.Itoa(n)), 0o600)
	return n
}

func (w *world) root() string { return w.path("server") }

// setupServer gives httpd few threads: each has its memory only after its first
// request, so what 2400 of them have depends on chance for a long time.
func setupServer(t *torture, env string) []string {
	argv := []string{
		t.express(env), "setup-server", t.path("work/hello.wsgi"), "--server-root", t.root(), "--host", "127.0.0.1", "--port", strconv.Itoa(t.port()),
		"--processes", "2", "--threads", "5", "--max-clients", "48",
	}
	if os.Geteuid() == 0 {
		argv = append(argv, "--user", "nobody")
	}
	return argv
}

// ask sends one request.
func (t *torture) ask(c *http.Client) error {
	resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/", t.port()))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || string(data) != "hello" {
		return fmt.Errorf("%s: %.80q", resp.Status, data)
	}
	return nil
}

// serves starts the instance, kills and repeats its control commands, and stops it.
func (t *torture) serves(env string) {
	if !t.start(env) {
		return
	}
	reload := []string{t.express(env), "reload", "--server-root", t.root()}
	stop := []string{t.express(env), "stop", "--server-root", t.root()}
	t.interrupted(t.moment(200*time.Millisecond), kill9, reload...)
	if r := t.do(t.ctx, reload...); r.code != 0 {
		t.fail("reload after a killed one: %v", r)
	}
	if err := t.answers(); err != nil {
		t.fail("after a killed reload: %v", err)
	}
	t.interrupted(t.moment(200*time.Millisecond), kill9, stop...)
	t.stop(env)
}

// start starts the instance, after a start that was killed.
func (t *torture) start(env string) bool {
	argv := []string{filepath.Join(t.root(), "apachectl"), "start"}
	t.interrupted(t.moment(300*time.Millisecond), kill9, argv...)
	if t.answers() == nil { // the killed one had done its work
		return true
	}
	if r := t.do(t.ctx, argv...); r.code != 0 {
		t.fail("%v", r)
		return false
	}
	if err := t.answers(); err != nil {
		t.fail("the started server: %v", err)
		return false
	}
	return true
}

// answers waits for an answer.
func (t *torture) answers() (err error) {
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = t.ask(c); err == nil {
			return nil
		}
	}
	return err
}

// stop stops the instance; nothing of it stays.
func (t *torture) stop(env string) {
	r := t.do(t.ctx, t.express(env), "stop", "--server-root", t.root())
	if left := t.quiet(30 * time.Second); len(left) > 0 {
		t.fail("after stop these run still: %q; %v", left, r)
	}
}

// server installs and starts one for the parts that only serve.
func (t *torture) server() (string, bool) {
	env, err := t.venv(t.ctx, "env")
	if err == nil {
		err = installed(t, env)
	}
	if err != nil {
		t.fail("%v", err)
		return "", false
	}
	if r := t.do(t.ctx, setupServer(t, env)...); r.code != 0 {
		t.fail("%v", r)
		return "", false
	}
	return env, t.start(env)
}

// load asks with several clients until stop is closed or n requests were sent.
func (t *torture) load(clients, n int, stop <-chan struct{}, every func(done int64)) (sent int64) {
	var done, bad atomic.Int64
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			c := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			defer c.CloseIdleConnections()
			for t.ctx.Err() == nil && bad.Load() < 5 {
				select {
				case <-stop:
					return
				default:
				}
				k := done.Add(1)
				if n > 0 && k > int64(n) {
					done.Add(-1)
					return
				}
				err := t.again(c)
				if err != nil && t.ctx.Err() == nil {
					bad.Add(1)
					fmt.Printf("%s: request %d: %v\n", t.name, k, err)
				}
				every(k)
			}
		})
	}
	wait.Wait()
	if bad.Load() > 0 {
		t.fail("%d of %d requests failed", bad.Load(), done.Load())
	}
	return done.Load()
}

// again asks once more where a kept connection was closed between two requests, as
// every client of HTTP does.
func (t *torture) again(c *http.Client) error {
	err := t.ask(c)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		c.CloseIdleConnections()
		return t.ask(c)
	}
	return err
}

// reload has the server read everything anew, again and again, under requests.
func (t *torture) reload() {
	env, ok := t.server()
	if !ok {
		return
	}
	defer t.stop(env)
	number := 300
	const clients = 4
	if t.short {
		number = 5
	}
	stop, finished := make(chan struct{}), make(chan int64, 1)
	processes, made := t.steady(), 0
	go func() { finished <- t.load(clients, 0, stop, func(int64) {}) }()
	var before map[int]usage
	for made < number && (t.more() || t.short && t.ctx.Err() == nil) {
		if r := t.do(t.ctx, t.express(env), "reload", "--server-root", t.root()); r.code != 0 {
			t.fail("%v", r)
		}
		made++
		if err := t.answers(); err != nil {
			t.fail("after reload %d: %v", made, err)
		}
		if made == max(2, number/10) { // what is used at first only is used by now
			before = t.settled(processes)
		}
	}
	close(stop)
	sent := <-finished
	if err := t.answers(); err != nil {
		t.fail("after %d reloads: %v", made, err)
	}
	after := t.settled(processes)
	if before != nil {
		t.flat("reloads", before, after)
	}
	t.figure("%d reloads, %d requests meanwhile, memory %d to %d KiB, descriptors %d to %d", made, sent,
		sum(before).memory, sum(after).memory, sum(before).files, sum(after).files)
}

// requests sends many, and compares what the processes use.
func (t *torture) requests() {
	const warm = 3000
	env, ok := t.server()
	if !ok {
		return
	}
	defer t.stop(env)
	number := 200_000
	if t.short {
		number = 3000
	}
	t.more()
	stop := make(chan struct{})
	t.load(8, max(warm, number/10), stop, func(int64) {})
	before := t.drained(0)
	end := time.AfterFunc(max(time.Until(t.until), 5*time.Second), func() { close(stop) })
	began := time.Now()
	sent := t.load(8, number, stop, func(int64) {})
	end.Stop()
	spent := time.Since(began)
	after := t.drained(sum(before).files)
	t.flat("requests", before, after)
	t.figure("%d requests, %.0f a second, memory %d to %d KiB, descriptors %d to %d", sent, float64(sent)/spent.Seconds(), sum(before).memory, sum(after).memory, sum(before).files, sum(after).files)
}

// usage is what a process uses: KiB of its own, descriptors.
type usage struct{ memory, files int }

func (w *world) usage() map[int]usage {
	all := map[int]usage{}
	for _, pid := range w.processes() {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		status, serr := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || serr != nil {
			continue
		}
		u := usage{files: len(fds)}
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
				u.memory, _ = strconv.Atoi(strings.Fields(rest)[0])
			}
		}
		all[pid] = u
	}
	return all
}

// drained waits until connections that are closed are gone, which httpd keeps for a
// while: until there are no more than some descriptors, or no change for long enough.
func (w *world) drained(files int) map[int]usage {
	const pause, enough = 250 * time.Millisecond, 40 // ten seconds
	now := w.usage()
	for same := 0; same < enough && sum(now).files > files; same++ {
		time.Sleep(pause)
		then := now
		if now = w.usage(); sum(now).files != sum(then).files {
			same = 0
		}
	}
	return now
}

// steady waits until no process of the server has begun or ended for three seconds, at
// most for a minute, and returns the number of processes.
func (w *world) steady() int {
	end, since, last := time.Now().Add(time.Minute), time.Now(), w.processes()
	for time.Since(since) < 3*time.Second && time.Now().Before(end) {
		time.Sleep(100 * time.Millisecond)
		if now := w.processes(); !slices.Equal(now, last) {
			since, last = time.Now(), now
		}
	}
	return len(last)
}

// settled waits until processes of older generations have ended and those of the new
// one have begun, at most for a minute.
func (w *world) settled(number int) map[int]usage {
	end := time.Now().Add(time.Minute)
	for len(w.processes()) != number && time.Now().Before(end) {
		time.Sleep(100 * time.Millisecond)
	}
	return w.usage()
}

func sum(all map[int]usage) (total usage) {
	for _, u := range all {
		total.memory += u.memory
		total.files += u.files
	}
	return total
}

// flat compares: one process more at most, no more descriptors in each than a few,
// memory within a tenth and four MiB, and as much for that process.
func (t *torture) flat(what string, before, after map[int]usage) {
	b, a := sum(before), sum(after)
	if len(after) > len(before)+1 {
		t.fail("after the %s there are %d processes, before %d", what, len(after), len(before))
	}
	if a.files*len(before) > (b.files+10)*len(after) { // httpd may have begun another child
		t.fail("after the %s there are %d descriptors in %d processes, before %d in %d", what, a.files, len(after), b.files, len(before))
	}
	if a.memory > b.memory+b.memory/10+4096*max(1, 1+len(after)-len(before)) {
		t.fail("after the %s the processes have %d KiB, before %d", what, a.memory, b.memory)
	}
}
