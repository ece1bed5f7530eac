package option

import "fmt"

// Setting is an option's value in a source other than the command line, such as a file.
type Setting struct {
	Option *Option
	Uses   [][]string // the words of each use of the option; nil if it is a flag that is off
	Name   string     // as it is written there
	Source Place
	At     []Place // the same for each use, where these are known; else nil
}

// Place is where a setting stands.
type Place struct {
	Name string // of the file or the variable
	Line int    // 0 for a variable
}

func (p Place) String() string {
	if p.Line == 0 {
		return p.Name
	}
	return fmt.Sprintf("%s:%d", p.Name, p.Line)
}

// Fill sets the options that neither the command line nor an earlier call sets. A source
// decides about an option as a whole: uses of a repeatable option are not added to those of
// another source. refuse gets each setting that the option does not accept, which is left out.
func (v *Values) Fill(settings []Setting, refuse func(Setting, error)) {
	var fresh []Setting
	for _, s := range settings {
		if _, decided := v.source[s.Option]; !decided && !v.given[s.Option] {
			fresh = append(fresh, s)
		}
	}
	for _, s := range fresh {
		v.source[s.Option] = s.Source
		for k, words := range s.Uses {
			err := s.Option.checkWords(words)
			if err == nil {
				err = v.give(s.Option, words)
			}
			if err != nil {
				if k < len(s.At) {
					s.Source = s.At[k]
				}
				refuse(s, err)
				break
			}
		}
	}
}

// Origin returns the source of the option's value, or "" if that is the command line or
// the default.
func (v *Values) Origin(o Ref) string {
	if !v.given[o.Row()] {
		return ""
	}
	return v.source[o.Row()].String()
}

// Refusal returns why the option cannot be used here: it no longer exists, or this system
// does not have it. It returns "" if it can be used.
func (t *Table) Refusal(o *Option) string {
	if o.Gone != "" {
		return o.Gone
	}
	return t.refused(o)
}

// Has reports whether the table contains an option.
func (t *Table) Has(o Ref) bool {
	for _, row := range t.Options() {
		if row == o.Row() {
			return true
		}
	}
	return false
}

// Named returns the option with exactly this name, or nil.
func (t *Table) Named(name string) *Option {
	if o, abbreviated, _ := t.Lookup(name); o != nil && !abbreviated && !o.help {
		return o
	}
	return nil
}

// Path reports whether the last word of the option's value is the path of a file or
// directory.
func (o *Option) Path() bool { return o.takes() != "" && o.Kind == KindText }

// Blank reports whether the last word of the value may be empty.
func (o *Option) Blank() bool { return o.blank }
