// Package option defines tables of command-line options: their names, values and
// descriptions. It parses command lines and renders a table as help, completion
// scripts, a manual page and Markdown.
//
// Each option is declared once, as a typed handle, and used only through that handle.
// So a misspelled option does not compile, and values are typed.
//
//	var Port = option.Number("port", "8000", "NUMBER", "TCP port to listen on.")
//	var listening = option.NewGroup("Listening", Port)
//
//	line, err := option.Parse(table, args)
//	port := Port.In(line.Values) // an int
//
// The package knows nothing about the purpose of options. Programs can record
// additional facts about options with an [Attribute].
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
	Default    string // value if the option is not given; "" means none, or off
	Shown      string // default shown in help if it is derived
	Repeatable bool
	Meta       string // placeholder for the value in help
	Help       string
	Words      []string // all possible values, if there are few
	Hidden     bool
	Gone       string // why and since when the option no longer exists; "" if it exists

	blank  bool // the last value may be empty
	help   bool // requests help
	check  func(word string) error
	absent any // value if the option is not given
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

// Flag returns the option as written on a command line.
func (o *Option) Flag() string { return "--" + o.Name }

// String returns the flag, for messages.
func (o *Option) String() string { return o.Flag() }

// Same reports whether two references are to the same option.
func Same(a, b Ref) bool { return a.Row() == b.Row() }

// Handle is an option whose value has the type T.
type Handle[T any] struct{ *Option }

// In returns the option's value in a command line: the given value or the default.
func (h Handle[T]) In(line Source) T {
	if v, ok := line.values().set[h.Option]; ok {
		return v.(T)
	}
	value, _ := h.absent.(T)
	return value
}

// Set replaces the option's value in a command line. It does not mark the option as
// given.
func (h Handle[T]) Set(line Source, value T) { line.values().set[h.Option] = value }

// Give sets the option's value as the command line would.
func (h Handle[T]) Give(line Source, value T) {
	h.Set(line, value)
	line.values().given[h.Option] = true
}

// Imply sets the option's value because another option requires it. The option counts as
// given.
func (h Handle[T]) Imply(line Source, value T, by Ref) {
	h.Give(line, value)
	line.values().source[h.Option] = Place{Name: "implied by " + by.Flag()}
}

// The following methods complete a declaration.

// DefaultText sets the default shown in help, for an option whose default is derived.
func (h Handle[T]) DefaultText(text string) Handle[T] { h.Shown = text; return h }

// Alias adds another spelling of the name.
func (h Handle[T]) Alias(name string) Handle[T] { h.Aliases = append(h.Aliases, name); return h }

// Check sets a function that checks each word of the value. Its error completes a
// message that starts with the option's name and a colon.
func (h Handle[T]) Check(f func(word string) error) Handle[T] { h.check = f; return h }

// Among sets all possible values; fold ignores the case of letters.
func (h Handle[T]) Among(fold bool, words ...string) Handle[T] {
	h.Words = words
	return h.Check(OneOf(fold, words...))
}

// MayBeEmpty allows the last word of the value to be empty.
func (h Handle[T]) MayBeEmpty() Handle[T] { h.blank = true; return h }

// Hide omits the option from help, completion and manual.
func (h Handle[T]) Hide() Handle[T] { h.Hidden = true; return h }

// Removed marks an option that no longer exists. Using it is an error that explains
// why.
func (h Handle[T]) Removed(why string) Handle[T] { h.Gone, h.Hidden = why, true; return h }

// With attaches facts to the option.
func (h Handle[T]) With(facts ...Fact) Handle[T] {
	for _, f := range facts {
		f(h.Option)
	}
	return h
}

// Fact is information that a program records about an option.
type Fact func(*Option)

// Attribute is a kind of fact whose value has the type T. Options without the fact have
// the zero value.
type Attribute[T any] struct{ _ byte }

// Is returns a Fact that sets the attribute to a value.
func (a *Attribute[T]) Is(value T) Fact {
	return func(o *Option) {
		if o.facts == nil {
			o.facts = map[any]any{}
		}
		o.facts[a] = value
	}
}

// Of returns the attribute's value for an option.
func (a *Attribute[T]) Of(o Ref) T {
	value, _ := o.Row().facts[a].(T)
	return value
}

// Note is a fact that adds a sentence to the option's description in the manual.
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

// declare completes an option. It panics if the default is not a valid value.
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

// Text declares an option whose value is a text.
func Text(name, def, meta, help string) Handle[string] {
	return declare[string](&Option{Name: name, Values: 1, Kind: KindText, Default: def, Meta: meta, Help: help})
}

// Texts declares a repeatable option with one text per use.
func Texts(name, meta, help string) Handle[[]string] {
	return declare[[]string](&Option{Name: name, Values: 1, Kind: KindText, Repeatable: true, Meta: meta, Help: help})
}

// Pairs declares a repeatable option with two texts per use.
func Pairs(name, meta, help string) Handle[[][2]string] {
	return declare[[][2]string](&Option{Name: name, Values: 2, Kind: KindText, Repeatable: true, Meta: meta, Help: help})
}

// Number declares an option whose value is a non-negative integer.
func Number(name, def, meta, help string) Handle[int] {
	return declare[int](&Option{Name: name, Values: 1, Kind: KindNumber, Default: def, Meta: meta, Help: help, check: AtLeast(0)})
}

// Fraction declares an option whose value is a floating-point number. It needs a Check.
func Fraction(name, def, meta, help string) Handle[float64] {
	return declare[float64](&Option{Name: name, Values: 1, Kind: KindFraction, Default: def, Meta: meta, Help: help})
}

// Toggle declares an option without a value.
func Toggle(name, help string) Handle[bool] {
	return declare[bool](&Option{Name: name, Kind: KindFlag, Help: help})
}

// HelpFlag declares the option that requests help, --help or -h.
func HelpFlag(help string) Handle[bool] {
	return declare[bool](&Option{Name: "help", Aliases: []string{"h"}, Kind: KindFlag, Help: help, help: true})
}

// Table holds the options of a command.
type Table struct {
	Groups []*Group

	// Refused returns why this machine does not support an option, as the end of a
	// sentence that begins with its name, or "" if it does. Nil accepts all options.
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

// shown returns the options of the group that are not hidden.
func (g *Group) shown() []*Option {
	return slices.DeleteFunc(slices.Clone(g.Options), func(o *Option) bool { return o.Hidden })
}

// parse returns the value for the words of one use. before is the value of earlier uses.
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
