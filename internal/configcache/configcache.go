// Package configcache answers beforehand what configure scripts made by Autoconf
// ask of the compiler: which headers are there, which functions link, how large
// types are. A script asks one compiler run a question; here a few runs answer
// all that it asks in the common forms, on this compiler and this C library, and
// nothing is assumed. What it cannot answer it leaves to the script. It does not
// know what the answers are for.
package configcache

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Questions are what a script asks, by the name of the cache variable.
type Questions struct {
	Headers   map[string]string // "ac_cv_header_sys_types_h" -> "sys/types.h"
	Functions map[string]string // "ac_cv_func_mmap" -> "mmap"
	Sizes     map[string]string // "ac_cv_sizeof_long_long" -> "long long"
}

var (
	headerCall   = regexp.MustCompile(`ac_fn_c_check_header_compile "\$LINENO" (\S+) (\S+) (.*)`)
	functionCall = regexp.MustCompile(`ac_fn_c_check_func "\$LINENO" "(\w+)" "(ac_cv_func_\w+)"`)
	sizeCall     = regexp.MustCompile(`ac_fn_c_compute_int "\$LINENO" "\(long int\) \(sizeof \(([\w *]+)\)\)" "(ac_cv_sizeof_\w+)"\s+(.*)`)
	basicHeader  = regexp.MustCompile(`as_fn_append ac_header_c_list " ([\w./]+) (\w+) HAVE_`)
)

// usual is how a script names the headers that it includes before the one that
// it asks for, where it does not name others.
const usual = `"$ac_includes_default"`

// Scan finds the questions of a script whose form leaves no doubt.
func Scan(script string) Questions {
	q := Questions{Headers: map[string]string{}, Functions: map[string]string{}, Sizes: map[string]string{}}
	doubtful := map[string]bool{}
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if m := headerCall.FindStringSubmatch(line); m != nil {
			name, variable := strings.Trim(m[1], `"`), strings.Trim(m[2], `"`)
			if strings.Contains(m[1]+m[2], "$") {
				continue
			}
			if m[3] != usual {
				doubtful[variable] = true
			}
			q.Headers[variable] = name
		}
		if m := basicHeader.FindStringSubmatch(line); m != nil {
			q.Headers["ac_cv_header_"+m[2]] = m[1]
		}
		if m := functionCall.FindStringSubmatch(line); m != nil {
			q.Functions[m[2]] = m[1]
		}
		if m := sizeCall.FindStringSubmatch(line); m != nil {
			if m[3] != usual && !strings.HasPrefix(m[3], usual+";") {
				doubtful[m[2]] = true
			}
			q.Sizes[m[2]] = m[1]
		}
	}
	for variable := range doubtful {
		delete(q.Headers, variable)
		delete(q.Sizes, variable)
	}
	return q
}

// Without removes the questions that are answered already.
func (q Questions) Without(answers map[string]string) Questions {
	keep := func(m map[string]string) map[string]string {
		out := maps.Clone(m)
		maps.DeleteFunc(out, func(variable, _ string) bool { _, known := answers[variable]; return known })
		return out
	}
	return Questions{Headers: keep(q.Headers), Functions: keep(q.Functions), Sizes: keep(q.Sizes)}
}

var entry = regexp.MustCompile(`^(\w+_cv_\w+)=\$\{(\w+)='?([^'\n]*)'?\}$`)

// Read returns the answers in a script's cache file that have one plain line
// each. Those about the environment of the script are left out.
func Read(name string) (map[string]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read cache of configure: %w", err)
	}
	answers := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if m := entry.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil && m[1] == m[2] && !strings.HasPrefix(m[1], "ac_cv_env_") {
			answers[m[1]] = m[3]
		}
	}
	return answers, nil
}

// Write writes a cache file that a script reads with --cache-file.
func Write(name string, answers map[string]string) error {
	var b strings.Builder
	for _, variable := range slices.Sorted(maps.Keys(answers)) {
		fmt.Fprintf(&b, "%s=${%s='%s'}\n", variable, variable, answers[variable])
	}
	if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write cache of configure: %w", err)
	}
	return nil
}
