// Package apxs reads the build configuration of an httpd, the file build/config_vars.mk
// (make syntax), and answers queries about it as httpd's apxs program does. It treats the
// file as data, wherever the tree is now. It starts nothing, writes nothing, and builds
// no modules.
package apxs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	maxFile   = 1 << 20  // bytes of a config_vars.mk; real ones have about four thousand
	maxValue  = 64 << 10 // bytes of an expanded value
	maxDepth  = 16       // references within references
	maxExpand = 4096     // references resolved for one value
)

// PrefixVar is the variable for the root of the tree in the config_vars.mk of the
// distribution mod_wsgi-httpd, PyPI's and modwsgi's.
const PrefixVar = "mod_wsgi_httpd_prefix"

// Vars are the variables of a file, with unresolved references.
type Vars map[string]string

var assignment = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$`)

// Parse reads variables. Like apxs, it skips lines that are not plain assignments, and
// the last assignment of a name counts. The error is for a failed read, a file that is
// too large, or one that is not text.
func Parse(r io.Reader) (Vars, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("longer than %d bytes", maxFile)
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return nil, errors.New("not a text file")
	}
	vars := Vars{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxFile+1)
	for lines.Scan() {
		if m := assignment.FindStringSubmatch(lines.Text()); m != nil {
			vars[m[1]] = m[2]
		}
	}
	return vars, lines.Err()
}

// ParseFile reads the variables of a regular file.
func ParseFile(path string) (Vars, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	vars, err := Parse(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(vars) == 0 {
		return nil, fmt.Errorf("read %s: it has no variables", path)
	}
	return vars, nil
}

// Load reads build/config_vars.mk of the tree at root (an absolute path) and relocates
// its variables to root, whatever prefix the tree was built for.
func Load(root string) (Vars, error) {
	vars, err := ParseFile(filepath.Join(root, "build", "config_vars.mk"))
	if err != nil {
		return nil, err
	}
	vars.Relocate(root)
	return vars, nil
}

// Relocate moves the variables of a self-contained tree to root: it sets the prefix
// variables, and rewrites values that contain the old prefix literally.
func (v Vars) Relocate(root string) {
	old := strings.TrimRight(v["prefix"], "/")
	v[PrefixVar] = root
	for name, value := range v {
		if name == PrefixVar || !filepath.IsAbs(old) || old == root {
			continue
		}
		v[name] = replacePath(value, old, "${"+PrefixVar+"}")
	}
	v["prefix"] = "${" + PrefixVar + "}"
}

// replacePath replaces old if it is a whole path or the beginning of one, but not inside
// a longer name ("/opt/httpd" in "/opt/httpd2").
func replacePath(s, old, replacement string) string {
	var out strings.Builder
	for {
		i := strings.Index(s, old)
		if i < 0 {
			break
		}
		end := i + len(old)
		whole := end == len(s) || strings.ContainsRune("/ \t:;,'\"", rune(s[end]))
		out.WriteString(s[:i])
		if whole {
			out.WriteString(replacement)
		} else {
			out.WriteString(old)
		}
		s = s[end:]
	}
	return out.String() + s
}

// Lookup returns the expanded value of a name, or of its lower-case form if only that
// exists, as in apxs, where "-q LIBDIR" answers libdir.
func (v Vars) Lookup(name string) (string, bool) {
	raw, ok := v.raw(name)
	if !ok {
		return "", false
	}
	return v.Expand(raw), true
}

func (v Vars) raw(name string) (string, bool) {
	if raw, ok := v[name]; ok {
		return raw, true
	}
	raw, ok := v[strings.ToLower(name)]
	return raw, ok
}

// Words returns a value as a list. It splits at white space before it expands, so that a
// directory name with a space stays one word. Quotation marks group words and are
// removed, as in a shell.
func (v Vars) Words(name string) []string {
	raw, _ := v.raw(name)
	left := newBudget()
	var words []string
	for _, w := range splitWords(v.flatten(raw, 0, left)) {
		if w = v.expand(w, 0, left); w != "" {
			words = append(words, w)
		}
	}
	if left.spent() {
		return nil
	}
	return words
}

var wholeReference = regexp.MustCompile(`^\$(?:\(([A-Za-z_][A-Za-z0-9_]*)\)|\{([A-Za-z_][A-Za-z0-9_]*)\})$`)

// flatten resolves words that consist of a single reference, which may stand for several
// words.
func (v Vars) flatten(raw string, depth int, left *budget) string {
	words := strings.Fields(raw)
	for i, w := range words {
		m := wholeReference.FindStringSubmatch(w)
		if m == nil || m[1]+m[2] == PrefixVar {
			continue
		}
		if !left.take(depth) {
			return ""
		}
		words[i] = v.flatten(v[m[1]+m[2]], depth+1, left)
	}
	out := strings.Join(words, " ")
	left.bytes -= len(out)
	return out
}

// budget limits the work for one value, however its references nest.
type budget struct{ references, bytes int }

func newBudget() *budget { return &budget{maxExpand, 4 * maxValue} }

func (b *budget) spent() bool { return b.references < 0 || b.bytes < 0 }

// take uses up one reference at a depth.
func (b *budget) take(depth int) bool {
	b.references--
	return depth < maxDepth && !b.spent()
}

// Expand resolves $(name), ${name} and $$. A name without a value, a name that refers to
// itself, and a value that grows beyond 64 KiB become "".
func (v Vars) Expand(value string) string {
	left := newBudget()
	out := v.expand(value, 0, left)
	if left.spent() || len(out) > maxValue {
		return ""
	}
	return out
}

func (v Vars) expand(value string, depth int, left *budget) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(value, "$")
		out.WriteString(before)
		if !found {
			break
		}
		name, after, ok := reference(rest)
		switch {
		case strings.HasPrefix(rest, "$"):
			out.WriteByte('$')
			after = rest[1:]
		case !ok:
			out.WriteByte('$')
			after = rest
		case !left.take(depth):
			return ""
		case name == PrefixVar:
			out.WriteString(v[name]) // a path, in which $ is literal
		default:
			out.WriteString(v.expand(v[name], depth+1, left))
		}
		value = after
	}
	left.bytes -= out.Len()
	return out.String()
}

// reference splits "(name)rest" and "{name}rest".
func reference(s string) (name, rest string, ok bool) {
	closing := ""
	switch {
	case strings.HasPrefix(s, "("):
		closing = ")"
	case strings.HasPrefix(s, "{"):
		closing = "}"
	default:
		return "", "", false
	}
	return strings.Cut(s[1:], closing)
}

// splitWords splits words as a shell does, without expansion.
func splitWords(s string) []string {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, c := range s {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
