// Package conf knows httpd's configuration language: directives and sections
// as values, and the one way in which a value becomes a word of the file. It
// knows by name only the directives that do not take httpd's words, and nothing
// about where values come from.
//
// The language, as httpd 2.4 reads it (server/util.c, ap_getword_conf and
// ap_cfg_getline_core; server/core.c, ap_resolve_env): a line that ends in a
// backslash goes on in the next one; ${NAME} is replaced once, in the whole
// line, before it is split; in double quotes a backslash stands for itself
// unless a backslash or a double quote follows. A line feed cannot be written
// in any way, and ${ only with the help of a variable (see Prelude).
package conf

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// MaxLine is how many bytes httpd takes as one line (VARBUF_MAX_LEN in
// server/config.c).
const MaxLine = 16 << 20

// dollar is the variable that Prelude defines as a dollar sign.
const dollar = "MOD_WSGI_DOLLAR"

// Node is a *Directive or a *Section.
type Node interface {
	write(b *strings.Builder, depth int)
	check() error
}

// Arg is one argument of a directive.
type Arg interface {
	text() string
	raw() string
}

// Word is an argument that comes from a value: it is always quoted.
type Word string

func (w Word) text() string { return Quote(string(w)) }
func (w Word) raw() string  { return string(w) }

// Key is a fixed word of the language (On, granted, -Indexes) or a number; it is
// written as it is. It must never hold a value from outside.
type Key string

func (k Key) text() string { return string(k) }
func (k Key) raw() string  { return string(k) }

// Pattern is an argument of RewriteCond or RewriteRule, which mod_rewrite splits
// by itself (parseargline): there a backslash is kept, so a regular expression
// is written as it is. It must not hold a double quote, nor end in a backslash;
// Regexp makes a literal that does neither.
type Pattern string

func (p Pattern) text() string { return `"` + string(p) + `"` }
func (p Pattern) raw() string  { return string(p) }

// Pair is name=value for the directives that split their line by themselves, at
// the = first: only the value is quoted. To any other directive, which gets the
// words that httpd has split, the quotes would be part of the value.
type Pair struct{ Name, Value string }

// splits are the directives that take a Pair (wsgi_parse_option in mod_wsgi).
var splits = []string{"WSGIDaemonProcess", "WSGIImportScript", "WSGIHandlerScript"}

func (p Pair) text() string { return p.Name + "=" + Quote(p.Value) }
func (p Pair) raw() string  { return p.Value }

// Origin is what can ask for a line: an option of a command line.
type Origin interface {
	Flag() string // as people write it
}

// Directive is one line. Origins are what it comes from, for messages; none for a
// line that nothing asked for.
type Directive struct {
	Name    string
	Args    []Arg
	Origins []Origin
}

// D returns a directive.
func D(name string, args ...Arg) *Directive { return &Directive{Name: name, Args: args} }

// From sets the origins and returns the directive.
func (d *Directive) From(origins ...Origin) *Directive { d.Origins = origins; return d }

// Section is a directive that holds others. An empty Section has no effect in
// httpd, and is written all the same.
type Section struct {
	Name    string
	Args    []Arg
	Body    []Node
	Origins []Origin
}

// S returns a section.
func S(name string, args []Arg, body ...Node) *Section {
	return &Section{Name: name, Args: args, Body: body}
}

// From sets the origins and returns the section. They hold for the lines in it that
// have none of their own.
func (s *Section) From(origins ...Origin) *Section { s.Origins = origins; return s }

// File is a complete configuration.
type File struct{ Nodes []Node }

// Add appends nodes.
func (f *File) Add(nodes ...Node) { f.Nodes = append(f.Nodes, nodes...) }

// Text returns the file, with Prelude in front, or an error for a value that no
// quoting can carry.
func (f *File) Text() (string, error) {
	var b strings.Builder
	b.WriteString("# Written by mod_wsgi-express; changes are lost at the next start.\n")
	Prelude().write(&b, 0)
	for _, n := range f.Nodes {
		if err := n.check(); err != nil {
			return "", err
		}
		n.write(&b, 0)
	}
	return b.String(), nil
}

// Prelude is the line that has to stand before any Word.
func Prelude() *Directive { return D("Define", Key(dollar), Key("$")) }

// ValueError is a value that the language cannot express.
type ValueError struct {
	Directive string
	Origins   []Origin
	Reason    string
}

func (e *ValueError) Error() string {
	if len(e.Origins) == 1 {
		return fmt.Sprintf("the value of %s %s", e.Origins[0].Flag(), e.Reason)
	}
	return fmt.Sprintf("a value for the httpd directive %s %s", e.Directive, e.Reason)
}

// Check returns why httpd's language cannot express s, or "".
func Check(s string) string {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\n' || c == '\r':
			return "holds a line break, which httpd's configuration cannot express"
		case c == 0:
			return "holds a NUL character"
		case c < ' ' && c != '\t' || c == 0x7f:
			return fmt.Sprintf("holds the control character %#02x", c)
		}
	}
	if len(s) > MaxLine/4 {
		return "is too long for a line of httpd's configuration"
	}
	return ""
}

// Quote returns s as one word, always in double quotes, so that a line never
// ends in a backslash of ours. The caller has applied Check.
func Quote(s string) string {
	s = strings.ReplaceAll(s, `\`, `\\`)
	s = strings.ReplaceAll(s, `"`, `\"`)
	return `"` + strings.ReplaceAll(s, "${", "${"+dollar+"}{") + `"`
}

// Glob returns a path for <Directory> and <Files>, which take their argument as
// a pattern where it looks like one (apr_fnmatch_test): what is special stands
// in brackets then, because a backslash alone would make it a plain path again.
func Glob(path string) Word {
	if !strings.ContainsAny(path, "*?[") {
		return Word(path)
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ { // bytes: a path need not be UTF-8
		switch c := path[i]; c {
		case '*', '?', '[':
			b.WriteString("[" + string(rune(c)) + "]")
		case '\\':
			b.WriteString(`\\`)
		default:
			b.WriteByte(c)
		}
	}
	return Word(b.String())
}

// GlobEach is Glob for Include, which takes each component of a path for a pattern
// or for a plain name by itself; in a plain one a backslash stands for itself.
func GlobEach(path string) Word {
	parts := strings.Split(path, "/")
	for k, p := range parts {
		parts[k] = string(Glob(p))
	}
	return Word(strings.Join(parts, "/"))
}

// Regexp returns what matches exactly a literal text, for a Pattern.
func Regexp(literal string) Pattern {
	return Pattern(strings.ReplaceAll(regexp.QuoteMeta(literal), `"`, `\x22`))
}

func (d *Directive) check() error { return check(d.Name, d.Origins, d.Args) }

func (s *Section) check() error {
	if err := check(s.Name, s.Origins, s.Args); err != nil {
		return err
	}
	for _, n := range s.Body {
		if err := n.check(); err != nil {
			return err
		}
	}
	return nil
}

func check(name string, origins []Origin, args []Arg) error {
	for _, a := range args {
		if reason := Check(a.raw()); reason != "" {
			return &ValueError{Directive: name, Origins: origins, Reason: reason}
		}
		if p, ok := a.(Pair); ok && !slices.Contains(splits, name) {
			return fmt.Errorf("%s takes words, not the pair %s=", name, p.Name)
		}
	}
	return nil
}

func (d *Directive) write(b *strings.Builder, depth int) {
	line(b, depth, d.Name, d.Args, "", "")
}

func (s *Section) write(b *strings.Builder, depth int) {
	line(b, depth, s.Name, s.Args, "<", ">")
	for _, n := range s.Body {
		n.write(b, depth+1)
	}
	line(b, depth, "/"+s.Name, nil, "<", ">")
}

func line(b *strings.Builder, depth int, name string, args []Arg, open, end string) {
	b.WriteString(strings.Repeat("  ", depth) + open + name)
	for _, a := range args {
		b.WriteString(" " + a.text())
	}
	b.WriteString(end + "\n")
}

// Line returns the directive alone, for somebody else's file. The caller has
// applied Check. There a ${ stays as it is: the variable that Quote needs is
// not defined in that file.
func (d *Directive) Line() string {
	var b strings.Builder
	line(&b, 0, d.Name, d.Args, "", "")
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "${"+dollar+"}", "$")
}

// PipeWord returns s as one word of the command line of a piped log, which
// httpd splits by itself (apr_tokenize_to_argv): double quotes, in which a
// backslash escapes. A value that ends in a backslash cannot be written there.
func PipeWord(s string) (string, error) {
	if strings.HasSuffix(s, `\`) {
		return "", fmt.Errorf("%q ends in a backslash, which the command line of a piped log cannot carry", s)
	}
	s = strings.ReplaceAll(s, `\`, `\\`)
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`, nil
}

// Origins returns what line n of Text, counted from 1, comes from; none where
// nothing asked for it.
func (f *File) Origins(n int) []Origin {
	next := 3 // after the comment and the prelude
	var find func(nodes []Node, outer []Origin) ([]Origin, bool)
	find = func(nodes []Node, outer []Origin) ([]Origin, bool) {
		for _, node := range nodes {
			switch x := node.(type) {
			case *Directive:
				if next == n {
					return orOuter(x.Origins, outer), true
				}
				next++
			case *Section:
				own := orOuter(x.Origins, outer)
				if next == n {
					return own, true
				}
				next++
				if o, ok := find(x.Body, own); ok {
					return o, true
				}
				if next == n {
					return own, true
				}
				next++
			}
		}
		return nil, false
	}
	o, _ := find(f.Nodes, nil)
	return o
}

func orOuter(own, outer []Origin) []Origin {
	if len(own) > 0 {
		return own
	}
	return outer
}
