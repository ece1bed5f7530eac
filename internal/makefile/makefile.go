// Package makefile reads makefiles in the form that the configure scripts of httpd and
// its libraries write: variables, includes, explicit rules and suffix rules. It returns
// the commands that make would run for a target. It runs nothing, and supports only this
// part of the language. It never guesses: anything else is an *Unknown
// (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/make.html).
package makefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Unknown is the error for something in a makefile that this package does not understand.
type Unknown struct {
	Where string // the file, or the expanded text
	What  string
}

func (e *Unknown) Error() string {
	return fmt.Sprintf("read %s: %s is not understood", e.Where, e.What)
}

// File is a makefile with all its includes.
type File struct {
	dir   string
	vars  map[string]string // as written, not expanded
	rules map[string]*Rule
}

// Rule is the rule for a target.
type Rule struct {
	Needs  []string // prerequisites, in order
	Recipe []string // lines as written, not expanded
}

// maxDepth limits includes and nested variables, which may be recursive.
const maxDepth = 50

// Read reads the makefile name. Relative includes are relative to its directory, in which
// make would run. given are variables that override those in the file, as on make's
// command line.
func Read(name string, given map[string]string) (*File, error) {
	f := &File{dir: filepath.Dir(name), vars: map[string]string{}, rules: map[string]*Rule{}}
	for k, v := range given {
		f.vars[k] = v
	}
	return f, f.read(name, given, 0)
}

var (
	assignment  = regexp.MustCompile(`^\s*([^\s:#=+?!]+)\s*(\+=|\?=|::?=|=)\s*(.*)$`)
	conditional = regexp.MustCompile(`^\s*(if(n?eq|n?def)|else|endif|define|endef|override|export|unexport|vpath|undefine|load)\b`)
	inclusion   = regexp.MustCompile(`^\s*([-s]?include)\s+(.+)$`)
)

func (f *File) read(name string, given map[string]string, depth int) error {
	if depth > maxDepth {
		return &Unknown{name, "a recursive include"}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read makefile: %w", err)
	}
	var current []*Rule // the rule that recipe lines belong to
	for _, line := range logicalLines(string(data)) {
		if recipe, ok := strings.CutPrefix(line, "\t"); ok && current != nil {
			for _, r := range current {
				r.Recipe = append(r.Recipe, recipe)
			}
			continue
		}
		line = withoutComment(line)
		if strings.TrimSpace(line) == "" {
			continue
		}
		if m := assignment.FindStringSubmatch(line); m != nil {
			current = nil
			if _, fixed := given[m[1]]; fixed {
				continue
			}
			if err := f.assign(m[1], m[2], m[3]); err != nil {
				return err
			}
			continue
		}
		if m := inclusion.FindStringSubmatch(line); m != nil {
			current = nil
			if err := f.include(m[2], m[1] != "include", given, depth); err != nil {
				return err
			}
			continue
		}
		if conditional.MatchString(line) {
			return &Unknown{name, fmt.Sprintf("%q", strings.TrimSpace(line))}
		}
		if current, err = f.rule(name, line); err != nil {
			return err
		}
	}
	return nil
}

// logicalLines joins lines continued with a backslash.
func logicalLines(text string) []string {
	var lines []string
	joined, open := "", false
	for line := range strings.SplitSeq(text, "\n") {
		if open {
			line = joined + " " + strings.TrimLeft(line, " \t")
		}
		if joined, open = strings.CutSuffix(line, `\`); open {
			continue
		}
		lines = append(lines, line)
	}
	if open {
		lines = append(lines, joined)
	}
	return lines
}

// withoutComment cuts a line at the first unescaped number sign.
func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] != '\\') {
			return line[:i]
		}
	}
	return line
}

func (f *File) assign(name, operator, value string) error {
	name, err := f.Expand(name, nil)
	if err != nil {
		return err
	}
	value = strings.TrimRight(value, " \t")
	switch operator {
	case "+=":
		if old := f.vars[name]; old != "" {
			value = old + " " + value
		}
	case "?=":
		if _, set := f.vars[name]; set {
			return nil
		}
	case ":=", "::=":
		if value, err = f.Expand(value, nil); err != nil {
			return err
		}
		value = strings.ReplaceAll(value, "$", "$$")
	}
	f.vars[name] = value
	return nil
}

func (f *File) include(names string, optional bool, given map[string]string, depth int) error {
	expanded, err := f.Expand(names, nil)
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(expanded) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(f.dir, name)
		}
		err := f.read(name, given, depth+1)
		if optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rule parses "targets: prerequisites". Both are expanded immediately, as in make.
func (f *File) rule(name, line string) ([]*Rule, error) {
	targets, rest, ok := cutColon(line)
	if !ok {
		return nil, &Unknown{name, fmt.Sprintf("%q", strings.TrimSpace(line))}
	}
	first, recipe, inline := strings.Cut(strings.TrimPrefix(rest, ":"), ";")
	targets, err := f.Expand(targets, nil)
	if err != nil {
		return nil, err
	}
	needs, err := f.Expand(first, nil)
	if err != nil {
		return nil, err
	}
	var rules []*Rule
	for _, target := range strings.Fields(targets) {
		r := f.rules[target]
		if r == nil {
			r = &Rule{}
			f.rules[target] = r
		}
		r.Needs = append(r.Needs, strings.Fields(needs)...)
		if inline {
			r.Recipe = append(r.Recipe, strings.TrimSpace(recipe))
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// cutColon cuts at the first colon outside a reference.
func cutColon(line string) (before, after string, ok bool) {
	depth := 0
	for i := range len(line) {
		switch line[i] {
		case '(', '{':
			depth++
		case ')', '}':
			depth--
		case ':':
			if depth == 0 {
				return line[:i], line[i+1:], true
			}
		}
	}
	return line, "", false
}

// Rule returns the rule for a target: its explicit rule or, if that has no recipe, the
// suffix rule (".c.lo"), whose source is then the first of Needs. It returns nil if there
// is neither.
func (f *File) Rule(target string) *Rule {
	explicit := f.rules[target]
	if explicit != nil && len(explicit.Recipe) > 0 {
		return explicit
	}
	suffix := filepath.Ext(target)
	base := strings.TrimSuffix(target, suffix)
	for _, from := range []string{".c", ".s", ".S"} {
		r := f.rules[from+suffix]
		if r == nil || suffix == "" {
			continue
		}
		needs := []string{base + from}
		if explicit != nil {
			needs = append(needs, slices.DeleteFunc(slices.Clone(explicit.Needs), func(n string) bool { return n == base+from })...)
		}
		return &Rule{Needs: needs, Recipe: r.Recipe}
	}
	return explicit
}

// Words expands a variable and splits it at white space.
func (f *File) Words(name string) ([]string, error) {
	text, err := f.Expand("$("+name+")", nil)
	return strings.Fields(text), err
}

// Commands returns the recipe of a target as make would run it, without the prefixes that
// silence a line.
func (f *File) Commands(target string) (needs, commands []string, err error) {
	r := f.Rule(target)
	if r == nil || len(r.Recipe) == 0 {
		return nil, nil, &Unknown{f.dir, "how " + target + " is made"}
	}
	automatic := map[string]string{"@": target, "*": strings.TrimSuffix(target, filepath.Ext(target)), "^": strings.Join(r.Needs, " "), "?": strings.Join(r.Needs, " "), "<": ""}
	if len(r.Needs) > 0 {
		automatic["<"] = r.Needs[0]
	}
	for _, line := range r.Recipe {
		command, err := f.Expand(line, automatic)
		if err != nil {
			return nil, nil, err
		}
		command = strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(command), "@-+"))
		if command != "" && !strings.HasPrefix(command, "#") {
			commands = append(commands, command)
		}
	}
	return r.Needs, commands, nil
}
