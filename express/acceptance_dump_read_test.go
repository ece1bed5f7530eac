//go:build acceptance && unix

package express_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file reads configurations as httpd does. It follows httpd's documentation and
// behaviour, and shares no code with the writer. TestReaderAgreesWithHTTPD checks it
// against httpd itself.

// node is a directive that httpd has read, or a section (its name starts with <).
type node struct {
	name, args, file string
	number, nest     int
	body             []*node
}

var numberLine = regexp.MustCompile(`^((?:  )*)# *(\d+):$`)

// readDump parses the output of httpd's -DDUMP_CONFIG: the lines of its parse tree, in
// order. A line with a number precedes each directive. Values contain no line breaks,
// so the line after such a number is a directive whatever it looks like.
func readDump(out string) (all []*node) {
	file := ""
	lines := strings.Split(out, "\n")
	for k := 0; k < len(lines); k++ {
		if name, ok := strings.CutPrefix(lines[k], "# In file: "); ok {
			file = name
			continue
		}
		m := numberLine.FindStringSubmatch(lines[k])
		if m == nil || k+1 == len(lines) {
			continue // the end of a section, or httpd's other output
		}
		k++
		number, _ := strconv.Atoi(m[2])
		name, args, _ := strings.Cut(strings.TrimPrefix(lines[k], m[1]), " ")
		all = append(all, &node{name: name, args: args, file: file, number: number, nest: len(m[1]) / 2})
	}
	return all
}

// atOnce are the directives that httpd executes while reading, and that its parse tree
// therefore lacks.
var atOnce = map[string]bool{"define": true, "loadmodule": true, "loadfile": true, "serverroot": true, "defaultruntimedir": true, "include": true, "includeoptional": true}

// assemble builds the tree of a file from its text and httpd's dump. Every line of the
// text must be accounted for, and everything that httpd has read must be on one of its
// lines or in a file that it includes.
func assemble(file, text string, dump []*node, vars map[string]string) ([]*node, error) {
	root := &node{name: "<"}
	stack := []*node{root}
	add := func(n *node) { top := stack[len(stack)-1]; top.body = append(top.body, n) }
	for k, line := range strings.Split(text, "\n") {
		bare := strings.Trim(line, " \t")
		switch {
		case len(dump) > 0 && dump[0].file == file && dump[0].number == k+1:
			n := dump[0]
			dump = dump[1:]
			if n.nest != len(stack)-1 {
				return nil, fmt.Errorf("line %d, %q: httpd reads it at depth %d, not %d", k+1, line, n.nest, len(stack)-1)
			}
			add(n)
			if strings.HasPrefix(n.name, "<") {
				stack = append(stack, n)
			}
			continue
		case bare == "" || bare[0] == '#':
			continue
		case strings.HasPrefix(bare, "</") && len(stack) > 1:
			stack = stack[:len(stack)-1]
			continue
		}
		name, args, _ := strings.Cut(bare, " ")
		if !atOnce[strings.ToLower(name)] {
			return nil, fmt.Errorf("line %d, %q: httpd has not read it as a directive", k+1, line)
		}
		add(&node{name: name, args: resolved(args, vars), file: file, number: k + 1})
		for base := len(stack) - 1; len(dump) > 0 && dump[0].file != file && strings.EqualFold(name, "Include"); dump = dump[1:] {
			parent := stack[len(stack)-1]
			for depth := base; depth < dump[0].nest; depth++ { // sections of the included file
				parent = parent.body[len(parent.body)-1]
			}
			parent.body = append(parent.body, dump[0])
		}
	}
	if len(dump) > 0 || len(stack) != 1 {
		return nil, fmt.Errorf("httpd has read more than the file contains: %+v", dump)
	}
	return root.body, nil
}

// resolved replaces ${NAME} with the variable of that name, if it exists, once and in
// the whole line.
func resolved(line string, vars map[string]string) string {
	var b strings.Builder
	for {
		start := strings.Index(line, "${")
		if start < 0 {
			break
		}
		end := strings.IndexByte(line[start:], '}')
		if end < 0 {
			break
		}
		b.WriteString(line[:start])
		if v, ok := vars[line[start+2:start+end]]; ok {
			b.WriteString(v)
		} else {
			b.WriteString(line[start : start+end+1])
		}
		line = line[start+end+1:]
	}
	return b.String() + line
}

const blanks = " \t\v\f"

// nextWord takes a word off a line. In quotes of either kind, a backslash is literal
// unless a backslash or that quote follows. Otherwise the word ends at a blank, and
// only two backslashes become one.
func nextWord(line string) (word, rest string) {
	line = strings.TrimLeft(line, blanks)
	quote := byte(0)
	if line != "" && (line[0] == '"' || line[0] == '\'') {
		quote, line = line[0], line[1:]
	}
	var b strings.Builder
	k := 0
	for ; k < len(line); k++ {
		if quote != 0 && line[k] == quote || quote == 0 && strings.IndexByte(blanks, line[k]) >= 0 {
			break
		}
		if line[k] == '\\' && k+1 < len(line) && (line[k+1] == '\\' || quote != 0 && line[k+1] == quote) {
			k++
		}
		b.WriteByte(line[k])
	}
	if quote != 0 {
		k = min(k+1, len(line))
	}
	return b.String(), strings.TrimLeft(line[k:], blanks)
}

func allWords(line string) (found []string) {
	for line = strings.TrimLeft(line, blanks); line != ""; {
		var w string
		w, line = nextWord(line)
		found = append(found, w)
	}
	return found
}

// rewriteWords is allWords for mod_rewrite, which splits lines differently: nothing is
// unescaped, and a backslash only keeps a blank in a word.
func rewriteWords(line string) (found []string) {
	for line = strings.TrimLeft(line, blanks); line != ""; line = strings.TrimLeft(line, blanks) {
		quote := byte(0)
		if line[0] == '"' || line[0] == '\'' {
			quote, line = line[0], line[1:]
		}
		k := 0
		for ; k < len(line); k++ {
			blank := strings.IndexByte(blanks, line[k]) >= 0
			if blank && quote == 0 || line[k] == quote && quote != 0 {
				break
			}
			if line[k] == '\\' && k+1 < len(line) && strings.IndexByte(blanks, line[k+1]) >= 0 {
				k++
			}
		}
		found, line = append(found, line[:k]), line[min(k+1, len(line)):]
	}
	return found
}

// namedWords is allWords for mod_wsgi's directives: words, then name=value pairs in
// which only the value can be quoted.
func namedWords(line string, plain int) (found []string) {
	for ; plain > 0; plain-- {
		var w string
		w, line = nextWord(line)
		found = append(found, w)
	}
	for line != "" {
		name, rest, ok := strings.Cut(line, "=")
		if !ok || name == "" || strings.ContainsAny(name, blanks) {
			return append(found, "not an option: "+line)
		}
		var v string
		v, line = nextWord(rest)
		found = append(found, name+"="+v)
	}
	return found
}

// words are the arguments of a directive as its module receives them.
func (n *node) words() []string {
	line := n.args
	if strings.HasPrefix(n.name, "<") {
		line = line[:max(strings.LastIndexByte(line, '>'), 0)]
	}
	switch strings.ToLower(n.name) {
	case "require":
		// The rest of the line is the expression; only the quotes around it are removed.
		if kind, rest := nextWord(line); strings.EqualFold(kind, "expr") {
			if len(rest) > 1 && rest[0] == '"' && strings.HasSuffix(rest, `"`) {
				rest = rest[1 : len(rest)-1]
			}
			return []string{kind, rest}
		}
	case "rewritecond", "rewriterule":
		return rewriteWords(line)
	case "wsgidaemonprocess":
		found := namedWords(line, 1)
		slices.Sort(found[1:]) // names are unique, so their order is irrelevant
		return found
	case "wsgiimportscript":
		return namedWords(line, 1)
	case "wsgihandlerscript":
		return namedWords(line, 2)
	}
	return allWords(line)
}

func (n *node) String() string {
	s := fmt.Sprintf("%s %q", n.name, n.words())
	for _, c := range n.body {
		s += "\n    " + strings.ReplaceAll(c.String(), "\n", "\n    ")
	}
	return s
}
