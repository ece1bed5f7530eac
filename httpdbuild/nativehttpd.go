package httpdbuild

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/libtool"
	"modwsgi/internal/makefile"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// nativeHTTPD compiles all objects of httpd, and links the modules, which need no
// library from other steps. The programs are left to another step.
func (b *builder) nativeHTTPD(ctx context.Context, log *steps.Log) error {
	dir := b.dir("httpd")
	if err := libtool.Check(filepath.Join(b.dir("apr"), "libtool")); err != nil {
		return err
	}
	p := b.newPlan(log)
	top, err := p.read(dir)
	if err != nil {
		return err
	}
	if err := p.httpdServer(dir); err != nil {
		return err
	}
	if err := p.httpdModules(top, dir); err != nil {
		return err
	}
	programs, err := p.httpdPrograms(top, dir)
	if err != nil {
		return err
	}
	b.httpd = p
	return p.run(ctx, programs...)
}

// httpdServer plans the server's own library and the platform's, with the files that
// are generated for them.
func (p *plan) httpdServer(top string) error {
	dir := filepath.Join(top, "server")
	f, err := p.read(dir)
	if err != nil {
		return err
	}
	if err := p.testChar(f, dir); err != nil {
		return err
	}
	if err := p.exports(f, dir); err != nil {
		return err
	}
	if _, err := p.link(f, dir, "libmain.la"); err != nil {
		return err
	}
	platform, err := f.Words("OS_DIR")
	if err != nil || len(platform) != 1 {
		return errorOr(err, &makefile.Unknown{Where: dir, What: "OS_DIR"})
	}
	dir = filepath.Join(top, "os", platform[0])
	if f, err = p.read(dir); err != nil {
		return err
	}
	_, err = p.link(f, dir, "libos.la")
	return err
}

func errorOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// testChar plans the character table: a program is compiled and run. If the compiler
// targets another machine, this is done with the host's compiler, for which the
// program has a special mode.
func (p *plan) testChar(f *makefile.File, dir string) error {
	program, header := filepath.Join(dir, "gen_test_char"), filepath.Join(dir, "test_char.h")
	p.generated["test_char.h"] = header
	p.spans[header], p.spans[program] = "test_char.h", "gen_test_char"
	p.add(objgraph.Task{Name: header, Needs: []string{program}, Weight: objgraph.Heavy, Run: func(ctx context.Context) error {
		return p.b.toolInto(ctx, p.log, header, dir, program)
	}})
	if p.b.Host.Cross != "" {
		argv := []string{buildCompiler(p.b.Host.Env), "-DCROSS_COMPILE", "-o", program, "gen_test_char.c"}
		p.add(objgraph.Task{Name: program, Weight: objgraph.Heavy, Run: func(ctx context.Context) error {
			return p.b.toolAs(ctx, p.log, timeline.Tool, "gen_test_char", p.after(nil), dir, argv...)
		}})
		return nil
	}
	object, err := p.object(f, dir, "gen_test_char.lo")
	if err != nil {
		return err
	}
	for i := range p.tasks {
		if p.tasks[i].Name == object {
			p.tasks[i].Weight = objgraph.Heavy
		}
	}
	p.add(objgraph.Task{Name: program, Needs: []string{object}, Weight: objgraph.Heavy, Run: func(ctx context.Context) error {
		return p.b.toolAs(ctx, p.log, timeline.Tool, "gen_test_char", p.after([]string{object}), dir, append(slices.Clone(p.b.Host.CC), "-o", program, object)...)
	}})
	return nil
}

// exports plans the list of symbols that modules may use. A script of httpd's reads
// the public headers, in an order that does not depend on the file system.
func (p *plan) exports(f *makefile.File, dir string) error {
	r := f.Rule("exports.c")
	awk, err := f.Words("AWK")
	if err != nil || len(awk) != 1 || r == nil || len(r.Recipe) != 1 || !strings.Contains(r.Recipe[0], "make_exports.awk") {
		return errorOr(err, &makefile.Unknown{Where: dir, What: "how exports.c is made"})
	}
	argv := []string{awk[0], "-f", filepath.Join(filepath.Dir(dir), "build/make_exports.awk")}
	headers, err := exportedHeaders(f, dir)
	if err != nil {
		return err
	}
	out := filepath.Join(dir, "exports.c")
	p.spans[out] = "exports.c"
	p.add(objgraph.Task{Name: out, Weight: objgraph.Heavy, Run: func(ctx context.Context) error {
		return p.b.toolInto(ctx, p.log, out, dir, append(argv, headers...)...)
	}})
	return nil
}

// exportedHeaders are the files in the rule for "export_files".
func exportedHeaders(f *makefile.File, dir string) ([]string, error) {
	found := []string{filepath.Join(dir, "mpm_fdqueue.h")}
	for name, patterns := range map[string][]string{"EXPORT_DIRS": {"*.h"}, "EXPORT_DIRS_APR": {"ap[ru].h", "ap[ru]_*.h"}} {
		dirs, err := f.Words(name)
		if err != nil {
			return nil, err
		}
		if len(dirs) != 2 {
			return nil, &makefile.Unknown{Where: dir, What: name}
		}
		for _, d := range dirs {
			entries, err := os.ReadDir(d)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if slices.ContainsFunc(patterns, func(p string) bool { ok, _ := filepath.Match(p, e.Name()); return ok }) {
					found = append(found, filepath.Join(d, e.Name()))
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// httpdModules plans all modules, and the parts that are built in.
func (p *plan) httpdModules(top *makefile.File, dir string) error {
	modules, err := top.Words("MODULE_DIRS")
	if err != nil {
		return err
	}
	mpms, err := top.Words("MPM_SUBDIRS")
	if err != nil {
		return err
	}
	if len(modules) == 0 || len(mpms) == 0 {
		return &makefile.Unknown{Where: dir, What: "MODULE_DIRS and MPM_SUBDIRS"}
	}
	var dirs []string
	for _, m := range modules {
		dirs = append(dirs, filepath.Join(dir, "modules", m))
	}
	for _, m := range mpms {
		dirs = append(dirs, filepath.Join(dir, "server/mpm", m))
	}
	for _, d := range dirs {
		f, err := p.read(d)
		if err != nil {
			return err
		}
		for _, list := range []string{"static", "shared"} {
			targets, err := f.Words(list)
			if err != nil {
				return err
			}
			for _, target := range targets {
				if _, err := p.link(f, d, target); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// httpdPrograms plans httpd itself and the support programs, and returns their files.
func (p *plan) httpdPrograms(top *makefile.File, dir string) ([]string, error) {
	_, commands, err := top.Commands("httpd")
	if err != nil {
		return nil, err
	}
	if len(commands) != 2 {
		return nil, &makefile.Unknown{Where: dir, What: "how httpd is made"}
	}
	// The build mark: the date, in a separate object.
	mark, err := libtool.Split(commands[0])
	if err != nil {
		return nil, err
	}
	object := filepath.Join(dir, "buildmark.o")
	p.total++
	p.spans[object] = "httpd/server/buildmark.c"
	p.add(objgraph.Task{Name: object, Weight: 1, Run: func(ctx context.Context) error {
		return p.b.toolAs(ctx, p.log, timeline.Compile, p.spans[object], p.after(nil), dir, mark...)
	}})
	file, err := p.link(top, dir, "httpd")
	if err != nil {
		return nil, err
	}
	files := []string{file}
	support := filepath.Join(dir, "support")
	f, err := p.read(support)
	if err != nil {
		return nil, err
	}
	for _, name := range programs {
		if file, err = p.link(f, support, name); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}
