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
	"sync"

	"modwsgi/internal/configcache"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// answers are what configure scripts of this build need not ask again.
type answers struct {
	mu     sync.Mutex
	common map[string]string
}

// shared are the answers of one script that mean the same in another: about the
// compiler, the C library and the tools, and not about what is to be linked.
var shared = regexp.MustCompile(`^(ac_cv_(header|func|sizeof|type|prog|path|c|member|build|host|target|objext|exeext|mkdir_p|safe_to_define|should_define)|lt_cv)(_|$)`)

// seed writes the cache that a component's configure script starts with, and
// returns the argument for it, none where scripts ask everything themselves: for
// make, and where programs for the target do not run here. APR and PCRE2 only
// use the C library, so that what is missing there is missing for them; the
// others only learn what is there.
func (b *builder) seed(ctx context.Context, log *steps.Log, name string) ([]string, error) {
	if b.Driver == Make || !strings.Contains(b.Host.Target, "linux") || b.Host.Cross != "" {
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

// learn keeps what APR's script found out for those that come after it.
func (b *builder) learn(name string) error {
	if name != "apr" {
		return nil
	}
	found, err := configcache.Read(filepath.Join(b.dir(name), "config.cache"))
	if err != nil {
		return err
	}
	maps.DeleteFunc(found, func(variable, _ string) bool {
		// We had APR look away from libuuid.
		return !shared.MatchString(variable) || strings.Contains(variable, "uuid")
	})
	b.answers.mu.Lock()
	defer b.answers.mu.Unlock()
	b.answers.common = found
	return nil
}

// shell is the shell for configure scripts: dash where it is there, which needs
// a fifth less time for them than bash.
func (b *builder) shell() string {
	if path, err := run.LookPath("dash", b.Host.Env); err == nil && b.Driver == Native {
		return path
	}
	return ""
}
