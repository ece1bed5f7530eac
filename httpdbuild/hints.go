package httpdbuild

import (
	"errors"
	"os"
	"regexp"
	"strings"

	"modwsgi/internal/run"
)

// knownFailures turns what a tool said into what to do about it.
var knownFailures = []struct {
	said *regexp.Regexp
	hint string
}{
	{regexp.MustCompile(`No space left on device`), "free some space in the build directory, or set XDG_CACHE_HOME to another file system"},
	{regexp.MustCompile(`(?i)virtual memory exhausted|Cannot allocate memory|Killed signal terminated program|fatal error: Killed`), "there is too little memory for this many compilers: try --jobs 1"},
	{regexp.MustCompile(`(?i)Permission denied`), "the build directory may be mounted noexec: set XDG_CACHE_HOME to another file system"},
	{regexp.MustCompile(`Clock skew detected|newer than distributed files`), "the clock of this machine is behind the dates of the sources: set it"},
	{regexp.MustCompile(`C compiler cannot create executables`), "the compiler does not work: see the log, and config.log beside the sources"},
}

var missingHeader = regexp.MustCompile(`fatal error: ([\w./-]+\.h): No such file or directory`)

// hint looks into the failed tool's last lines, and into its log where those say
// nothing.
func (b *builder) hint(err error) string {
	var e *run.Error
	if !errors.As(err, &e) {
		return ""
	}
	text := strings.Join(e.Tail, "\n")
	if data, rerr := os.ReadFile(e.LogPath); rerr == nil {
		text += string(data[max(0, len(data)-64<<10):])
	}
	if m := missingHeader.FindStringSubmatch(text); m != nil {
		for _, f := range features {
			for _, h := range f.Headers {
				if strings.HasSuffix(h, m[1]) {
					return b.Host.Install("the header "+m[1]+" is missing;", f.Package, "")
				}
			}
		}
		return "the header " + m[1] + " is missing: install the development package that holds it"
	}
	for _, k := range knownFailures {
		if k.said.MatchString(text) {
			return k.hint
		}
	}
	return "the whole output of the failed step is in its log; --keep-build keeps the sources and objects"
}
