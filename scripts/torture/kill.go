//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// change is a command that changes something, and what has to hold when it was killed
// and run again.
type change struct {
	name    string
	prepare func(*torture, string) error // brings the environment into the state before
	argv    func(*torture, string) []string
	after   func(*torture, string) // checks the state after a run to the end
	took    time.Duration
}

func installed(t *torture, env string) error {
	if r := t.do(t.ctx, t.install(env)...); r.code != 0 {
		return fmt.Errorf("%v", r)
	}
	return nil
}

func removed(t *torture, env string) error {
	if r := t.do(t.ctx, t.modwsgi("uninstall", "--python", env)...); r.code != 0 {
		return fmt.Errorf("%v", r)
	}
	return nil
}

func isWhole(t *torture, env string) { t.whole("after the next run", env) }

func isEmpty(t *torture, env string) {
	found, _ := filepath.Glob(filepath.Join(site(env), "mod_wsgi*"))
	if len(found) > 0 {
		t.fail("after uninstall: %q", found)
	}
}

// stale makes the installed module one that does not fit, for doctor --fix.
func stale(t *torture, env string) error {
	if err := installed(t, env); err != nil {
		return err
	}
	found, _ := filepath.Glob(filepath.Join(site(env), "mod_wsgi/server/mod_wsgi-py*.so"))
	for _, name := range found {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

func cacheOf(words ...string) func(*torture, string) []string {
	return func(t *torture, _ string) []string {
		return t.modwsgi(append(append([]string{"cache"}, words...), "--cache-dir", t.cache)...)
	}
}

func packageOf(format string) change {
	return change{
		name: "package " + format, prepare: installed,
		argv: func(t *torture, env string) []string {
			return t.modwsgi("package", format, "--from-env", env, "--out", t.path("dist-"+format), "--overwrite")
		},
		after: func(t *torture, _ string) {
			if left, _ := filepath.Glob(t.path("dist-" + format + "/.*")); len(left) > 0 {
				t.fail("package %s left %q", format, left)
			}
		},
	}
}

var changes = []change{
	{name: "install", prepare: removed, argv: func(t *torture, env string) []string { return t.install(env) }, after: isWhole},
	{name: "reinstall", prepare: installed, argv: func(t *torture, env string) []string { return t.install(env, "--reinstall") }, after: isWhole},
	{name: "uninstall", prepare: installed, argv: func(t *torture, env string) []string { return t.modwsgi("uninstall", "--python", env) }, after: isEmpty},
	{name: "doctor --fix", prepare: stale, argv: func(t *torture, env string) []string {
		return t.modwsgi("doctor", "--fix", "--python", env)
	}, after: isWhole},
	packageOf("wheel"), packageOf("deb"), packageOf("oci"),
	{name: "cache prune", prepare: installed, argv: cacheOf("prune", "--max-size", "1M"), after: func(t *torture, env string) { t.restore() }},
	{name: "cache clear", prepare: installed, argv: cacheOf("clear"), after: func(t *torture, env string) { t.restore() }},
	{name: "cache verify", prepare: installed, argv: cacheOf("verify"), after: func(*torture, string) {}},
	{name: "setup-server", prepare: installed, argv: setupServer, after: func(t *torture, env string) { t.serves(env) }},
}

// restore fills the cache again: what is compiled takes minutes.
func (t *torture) restore() {
	if err := os.RemoveAll(t.path("sources")); err == nil {
		err = os.Mkdir(t.path("sources"), 0o755)
		if err == nil {
			err = t.fillCache(t.ctx, os.Getenv("MODWSGI_TEST_CACHE"))
		}
		if err != nil {
			t.fail("fill the cache again: %v", err)
		}
	}
}

// kill kills each command at a random moment, and runs it again.
func (t *torture) kill() {
	env, err := t.venv(t.ctx, "env")
	if err == nil {
		err = installed(t, env)
	}
	if err != nil {
		t.fail("%v", err)
		return
	}
	all := changes
	if t.short {
		all = []change{changes[10], changes[1], changes[2], changes[0]}
		for i := range all {
			all[i].took = 2 * time.Second // not measured
		}
	}
	killed := map[string]int{}
	for t.more() {
		c := &all[(t.rounds-1)%len(all)]
		if c.took == 0 {
			t.measure(c, env)
		} else if err := c.prepare(t, env); err != nil {
			t.fail("prepare %s: %v", c.name, err)
		}
		before := snapshot(env)
		after := t.moment(c.took)
		if r := t.interrupted(after, kill9, c.argv(t, env)...); r.code == -1 {
			killed[c.name]++
		}
		t.visible(fmt.Sprintf("%s killed after %s", c.name, after), env, before)
		r := t.do(t.ctx, c.argv(t, env)...)
		if r.code != 0 {
			t.fail("%s, killed after %s, then again: %v", c.name, after, r)
		}
		c.after(t, env)
		t.clean(fmt.Sprintf("%s, killed after %s, then again", c.name, after), env)
	}
	total := 0
	for _, n := range killed {
		total += n
	}
	t.figure("%d kills hit, over %d commands", total, len(killed))
}

// measure runs a command to its end once.
func (t *torture) measure(c *change, env string) {
	if err := c.prepare(t, env); err != nil {
		t.fail("prepare %s: %v", c.name, err)
	}
	began := time.Now()
	if r := t.do(t.ctx, c.argv(t, env)...); r.code != 0 {
		t.fail("%s: %v", c.name, r)
	}
	c.took = time.Since(began)
	c.after(t, env)
	if err := c.prepare(t, env); err != nil {
		t.fail("prepare %s: %v", c.name, err)
	}
}

// visible checks what a kill shows to others: a distribution that is listed is
// complete.
func (t *torture) visible(when, env string, before map[string]string) {
	record, _ := filepath.Glob(filepath.Join(site(env), "mod_wsgi-*.dist-info/RECORD"))
	for _, name := range record {
		data, err := os.ReadFile(name)
		if err != nil {
			t.fail("%s: %v", when, err)
			continue
		}
		for line := range strings.Lines(string(data)) {
			path, _, _ := strings.Cut(line, ",")
			full := filepath.Join(site(env), path)
			if _, was := before[full]; len(before) > 0 && !was && strings.Contains(when, "doctor") {
				continue // it was taken away for doctor
			}
			if _, err := os.Lstat(full); err != nil && !strings.Contains(path, `"`) {
				t.fail("%s: %s is listed and not there", when, full)
				return
			}
		}
	}
}

// aimed kills a few milliseconds after the hidden directory of a change has appeared.
func (t *torture) aimed() {
	env, err := t.venv(t.ctx, "env")
	if err == nil {
		err = installed(t, env)
	}
	if err != nil {
		t.fail("%v", err)
		return
	}
	hits := 0
	for t.more() {
		argv, then := t.install(env, "--reinstall"), isWhole
		if t.rounds%2 == 0 {
			argv, then = t.modwsgi("uninstall", "--python", env), isEmpty
		}
		before := snapshot(env)
		delay := t.moment(60 * time.Millisecond)
		c, _ := t.command(argv...)
		if err := c.Start(); err != nil {
			t.fail("%v", err)
			return
		}
		ended := make(chan struct{})
		go func() { _ = c.Wait(); close(ended) }()
		if t.appears(env, ended) {
			select {
			case <-time.After(delay):
				kill9(c.Process.Pid)
			case <-ended:
			}
		}
		<-ended
		if c.ProcessState.ExitCode() == -1 {
			hits++
		}
		t.visible(fmt.Sprintf("killed %s into the change", delay), env, before)
		if r := t.do(t.ctx, argv...); r.code != 0 {
			t.fail("killed %s into the change, then again: %v", delay, r)
		}
		then(t, env)
		t.clean(fmt.Sprintf("killed %s into the change", delay), env)
		if err := installed(t, env); err != nil {
			t.fail("%v", err)
		}
	}
	t.figure("%d kills hit", hits)
}

// appears waits for a hidden directory in site-packages, or for the end.
func (t *torture) appears(env string, ended <-chan struct{}) bool {
	for {
		if found, _ := filepath.Glob(filepath.Join(site(env), ".modwsgi-*")); len(found) > 0 {
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(200 * time.Microsecond):
		}
	}
}
