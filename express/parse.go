package express

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/spelling"
)

// parsed is a command line taken apart.
type parsed struct {
	server   *Server
	help     bool
	warnings []string
}

// UsageError is a command line that makes no sense. It is shown below the usage
// line of its command.
type UsageError struct {
	Command string
	Err     error
	hint    string
}

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Hint returns what to do about it, or "".
func (e *UsageError) Hint() string { return e.hint }

func usage(command, hint, format string, args ...any) *UsageError {
	return &UsageError{Command: command, hint: hint, Err: fault.New(fault.Usage, hint, format, args...)}
}

// parse reads the arguments after the command's name by its table. Options are
// long ones (--name VALUE, --name=VALUE); they and other arguments mix; -- ends
// the options.
func parse(c *command, args []string) (*parsed, error) {
	p := &parsed{server: newServer(c.options)}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "--":
			p.server.positional = append(p.server.positional, args...)
			args = nil
		case word == "-h":
			p.help = true
		case strings.HasPrefix(word, "--"):
			rest, err := p.option(c, word[2:], args)
			if err != nil {
				return p, err
			}
			args = rest
		case len(word) > 1 && word[0] == '-':
			return p, usage(c.name, "options have long names here, see mod_wsgi-express "+c.name+" --help", "no such option: %s", word)
		default:
			p.server.positional = append(p.server.positional, word)
		}
	}
	if !p.help && len(p.server.positional) > c.arguments {
		return p, surplus(c, p.server.positional[c.arguments:])
	}
	return p, nil
}

func surplus(c *command, words []string) error {
	what := "takes no argument"
	if c.arguments == 1 {
		what = "takes one application"
	}
	return usage(c.name, "a value that holds blanks needs quotes in the shell", "%s %s; %q is too much", c.name, what, words[0])
}

// newServer returns a server with the defaults of the table.
func newServer(table []*Option) *Server {
	s := &Server{given: map[string]bool{}}
	for _, o := range table {
		if o.Default == "" || o.field == nil || o.Repeatable || o.Kind == Flag {
			continue
		}
		if err := o.store(s, []string{o.Default}); err != nil {
			panic("express: default of --" + o.Name + ": " + err.Error())
		}
	}
	return s
}

func (p *parsed) option(c *command, word string, args []string) ([]string, error) {
	name, value, inline := strings.Cut(word, "=")
	o, abbreviated, candidates := lookup(c.options, name)
	switch {
	case o == nil && len(candidates) > 1:
		return nil, usage(c.name, "", "ambiguous option: --%s (%s)", name, strings.Join(candidates, ", "))
	case o == nil:
		hint := ""
		if near := nearest(c.options, name); near != "" {
			hint = "did you mean --" + near + "?"
		}
		return nil, usage(c.name, hint, "no such option: --%s", name)
	case o.Gone != "":
		return nil, usage(c.name, "", "--%s %s", o.Name, o.Gone)
	case o.Name == optHelp.Name: // commands have rows of their own
		p.help = true
		return args, nil
	case o.Unix && runtime.GOOS == "windows":
		return nil, usage(c.name, "", "--%s has no meaning on Windows", o.Name)
	case !o.Available():
		return nil, usage(c.name, "", "--%s is not available in this release", o.Name)
	}
	if abbreviated {
		p.warnings = append(p.warnings, fmt.Sprintf("--%s is taken as --%s; write it in full, a later release may have more options", name, o.Name))
	}
	typed := o.Name
	if slices.Contains(o.Aliases, name) {
		typed = name
	}
	words, args, err := values(c, o, typed, value, inline, args)
	if err != nil {
		return nil, err
	}
	if o.Kind == Text && slices.Contains(words[:len(words)-o.mayBeEmpty()], "") {
		// An empty variable of a script; for a script that lets users in, to take
		// it for "none" would open the server to everybody.
		return nil, usage(c.name, "leave the option out, or set the variable that the value comes from", "option --%s: the value is empty", typed)
	}
	if err := o.store(p.server, words); err != nil {
		return nil, usage(c.name, "", "option --%s: %w", typed, err)
	}
	p.server.given[o.Name] = true
	return args, nil
}

// values takes the words that belong to an option. Like getopt, it takes the
// next word as it is, also when it starts with a dash; but not another option
// of the table, for there a value was forgotten, unless the first word was given
// with an = sign.
func values(c *command, o *Option, typed, value string, inline bool, args []string) (words, rest []string, err error) {
	if o.Values == 0 {
		if inline {
			return nil, nil, usage(c.name, "", "option --%s takes no value", typed)
		}
		return nil, args, nil
	}
	if inline {
		words = append(words, value)
	}
	for len(words) < o.Values {
		if len(args) == 0 || !inline && isOption(c.options, args[0]) {
			return nil, nil, usage(c.name, "a value that starts like an option can be given as --"+typed+"="+o.Meta,
				"option --%s needs %s", typed, o.Meta)
		}
		words, args = append(words, args[0]), args[1:]
	}
	for _, w := range words {
		if strings.ContainsRune(w, 0) {
			return nil, nil, usage(c.name, "", "option --%s: the value holds a NUL character", typed)
		}
	}
	return words, args, nil
}

func isOption(table []*Option, word string) bool {
	name, ok := strings.CutPrefix(word, "--")
	if !ok {
		return false
	}
	name, _, _ = strings.Cut(name, "=")
	o, abbreviated, _ := lookup(table, name)
	return o != nil && !abbreviated
}

// nearest returns the name in the table that is most like the given one, or "".
func nearest(table []*Option, name string) string {
	var names []string
	for _, o := range table {
		if !o.Hidden {
			names = append(names, o.Name)
		}
	}
	return spelling.Nearest(name, names, max(2, len(name)/3))
}
