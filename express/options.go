package express

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind is what an option's value is.
type Kind string

// The kinds of values. A Flag takes none.
const (
	Text     Kind = "string"
	Number   Kind = "int"
	Fraction Kind = "float"
	Flag     Kind = "flag"
)

// Option is one row of the table: everything that help, the parser, the
// documentation and the configuration need to know about it.
type Option struct {
	Name       string   // without dashes
	Aliases    []string // other spellings that mean the same
	Values     int      // how many words follow: 0, 1 or 2
	Kind       Kind
	Default    string // the value it has when it is not given; "" is none, or off
	Shown      string // what help shows as default where that is derived
	Repeatable bool
	Unix       bool   // has no meaning on Windows
	Since      string // the first mod_wsgi that can do it
	Group      string // heading in help
	Meta       string // name of the value in help
	Help       string
	Words      []string // the values that there are, where these are few
	Hidden     bool
	Daemon     string // parameter of WSGIDaemonProcess that takes the value as it is
	Blank      bool   // its last value may be empty
	Gone       string // why and since when it no longer exists; "" where it does

	field func(*Server) any    // where the value goes; nil: not in this release
	check func(v string) error // further conditions on the value
}

// mayBeEmpty is how many of the words may be empty, from the last one on.
func (o *Option) mayBeEmpty() int {
	if o.Blank {
		return 1
	}
	return 0
}

// Flag is how the option is written on a command line. It makes an option what a
// line of the configuration comes from (conf.Origin).
func (o *Option) Flag() string { return "--" + o.Name }

// String returns the same, for messages.
func (o *Option) String() string { return o.Flag() }

// Available reports whether this release can do what the option says.
func (o *Option) Available() bool { return o.field != nil }

func text(name, def, meta, help string, f func(*Server) *string) *Option {
	o := &Option{Name: name, Values: 1, Kind: Text, Default: def, Meta: meta, Help: help}
	if f != nil {
		o.field = func(s *Server) any { return f(s) }
	}
	return o
}

func texts(name, meta, help string, f func(*Server) *[]string) *Option {
	o := &Option{Name: name, Values: 1, Kind: Text, Repeatable: true, Meta: meta, Help: help}
	if f != nil {
		o.field = func(s *Server) any { return f(s) }
	}
	return o
}

func pairs(name, meta, help string, f func(*Server) *[][2]string) *Option {
	o := &Option{Name: name, Values: 2, Kind: Text, Repeatable: true, Meta: meta, Help: help}
	if f != nil {
		o.field = func(s *Server) any { return f(s) }
	}
	return o
}

func number(name, def, meta, help string, f func(*Server) *int) *Option {
	o := &Option{Name: name, Values: 1, Kind: Number, Default: def, Meta: meta, Help: help, check: atLeast(0)}
	if f != nil {
		o.field = func(s *Server) any { return f(s) }
	}
	return o
}

func fraction(name, def, help string, f func(*Server) *float64) *Option {
	o := &Option{Name: name, Values: 1, Kind: Fraction, Shown: def, Meta: "FRACTION", Help: help, check: unit}
	if f != nil {
		o.field = func(s *Server) any { return f(s) }
	}
	return o
}

func toggle(name, help string, f func(*Server) *bool) *Option {
	o := &Option{Name: name, Kind: Flag, Help: help}
	if f != nil {
		o.field = func(s *Server) any { return f(s) }
	}
	return o
}

func (o *Option) unix() *Option                        { o.Unix = true; return o }
func (o *Option) since(v string) *Option               { o.Since = v; return o }
func (o *Option) shown(v string) *Option               { o.Shown = v; return o }
func (o *Option) daemon(v string) *Option              { o.Daemon = v; return o.unix() }
func (o *Option) alias(v string) *Option               { o.Aliases = append(o.Aliases, v); return o }
func (o *Option) checked(f func(string) error) *Option { o.check = f; return o }
func (o *Option) among(fold bool, words ...string) *Option {
	o.Words = words
	return o.checked(oneOf(fold, words...))
}
func (o *Option) blank() *Option          { o.Blank = true; return o }
func (o *Option) hidden() *Option         { o.Hidden = true; return o }
func (o *Option) gone(why string) *Option { o.Gone = why; o.Hidden = true; return o }

func group(name string, rows ...*Option) []*Option {
	for _, o := range rows {
		o.Group = name
		if o.Since == "" {
			o.Since = "4.4.0"
		}
	}
	return rows
}

// store puts the words of one use of the option into the server.
func (o *Option) store(s *Server, words []string) error {
	if o.check != nil {
		for _, w := range words {
			if err := o.check(w); err != nil {
				return err
			}
		}
	}
	switch p := o.field(s).(type) {
	case *string:
		*p = words[0]
	case *[]string:
		*p = append(*p, words[0])
	case *[][2]string:
		*p = append(*p, [2]string{words[0], words[1]})
	case *bool:
		*p = true
	case *int:
		n, err := strconv.Atoi(words[0])
		if err != nil {
			return fmt.Errorf("%q is not a whole number", words[0])
		}
		*p = n
	case *float64:
		n, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", words[0])
		}
		*p = n
	}
	return nil
}

func atLeast(low int) func(string) error { return between(low, 1<<31-1) }

func between(low, high int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		switch {
		case err != nil:
			return fmt.Errorf("%q is not a whole number", v)
		case n < low || n > high:
			if high == 1<<31-1 {
				return fmt.Errorf("%d is less than %d", n, low)
			}
			return fmt.Errorf("%d is not between %d and %d", n, low, high)
		}
		return nil
	}
}

// zeroOr is the check for sizes of which 0 means the default.
func zeroOr(low int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", v)
		}
		if n != 0 && n < low {
			return fmt.Errorf("%d is neither 0 (the default) nor at least %d", n, low)
		}
		return nil
	}
}

func unit(v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", v)
	}
	if !(n >= 0 && n <= 1) {
		return fmt.Errorf("%s is not between 0 and 1", v)
	}
	return nil
}

func positive(v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", v)
	}
	if !(n > 0) || n > 1e6 {
		return fmt.Errorf("%s is not a number above 0", v)
	}
	return nil
}

func oneOf(fold bool, words ...string) func(string) error {
	return func(v string) error {
		for _, w := range words {
			if v == w || fold && strings.EqualFold(v, w) {
				return nil
			}
		}
		return fmt.Errorf("%q is not one of %s", v, strings.Join(words, ", "))
	}
}

// lookup finds the row for a name as typed (without dashes): exactly, by
// alias, or by a prefix that fits one row only. abbreviated tells the last case.
func lookup(table []*Option, name string) (o *Option, abbreviated bool, candidates []string) {
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
