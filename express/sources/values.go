package sources

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/settingsfile"
	"modwsgi/internal/tomlfile"
)

// uses returns the uses of an option for a value in TOML, or what is wrong with it, with
// the line if that is another one than the key's. dir is
// the directory of the file; "" for a variable, whose paths stay relative to the working
// directory.
func (r *Reader) uses(o *option.Option, value any, dir string) (uses [][]string, wrong settingsfile.Problem) {
	fine := settingsfile.Problem{}
	misfit := func() settingsfile.Problem {
		return settingsfile.Problem{Text: fmt.Sprintf("must be %s, not %s%s", r.wanted(o), settingsfile.Kind(value), cure(o, value))}
	}
	switch o.Kind {
	case option.KindFlag:
		on, ok := value.(bool)
		switch {
		case !ok:
			return nil, misfit()
		case on:
			return [][]string{{}}, fine
		}
		return nil, fine
	case option.KindNumber:
		n, ok := value.(int64)
		if !ok {
			return nil, misfit()
		}
		return [][]string{{strconv.FormatInt(n, 10)}}, fine
	case option.KindFraction:
		switch n := value.(type) {
		case int64:
			return [][]string{{strconv.FormatInt(n, 10)}}, fine
		case float64:
			return [][]string{{strconv.FormatFloat(n, 'g', -1, 64)}}, fine
		}
		return nil, misfit()
	}
	switch {
	case o.Values == 2:
		return r.pairs(o, value, dir, misfit)
	case o.Repeatable:
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		uses = [][]string{}
		for k, element := range list {
			text, isText := element.(string)
			switch {
			case !isText && !ok:
				return nil, misfit()
			case !isText:
				return nil, settingsfile.Problem{Text: fmt.Sprintf("element %d must be a string, not %s", k+1, settingsfile.Kind(element))}
			}
			uses = append(uses, []string{config.Beside(o, text, dir)})
		}
		return uses, fine
	}
	text, ok := value.(string)
	if !ok {
		return nil, misfit()
	}
	return [][]string{{config.Beside(o, text, dir)}}, fine
}

// pairs returns the uses of an option that takes two words, from a table or from a list
// of lists.
func (r *Reader) pairs(o *option.Option, value any, dir string, misfit func() settingsfile.Problem) (uses [][]string, wrong settingsfile.Problem) {
	uses = [][]string{}
	add := func(first string, second any) string {
		text, wrong, ok := r.text(o, second, dir)
		switch {
		case wrong != "":
			return quoted(first) + ": " + wrong
		case !ok:
			return fmt.Sprintf("the value of %s must be a string, not %s", quoted(first), settingsfile.Kind(second))
		}
		uses = append(uses, []string{first, config.Beside(o, text, dir)})
		return ""
	}
	switch all := value.(type) {
	case *tomlfile.Table:
		for _, e := range all.Entries {
			if text := add(e.Key, e.Value); text != "" {
				return nil, settingsfile.Problem{Line: e.Line, Text: text}
			}
		}
	case []any:
		for k, element := range all {
			pair, ok := element.([]any)
			first, text := "", false
			if ok && len(pair) == 2 {
				first, text = pair[0].(string)
			}
			if !text {
				return nil, settingsfile.Problem{Text: fmt.Sprintf("element %d must be a list of two strings: %s", k+1, o.Meta)}
			}
			if text := add(first, pair[1]); text != "" {
				return nil, settingsfile.Problem{Text: text}
			}
		}
	default:
		return nil, misfit()
	}
	return uses, wrong
}

// text returns a string, or the secret that a table refers to: a value of setenv. All
// other options are shown in messages, or are paths.
func (r *Reader) text(o *option.Option, value any, dir string) (text, wrong string, ok bool) {
	if v, ok := value.(string); ok || !option.Same(o, config.Setenv) {
		return v, "", ok
	}
	if table, ok := value.(*tomlfile.Table); ok {
		return r.reference(table, dir)
	}
	return "", "", false
}

const (
	keyFile       = "file"
	keyCredential = "credential"
)

// secretLimit is the most that a secret may have, in bytes.
const secretLimit = 64 << 10

// reference returns the secret that { file = "..." } or { credential = "..." } refers to.
func (r *Reader) reference(t *tomlfile.Table, dir string) (text, wrong string, ok bool) {
	if len(t.Entries) != 1 || t.Entries[0].Key != keyFile && t.Entries[0].Key != keyCredential {
		return "", `a table must refer to a secret: { file = "PATH" } or { credential = "NAME" }`, false
	}
	name, isText := t.Entries[0].Value.(string)
	if !isText || name == "" {
		return "", t.Entries[0].Key + " must be a string that is not empty", false
	}
	if dir == "" && r.Unit {
		return "", "the unit would contain the secret: refer to it in a configuration file", false
	}
	path := name
	if t.Entries[0].Key == keyCredential {
		if !credentialName.MatchString(name) {
			return "", "a credential has a name of letters, digits, dots, dashes and underscores: " + quoted(name), false
		}
		if !slices.Contains(r.found.Credentials, name) {
			r.found.Credentials = append(r.found.Credentials, name)
		}
		credentials, set := lookup(r.Env, "CREDENTIALS_DIRECTORY")
		if !r.Unread && (!set || credentials == "") {
			return "", fmt.Sprintf("the credential %s is not there: systemd passes it to a service with LoadCredential=%s", quoted(name), name), false
		}
		path = filepath.Join(credentials, name)
	} else if !filepath.IsAbs(path) {
		base := dir
		if base == "" {
			base = r.Dir
		}
		path = filepath.Join(base, path)
	}
	if r.Unread {
		return Unread, "", true
	}
	data, err := r.secret(path)
	if err != nil {
		wrong := "read the secret: " + err.Error()
		if hint := fault.HintOf(err); hint != "" {
			wrong += ": " + hint
		}
		return "", wrong, false
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if secret == "" {
		return "", "the secret " + path + " is empty", false
	}
	return secret, "", true
}

var credentialName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// secret reads a file that nobody else can change. Container platforms mount secrets so
// that others can read them, so that is only reported.
func (r *Reader) secret(path string) ([]byte, error) {
	if err := r.Trusted(path); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 {
		r.Warn(fmt.Sprintf("the secret %s can be read by other users (mode %v)", path, info.Mode().Perm()))
	}
	return owned.ReadInput(path, secretLimit)
}

// wanted describes the values of an option in TOML.
func (r *Reader) wanted(o *option.Option) string {
	if o.Values == 2 && o.Kind == option.KindText {
		words := strings.Fields(o.Meta)
		return fmt.Sprintf("a table { %s = %s }, or a list of such pairs", strconv.Quote(words[0]), strconv.Quote(words[1]))
	}
	return shape(o).Wanted()
}

func shape(o *option.Option) settingsfile.Shape {
	switch {
	case o.Kind == option.KindFlag:
		return settingsfile.Toggle
	case o.Kind == option.KindNumber:
		return settingsfile.Number
	case o.Kind == option.KindFraction:
		return settingsfile.Fraction
	case o.Values == 2:
		return settingsfile.Other
	case o.Repeatable:
		return settingsfile.Texts
	}
	return settingsfile.Text
}

// cure shows how the same value is written as the option needs it, where that is plain.
func cure(o *option.Option, value any) string {
	if _, toggle := value.(bool); toggle && o.Words != nil {
		return ": it is one of " + strings.Join(o.Words, ", ")
	}
	if table, ok := value.(*tomlfile.Table); ok && len(table.Entries) == 1 && (table.Entries[0].Key == keyFile || table.Entries[0].Key == keyCredential) {
		return ": only values of setenv can refer to secrets"
	}
	return settingsfile.Cure(shape(o), value)
}

func quoted(s string) string { return strconv.Quote(s) }
