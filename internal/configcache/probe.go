package configcache

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/run"
)

// Compiler is the compiler to run.
type Compiler struct {
	Runner *run.Runner
	Argv   []string // the compiler, with the flags of the script
	Link   []string // more flags of the script, for linking with libraries
	Env    []string
	Dir    string // existing directory for temporary files
}

// Answer determines the results of tests with the compiler. Tests whose result is in
// doubt are not in the result. The error is the context's or the file system's.
func (c *Compiler) Answer(ctx context.Context, q Questions) (map[string]string, error) {
	answers := map[string]string{}
	for _, ask := range []func(context.Context, Questions, map[string]string) error{c.headers, c.functions, c.libraries, c.sizes, c.declarations} {
		if err := unanswered(ctx, ask(ctx, q, answers)); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// unanswered drops the error of a failed tool: its tests are left to the script.
func unanswered(ctx context.Context, err error) error {
	var tool *run.Error
	if ctx.Err() == nil && errors.As(err, &tool) {
		return nil
	}
	return err
}

// run runs the compiler and returns its output.
func (c *Compiler) run(ctx context.Context, args ...string) (string, error) {
	var said bytes.Buffer
	err := c.Runner.Run(ctx, run.Cmd{Argv: append(slices.Clone(c.Argv), args...), Dir: c.Dir, Env: c.Env, Log: &said})
	return said.String(), err
}

func (c *Compiler) write(name, text string) error {
	return os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o600)
}

// usualHeaders are the headers that a script includes by default
// (https://www.gnu.org/software/autoconf/manual/autoconf.html#Default-Includes).
var usualHeaders = []string{"stddef.h", "stdio.h", "stdlib.h", "string.h", "inttypes.h", "stdint.h", "strings.h", "sys/types.h", "sys/stat.h", "unistd.h"}

func includes() string {
	var b strings.Builder
	for _, h := range usualHeaders {
		fmt.Fprintf(&b, "#if __has_include(<%s>)\n#include <%s>\n#endif\n", h, h)
	}
	return b.String()
}

// headers determines with one run of the preprocessor which headers exist, then compiles
// each of them separately, with a single start of the compiler. Headers that do not compile
// are left to the script: a second run must succeed without them.
func (c *Compiler) headers(ctx context.Context, q Questions, answers map[string]string) error {
	names := slices.Compact(slices.Sorted(maps.Values(q.Headers)))
	if len(names) == 0 {
		return nil
	}
	there, err := c.existing(ctx, names)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(names), func(h string) bool { return slices.Contains(there, h) })
	record(answers, q.Headers, missing, "no")
	said, err := c.includeEach(ctx, there)
	if err != nil {
		broken := map[string]bool{}
		for _, m := range headerSource.FindAllStringSubmatch(said, -1) {
			if i, scan := strconv.Atoi(m[1]); scan == nil && i < len(there) {
				broken[there[i]] = true
			}
		}
		if len(broken) == 0 {
			return err
		}
		there = slices.DeleteFunc(there, func(h string) bool { return broken[h] })
		if _, err := c.includeEach(ctx, there); err != nil {
			return err
		}
	}
	record(answers, q.Headers, there, "yes")
	return nil
}

// existing returns the headers that the preprocessor finds.
func (c *Compiler) existing(ctx context.Context, names []string) ([]string, error) {
	var b strings.Builder
	for i, h := range names {
		fmt.Fprintf(&b, "#if __has_include(<%s>)\nthere_%d_\n#endif\n", h, i)
	}
	if err := c.write("headers.c", b.String()); err != nil {
		return nil, err
	}
	said, err := c.run(ctx, "-E", "-P", "headers.c")
	if err != nil {
		return nil, err
	}
	words := strings.Fields(said)
	var there []string
	for i, h := range names {
		if slices.Contains(words, fmt.Sprintf("there_%d_", i)) {
			there = append(there, h)
		}
	}
	return there, nil
}

// headerSource matches the name of a source of includeEach in the compiler's output.
var headerSource = regexp.MustCompile(`\bheader(\d+)\.c:`)

// includeEach compiles a source per header, after the usual headers. GCC reads these from
// a precompiled header if it succeeds in writing one.
func (c *Compiler) includeEach(ctx context.Context, names []string) (string, error) {
	if len(names) == 0 {
		return "", nil
	}
	if err := c.write("usual.h", includes()); err != nil {
		return "", err
	}
	if _, err := c.run(ctx, "-x", "c-header", "-o", "usual.h.gch", "usual.h"); unanswered(ctx, err) != nil {
		return "", err
	}
	argv := []string{"-fsyntax-only"}
	for i, h := range names {
		name := fmt.Sprintf("header%d.c", i)
		if err := c.write(name, "#include \"usual.h\"\n#include <"+h+">\n"); err != nil {
			return "", err
		}
		argv = append(argv, name)
	}
	return c.run(ctx, argv...)
}

// undefined matches the linker's error for a function that it did not find.
var undefined = regexp.MustCompile("undefined (?:reference to|symbol:) [`'\"]?([A-Za-z_]\\w*)")

// systemLibraries are the libraries that a script may add before it tests a function.
var systemLibraries = []string{"-lcrypt", "-lpthread", "-ldl", "-lrt", "-lm", "-luuid"}

// functions links one program that calls all functions, and the linker reports the
// missing ones. A second program without these must link, which proves that the others
// exist, and need no library. A function counts as missing only if none of the system's
// libraries has it either.
func (c *Compiler) functions(ctx context.Context, q Questions, answers map[string]string) error {
	all := slices.Compact(slices.Sorted(maps.Values(join(q.Functions, q.Searches))))
	if len(all) == 0 {
		return nil
	}
	missing, err := c.link(ctx, all)
	if err != nil {
		return err
	}
	there := slices.DeleteFunc(all, func(f string) bool { return slices.Contains(missing, f) })
	if again, err := c.link(ctx, there); err != nil || len(again) > 0 {
		return err
	}
	record(answers, q.Functions, there, "yes")
	record(answers, q.Searches, there, "none required")
	if len(missing) == 0 {
		return nil
	}
	libs, err := c.existingLibraries(ctx)
	if err != nil {
		return err
	}
	nowhere, err := c.link(ctx, missing, libs...)
	if err != nil {
		return err
	}
	record(answers, q.Functions, nowhere, "no")
	return nil
}

// existingLibraries returns the system's libraries that exist, usually with two links.
func (c *Compiler) existingLibraries(ctx context.Context) ([]string, error) {
	libs := slices.Clone(systemLibraries)
	for range systemLibraries {
		said, err := c.linkEmpty(ctx, libs...)
		if err == nil {
			break
		}
		before := len(libs)
		for _, m := range notFound.FindAllStringSubmatch(said, -1) {
			libs = slices.DeleteFunc(libs, func(l string) bool { return l == "-l"+m[1] })
		}
		if len(libs) == before {
			return nil, err // another error
		}
	}
	return libs, nil
}

// linkEmpty links a program that does nothing, and returns the linker's output.
func (c *Compiler) linkEmpty(ctx context.Context, args ...string) (string, error) {
	if err := c.write("libraries.c", "int main(void) { return 0; }\n"); err != nil {
		return "", err
	}
	return c.run(ctx, append([]string{"-o", "libraries", "libraries.c"}, args...)...)
}

// join merges maps that have no keys in common.
func join(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		return b
	}
	maps.Copy(all, b)
	return all
}

// record gives all tests of the subjects the same result.
func record(answers, tests map[string]string, subjects []string, answer string) {
	for variable, subject := range tests {
		if slices.Contains(subjects, subject) {
			answers[variable] = answer
		}
	}
}

// link returns the functions that a program cannot be linked with. As in the scripts, a
// function that exists but always fails counts as missing (the C library marks it with a
// macro).
func (c *Compiler) link(ctx context.Context, functions []string, libs ...string) (missing []string, err error) {
	var b strings.Builder
	b.WriteString("#include <limits.h>\n")
	for _, f := range functions {
		fmt.Fprintf(&b, "#if defined __stub_%s || defined __stub___%s\nchar stub_of_%s(void);\n#define call_%s stub_of_%s\n#else\n#undef %s\nchar %s(void);\n#define call_%s %s\n#endif\n", f, f, f, f, f, f, f, f, f)
	}
	b.WriteString("int main(void)\n{\n  int sum = 0;\n")
	for _, f := range functions {
		fmt.Fprintf(&b, "  sum += call_%s();\n", f)
	}
	b.WriteString("  return sum;\n}\n")
	if err := c.write("functions.c", b.String()); err != nil {
		return nil, err
	}
	said, err := c.run(ctx, append([]string{"-w", "-o", "functions", "functions.c"}, libs...)...)
	if err == nil {
		return nil, nil
	}
	for _, m := range undefined.FindAllStringSubmatch(said, -1) {
		f := strings.TrimPrefix(m[1], "stub_of_")
		if !slices.Contains(functions, f) {
			return nil, err // another error
		}
		if !slices.Contains(missing, f) {
			missing = append(missing, f)
		}
	}
	if len(missing) == 0 {
		return nil, err
	}
	return missing, nil
}

// notFound matches the linker's error for a library that is in none of its directories.
var notFound = regexp.MustCompile(`(?:cannot find|unable to find library|library not found:) (?:-l)?([\w.+-]+)`)

// libraries determines with one link which libraries do not exist: no function can be in
// one of these. A second link without them must succeed, so that nothing else is wrong.
func (c *Compiler) libraries(ctx context.Context, q Questions, answers map[string]string) error {
	all := slices.Compact(slices.Sorted(maps.Values(q.Libraries)))
	if len(all) == 0 {
		return nil
	}
	link := func(names []string) (string, error) {
		args := slices.Clone(c.Link)
		for _, name := range names {
			args = append(args, "-l"+name)
		}
		return c.linkEmpty(ctx, args...)
	}
	said, err := link(all)
	if err == nil {
		return nil // all exist
	}
	var missing []string
	for _, m := range notFound.FindAllStringSubmatch(said, -1) {
		missing = append(missing, m[1])
	}
	if _, err := link(slices.DeleteFunc(all, func(name string) bool { return slices.Contains(missing, name) })); err != nil {
		return err
	}
	record(answers, q.Libraries, missing, "no")
	return nil
}

// sizes reads the sizes from an object file, so nothing has to run.
func (c *Compiler) sizes(ctx context.Context, q Questions, answers map[string]string) error {
	variables := slices.Sorted(maps.Keys(q.Sizes))
	if len(variables) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(includes() + "const unsigned char sizes_of_types[] = {\n")
	for _, v := range variables {
		fmt.Fprintf(&b, "  sizeof(%s),\n", q.Sizes[v])
	}
	b.WriteString("};\n")
	if err := c.write("sizes.c", b.String()); err != nil {
		return err
	}
	if _, err := c.run(ctx, "-fno-lto", "-c", "-o", "sizes.o", "sizes.c"); err != nil {
		return err
	}
	values, err := object(filepath.Join(c.Dir, "sizes.o"), "sizes_of_types")
	if err != nil || len(values) != len(variables) {
		return nil // an unreadable object: no result
	}
	for i, v := range variables {
		answers[v] = fmt.Sprint(values[i])
	}
	return nil
}

// object returns the bytes of a symbol of an object file.
func object(name, symbol string) ([]byte, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	symbols, err := f.Symbols()
	if err != nil {
		return nil, err
	}
	for _, s := range symbols {
		if s.Name != symbol || int(s.Section) >= len(f.Sections) {
			continue
		}
		data, err := f.Sections[s.Section].Data()
		if err != nil || s.Value+s.Size > uint64(len(data)) {
			return nil, fmt.Errorf("read %s of %s", symbol, name)
		}
		return data[s.Value : s.Value+s.Size], nil
	}
	return nil, fmt.Errorf("find %s in %s", symbol, name)
}
