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
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// shared matches results that have the same meaning in every script: about the
// compiler, the C library and the tools, but not about libraries to link.
var shared = regexp.MustCompile(`^(ac_cv_(header|func|sizeof|type|prog|path|c|member|build|host|target|objext|exeext|mkdir_p|safe_to_define|should_define)|lt_cv)(_|$)`)

// seed writes the cache that a component's configure script starts with, and returns
// the argument for it. It returns none if scripts must run all tests themselves: for
// make, and for other systems than Linux. Nothing of the target is run. APR and PCRE2 use
// only the C library, so they also share negative results; the others share only
// positive ones.
func (b *builder) seed(ctx context.Context, log *steps.Log, name string) ([]string, error) {
	if b.Driver == Make || !strings.Contains(b.Host.Target, "linux") {
		return nil, nil
	}
	script, err := os.ReadFile(filepath.Join(b.dir(name), "configure"))
	if err != nil {
		return nil, fmt.Errorf("read configure script: %w", err)
	}
	b.answers.mu.Lock()
	known := maps.Clone(b.answers.common)
	b.answers.mu.Unlock()
	if known == nil {
		known = map[string]string{}
	}
	questions := configcache.Scan(string(script)).Without(known)
	dir := filepath.Join(b.Work, "tmp", "ask-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c := configcache.Compiler{
		Runner: b.Runner, Env: b.env(), Dir: dir,
		Argv: slices.Concat(b.Host.CC, cflags(b.Work), []string{"-D_GNU_SOURCE", "-D_REENTRANT"}),
	}
	if b.component(crypt) != nil {
		c.Argv = append(c.Argv, "-I"+filepath.Join(b.deps(), "include")) // crypt.h
	}
	end := b.Timeline.Begin(timeline.Configure, log.Step, "ask the compiler for "+name, b.needs[log.Step]...)
	found, err := c.Answer(ctx, questions)
	end(nil)
	if err != nil {
		return nil, err
	}
	alone := name == "apr" || name == "pcre2"
	for variable, answer := range found {
		if alone || answer != "no" {
			known[variable] = answer
		}
	}
	if _, err := fmt.Fprintf(log, "%d answers are known, %d of them by asking the compiler\n", len(known), len(found)); err != nil {
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
