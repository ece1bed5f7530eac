package option

import "strconv"

// Values holds the options given on a command line, and their values.
type Values struct {
	set    map[*Option]any
	given  map[*Option]bool
	source map[*Option]Place // where the value comes from, if not from the command line
}

// NewValues returns the values of a command line without options.
func NewValues() *Values {
	return &Values{set: map[*Option]any{}, given: map[*Option]bool{}, source: map[*Option]Place{}}
}

// Source is a *[Values], or a struct that embeds one.
type Source interface{ values() *Values }

func (v *Values) values() *Values { return v }

// Given reports whether the command line, or another source of settings, sets the option.
func (v *Values) Given(o Ref) bool { return v.given[o.Row()] }

// give stores the words of one use of an option.
func (v *Values) give(o *Option, words []string) error {
	if o.check != nil {
		for _, w := range words {
			if err := o.check(w); err != nil {
				return err
			}
		}
	}
	value, err := o.parse(words, v.set[o])
	if err != nil {
		return err
	}
	v.set[o], v.given[o] = value, true
	return nil
}

// Texts returns the words of an option whose value is text. It returns nil for other
// options.
func (v *Values) Texts(o Ref) (words []string) {
	switch value := v.set[o.Row()].(type) {
	case string:
		return []string{value}
	case []string:
		return value
	case [][2]string:
		for _, w := range value {
			words = append(words, w[0], w[1])
		}
	}
	return words
}

// Again returns command-line words that reproduce the option's current value. They
// cannot be mistaken for another option.
func (v *Values) Again(o Ref) (words []string) {
	flag := o.Flag()
	switch value := v.set[o.Row()].(type) {
	case string:
		return []string{flag + "=" + value}
	case []string:
		for _, w := range value {
			words = append(words, flag+"="+w)
		}
	case [][2]string:
		for _, w := range value {
			words = append(words, flag+"="+w[0], w[1])
		}
	case bool:
		return []string{flag}
	case int:
		return []string{flag + "=" + strconv.Itoa(value)}
	case float64:
		return []string{flag + "=" + strconv.FormatFloat(value, 'f', -1, 64)}
	}
	return words
}
