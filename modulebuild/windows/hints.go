package windows

import (
	"errors"
	"regexp"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// known turns what a compiler or linker said into what to do about it; $1 is the
// first group of said.
var known = []struct {
	said *regexp.Regexp
	hint string
}{
	{regexp.MustCompile(`(?:fatal error: |Cannot open include file: ')([\w./]+\.h)`), "the header $1 is missing in the SDK: take the complete one of that version"},
	{regexp.MustCompile("undefined reference to `(?:__imp_)?(\\w+)'|unresolved external symbol (?:__imp_)?(\\w+)"), "the SDK's libraries do not have $1: take headers and libraries of one version"},
	{regexp.MustCompile(`cannot find -l(ucrt)`), "this mingw-w64 has no UCRT: take version 7 or newer"},
	{regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`), "free some space in the build directory, or set --cache-dir to another file system"},
	{regexp.MustCompile(`(?i)cannot allocate memory|virtual memory exhausted|killed signal terminated program`), "there is too little memory for this many compilers: try --jobs 1"},
}

func (b *builder) hint(err error) string {
	if fault.HintOf(err) != "" {
		return ""
	}
	said, tail := err.Error(), ""
	var e *run.Error
	if errors.As(err, &e) {
		said += "\n" + strings.Join(e.Tail, "\n")
		tail = "the whole output of the failed step is in its log"
	}
	for _, k := range known {
		if m := k.said.FindStringSubmatch(said); m != nil {
			first := ""
			for _, g := range m[1:] {
				first += g
			}
			return strings.ReplaceAll(k.hint, "$1", first)
		}
	}
	return tail
}
