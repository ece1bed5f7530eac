// Package conf writes httpd's configuration language. It represents directives and
// sections as values, and quotes their arguments. It knows the names only of
// directives that split their arguments themselves, and nothing about the source of
// values.
//
// The language, as httpd 2.4 reads it (server/util.c, ap_getword_conf and
// ap_cfg_getline_core; server/core.c, ap_resolve_env): a line that ends in a backslash
// continues on the next line. ${NAME} is expanded once, in the whole line, before it is
// split. In double quotes, a backslash is literal unless followed by a backslash or a
// double quote. There is no way to write a line feed, and ${ needs a variable (see
// [Prelude]).
package conf

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// MaxLine is the maximum number of bytes in a line (VARBUF_MAX_LEN in
// server/config.c).
const MaxLine = 16 << 20

// dollar is the name of the variable that Prelude defines as a dollar sign.
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

// Word is an argument with an arbitrary value. It is always quoted.
type Word string

func (w Word) text() string { return Quote(string(w)) }
func (w Word) raw() string  { return string(w) }

// Key is a keyword (On, granted, -Indexes) or a number, which is written verbatim. It
// must never contain external input.
type Key string

func (k Key) text() string { return string(k) }
func (k Key) raw() string  { return string(k) }

// Not is the negated argument of a section such as <IfFile>, which reads the sign before it
// removes the quotes (start_cond_section).
type Not string

func (n Not) text() string { return "!" + Quote(string(n)) }
func (n Not) raw() string  { return string(n) }

// Pattern is an argument of RewriteCond or RewriteRule, which mod_rewrite splits itself
// (parseargline). Backslashes are preserved there, so a regular expression is written
// verbatim. It must not contain a double quote or end with a backslash. [Regexp] escapes
// literal text accordingly.
type Pattern string

func (p Pattern) text() string { return `"` + string(p) + `"` }
func (p Pattern) raw() string  { return string(p) }

// Pair is name=value, with only the value quoted, for directives that split their line
// themselves. To other directives, whose arguments httpd splits, the quotes would be
// part of the value.
type Pair struct{ Name, Value string }

// splits are the directives that accept a Pair (wsgi_parse_option in mod_wsgi).
var splits = []string{"WSGIDaemonProcess", "WSGIImportScript", "WSGIHandlerScript"}

func (p Pair) text() string { return p.Name + "=" + Quote(p.Value) }
func (p Pair) raw() string  { return p.Value }

// Origin is a possible source of a line: a command-line option.
type Origin interface {
	Flag() string // as written on a command line
}

// Directive is a line. Origins are its sources, for messages. Lines that are always
// written have none.
type Directive struct {
	Name    string
	Args    []Arg
	Origins []Origin
}

// D returns a directive.
func D(name string, args ...Arg) *Directive { return &Directive{Name: name, Args: args} }

// From sets the origins and returns the directive.
func (d *Directive) From(origins ...Origin) *Directive { d.Origins = origins; return d }

// Section is a directive that encloses others. An empty Section is written too, though
// it has no effect.
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

// From sets the origins and returns the section. They apply to lines in the section
// that have no origins themselves.
func (s *Section) From(origins ...Origin) *Section { s.Origins = origins; return s }

// File is a complete configuration.
type File struct{ Nodes []Node }

// Add appends nodes.
func (f *File) Add(nodes ...Node) { f.Nodes = append(f.Nodes, nodes...) }

// Text returns the file, starting with Prelude. It returns an error if a value cannot
// be quoted.
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

// Prelude returns the line that must precede any Word.
func Prelude() *Directive { return D("Define", Key(dollar), Key("$")) }

// ValueError reports a value that the language cannot express.
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

// Check returns why httpd's language cannot express s, or "" if it can.
func Check(s string) string {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\n' || c == '\r':
			return "contains a line break, which httpd's configuration cannot express"
		case c == 0:
			return "contains a NUL character"
		case c < ' ' && c != '\t' || c == 0x7f:
			return fmt.Sprintf("contains the control character %#02x", c)
		}
	}
	if len(s) > MaxLine/4 {
		return "is too long for a line of httpd's configuration"
	}
	return ""
}

// Quote returns s as one word. It always uses double quotes, so that the line cannot
// end with a backslash. The caller must have called Check.
func Quote(s string) string {
	s = strings.ReplaceAll(s, `\`, `\\`)
	s = strings.ReplaceAll(s, `"`, `\"`)
	return `"` + strings.ReplaceAll(s, "${", "${"+dollar+"}{") + `"`
}

// Glob returns a path for <Directory> and <Files>, which treat an argument with
// wildcards as a pattern (apr_fnmatch_test). It puts special characters in brackets. If
// they were escaped with backslashes, httpd would treat the path as plain and the
// backslashes as part of it.
func Glob(path string) Word {
	if !strings.ContainsAny(path, "*?[") {
		return Word(path)
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ { // bytes, because a path need not be UTF-8
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

// GlobEach is Glob for Include, which decides for each component of a path whether it
// is a pattern or a plain name. In a plain name, a backslash is literal.
func GlobEach(path string) Word {
	parts := strings.Split(path, "/")
	for k, p := range parts {
		parts[k] = string(Glob(p))
	}
	return Word(strings.Join(parts, "/"))
}

// Regexp returns a Pattern that matches a literal text.
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

// Line returns a single directive for a file that does not start with Prelude. It
// leaves ${ unchanged, because the variable that Quote uses is not defined there. The
// caller must have called Check.
func (d *Directive) Line() string {
	var b strings.Builder
	line(&b, 0, d.Name, d.Args, "", "")
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "${"+dollar+"}", "$")
}

// PipeWord returns s as one word of the command line of a piped log, which httpd splits
// separately (apr_tokenize_to_argv). It uses double quotes and escapes with
// backslashes. A value that ends with a backslash cannot be written.
func PipeWord(s string) (string, error) {
	if strings.HasSuffix(s, `\`) {
		return "", fmt.Errorf("%q ends with a backslash, which cannot be used in the command line of a piped log", s)
	}
	s = strings.ReplaceAll(s, `\`, `\\`)
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`, nil
}

// Origins returns the origins of line n of Text, counted from 1. Lines that are always
// written have none.
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
