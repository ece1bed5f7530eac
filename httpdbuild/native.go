package httpdbuild

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/event"
	"modwsgi/internal/libtool"
	"modwsgi/internal/makefile"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// notUnderstood reports whether the native driver met something that only make and
// libtool can do.
func notUnderstood(err error) bool {
	var m *makefile.Unknown
	var l *libtool.Unknown
	return errors.As(err, &m) || errors.As(err, &l)
}

func (b *builder) newPlan(log *steps.Log) *plan {
	p := &plan{b: b, log: log, known: map[string]bool{}, libs: map[string]library{}, made: map[string]bool{}, generated: map[string]string{}, spans: map[string]string{}}
	for _, name := range []string{"apr", "apr-util"} {
		lib := map[string]string{"apr": "libapr-1", "apr-util": "libaprutil-1"}[name]
		p.libs[filepath.Join(b.dir(name), lib+".la")] = library{file: filepath.Join(b.dir(name), ".libs", lib+".so")}
		p.made[filepath.Join(b.dir(name), ".libs", lib+".so")] = true
	}
	return p
}

// run runs the planned tasks except for the files in later, which link libraries of
// other steps and are left to runRest.
func (p *plan) run(ctx context.Context, later ...string) error {
	var now, rest []objgraph.Task
	for _, t := range p.tasks {
		if slices.Contains(later, t.Name) {
			rest = append(rest, objgraph.Task{Name: t.Name, Weight: t.Weight, Run: t.Run})
		} else {
			now = append(now, t)
		}
	}
	p.tasks = rest
	return objgraph.Run(ctx, p.b.pool, now)
}

// runRest runs the tasks that run left, in a separate step.
func (p *plan) runRest(ctx context.Context, log *steps.Log) error {
	p.log = log
	return objgraph.Run(ctx, p.b.pool, p.tasks)
}

// after names the spans that a task waited for: those of tasks, and those that its
// step waited for.
func (p *plan) after(tasks []string) []string {
	var names []string
	for _, t := range tasks {
		if name := p.spans[t]; name != "" {
			names = append(names, name)
		}
	}
	return append(names, p.b.needs[p.log.Step]...)
}

func (p *plan) add(t objgraph.Task) {
	if p.known[t.Name] {
		return
	}
	p.known[t.Name] = true
	p.tasks = append(p.tasks, t)
}

// read reads the makefile of a directory.
func (p *plan) read(dir string) (*makefile.File, error) {
	return makefile.Read(filepath.Join(dir, "Makefile"), map[string]string{"V": "1"})
}

// command adds a task that runs one command in dir and makes file from needs; "command
// > name" writes standard output to that file.
func (p *plan) command(dir, file, command string, kind timeline.Kind, weight int64, needs ...string) error {
	command, output, redirected := strings.Cut(command, " > ")
	argv, err := libtool.Split(command)
	if err != nil {
		return err
	}
	p.spans[file] = filepath.Base(file)
	p.add(objgraph.Task{Name: file, Needs: needs, Weight: weight, Run: func(ctx context.Context) error {
		if err := makeDir(filepath.Dir(file)); err != nil {
			return err
		}
		if !redirected {
			return p.b.toolAs(ctx, p.log, kind, p.spans[file], p.after(needs), dir, argv...)
		}
		return p.b.toolInto(ctx, p.log, filepath.Join(dir, strings.TrimSpace(output)), dir, argv...)
	}})
	return nil
}

// object plans the compilation of one object of a makefile, and returns the compiler's
// output file.
func (p *plan) object(f *makefile.File, dir, target string) (string, error) {
	_, commands, err := f.Commands(target)
	if err != nil {
		return "", err
	}
	if len(commands) != 1 {
		return "", &makefile.Unknown{Where: dir, What: "how " + target + " is made"}
	}
	c, err := libtool.ParseCompile(commands[0])
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, c.Object)
	if p.known[file] {
		return file, nil
	}
	return file, p.compile(c, dir, file)
}

// compile adds the task for an object; larger sources start earlier. It waits for
// generated files: the source itself, or headers that it includes.
func (p *plan) compile(c *libtool.Compile, dir, file string) error {
	source := filepath.Join(dir, c.Source)
	var needs []string
	weight := int64(1)
	if p.known[source] {
		needs = append(needs, source)
	} else {
		text, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		weight = int64(len(text))
		for _, name := range slices.Sorted(maps.Keys(p.generated)) {
			if bytes.Contains(text, []byte(`#include "`+name+`"`)) {
				needs = append(needs, p.generated[name])
			}
		}
	}
	p.total++
	p.spans[file] = p.b.label(source)
	p.add(objgraph.Task{Name: file, Needs: needs, Weight: weight, Run: func(ctx context.Context) error {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		p.b.Events.Send(event.Event{
			Kind: event.Progress, Step: p.log.Step,
			Text: fmt.Sprintf("%s (%d of %d)", filepath.Base(source), p.started.Add(1), p.total),
		})
		if err := p.b.compile(ctx, p.log, p.spans[file], p.after(needs), dir, file, c.Argv()...); err != nil {
			return err
		}
		return checkObject(file)
	}})
	return nil
}

// bitcode is the beginning of clang's objects that the linker compiles
// (https://llvm.org/docs/BitCodeFormat.html).
const bitcode = "BC\xc0\xde"

// checkObject refuses objects that contain no code yet, but input for the linker's
// optimizer: only the compiler's own tools can list their symbols.
func checkObject(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	deferred := &libtool.Unknown{What: "an object for optimization by the linker (-flto)"}
	magic := make([]byte, len(bitcode))
	if _, err := io.ReadFull(file, magic); err == nil && string(magic) == bitcode {
		return deferred
	}
	f, err := elf.NewFile(file)
	if err != nil {
		return nil // the linker will report it
	}
	symbols, err := f.Symbols()
	if err == nil && slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "__gnu_lto_slim" }) {
		return deferred
	}
	return nil
}

// label is the displayed name of a file: relative to the build directory.
func (b *builder) label(file string) string {
	if rel, err := filepath.Rel(b.Work, file); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return file
}

// linkWeight schedules links of finished objects after compilations, but before the
// smallest ones: what is linked no longer takes up memory.
const linkWeight = 20000

// link plans the link of a makefile's target from its objects. It returns the file.
func (p *plan) link(f *makefile.File, dir, target string) (string, error) {
	_, commands, err := f.Commands(target)
	if err != nil {
		return "", err
	}
	l, err := libtool.ParseLink(commands[len(commands)-1], p.b.Host.CC...)
	if err != nil {
		return "", err
	}
	var objects, needs []string
	for _, o := range l.Objects {
		// Parts of a shared library were compiled as ".slo" if there is a rule for
		// that.
		name := o
		if slo := strings.TrimSuffix(o, ".lo") + ".slo"; l.Shared && strings.HasSuffix(o, ".lo") {
			if r := f.Rule(slo); r != nil && len(r.Recipe) > 0 {
				name = slo
			}
		}
		file := filepath.Join(dir, o)
		if !p.known[file] || filepath.Ext(o) != ".o" {
			if file, err = p.object(f, dir, name); err != nil {
				return "", err
			}
		}
		objects, needs = append(objects, file), append(needs, file)
	}
	name, err := l.File()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, name)
	libs, libNeeds, err := p.resolve(l, dir)
	if err != nil {
		return "", err
	}
	p.libs[filepath.Join(dir, l.Output)] = library{file: out, more: libs}
	needs = append(needs, libNeeds...)
	p.spans[out] = filepath.Base(out)
	p.add(objgraph.Task{Name: out, Needs: needs, Weight: linkWeight, Run: func(ctx context.Context) error {
		return p.linkFile(ctx, l, dir, out, objects, libs, p.after(needs))
	}})
	return out, nil
}

// resolve converts libtool's libraries to files, each followed by its own
// dependencies. Of duplicates the last one stays, as with libtool.
func (p *plan) resolve(l *libtool.Link, dir string) (libs, needs []string, err error) {
	for _, w := range l.Libs {
		if filepath.Ext(w) != ".la" {
			libs = append(libs, w)
			continue
		}
		if !filepath.IsAbs(w) {
			w = filepath.Join(dir, w)
		}
		known, ok := p.libs[w]
		if !ok {
			return nil, nil, &libtool.Unknown{What: "the library " + w}
		}
		libs = append(libs, known.file)
		libs = append(libs, known.more...)
		if !p.made[known.file] {
			needs = append(needs, known.file)
		}
	}
	var kept []string
	for i, w := range libs {
		if !slices.Contains(libs[i+1:], w) {
			kept = append(kept, w)
		}
	}
	return kept, needs, nil
}

// linkFile makes an archive of objects, or runs the compiler to link.
func (p *plan) linkFile(ctx context.Context, l *libtool.Link, dir, out string, objects, libs, after []string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	relative := make([]string, len(objects))
	for i, o := range objects {
		rel, err := filepath.Rel(dir, o)
		if err != nil {
			return err
		}
		relative[i] = rel
	}
	if l.Static {
		if err := os.Remove(out); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return p.b.toolAs(ctx, p.log, timeline.Link, p.spans[out], after, dir, append([]string{p.b.Host.Tool("ar"), "cr", out}, relative...)...)
	}
	script := ""
	if l.Export != "" {
		var err error
		if script, err = versionScript(out, l.Export, objects); err != nil {
			return err
		}
	}
	if err := p.b.toolAs(ctx, p.log, timeline.Link, p.spans[out], after, dir, l.Argv(relative, libs, out, filepath.Base(out), script)...); err != nil {
		return err
	}
	if plain, _, versioned := strings.Cut(filepath.Base(out), ".so."); versioned {
		return replaceLink(filepath.Base(out), filepath.Join(filepath.Dir(out), plain+".so"))
	}
	return nil
}

func replaceLink(to, name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(to, name)
}

// versionScript writes a version script that exports the objects' symbols that match
// the expression.
func versionScript(out, expression string, objects []string) (string, error) {
	want, err := regexp.Compile(expression)
	if err != nil {
		return "", &libtool.Unknown{What: "-export-symbols-regex " + expression}
	}
	var symbols []string
	for _, name := range objects {
		f, err := elf.Open(name)
		if err != nil {
			return "", fmt.Errorf("inspect %s: %w", name, err)
		}
		all, err := f.Symbols()
		_ = f.Close()
		if err != nil {
			return "", fmt.Errorf("inspect %s: %w", name, err)
		}
		for _, s := range all {
			if elf.ST_BIND(s.Info) != elf.STB_LOCAL && s.Section != elf.SHN_UNDEF && want.MatchString(s.Name) {
				symbols = append(symbols, s.Name)
			}
		}
	}
	slices.Sort(symbols)
	script := strings.TrimSuffix(out, ".so") + ".ver"
	return script, os.WriteFile(script, []byte(libtool.VersionScript(slices.Compact(symbols))), 0o644)
}

// nativeLibrary compiles and links the library that a component's makefile makes as
// target. prepare plans the generated files.
func (b *builder) nativeLibrary(name, target string, prepare func(*plan, *makefile.File, string) error) func(context.Context, *steps.Log) error {
	return func(ctx context.Context, log *steps.Log) error {
		dir := b.dir(name)
		p := b.newPlan(log)
		f, err := p.read(dir)
		if err != nil {
			return err
		}
		script := filepath.Join(dir, "libtool")
		if name == "apr-util" {
			script = filepath.Join(b.dir("apr"), "libtool")
		}
		if err := libtool.Check(script); err != nil {
			return err
		}
		if prepare != nil {
			if err := prepare(p, f, dir); err != nil {
				return err
			}
		}
		file, err := p.link(f, dir, target)
		if err != nil {
			return err
		}
		if name == "apr-util" {
			b.aprUtil = p
			return p.run(ctx, file)
		}
		return p.run(ctx)
	}
}

// aprGenerated plans the character table that APR includes.
func aprGenerated(p *plan, f *makefile.File, dir string) error {
	const header, program = "include/private/apr_escape_test_char.h", "tools/gen_test_char"
	for _, target := range []string{program, header} {
		_, commands, err := f.Commands(target)
		if err != nil {
			return err
		}
		var needs []string
		if target == header {
			needs = []string{filepath.Join(dir, program)}
		}
		// It is preceded by a script that creates the directory.
		if err := p.command(dir, filepath.Join(dir, target), commands[len(commands)-1], timeline.Tool, objgraph.Heavy, needs...); err != nil {
			return err
		}
	}
	p.generated[filepath.Base(header)] = filepath.Join(dir, header)
	return nil
}

// aprUtilLibraries lists the libraries that are linked together with APR.
func aprUtilLibraries(p *plan, _ *makefile.File, _ string) error {
	f, err := p.read(p.b.dir("apr"))
	if err != nil {
		return err
	}
	libs, err := f.Words("ALL_LIBS")
	name := filepath.Join(p.b.dir("apr"), "libapr-1.la")
	p.libs[name] = library{file: p.libs[name].file, more: libs}
	return err
}

// pcre2Generated puts the character table where the makefile links it.
func pcre2Generated(_ *plan, f *makefile.File, dir string) error {
	const table = "src/pcre2_chartables.c"
	if r := f.Rule(table); r == nil || !slices.ContainsFunc(r.Needs, func(n string) bool { return strings.HasSuffix(n, table+".dist") }) {
		return &makefile.Unknown{Where: dir, What: "how " + table + " is made"}
	}
	return copyFile(filepath.Join(dir, table+".dist"), filepath.Join(dir, table), 0o644)
}
