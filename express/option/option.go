// Package option knows tables of command-line options: what an option is called,
// what its value is and what may be said of it. It parses command lines by such a
// table and renders the table as help, completion scripts, a manual page and
// Markdown.
//
// An option is declared once, as a typed handle, and everything else asks for it by
// that handle: a misspelt option does not compile, and a value has its type.
//
//	var Port = option.Number("port", "8000", "NUMBER", "TCP port to listen on.")
//	var listening = option.NewGroup("Listening", Port)
//
//	line, err := option.Parse(table, args)
//	port := Port.In(line.Values) // an int
//
// The package refuses to know what the options are for. What a program wants to
// record about its options beyond this is an [Attribute].
package option

import (
	"slices"
	"strconv"
)

// Kind is the type of an option's value.
type Kind string

// The kinds of values. A flag takes none.
const (
	KindText     Kind = "string"
	KindNumber   Kind = "int"
	KindFraction Kind = "float"
	KindFlag     Kind = "flag"
)

// Option is one row of a table.
type Option struct {
	Name       string   // without dashes
	Aliases    []string // other spellings of the name
	Values     int      // number of words that follow: 0, 1 or 2
	Kind       Kind
	Default    string // value where the option is not given; "" is none, or off
	Shown      string // what help shows as default where that is derived
	Repeatable bool
	Meta       string // name of the value in help
	Help       string
	Words      []string // all possible values, where these are few
	Hidden     bool
	Gone       string // why and since when it no longer exists; "" where it does

	blank  bool // its last value may be empty
	help   bool // it asks for help
	check  func(word string) error
	absent any // the value where the option is not given
	facts  map[any]any
	notes  []string
}

// Ref is a reference to an option: an *[Option] or a [Handle].
type Ref interface {
	Flag() string
	Row() *Option
}

// Row returns the option itself.
func (o *Option) Row() *Option { return o }

// Flag returns the option as it is written on a command line.
func (o *Option) Flag() string { return "--" + o.Name }

// String returns the same, for messages.
func (o *Option) String() string { return o.Flag() }

// Same reports whether two references are to the same option.
func Same(a, b Ref) bool { return a.Row() == b.Row() }

// Handle is an option whose value has the type T.
type Handle[T any] struct{ *Option }

// In returns the option's value in a command line: the given one, else the default.
func (h Handle[T]) In(line Source) T {
	if v, ok := line.values().set[h.Option]; ok {
		return v.(T)
	}
	value, _ := h.absent.(T)
	return value
}

// Set replaces the option's value in a command line. It does not make the option a
// given one.
func (h Handle[T]) Set(line Source, value T) { line.values().set[h.Option] = value }

// The following methods complete a declaration.

// DefaultText sets what help shows as the default where that is derived.
func (h Handle[T]) DefaultText(text string) Handle[T] { h.Shown = text; return h }

// Alias adds another spelling of the name.
func (h Handle[T]) Alias(name string) Handle[T] { h.Aliases = append(h.Aliases, name); return h }

// Check sets a condition on each word of the value. Its error follows the option's
// name and a colon.
func (h Handle[T]) Check(f func(word string) error) Handle[T] { h.check = f; return h }

// Among sets all possible values; fold ignores the case of letters.
func (h Handle[T]) Among(fold bool, words ...string) Handle[T] {
	h.Words = words
	return h.Check(OneOf(fold, words...))
}

// MayBeEmpty allows the last word of the value to be empty.
func (h Handle[T]) MayBeEmpty() Handle[T] { h.blank = true; return h }

// Hide keeps the option out of help, completion and manual.
func (h Handle[T]) Hide() Handle[T] { h.Hidden = true; return h }

// Removed makes the option one that no longer exists, for a message that says why.
func (h Handle[T]) Removed(why string) Handle[T] { h.Gone, h.Hidden = why, true; return h }

// With attaches facts.
func (h Handle[T]) With(facts ...Fact) Handle[T] {
	for _, f := range facts {
		f(h.Option)
	}
	return h
}

// Fact is something that a program records about an option.
type Fact func(*Option)

// Attribute is a kind of fact, whose value has the type T. The zero value is the
// fact of an option to which none was attached.
type Attribute[T any] struct{ _ byte }

// Is returns the fact that the attribute has this value.
func (a *Attribute[T]) Is(value T) Fact {
	return func(o *Option) {
		if o.facts == nil {
			o.facts = map[any]any{}
		}
		o.facts[a] = value
	}
}

// Of returns the value that was attached to an option.
func (a *Attribute[T]) Of(o Ref) T {
	value, _ := o.Row().facts[a].(T)
	return value
}

// Note is a fact that the manual adds to the option's help, as a sentence.
func Note(sentence string) Fact {
	return func(o *Option) { o.notes = append(o.notes, sentence) }
}

// Group is a list of options with a heading.
type Group struct {
	Name    string
	Options []*Option
}

// NewGroup returns a group of options.
func NewGroup(name string, options ...Ref) *Group {
	g := &Group{Name: name}
	for _, o := range options {
		g.Options = append(g.Options, o.Row())
	}
	return g
}

// declare completes an option. A default that is not a valid value is a mistake in
// the program.
func declare[T any](o *Option) Handle[T] {
	if o.Default != "" {
		value, err := o.parse([]string{o.Default}, nil)
		if err != nil {
			panic("option: default of --" + o.Name + ": " + err.Error())
		}
		o.absent = value
	}
	return Handle[T]{o}
}

// Text declares an option with a text as its value.
func Text(name, def, meta, help string) Handle[string] {
	return declare[string](&Option{Name: name, Values: 1, Kind: KindText, Default: def, Meta: meta, Help: help})
}

// Texts declares an option that may be repeated, with one text each time.
func Texts(name, meta, help string) Handle[[]string] {
	return declare[[]string](&Option{Name: name, Values: 1, Kind: KindText, Repeatable: true, Meta: meta, Help: help})
}

// Pairs declares an option that may be repeated, with two texts each time.
func Pairs(name, meta, help string) Handle[[][2]string] {
	return declare[[][2]string](&Option{Name: name, Values: 2, Kind: KindText, Repeatable: true, Meta: meta, Help: help})
}

// Number declares an option with a whole number of at least 0 as its value.
func Number(name, def, meta, help string) Handle[int] {
	return declare[int](&Option{Name: name, Values: 1, Kind: KindNumber, Default: def, Meta: meta, Help: help, check: AtLeast(0)})
}

// Fraction declares an option with a number as its value. It needs a Check.
func Fraction(name, def, meta, help string) Handle[float64] {
	return declare[float64](&Option{Name: name, Values: 1, Kind: KindFraction, Default: def, Meta: meta, Help: help})
}

// Toggle declares an option without a value.
func Toggle(name, help string) Handle[bool] {
	return declare[bool](&Option{Name: name, Kind: KindFlag, Help: help})
}

// HelpFlag declares the option that asks for help: --help, and -h.
func HelpFlag(help string) Handle[bool] {
	return declare[bool](&Option{Name: "help", Aliases: []string{"h"}, Kind: KindFlag, Help: help, help: true})
}

// Table is the options of a command.
type Table struct {
	Groups []*Group

	// Refused returns why this machine does not accept an option, as the end of a
	// sentence that begins with its name; "" where it does. Nil accepts all.
	Refused func(*Option) string
}

// Options returns all options, in the order in which help shows them.
func (t *Table) Options() []*Option {
	var all []*Option
	for _, g := range t.Groups {
		all = append(all, g.Options...)
	}
	return all
}

func (t *Table) refused(o *Option) string {
	if t.Refused == nil {
		return ""
	}
	return t.Refused(o)
}

// shown returns the group without what people are not told about.
func (g *Group) shown() []*Option {
	return slices.DeleteFunc(slices.Clone(g.Options), func(o *Option) bool { return o.Hidden })
}

// parse returns the value that the words of one use mean; before is the value of the
// uses before it.
func (o *Option) parse(words []string, before any) (any, error) {
	switch {
	case o.Kind == KindFlag:
		return true, nil
	case o.Kind == KindNumber:
		n, err := strconv.Atoi(words[0])
		if err != nil {
			return nil, notWhole(words[0])
		}
		return n, nil
	case o.Kind == KindFraction:
		n, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			return nil, notNumber(words[0])
		}
		return n, nil
	case o.Values == 2:
		list, _ := before.([][2]string)
		return append(list, [2]string{words[0], words[1]}), nil
	case o.Repeatable:
		list, _ := before.([]string)
		return append(list, words[0]), nil
	}
	return words[0], nil
}
