package windows

import (
	"errors"
	"regexp"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// known maps the output of a compiler or linker to hints; $1 is the first group of pattern.
var known = []struct {
	pattern *regexp.Regexp
	hint    string
}{
	{regexp.MustCompile(`(?:fatal error: |Cannot open include file: ')([\w./]+\.h)`), "the SDK lacks the header $1: use the complete SDK of that version"},
	{regexp.MustCompile("undefined reference to `(?:__imp_)?(\\w+)'|unresolved external symbol (?:__imp_)?(\\w+)"), "the SDK's libraries do not have $1: use headers and libraries of the same version"},
	{regexp.MustCompile(`cannot find -l(ucrt)`), "this mingw-w64 has no UCRT: use version 7 or newer"},
	{regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`), "free some space in the build directory, or set --cache-dir to another file system"},
	{regexp.MustCompile(`(?i)cannot allocate memory|virtual memory exhausted|killed signal terminated program`), "too little memory for this many compilers: try --jobs 1"},
}

func (b *builder) hint(err error) string {
	if fault.HintOf(err) != "" {
		return ""
	}
	output, tail := err.Error(), ""
	var e *run.Error
	if errors.As(err, &e) {
		output += "\n" + strings.Join(e.Tail, "\n")
		tail = "the full output of the failed step is in its log"
	}
	for _, k := range known {
		if m := k.pattern.FindStringSubmatch(output); m != nil {
			first := ""
			for _, g := range m[1:] {
				first += g
			}
			return strings.ReplaceAll(k.hint, "$1", first)
		}
	}
	return tail
}
