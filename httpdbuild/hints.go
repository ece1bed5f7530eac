package httpdbuild

import (
	"errors"
	"os"
	"regexp"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// knownFailures maps the output of tools to hints.
var knownFailures = []struct {
	pattern *regexp.Regexp
	hint    string
}{
	{regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`), "free some space in the build directory, or set XDG_CACHE_HOME to another file system"},
	{
		regexp.MustCompile(`(?i)virtual memory exhausted|cannot allocate memory|killed signal terminated program|fatal error: killed|internal compiler error: killed|terminated with signal 9`),
		"too little memory for this many compilers: try --jobs 1",
	},
	{regexp.MustCompile(`(?i)permission denied|cannot run C compiled programs`), "the build directory may be mounted noexec: set XDG_CACHE_HOME to another file system"},
	{regexp.MustCompile(`Clock skew detected|newly created file is older than distributed files`), "set this machine's clock, which is behind the dates of the sources"},
	{regexp.MustCompile(`C compiler cannot create executables`), "the compiler does not work: see the log, and config.log next to the sources (--keep-build keeps them)"},
}

var (
	// gcc, then clang.
	missingHeader = regexp.MustCompile(`fatal error: (?:([\w./+-]+\.h): No such file or directory|'([\w./+-]+\.h)' file not found)`)
	// GNU ld, then lld.
	missingLibrary = regexp.MustCompile(`(?:cannot find|unable to find library) (-l[\w.+-]+)`)
	undefinedCrypt = regexp.MustCompile("undefined (?:reference to|symbol:) [`'\"]?crypt(?:_r)?\\b")
	missingProgram = regexp.MustCompile(`(?m)(?:^|: )([\w.+-]+): (?:command )?not found$`)
	noBinutils     = regexp.MustCompile(`could not determine .* interface`)
	impossible     = regexp.MustCompile(`configure: error: .*mod_(\w+) has been requested but can not be built`)
)

// hint looks for a hint in the failed tool's last lines, and then in its log.
func (b *builder) hint(err error) string {
	var e *run.Error
	if !errors.As(err, &e) {
		if fault.HintOf(err) != "" {
			return "" // the failed step knows better
		}
		return b.hintIn(err.Error())
	}
	if h := b.hintIn(e.Error() + "\n" + strings.Join(e.Tail, "\n")); h != "" {
		return h
	}
	if data, rerr := os.ReadFile(e.LogPath); rerr == nil {
		if h := b.hintIn(string(data[max(0, len(data)-64<<10):])); h != "" {
			return h
		}
	}
	return "the full output of the failed step is in its log; --keep-build keeps the sources and objects"
}

// hintIn returns the hint for a text, or "".
func (b *builder) hintIn(text string) string {
	if m := missingHeader.FindStringSubmatch(text); m != nil {
		name := m[1] + m[2]
		if p := packageOf(func(f Feature) bool { return f.has(name) }); p != nil {
			return b.Host.Install("the header "+name+" is missing;", p, "")
		}
		return "the header " + name + " is missing: install the development package that contains it"
	}
	if m := missingLibrary.FindStringSubmatch(text); m != nil {
		if p := packageOf(func(f Feature) bool { return strings.Contains(" "+strings.Join(f.Libs, " ")+" ", " "+m[1]+" ") }); p != nil {
			return b.Host.Install("the linker cannot find "+m[1]+";", p, "")
		}
		for _, n := range needs {
			if n.lib == m[1] {
				return b.Host.Install("the linker cannot find "+m[1]+";", n.pkg, "")
			}
		}
		return "the linker cannot find " + m[1] + ": install the development package that contains it"
	}
	if undefinedCrypt.MatchString(text) {
		return b.Host.Install("the library crypt is missing;", distro.Crypt, "")
	}
	if m := impossible.FindStringSubmatch(text); m != nil {
		for _, f := range features {
			for _, name := range f.Modules {
				if name == "mod_"+m[1] {
					return b.Host.Install("the library for "+name+" is too old or incomplete;", f.Package, "or use --without "+f.Name)
				}
			}
		}
	}
	if noBinutils.MatchString(text) {
		return b.Host.InstallHere("the programs nm and ar are missing;", distro.Binutils, "")
	}
	for _, k := range knownFailures {
		if k.pattern.MatchString(text) {
			return k.hint
		}
	}
	if m := missingProgram.FindStringSubmatch(text); m != nil {
		return "the program " + m[1] + " is missing: install it"
	}
	return ""
}

// packageOf returns the packages of the first matching feature, nil if none matches.
func packageOf(is func(Feature) bool) distro.Packages {
	for _, f := range features {
		if is(f) {
			return f.Package
		}
	}
	return nil
}
