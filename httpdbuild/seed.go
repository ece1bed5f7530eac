package httpdbuild

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/configcache"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// shared matches results that have the same meaning in every script: about the
// compiler, the C library and the tools, but not about libraries to link.
var shared = regexp.MustCompile(`^(ac_cv_(header|func|sizeof|type|prog|path|c|member|build|host|target|objext|exeext|mkdir_p|safe_to_define|should_define)|lt_cv)(_|$)`)

// configured are the components with a configure script by Autoconf.
var configured = []string{"apr", "apr-util", "pcre2", "httpd"}

// asks reports whether scripts get results from us. They must run all tests themselves
// for make, and on other systems than Linux.
func (b *builder) asks() bool {
	return b.Driver == Native && strings.Contains(b.Host.Target, "linux")
}

// ask determines the results of common tests for all scripts at once, because most of
// their tests are the same. Nothing of the target is run. Headers take twice as much time
// as the rest, so they are two tasks.
func (b *builder) ask(ctx context.Context, log *steps.Log) error {
	if !b.asks() {
		return nil
	}
	b.answers.questions = map[string]configcache.Questions{}
	for _, name := range configured {
		script, err := os.ReadFile(filepath.Join(b.dir(name), "configure"))
		if err != nil {
			return fmt.Errorf("read configure script: %w", err)
		}
		b.answers.questions[name] = configcache.Scan(string(script))
	}
	all := configcache.Union(slices.Collect(maps.Values(b.answers.questions))...)
	asking := map[string]configcache.Questions{}
	names := slices.Sorted(maps.Keys(all.Headers))
	for half := range slices.Chunk(names, max(1, (len(names)+1)/2)) {
		headers := map[string]string{}
		for _, variable := range half {
			headers[variable] = all.Headers[variable]
		}
		asking[fmt.Sprintf("headers %d", len(asking)+1)] = configcache.Questions{Headers: headers}
	}
	all.Headers = nil
	asking["functions"] = all
	b.answers.asked = map[string]string{}
	var tasks []objgraph.Task
	for name, questions := range asking {
		tasks = append(tasks, objgraph.Task{Name: name, Weight: objgraph.Heavy + first["apr"], Run: func(ctx context.Context) error {
			return b.askAbout(ctx, log, name, questions)
		}})
	}
	if err := objgraph.Run(ctx, b.pool, tasks); err != nil {
		return err
	}
	_, err := fmt.Fprintf(log, "the compiler answered %d tests\n", len(b.answers.asked))
	return err
}

func (b *builder) askAbout(ctx context.Context, log *steps.Log, name string, questions configcache.Questions) error {
	dir := filepath.Join(b.Work, "tmp", "ask-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c := configcache.Compiler{
		Runner: b.Runner, Env: b.env(), Dir: dir,
		Argv: slices.Concat(b.Host.CC, b.compilerFlags(), []string{"-D_GNU_SOURCE", "-D_REENTRANT"}),
		Link: append([]string{"-L" + filepath.Join(b.deps(), "lib")}, b.Flags.Given.Link...),
	}
	if b.component(crypt) != nil {
		c.Argv = append(c.Argv, "-I"+filepath.Join(b.deps(), "include")) // crypt.h
	}
	end := b.Timeline.Begin(timeline.Configure, log.Step, "ask about "+name, b.needs[log.Step]...)
	found, err := c.Answer(ctx, questions)
	end(func(s *timeline.Span) { s.Failed = err != nil })
	b.answers.mu.Lock()
	defer b.answers.mu.Unlock()
	maps.Copy(b.answers.asked, found)
	return err
}

// seed writes the cache that a component's configure script starts with, and returns
// the argument for it. APR and PCRE2 use only the C library, so they also get negative
// results; the others get only positive ones. What APR's script found has priority.
func (b *builder) seed(log *steps.Log, name string) ([]string, error) {
	if !b.asks() {
		return nil, nil
	}
	b.answers.mu.Lock()
	defer b.answers.mu.Unlock()
	known := b.answers.questions[name].Of(b.answers.asked)
	asked := len(known)
	if name != "apr" && name != "pcre2" {
		maps.DeleteFunc(known, func(_, answer string) bool { return answer == "no" })
	}
	maps.Copy(known, b.answers.common)
	if _, err := fmt.Fprintf(log, "%d answers are known, %d of them by asking the compiler\n", len(known), asked); err != nil {
		return nil, err
	}
	file := filepath.Join(b.dir(name), "config.cache")
	return []string{"--cache-file=" + file}, configcache.Write(file, known)
}

// learn records the results of APR's script for later ones.
func (b *builder) learn(name string) error {
	if name != "apr" {
		return nil
	}
	found, err := configcache.Read(filepath.Join(b.dir(name), "config.cache"))
	if err != nil {
		return err
	}
	maps.DeleteFunc(found, func(variable, _ string) bool {
		// APR was configured to ignore libuuid.
		return !shared.MatchString(variable) || strings.Contains(variable, "uuid")
	})
	b.answers.mu.Lock()
	defer b.answers.mu.Unlock()
	b.answers.common = found
	return nil
}

// shell is the shell for configure scripts: dash if available, which needs a fifth
// less CPU time for them than bash.
func (b *builder) shell() string {
	if path, err := run.LookPath("dash", b.Host.Env); err == nil && b.Driver == Native {
		return path
	}
	return ""
}
