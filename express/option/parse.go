package option

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/spelling"
)

// UsageError is a mistake in a command line. Programs show it below the usage line of
// the command.
type UsageError struct {
	Err  error
	hint string
}

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Hint returns advice on how to fix the mistake, or "".
func (e *UsageError) Hint() string { return e.hint }

// Usage returns a UsageError.
func Usage(hint, format string, args ...any) *UsageError {
	return &UsageError{hint: hint, Err: fault.New(fault.Usage, hint, format, args...)}
}

// Line is a parsed command line.
type Line struct {
	*Values

	Positional []string // arguments that are not options
	Help       bool     // help is requested; the rest may be incomplete then
	Warnings   []string
}

// Command is a command of a program, with its arguments and options.
type Command struct {
	Name      string
	Summary   string   // one line for help, without a period
	Arguments int      // maximum number of arguments
	Meta      string   // placeholders for the arguments in help
	Words     []string // all possible arguments, if there are few
	Hidden    bool
	Table     *Table
}

// Parse parses the arguments of a command. Options have long names (--name VALUE,
// --name=VALUE) and may be mixed with other arguments. -- ends the options. program is
// the name to use in hints. The line is valid but incomplete if Parse returns an error.
func Parse(program string, c *Command, args []string) (*Line, error) {
	p := &parser{Line: &Line{Values: NewValues()}, table: c.Table}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "--":
			p.Positional = append(p.Positional, args...)
			args = nil
		case word == "-h":
			p.Help = true
		case strings.HasPrefix(word, "--"):
			rest, err := p.option(word[2:], args)
			if err != nil {
				return p.Line, err
			}
			args = rest
		case len(word) > 1 && word[0] == '-':
			return p.Line, Usage("options have long names; see "+program+" "+c.Name+" --help", "no such option: %s", word)
		default:
			p.Positional = append(p.Positional, word)
		}
	}
	if !p.Help && len(p.Positional) > c.Arguments {
		return p.Line, surplus(c, p.Positional[c.Arguments:])
	}
	return p.Line, nil
}

func surplus(c *Command, words []string) error {
	what := "takes no arguments"
	if c.Arguments == 1 {
		what = "takes one application"
	}
	return Usage("quote values that contain spaces", "%s %s; unexpected argument %q", c.Name, what, words[0])
}

// parser is a line that is being parsed.
type parser struct {
	*Line

	table *Table
}

// option parses one option and returns the arguments that follow it.
func (p *parser) option(word string, args []string) ([]string, error) {
	name, value, inline := strings.Cut(word, "=")
	o, abbreviated, candidates := p.table.Lookup(name)
	switch {
	case o == nil && len(candidates) > 1:
		return nil, Usage("", "ambiguous option: --%s (%s)", name, strings.Join(candidates, ", "))
	case o == nil:
		hint := ""
		if near := p.table.Nearest(name); near != "" {
			hint = "did you mean --" + near + "?"
		}
		return nil, Usage(hint, "no such option: --%s", name)
	case o.Gone != "":
		return nil, Usage("", "--%s %s", o.Name, o.Gone)
	case o.help:
		p.Help = true
		return args, nil
	}
	if why := p.table.refused(o); why != "" {
		return nil, Usage("", "--%s %s", o.Name, why)
	}
	if abbreviated {
		p.Warnings = append(p.Warnings, fmt.Sprintf("--%s is short for --%s; write it in full, because later releases may have more options", name, o.Name))
	}
	typed := o.Name
	if slices.Contains(o.Aliases, name) {
		typed = name
	}
	words, args, err := p.words(o, typed, value, inline, args)
	if err != nil {
		return nil, err
	}
	if err := p.give(o, words); err != nil {
		return nil, Usage("", "option --%s: %w", typed, err)
	}
	return args, nil
}

// words returns the words that belong to an option. Like getopt, it uses the next word
// even if it starts with a dash. But if it is the name of another option, a value was
// forgotten, unless the first word was given with an = sign.
func (p *parser) words(o *Option, typed, value string, inline bool, args []string) (words, rest []string, err error) {
	if o.Values == 0 {
		if inline {
			return nil, nil, Usage("", "option --%s takes no value", typed)
		}
		return nil, args, nil
	}
	if inline {
		words = append(words, value)
	}
	for len(words) < o.Values {
		if len(args) == 0 || !inline && p.isOption(args[0]) {
			return nil, nil, Usage("pass a value that looks like an option as --"+typed+"="+o.Meta,
				"option --%s needs %s", typed, o.Meta)
		}
		words, args = append(words, args[0]), args[1:]
	}
	if err := o.checkWords(words); err != nil {
		return nil, nil, Usage("omit the option, or set the variable that the value comes from", "option --%s: %w", typed, err)
	}
	return words, args, nil
}

// checkWords refuses words that no option takes.
func (o *Option) checkWords(words []string) error {
	required := len(words)
	if o.blank {
		required--
	}
	switch {
	case slices.ContainsFunc(words, func(w string) bool { return strings.ContainsRune(w, 0) }):
		return errors.New("the value contains a NUL character")
	case o.Kind == KindText && slices.Contains(words[:max(required, 0)], ""):
		// Probably an empty variable in a script. If it were ignored, an empty
		// access control script would open the server to everyone.
		return errors.New("the value is empty")
	}
	return nil
}

func (p *parser) isOption(word string) bool {
	name, ok := strings.CutPrefix(word, "--")
	if !ok {
		return false
	}
	name, _, _ = strings.Cut(name, "=")
	o, abbreviated, _ := p.table.Lookup(name)
	return o != nil && !abbreviated
}

// Lookup finds the option for a name without dashes: by its name, an alias, or an
// unambiguous prefix, in which case abbreviated is true. candidates are the options
// that the name is a prefix of.
func (t *Table) Lookup(name string) (o *Option, abbreviated bool, candidates []string) {
	table := t.Options()
	for _, row := range table {
		if row.Name == name {
			return row, false, nil
		}
	}
	for _, row := range table {
		if slices.Contains(row.Aliases, name) {
			return row, false, nil
		}
	}
	for _, row := range table {
		if name != "" && strings.HasPrefix(row.Name, name) && row.Gone == "" {
			o, candidates = row, append(candidates, row.Flag())
		}
	}
	if len(candidates) == 1 {
		return o, true, nil
	}
	return nil, false, candidates
}

// Nearest returns the name in the table that is most similar to the given one, or "".
func (t *Table) Nearest(name string) string {
	var names []string
	for _, g := range t.Groups {
		for _, o := range g.shown() {
			names = append(names, o.Name)
		}
	}
	return spelling.Nearest(name, names, max(2, len(name)/3))
}
