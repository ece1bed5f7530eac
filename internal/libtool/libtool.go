// Package libtool translates the command lines that makefiles pass to GNU libtool into
// compiler commands, for shared libraries and programs on ELF with the GNU linker or a
// compatible one. It runs nothing. It never guesses: anything that it does not understand
// is an *Unknown
// (https://www.gnu.org/software/libtool/manual/html_node/Invoking-libtool.html).
package libtool

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Unknown is the error for a command line or a libtool that this package does not understand.
type Unknown struct{ What string }

// Error cuts a long command: a link names every object.
func (e *Unknown) Error() string {
	const enough = 240
	if what := []rune(e.What); len(what) > enough {
		return string(what[:enough]) + "… is not understood"
	}
	return e.What + " is not understood"
}

// Compile is a command that creates an object.
type Compile struct {
	Args   []string // compiler and flags, without file names
	Source string
	Object string // output of the compiler, "dir/.libs/x.o" or "dir/x.o"
	PIC    bool
}

// Argv returns the compiler's command line.
func (c *Compile) Argv() []string {
	argv := slices.Clone(c.Args)
	if c.PIC {
		argv = append(argv, picFlags...)
	}
	return append(argv, "-c", "-o", c.Object, c.Source)
}

var picFlags = []string{"-fPIC", "-DPIC"}

// Link is a command that creates a library, a module or a program.
type Link struct {
	Compiler []string
	Flags    []string // for compiler and linker
	Objects  []string // libtool's names, "x.lo" or "x.o"
	Libs     []string // -L, -l and "x.la", in order
	Output   string   // libtool's name: "libx.la", "mod_x.la" or "prog"
	Static   bool     // a convenience library, linked only in this build
	Shared   bool     // a shared library or module
	Version  string   // -version-info, "" if absent
	Export   string   // regular expression for the symbols to export; "" for all
	Dynamic  bool     // a program that exports symbols to its modules
}

var (
	touch = regexp.MustCompile(`\s*&&\s*touch\s+\S+$`)
	// How automake finds a source file that may be in another directory.
	sought = regexp.MustCompile("`test -f '?([^'` ]+)'? \\|\\| echo '?[^'` ]*'?`([^\\s`]+)")
)

// Split splits a command into words as a shell does. Commands that need a shell are
// *Unknown.
func Split(command string) ([]string, error) {
	command = sought.ReplaceAllString(touch.ReplaceAllString(strings.TrimSpace(command), ""), "$1")
	var words []string
	var word strings.Builder
	open, quote := false, byte(0)
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'':
			word.WriteByte(c)
		case c == '\\' && i+1 < len(command) && (quote == 0 || strings.IndexByte(`"\$`+"`", command[i+1]) >= 0):
			i++
			word.WriteByte(command[i])
			open = true
		case strings.IndexByte("$`", c) >= 0, quote == 0 && strings.IndexByte("|&;<>()*?[~#{", c) >= 0 && (c != '~' && c != '#' && c != '{' || !open):
			return nil, &Unknown{fmt.Sprintf("the command %q", command)}
		case quote == 0 && (c == '\'' || c == '"'):
			quote, open = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if open {
				words = append(words, word.String())
				word.Reset()
			}
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if quote != 0 {
		return nil, &Unknown{fmt.Sprintf("the command %q", command)}
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}

// tool removes the libtool part of a command: a shell, the script, its options.
func tool(words []string) (mode string, rest []string, err error) {
	at := slices.IndexFunc(words, func(w string) bool { return path.Base(w) == "libtool" })
	if at < 0 || at > 1 {
		return "", nil, &Unknown{fmt.Sprintf("the command %q", strings.Join(words, " "))}
	}
	for rest = words[at+1:]; len(rest) > 0 && strings.HasPrefix(rest[0], "--"); rest = rest[1:] {
		name, value, _ := strings.Cut(rest[0], "=")
		switch {
		case name == "--mode":
			mode = value
		case name == "--silent", name == "--quiet", name == "--tag" && value == "CC":
		default:
			return "", nil, &Unknown{"the libtool option " + rest[0]}
		}
	}
	if len(rest) == 0 {
		return "", nil, &Unknown{fmt.Sprintf("the command %q", strings.Join(words, " "))}
	}
	return mode, rest, nil
}

// arguments returns the words of a libtool command after the mode, which must be this one.
func arguments(command, mode string) ([]string, error) {
	words, err := Split(command)
	if err != nil {
		return nil, err
	}
	actual, words, err := tool(words)
	if err != nil {
		return nil, err
	}
	if actual != mode {
		return nil, &Unknown{fmt.Sprintf("libtool --mode=%s to %s", actual, mode)}
	}
	return words, nil
}

// ParseCompile parses "libtool --mode=compile …". target is make's target: if it ends in
// ".slo", or if no option forbids it, the object is for shared libraries.
func ParseCompile(command string) (*Compile, error) {
	words, err := arguments(command, "compile")
	if err != nil {
		return nil, err
	}
	c := &Compile{PIC: true}
	object := ""
	for i := 0; i < len(words); i++ {
		switch w := words[i]; {
		case w == "-prefer-pic" || w == "-shared":
		case w == "-prefer-non-pic" || w == "-static":
			c.PIC = false
		case w == "-o" && i+1 < len(words):
			i++
			object = words[i]
		case w == "-c":
		case strings.HasSuffix(w, ".c") && !strings.HasPrefix(w, "-"):
			if c.Source != "" {
				return nil, &Unknown{fmt.Sprintf("the command %q", command)}
			}
			c.Source = w
		default:
			c.Args = append(c.Args, w)
		}
	}
	if c.Source == "" || len(c.Args) == 0 {
		return nil, &Unknown{fmt.Sprintf("the command %q", command)}
	}
	if object == "" {
		object = strings.TrimSuffix(path.Base(c.Source), ".c") + ".lo"
	}
	c.Object = Object(object, c.PIC)
	return c, nil
}

// Object returns the object file for libtool's "x.lo" or "x.slo"; a plain ".o" is
// returned as it is.
func Object(name string, pic bool) string {
	if path.Ext(name) == ".o" {
		return name
	}
	base := strings.TrimSuffix(path.Base(name), path.Ext(name)) + ".o"
	if pic {
		return path.Join(path.Dir(name), ".libs", base)
	}
	return path.Join(path.Dir(name), base)
}

// ParseLink parses "libtool --mode=link …". If the command begins with the words in cc, all
// of them are the compiler; otherwise it ends at the first word for the linker.
func ParseLink(command string, cc ...string) (*Link, error) {
	words, err := arguments(command, "link")
	if err != nil {
		return nil, err
	}
	l := &Link{}
	if len(cc) > 0 && len(words) > len(cc) && slices.Equal(words[:len(cc)], cc) {
		l.Compiler, words = slices.Clone(cc), words[len(cc):]
	}
	rpath, module, static := "", false, false
	for i := 0; i < len(words); i++ {
		next := func() string {
			if i++; i < len(words) {
				return words[i]
			}
			return ""
		}
		switch w := words[i]; {
		case w == "-o":
			l.Output = next()
		case w == "-rpath":
			rpath = next()
		case w == "-version-info":
			l.Version = next()
		case w == "-export-symbols-regex":
			l.Export = next()
		case w == "-module":
			module = true
		case w == "-static":
			static = true
		case w == "-export-dynamic":
			l.Dynamic = true
		case w == "-avoid-version", w == "-no-install", w == "-no-undefined":
		case strings.HasPrefix(w, "-L") || strings.HasPrefix(w, "-l") || path.Ext(w) == ".la":
			l.Libs = append(l.Libs, w)
		case path.Ext(w) == ".lo" || path.Ext(w) == ".o":
			l.Objects = append(l.Objects, w)
		case strings.HasPrefix(w, "-D") || strings.HasPrefix(w, "-U") || strings.HasPrefix(w, "-I"):
		case w == "-isystem" || w == "-include":
			next()
		case strings.HasPrefix(w, "-Wl,"), w == "-pthread", w == "-pie", w == "-no-pie", w == "-pipe", strings.HasPrefix(w, "-std="), strings.HasPrefix(w, "-specs="), len(w) > 1 && w[0] == '-' && strings.IndexByte("OgfmW", w[1]) >= 0:
			l.Flags = append(l.Flags, w)
		case len(l.Flags)+len(l.Objects)+len(l.Libs) == 0 && l.Output == "" && !strings.HasPrefix(w, "-"), len(l.Compiler) > 0 && len(l.Flags)+len(l.Objects)+len(l.Libs) == 0 && l.Output == "":
			l.Compiler = append(l.Compiler, w)
		default:
			return nil, &Unknown{fmt.Sprintf("%q in the command %q", w, command)}
		}
	}
	library := path.Ext(l.Output) == ".la"
	l.Static = library && static
	l.Shared = library && !static
	if l.Output == "" || len(l.Compiler) == 0 || len(l.Objects) == 0 || l.Shared && rpath == "" || module && !l.Shared {
		return nil, &Unknown{fmt.Sprintf("the command %q", command)}
	}
	return l, nil
}

// Name returns the name of the resulting file: "libmain.a", "mod_x.so", "libapr-1.so.0"
// or "ab". It is also the soname of a shared library.
func (l *Link) Name() (string, error) {
	base := strings.TrimSuffix(path.Base(l.Output), ".la")
	switch {
	case l.Static:
		return base + ".a", nil
	case !l.Shared:
		return path.Base(l.Output), nil
	case l.Version == "":
		return base + ".so", nil
	}
	// current:revision:age; the soname on Linux contains current-age
	// (https://www.gnu.org/software/libtool/manual/html_node/Libtool-versioning.html).
	parts := strings.Split(l.Version, ":")
	if len(parts) != 3 {
		return "", &Unknown{"-version-info " + l.Version}
	}
	current, err1 := strconv.Atoi(parts[0])
	age, err2 := strconv.Atoi(parts[2])
	if err1 != nil || err2 != nil || age > current {
		return "", &Unknown{"-version-info " + l.Version}
	}
	return base + ".so." + strconv.Itoa(current-age), nil
}

// File returns the path of the result, where libtool would write it.
func (l *Link) File() (string, error) {
	name, err := l.Name()
	return path.Join(path.Dir(l.Output), ".libs", name), err
}

// Argv returns the linker's command line. objects are the files for Objects, libs those
// for Libs in the order of Resolve, and script is a file with a version script or "".
func (l *Link) Argv(objects, libs []string, file, soname, script string) []string {
	argv := slices.Clone(l.Compiler)
	if l.Shared {
		argv = append(append(argv, "-shared"), picFlags...)
	}
	argv = append(argv, l.Flags...)
	if l.Dynamic && !l.Shared {
		argv = append(argv, "-Wl,--export-dynamic")
	}
	argv = append(argv, "-o", file)
	argv = append(argv, objects...)
	argv = append(argv, libs...)
	if l.Shared {
		argv = append(argv, "-Wl,-soname", "-Wl,"+soname)
	}
	if script != "" {
		argv = append(argv, "-Wl,-version-script", "-Wl,"+script)
	}
	return argv
}

// VersionScript returns a script that exports only these symbols
// (https://sourceware.org/binutils/docs/ld/VERSION.html).
func VersionScript(symbols []string) string {
	return "{ global:\n" + strings.Join(symbols, ";\n") + ";\nlocal: *; };\n"
}

// Check reads a configured libtool script and checks that it would run the same commands
// as this package, which is not so on other platforms.
func Check(script string) error {
	data, err := os.ReadFile(script)
	if err != nil {
		return fmt.Errorf("read libtool: %w", err)
	}
	set := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if _, seen := set[name]; ok && !seen { // the first one is for the C compiler
			set[name] = strings.Trim(value, `"'`)
		}
	}
	for name, want := range map[string]string{
		"build_libtool_libs": "yes", "pic_flag": " -fPIC -DPIC", "objext": "o", "version_type": "linux", "need_version": "no", "wl": "-Wl,",
		"archive_cmds":             `\$CC -shared \$pic_flag \$libobjs \$deplibs \$compiler_flags \$wl-soname \$wl\$soname -o \$lib`,
		"export_dynamic_flag_spec": `\$wl--export-dynamic`, "hardcode_libdir_flag_spec": `\$wl-rpath \$wl\$libdir`,
	} {
		if got := strings.ReplaceAll(set[name], "${wl}", "$wl"); strings.TrimSpace(strings.ReplaceAll(got, `\${wl}`, `\$wl`)) != strings.TrimSpace(want) {
			return &Unknown{fmt.Sprintf("%s=%q of %s", name, set[name], script)}
		}
	}
	return nil
}
