package modulebuild

import (
	"errors"
	"regexp"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// known maps the output of a compiler or linker to hints; m is the match of pattern.
var known = []struct {
	pattern *regexp.Regexp
	hint    func(b *builder, m []string) string
}{
	{regexp.MustCompile(`\b(Python|pyconfig)\.h(: No such file|' file not found)`), func(b *builder, _ []string) string {
		return b.Tools.Install("Python's headers are missing;", distro.PythonHeaders.For(majorMinor(b.Python.Version)), "")
	}},
	{regexp.MustCompile(`\b(httpd|ap_config|apr|apu|apr_\w+)\.h(: No such file|' file not found)`), func(b *builder, m []string) string {
		return b.Tools.Install("the header "+m[1]+".h of Apache is missing;", distro.HTTPDHeaders, "or use --httpd bundled")
	}},
	{regexp.MustCompile(`recompile with -fPIC|can not be used when making a shared object`), text(
		"this Python's library cannot be linked into a module: use a Python that was built with --enable-shared")},
	{regexp.MustCompile(`bytecode stream in file .* generated with LTO version|not an? LTO object|LLVM gold plugin`), text(
		"this Python's library was compiled with link-time optimization by another compiler: set CC to that compiler, or use a Python that was built with --enable-shared")},
	{regexp.MustCompile(`(?:cannot find|unable to find library) (-l[\w.+-]+)`), func(_ *builder, m []string) string {
		return "the linker cannot find " + m[1] + ", which this Python's library needs: install the development package that contains it, or use a Python that was built with --enable-shared"
	}},
	{regexp.MustCompile(`(?:unrecognized (?:command[- ]line )?option|unknown argument:|unrecognized argument in option|argument unused during compilation:|unsupported option|unsupported argument) ['‘"](-[^'’"]+)['’"]`), func(b *builder, m []string) string {
		return "this Apache's compiler flags (apxs -q CFLAGS) contain " + m[1] + ", which " + run.Quote(b.Tools.CC[0]) + " does not know: set CC to the compiler that Apache was built with, or use --httpd bundled"
	}},
	// The Apache of Fedora and Red Hat is compiled with a file of another package.
	{regexp.MustCompile(`/redhat/redhat-[\w-]+['’]?: No such file`), text(
		"this Apache's compiler flags name a file of the package redhat-rpm-config: dnf install redhat-rpm-config, or use --httpd bundled")},
	{regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`), text(
		"free some space in the build directory, or set XDG_CACHE_HOME to another file system")},
	{regexp.MustCompile(`(?i)cannot allocate memory|virtual memory exhausted|killed signal terminated program|terminated with signal 9`), text(
		"too little memory for this many compilers: try --jobs 1")},
}

func text(s string) func(*builder, []string) string {
	return func(*builder, []string) string { return s }
}

func (b *builder) hint(err error) string {
	output, tail := err.Error(), ""
	var e *run.Error
	if errors.As(err, &e) {
		output += "\n" + strings.Join(e.Tail, "\n")
		tail = "the full output of the failed step is in its log"
	} else if fault.HintOf(err) != "" {
		return "" // the failed step knows better
	}
	for _, k := range known {
		if m := k.pattern.FindStringSubmatch(output); m != nil {
			return k.hint(b, m)
		}
	}
	return tail
}
