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

// knownFailures turns what a tool said into what to do about it.
var knownFailures = []struct {
	said *regexp.Regexp
	hint string
}{
	{regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`), "free some space in the build directory, or set XDG_CACHE_HOME to another file system"},
	{
		regexp.MustCompile(`(?i)virtual memory exhausted|cannot allocate memory|killed signal terminated program|fatal error: killed|internal compiler error: killed|terminated with signal 9`),
		"there is too little memory for this many compilers: try --jobs 1",
	},
	{regexp.MustCompile(`(?i)permission denied|cannot run C compiled programs`), "the build directory may be mounted noexec: set XDG_CACHE_HOME to another file system"},
	{regexp.MustCompile(`Clock skew detected|newly created file is older than distributed files`), "the clock of this machine is behind the dates of the sources: set it"},
	{regexp.MustCompile(`C compiler cannot create executables`), "the compiler does not work: see the log, and config.log beside the sources (--keep-build keeps them)"},
}

var (
	// gcc, then clang.
	missingHeader = regexp.MustCompile(`fatal error: (?:([\w./+-]+\.h): No such file or directory|'([\w./+-]+\.h)' file not found)`)
	// GNU ld, then lld.
	missingLibrary = regexp.MustCompile(`(?:cannot find|unable to find library) (-l[\w.+-]+)`)
	missingProgram = regexp.MustCompile(`(?m)(?:^|: )([\w.+-]+): (?:command )?not found$`)
	noBinutils     = regexp.MustCompile(`could not determine .* interface`)
	impossible     = regexp.MustCompile(`configure: error: .*mod_(\w+) has been requested but can not be built`)
)

// hint looks into the failed tool's last lines, and into its log where those say
// nothing.
func (b *builder) hint(err error) string {
	var e *run.Error
	if !errors.As(err, &e) {
		if fault.HintOf(err) != "" {
			return "" // whoever failed knows better
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
	return "the whole output of the failed step is in its log; --keep-build keeps the sources and objects"
}

// hintIn returns what to do about a text, or "".
func (b *builder) hintIn(text string) string {
	if m := missingHeader.FindStringSubmatch(text); m != nil {
		name := m[1] + m[2]
		if p := packageOf(func(f Feature) bool { return f.has(name) }); p != nil {
			return b.Host.Install("the header "+name+" is missing;", p, "")
		}
		return "the header " + name + " is missing: install the development package that holds it"
	}
	if m := missingLibrary.FindStringSubmatch(text); m != nil {
		if p := packageOf(func(f Feature) bool { return strings.Contains(" "+strings.Join(f.Libs, " ")+" ", " "+m[1]+" ") }); p != nil {
			return b.Host.Install("the linker does not find "+m[1]+";", p, "")
		}
		return "the linker does not find " + m[1] + ": install the development package that holds it"
	}
	if m := impossible.FindStringSubmatch(text); m != nil {
		for _, f := range features {
			for _, name := range f.Modules {
				if name == "mod_"+m[1] {
					return b.Host.Install("the library for "+name+" is too old or not complete;", f.Package, "or use --without "+f.Name)
				}
			}
		}
	}
	if noBinutils.MatchString(text) {
		return b.Host.Install("the programs nm and ar are missing;", distro.Binutils, "")
	}
	for _, k := range knownFailures {
		if k.said.MatchString(text) {
			return k.hint
		}
	}
	if m := missingProgram.FindStringSubmatch(text); m != nil {
		return "the program " + m[1] + " is missing: install it"
	}
	return ""
}

// has reports whether a feature's headers are those that a compiler misses,
// under the name that the compiler gives it.
func (f Feature) has(header string) bool {
	for _, h := range f.Headers {
		if h == header || strings.HasSuffix(h, "/"+header) {
			return true
		}
	}
	// Another header of the same library: its directory tells.
	dir, _, ok := strings.Cut(header, "/")
	for _, h := range f.Headers {
		if ok && (strings.HasPrefix(h, dir+"/") || strings.Contains(h, "/"+dir+"/")) {
			return true
		}
	}
	return false
}

// packageOf returns the packages of the first feature that is asked for, nil
// where there is none.
func packageOf(is func(Feature) bool) distro.Packages {
	for _, f := range features {
		if is(f) {
			return f.Package
		}
	}
	return nil
}
