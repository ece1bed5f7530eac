package makefile

import (
	"fmt"
	"strings"
)

// predefined are make's predefined variables that the makefiles use.
var predefined = map[string]string{"CC": "cc", "AR": "ar", "RM": "rm -f", "MAKE": "make", "SHELL": "/bin/sh"}

// Expand expands references in text, with the given values for automatic variables ("@",
// "<" …). Unset variables are empty. Functions are *Unknown.
func (f *File) Expand(text string, automatic map[string]string) (string, error) {
	return f.expand(text, automatic, 0)
}

func (f *File) expand(text string, automatic map[string]string, depth int) (string, error) {
	if depth > maxDepth {
		return "", &Unknown{f.dir, "a variable that refers to itself"}
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found || after == "" {
			return out.String(), nil
		}
		if after[0] == '$' {
			out.WriteByte('$')
			text = after[1:]
			continue
		}
		name, rest, err := reference(after)
		if err != nil {
			return "", &Unknown{f.dir, err.Error()}
		}
		value, err := f.value(name, automatic, depth+1)
		if err != nil {
			return "", err
		}
		out.WriteString(value)
		text = rest
	}
}

// reference splits off the name after a dollar sign: "(name)", "{name}" or one letter.
func reference(text string) (name, rest string, err error) {
	closing := map[byte]byte{'(': ')', '{': '}'}[text[0]]
	if closing == 0 {
		return text[:1], text[1:], nil
	}
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case text[0]:
			depth++
		case closing:
			if depth--; depth == 0 {
				return text[1:i], text[i+1:], nil
			}
		}
	}
	return "", "", fmt.Errorf("%q", "$"+text)
}

// value expands the content of a reference: a name, which may contain references, or a
// name with a suffix replacement.
func (f *File) value(name string, automatic map[string]string, depth int) (string, error) {
	name, replace, substitution := cutColon(name)
	name, err := f.expand(name, automatic, depth)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(name, " \t,") {
		return "", &Unknown{f.dir, "$(" + name + ")"}
	}
	value, ok := automatic[name]
	if !ok {
		raw, set := f.vars[name]
		if !set {
			raw = predefined[name]
		}
		if value, err = f.expand(raw, automatic, depth); err != nil {
			return "", err
		}
	}
	if !substitution {
		return value, nil
	}
	replace, err = f.expand(replace, automatic, depth)
	if err != nil {
		return "", err
	}
	from, to, ok := strings.Cut(replace, "=")
	if !ok || strings.Contains(replace, "%") {
		return "", &Unknown{f.dir, "$(" + name + ":" + replace + ")"}
	}
	words := strings.Fields(value)
	for i, w := range words {
		if base, ok := strings.CutSuffix(w, from); ok {
			words[i] = base + to
		}
	}
	return strings.Join(words, " "), nil
}
