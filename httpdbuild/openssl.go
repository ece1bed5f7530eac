package httpdbuild

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/libtool"
	"modwsgi/internal/makefile"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
)

// OpenSSL is configured by its own Configure, a Perl program that writes one makefile
// for the whole library. internal/makefile understands all of it, so the native driver
// needs no make. The makefile's rules generate headers and assembler sources with Perl,
// compile about 900 files, and link two shared libraries.
//
// Configure needs modules that some distributions separate from Perl itself (Debian's
// perl-base, Fedora's perl-interpreter). The directory perl has replacements for the
// few functions that it calls. Only those that the host's Perl lacks are used.

// opensslTargets maps processors to the names of Configure's targets. Others are built
// without assembler.
var opensslTargets = map[string]string{
	"x86_64": "linux-x86_64", "aarch64": "linux-aarch64", "arm": "linux-armv4", "armv7l": "linux-armv4", "i686": "linux-x86", "i386": "linux-x86", "i586": "linux-x86",
	"powerpc64le": "linux-ppc64le", "s390x": "linux64-s390x", "riscv64": "linux64-riscv64", "loongarch64": "linux64-loongarch64",
}

// opensslWithout are parts of OpenSSL that mod_ssl and ab never call: protocols other
// than TLS, message formats, and ciphers and digests that no certificate or TLS
// connection uses. They are a third of the compilations. Everything that TLS 1.2 and
// 1.3 negotiate stays, with the hybrid key exchanges, and so do the ciphers that private
// keys are encrypted with.
var opensslWithout = []string{
	"no-makedepend", "no-tests", "no-apps", "no-docs", "no-module", "no-engine", "no-legacy",
	"no-quic", "no-dtls", "no-sctp", "no-srtp", "no-srp", "no-ssl-trace", "no-comp", "no-cms", "no-cmp", "no-ts", "no-rfc3779",
	"no-aria", "no-bf", "no-blake2", "no-camellia", "no-cast", "no-gost", "no-idea", "no-md4", "no-mdc2", "no-rc2", "no-rc4", "no-rmd160",
	"no-seed", "no-siphash", "no-siv", "no-ocb", "no-sm2", "no-sm3", "no-sm4", "no-whirlpool", "no-ec2m", "no-slh-dsa",
}

// opensslSince lists words in opensslWithout that older releases refuse.
var opensslSince = map[string]string{"no-makedepend": "3.0", "no-quic": "3.2", "no-slh-dsa": "3.5"}

// opensslTarget is the name of Configure's target for the compiler's.
func (b *builder) opensslTarget() string {
	cpu, _, _ := strings.Cut(b.Host.Target, "-")
	if strings.HasPrefix(cpu, "arm") && !strings.HasPrefix(cpu, "arm64") {
		cpu = "arm"
	}
	if name := opensslTargets[cpu]; name != "" {
		return name
	}
	if strings.Contains(cpu, "64") || cpu == "s390x" {
		return "linux-generic64"
	}
	return "linux-generic32"
}

// configureOpenSSL runs Configure. The libraries get names and symbol versions of their
// own, for which Configure has a setting of targets (shlib_variant). They know no
// directory of the host: its openssl.cnf is written for another OpenSSL.
func (b *builder) configureOpenSSL(ctx context.Context, log *steps.Log) error {
	release, err := b.pool.Acquire(ctx, objgraph.Heavy+first["openssl"])
	if err != nil {
		return err
	}
	defer release()
	dir := b.dir("openssl")
	if err := b.writePerlModules(ctx, log); err != nil {
		return err
	}
	target := fmt.Sprintf("my %%targets = ( 'modwsgi' => { inherit_from => [ '%s' ], shlib_variant => '%s' } );\n", b.opensslTarget(), variant)
	if err := os.WriteFile(filepath.Join(dir, "Configurations/90-modwsgi.conf"), []byte(target), 0o644); err != nil {
		return err
	}
	argv := []string{"perl", "Configure", "modwsgi", "--prefix=" + Placeholder, "--openssldir=" + Placeholder + "/ssl", "--libdir=lib", "shared"}
	for _, word := range opensslWithout {
		if since := opensslSince[word]; since == "" || !older(b.component("openssl").Version, since) {
			argv = append(argv, word)
		}
	}
	argv = append(argv, "CC="+strings.Join(b.Host.CC, " "), "AR="+b.Host.Tool("ar"), "RANLIB="+b.Host.Tool("ranlib"),
		"CFLAGS="+strings.Join(append(b.compilerFlags(), "-fno-lto"), " "), b.ldflags())
	if err := b.toolAs(ctx, log, timeline.Configure, log.Step, nil, dir, argv...); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(b.perlDir(), replacedOpen)); err != nil {
		return nil
	}
	return b.editMakefile(func(line string) string { // before all other modules, unlike PERL5OPT
		if strings.HasPrefix(line, "PERL=") {
			line += " -MPerlIO::scalar"
		}
		return line
	})
}

// replacedOpen is the replacement for a compiled module that some Perls lack.
const replacedOpen = "PerlIO/scalar.pm"

// editMakefile changes lines of OpenSSL's makefile, which Configure has written.
func (b *builder) editMakefile(edit func(string) string) error {
	name := filepath.Join(b.dir("openssl"), "Makefile")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	for i := range lines {
		lines[i] = edit(lines[i])
	}
	return os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o644)
}

// older compares the first two numbers of versions.
func older(version, than string) bool {
	var a, b [2]int
	_, _ = fmt.Sscanf(version, "%d.%d", &a[0], &a[1])
	_, _ = fmt.Sscanf(than, "%d.%d", &b[0], &b[1])
	return slices.Compare(a[:], b[:]) < 0
}

//go:embed perl
var perlModules embed.FS

// perlDir is where the replacements for modules of Perl are.
func (b *builder) perlDir() string { return filepath.Join(b.Work, "perl") }

// writePerlModules writes replacements for the modules that the host's Perl lacks.
func (b *builder) writePerlModules(ctx context.Context, log *steps.Log) error {
	const missing = `for (@ARGV) { print "$_\n" unless eval { require $_; 1 } }`
	argv := []string{"perl", "-e", missing}
	err := fs.WalkDir(perlModules, "perl", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			argv = append(argv, strings.TrimPrefix(name, "perl/"))
		}
		return err
	})
	if err != nil {
		return err
	}
	out, err := b.Runner.Output(ctx, run.Cmd{Argv: argv, Dir: b.Work, Env: b.env(), Log: log, LogPath: log.Path})
	if err != nil {
		return err
	}
	if err := makeDir(b.perlDir()); err != nil {
		return err
	}
	for _, name := range strings.Fields(string(out)) {
		text, err := perlModules.ReadFile("perl/" + name)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(b.perlDir(), name), text, 0o644); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(log, "the host's Perl lacks %s: replaced\n", name); err != nil {
			return err
		}
	}
	return nil
}

// opensslLibraries are the files that are linked.
var opensslLibraries = []string{"libcrypto" + variant + ".so.3", "libssl" + variant + ".so.3"}

func (b *builder) compileOpenSSL(ctx context.Context, log *steps.Log) error {
	compile := b.nativeOpenSSL
	if b.Driver == Make {
		compile = b.makeOpenSSL
	}
	if err := compile(ctx, log); err != nil {
		return err
	}
	return b.placeOpenSSL()
}

// nativeOpenSSL runs the rules of the makefile for the two libraries and for what they
// need. The libraries are the longest part of a build, so they come first.
func (b *builder) nativeOpenSSL(ctx context.Context, log *steps.Log) error {
	dir := b.dir("openssl")
	p := b.newPlan(log)
	f, err := p.read(dir)
	if err != nil {
		return err
	}
	generated, err := f.Words("GENERATED_MANDATORY")
	if err != nil {
		return err
	}
	o := &opensslRules{plan: p, file: f, dir: dir}
	for _, name := range generated {
		if slices.Contains([]string{".c", ".h", ".inc"}, filepath.Ext(name)) { // others describe the installation
			o.headers = append(o.headers, filepath.Join(dir, name))
			if err := o.add(name); err != nil {
				return err
			}
		}
	}
	for _, name := range opensslLibraries {
		if err := o.add(name); err != nil {
			return err
		}
	}
	for i := range p.tasks {
		p.tasks[i].Weight += objgraph.Heavy / 4
	}
	return p.run(ctx)
}

// opensslRules plans rules of OpenSSL's makefile.
type opensslRules struct {
	plan    *plan
	file    *makefile.File
	dir     string
	headers []string // the tasks that every compilation waits for
	visited map[string]bool
}

// add plans a target after everything that it needs. Without a rule it is a file of the
// sources.
func (o *opensslRules) add(target string) error {
	// The makefile would configure again if Configure's results were outdated.
	if o.visited[target] || target == "configdata.pm" {
		return nil
	}
	if o.visited == nil {
		o.visited = map[string]bool{}
	}
	o.visited[target] = true
	if r := o.file.Rule(target); r == nil || len(r.Recipe) == 0 {
		if _, err := os.Lstat(filepath.Join(o.dir, target)); err != nil && r == nil {
			return &makefile.Unknown{Where: o.dir, What: "how " + target + " is made"}
		}
		return nil
	}
	sources, commands, err := o.file.Commands(target)
	if err != nil {
		return err
	}
	var needs []string
	for _, need := range sources {
		if err := o.add(need); err != nil {
			return err
		}
		if name := filepath.Join(o.dir, need); o.plan.known[name] {
			needs = append(needs, name)
		}
	}
	if to, ok := linkedTo(commands[len(commands)-1], target); ok {
		o.plan.add(objgraph.Task{Name: filepath.Join(o.dir, target), Needs: needs, Weight: linkWeight, Run: func(context.Context) error {
			return replaceLink(to, filepath.Join(o.dir, target))
		}})
		return nil
	}
	if len(commands) > 1 && filepath.Ext(target) == ".a" {
		commands = commands[1:2] // the first removes the old archive, the third writes an index, as ar does
	}
	if len(commands) != 1 {
		return &makefile.Unknown{Where: o.dir, What: "how " + target + " is made"}
	}
	return o.task(target, commands[0], needs)
}

// linkedTo recognizes the command that makes target a symbolic link.
func linkedTo(command, target string) (string, bool) {
	words := strings.Fields(command)
	if len(words) != 8 || !slices.Equal(words[:6], []string{"rm", "-f", target, "&&", "ln", "-s"}) || words[7] != target {
		return "", false
	}
	return words[6], true
}

// task plans one command.
func (o *opensslRules) task(target, command string, needs []string) error {
	file := filepath.Join(o.dir, target)
	if strings.Contains(command, " > ") {
		return o.plan.command(o.dir, file, o.withoutWork(command), timeline.Tool, objgraph.Heavy/4, needs...)
	}
	argv, err := libtool.Split(command)
	if err != nil {
		return err
	}
	at := slices.Index(argv, "-c")
	if at < 0 || at+4 != len(argv) || argv[at+1] != "-o" {
		if strings.Contains(argv[0], "=") { // CC="gcc" perl asm.pl ...
			argv = append([]string{"env"}, argv...)
		}
		o.plan.spans[file] = filepath.Base(file)
		o.plan.add(objgraph.Task{Name: file, Needs: needs, Weight: linkWeight, Run: func(ctx context.Context) error {
			return o.plan.b.toolAs(ctx, o.plan.log, timeline.Tool, o.plan.spans[file], o.plan.after(needs), o.dir, argv...)
		}})
		return nil
	}
	c := &libtool.Compile{Args: argv[:at], Object: argv[at+2], Source: argv[at+3]}
	if err := o.plan.compile(c, o.dir, file); err != nil {
		return err
	}
	last := &o.plan.tasks[len(o.plan.tasks)-1]
	last.Needs = append(append(last.Needs, needs...), o.headers...)
	slices.Sort(last.Needs)
	last.Needs = slices.Compact(last.Needs)
	return nil
}

// withoutWork removes the directories of the build and of a sysroot from the compiler and
// its flags that the library reports (OpenSSL_version(OPENSSL_CFLAGS)).
func (o *opensslRules) withoutWork(command string) string {
	if !strings.Contains(command, "mkbuildinf") {
		return command
	}
	return o.plan.b.Host.Portable(strings.ReplaceAll(command, "-ffile-prefix-map="+o.plan.b.Work+"=. ", ""))
}

// makeOpenSSL has make do the same.
func (b *builder) makeOpenSSL(ctx context.Context, log *steps.Log) error {
	err := b.editMakefile(func(line string) string {
		if strings.Contains(line, "mkbuildinf.pl ") {
			line = strings.Replace(line, "$(LIB_CFLAGS)", "$(CNF_CFLAGS)", 1)
		}
		return line
	})
	if err != nil {
		return err
	}
	return b.makeIn("openssl", append([]string{"build_generated"}, opensslLibraries...)...)(ctx, log)
}

// placeOpenSSL copies the headers and libraries to where httpd's configure finds them.
func (b *builder) placeOpenSSL() error {
	dir := b.dir("openssl")
	if err := b.copyHeaders(dir, "include/openssl/*.h", "openssl"); err != nil {
		return err
	}
	for _, file := range opensslLibraries {
		if err := copyFile(filepath.Join(dir, file), filepath.Join(b.deps(), "lib", file), 0o755); err != nil {
			return err
		}
		plain, _, _ := strings.Cut(file, variant)
		if err := replaceLink(file, filepath.Join(b.deps(), "lib", plain+".so")); err != nil {
			return err
		}
	}
	return b.pkgConfig("openssl", b.component("openssl").Version, "-lssl -lcrypto")
}
