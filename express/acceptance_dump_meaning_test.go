//go:build acceptance && unix

package express_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// After httpd has split a line into words, many directives parse their words in a
// language of their own. The comparison is between final meanings, so it finds a value
// that one of these languages would change.

// arg is an expected word: its meaning, and how the directive reads it.
type arg struct {
	kind, means string
	read        func(word string) (string, error)
}

func (a arg) String() string { return a.kind + strconv.Quote(a.means) }

// is is a word that is used literally.
func is(s string) arg { return arg{"", s, func(w string) (string, error) { return w, nil }} }

// included is a word of Include that names one file. There, each component of the path
// is or is not a pattern by itself.
func included(s string) arg {
	return arg{"included ", s, func(w string) (string, error) {
		parts := strings.Split(w, "/")
		for k := range parts {
			var err error
			if parts[k], err = readPattern(parts[k]); err != nil {
				return "", err
			}
		}
		return strings.Join(parts, "/"), nil
	}}
}

// oneFile is a word of <Directory> and <Files> that names one file.
func oneFile(s string) arg { return arg{"path ", s, readPattern} }

// exactly is a regular expression for a single text; before and after are its ends.
func exactly(before, s, after string) arg {
	return arg{"regexp " + before + "…" + after + " ", s, func(w string) (string, error) {
		inner, ok1 := strings.CutPrefix(w, before)
		inner, ok2 := strings.CutSuffix(inner, after)
		if !ok1 || !ok2 {
			return "", fmt.Errorf("it does not start with %q and end in %q", before, after)
		}
		return readRegexp(inner)
	}}
}

// header is the value of a header for mod_headers.
func header(s string) arg { return arg{"header ", s, readHeader} }

// fixedGroup is the option process-group= of mod_wsgi's directives with one group; a
// value such as %{HOST} is a different group per request.
func fixedGroup(name string) arg {
	return arg{"group ", "process-group=" + name, func(w string) (string, error) {
		if v := strings.TrimPrefix(w, "process-group="); strings.HasPrefix(v, "%{") && v != "%{GLOBAL}" {
			return "", errors.New("each request chooses its group")
		}
		return w, nil
	}}
}

// substitution is the target of a redirect by a regular expression.
func substitution(s string) arg { return arg{"substitution ", s, readSubstitution} }

// message is the text of an error document, in which variables are allowed. They are
// marked, so that text that became a variable is found.
func message(s string) arg { return arg{"message ", s, readExpression} }

// pipe is the command line of a piped log.
func pipe(argv ...string) arg {
	return arg{"command ", strings.Join(argv, "\x00"), func(w string) (string, error) {
		line, ok := strings.CutPrefix(w, "|")
		if !ok || line == "" || strings.ContainsAny(line[:1], "|$") {
			return "", errors.New("it is not a command that runs without a shell")
		}
		return strings.Join(commandWords(line), "\x00"), nil
	}}
}

// looksLikePattern reports whether httpd treats a path as a pattern (the documentation
// of apr_fnmatch_test).
func looksLikePattern(s string) bool {
	open := false
	for k := 0; k < len(s); k++ {
		switch s[k] {
		case '*', '?':
			return true
		case '\\':
			k++
		case '[':
			open = true
		case ']':
			if open {
				return true
			}
		}
	}
	return false
}

func readPattern(w string) (string, error) {
	if !looksLikePattern(w) {
		return w, nil
	}
	var b strings.Builder
	for k := 0; k < len(w); k++ {
		switch {
		case w[k] == '*' || w[k] == '?':
			return "", fmt.Errorf("its %c matches other names too", w[k])
		case w[k] == '\\' && k+1 < len(w):
			k++
			b.WriteByte(w[k])
		case w[k] == '[' && k+2 < len(w) && w[k+2] == ']' && w[k+1] != '!' && w[k+1] != '^':
			b.WriteByte(w[k+1])
			k += 2
		case w[k] == '[' && strings.Contains(w[k:], "]"):
			return "", errors.New("a bracket in it starts a set of characters")
		default:
			b.WriteByte(w[k])
		}
	}
	return b.String(), nil
}

func readRegexp(w string) (string, error) {
	var b strings.Builder
	for k := 0; k < len(w); k++ {
		switch c := w[k]; {
		case strings.IndexByte(`.+*?()|[]{}^$`, c) >= 0:
			return "", fmt.Errorf("its %c is not literal", c)
		case c != '\\':
			b.WriteByte(c)
		case strings.HasPrefix(w[k:], `\x22`):
			b.WriteByte('"')
			k += 3
		case k+1 == len(w) || w[k+1] >= '0' && w[k+1] <= '9' || w[k+1] >= 'A' && w[k+1] <= 'Z' || w[k+1] >= 'a' && w[k+1] <= 'z':
			return "", errors.New("a backslash in it is not literal")
		default:
			k++
			b.WriteByte(w[k])
		}
	}
	return b.String(), nil
}

func readHeader(w string) (string, error) {
	if strings.HasPrefix(w, "expr=") {
		return "", errors.New("it is an expression")
	}
	var b strings.Builder
	for k := 0; k < len(w); k++ {
		next := byte(0)
		if k+1 < len(w) {
			next = w[k+1]
		}
		switch {
		case w[k] == '%' && (next == '%' || next == 0), w[k] == '\\' && next == '\\':
			k++
			b.WriteByte(w[k-1])
		case w[k] == '%':
			return "", fmt.Errorf("its %%%c is replaced", next)
		case w[k] == '\\' && strings.IndexByte("rnt", next) >= 0:
			k++
			b.WriteByte(map[byte]byte{'r': '\r', 'n': '\n', 't': '\t'}[next])
		default:
			b.WriteByte(w[k])
		}
	}
	return b.String(), nil
}

func readSubstitution(w string) (string, error) {
	var b strings.Builder
	for k := 0; k < len(w); k++ {
		switch {
		case w[k] == '$' && k+1 < len(w) && w[k+1] >= '0' && w[k+1] <= '9':
			return "", errors.New("it holds a match")
		case w[k] == '\\' && k+1 < len(w):
			k++
		}
		b.WriteByte(w[k])
	}
	return b.String(), nil
}

// marked is the representation of a variable in an expression.
func marked(name string) string { return "\x01" + name + "\x02" }

// readExpression parses a text in httpd's expression syntax (docs/2.4/expr.html):
// %{NAME} is a variable, $0 a match, and a backslash escapes.
func readExpression(w string) (string, error) {
	var b strings.Builder
	for k := 0; k < len(w); k++ {
		rest := w[k+1:]
		switch {
		case w[k] == '%' && strings.HasPrefix(rest, "{"):
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				return "", errors.New("a variable in it is not terminated")
			}
			b.WriteString(marked(rest[1:end]))
			k += end + 1
		case w[k] == '$' && rest != "" && rest[0] >= '0' && rest[0] <= '9':
			return "", errors.New("it holds a match")
		case w[k] == '\\' && rest != "" && strings.IndexByte("01234567nrtbf", rest[0]) >= 0:
			return "", errors.New("an escape in it stands for another character")
		case w[k] == '\\' && rest == "":
			return "", errors.New("httpd ends at the backslash at its end")
		case w[k] == '\\':
			k++
			b.WriteByte(w[k])
		default:
			b.WriteByte(w[k])
		}
	}
	return b.String(), nil
}

// commandWords splits a command line as APR does: quotes of either kind, and a
// backslash that keeps a quote or blank from ending a word. Then every backslash is
// removed except the second of two.
func commandWords(line string) (argv []string) {
	for line = strings.TrimLeft(line, " \t"); line != ""; line = strings.TrimLeft(line, " \t") {
		end := " \t"
		if line[0] == '"' || line[0] == '\'' {
			end, line = line[:1], line[1:]
		}
		k := 0
		for ; k < len(line) && strings.IndexByte(end, line[k]) < 0; k++ {
			if line[k] == '\\' && k+1 < len(line) && strings.IndexByte(" \t\"'", line[k+1]) >= 0 {
				k++
			}
		}
		k = min(k, len(line))
		var b strings.Builder
		for j := 0; j < k; j++ {
			if line[j] == '\\' {
				if j++; j == k {
					break
				}
			}
			b.WriteByte(line[j])
		}
		argv, line = append(argv, b.String()), line[min(k+1, len(line)):]
	}
	return argv
}

// want is an expected directive or section.
type want struct {
	name string
	args []arg
	body []want
	sent *sent // of a directory that files are sent from
}

// d is a directive. Its arguments are strings, used literally, or of type arg.
func d(name string, args ...any) want {
	w := want{name: name}
	for _, a := range args {
		switch a := a.(type) {
		case string:
			w.args = append(w.args, is(a))
		case int:
			w.args = append(w.args, is(strconv.Itoa(a)))
		case arg:
			w.args = append(w.args, a)
		case []arg:
			w.args = append(w.args, a...)
		}
	}
	return w
}

// section is a section with one argument, or none.
func section(name string, of any, body ...want) want {
	w := d("<"+name, of)
	w.body = body
	return w
}

func (w want) String() string {
	s := fmt.Sprintf("%s %v", w.name, w.args)
	for _, c := range w.body {
		s += "\n    " + strings.ReplaceAll(c.String(), "\n", "\n    ")
	}
	return s
}

// family identifies directives whose order matters; directives of different families do
// not influence each other.
func family(name string) string {
	name = strings.ToLower(name)
	switch {
	case strings.HasPrefix(name, "rewrite"), name == "include":
		return "rewrite"
	case strings.HasPrefix(name, "<location"):
		return "<location"
	case name == "header", name == "requestheader":
		return "header"
	}
	return name
}

// compare returns the differences between what httpd has read and what was meant:
// neither may contain more than the other.
func compare(where string, wants []want, nodes []*node) (complaints []string) {
	expected, read := map[string][]want{}, map[string][]*node{}
	for _, w := range wants {
		expected[family(w.name)] = append(expected[family(w.name)], w)
	}
	for _, n := range nodes {
		read[family(n.name)] = append(read[family(n.name)], n)
	}
	for _, set := range []string{"define", "loadmodule"} { // their order is irrelevant
		slices.SortFunc(expected[set], func(a, b want) int { return strings.Compare(a.args[0].means, b.args[0].means) })
		slices.SortFunc(read[set], func(a, b *node) int { return strings.Compare(a.args, b.args) })
	}
	all := maps.Clone(expected)
	for f := range read {
		if _, ok := all[f]; !ok {
			all[f] = nil
		}
	}
	for _, f := range slices.Sorted(maps.Keys(all)) {
		w, n := expected[f], read[f]
		for k := range max(len(w), len(n)) {
			switch {
			case k >= len(w):
				complaints = append(complaints, fmt.Sprintf("%s: httpd has read an unexpected directive: %v (line %d)", where, n[k], n[k].number))
			case k >= len(n):
				complaints = append(complaints, fmt.Sprintf("%s: httpd has not read %v", where, w[k]))
			default:
				complaints = append(complaints, differ(where, w[k], n[k])...)
			}
		}
	}
	return complaints
}

func differ(where string, w want, n *node) []string {
	words := n.words()
	bad := func(why string) []string {
		return []string{fmt.Sprintf("%s, line %d: httpd has read %s %q: %s; want %s %v", where, n.number, n.name, words, why, w.name, w.args)}
	}
	if !strings.EqualFold(w.name, n.name) || len(w.args) != len(words) {
		return bad("another directive, or another number of words")
	}
	for k, a := range w.args {
		if got, err := a.read(words[k]); err != nil {
			return bad(fmt.Sprintf("word %d: %v", k+1, err))
		} else if got != a.means {
			return bad(fmt.Sprintf("word %d means %q", k+1, got))
		}
	}
	if w.sent == nil {
		return compare(where+" "+w.name, w.body, n.body)
	}
	rest, complaints := w.sent.judge(n.body)
	for k, c := range complaints {
		complaints[k] = fmt.Sprintf("%s, line %d: %s", where, n.number, c)
	}
	return append(complaints, compare(where+" "+w.name, w.body, rest)...)
}
