package matrix

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"

	"modwsgi/internal/fault"
)

type problem struct {
	line int
	text string
}

type problems struct {
	m   *Matrix
	all []problem
}

func (p *problems) add(key, format string, args ...any) {
	p.all = append(p.all, problem{p.m.line(key), fmt.Sprintf(format, args...)})
}

// err reports the first ten problems, in the order of the file.
func (p *problems) err() error {
	sort.SliceStable(p.all, func(i, j int) bool { return p.all[i].line < p.all[j].line })
	var texts []string
	for _, one := range p.all[:min(10, len(p.all))] {
		texts = append(texts, fmt.Sprintf("%s:%d: %s", p.m.name, max(one.line, 1), one.text))
	}
	if n := len(p.all) - 10; n > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", n))
	}
	return fault.New(fault.Usage, "docs/reference/matrix.md has every key, and an example", "%s", strings.Join(texts, "\n  "))
}

// decode fills in the matrix, unless the file is not TOML or values have other kinds
// than it needs. The library reports the latter in its messages only, so the kinds are
// checked first.
func (p *problems) decode(text string) (toml.MetaData, bool) {
	var values map[string]any
	if _, err := toml.Decode(text, &values); err != nil {
		p.syntax(err)
		return toml.MetaData{}, false
	}
	if p.kinds("", values, reflect.TypeFor[Matrix]()); len(p.all) > 0 {
		return toml.MetaData{}, false
	}
	md, err := toml.Decode(text, p.m)
	if err != nil {
		p.syntax(err)
	}
	return md, err == nil
}

// syntax adds an error of the library.
func (p *problems) syntax(err error) {
	var at toml.ParseError
	if errors.As(err, &at) && at.Message != "" {
		p.all = append(p.all, problem{at.Position.Line, at.Message})
		return
	}
	p.all = append(p.all, problem{at.Position.Line, strings.TrimSpace(err.Error())})
}

// kinds checks that a value, and what it contains, fits a type of the matrix. Unknown
// keys are reported later.
func (p *problems) kinds(at string, value any, t reflect.Type) {
	v := reflect.ValueOf(value)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	fits := map[reflect.Kind]reflect.Kind{reflect.Int: reflect.Int64, reflect.Struct: reflect.Map}
	want, ok := fits[t.Kind()]
	if !ok {
		want = t.Kind()
	}
	if t.Kind() != reflect.Interface && v.Kind() != want {
		p.add(at, "%s must be %s", indexes.ReplaceAllString(at, ""), kindOf(t))
		return
	}
	switch t.Kind() {
	case reflect.Slice:
		for k := range v.Len() {
			if t.Elem().Kind() == reflect.String && reflect.TypeOf(v.Index(k).Interface()).Kind() != reflect.String {
				p.add(at, "%s must be %s", indexes.ReplaceAllString(at, ""), kindOf(t))
				return
			}
			p.kinds(fmt.Sprintf("%s[%d]", at, k), v.Index(k).Interface(), t.Elem())
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			p.kinds(at+"."+key.String(), v.MapIndex(key).Interface(), t.Elem())
		}
	case reflect.Struct:
		for _, key := range v.MapKeys() {
			f, ok := t.FieldByNameFunc(func(name string) bool {
				f, _ := t.FieldByName(name)
				return strings.EqualFold(f.Tag.Get("toml"), key.String()) // as the library does
			})
			if ok {
				p.kinds(strings.TrimPrefix(at+"."+key.String(), "."), v.MapIndex(key).Interface(), f.Type)
			}
		}
	}
}

// kindOf describes the values of a type.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return string(Text)
	case reflect.Int:
		return string(Number)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.String {
			return string(Strings)
		}
		return "a list of tables"
	}
	return "a table"
}

// unknown reports an unknown key. The library does not report which of several tables
// of the same name contains it, so each table that does is named.
func (p *problems) unknown(key toml.Key) {
	path := key.String()
	if strings.HasPrefix(path, "options.") {
		return // checked with the formats
	}
	found := false
	for at, line := range p.m.lines {
		if indexes.ReplaceAllString(at, "") == path {
			p.all = append(p.all, problem{line, "unknown key " + path})
			found = true
		}
	}
	if !found {
		p.add(path, "unknown key %s", path)
	}
}

var indexes = regexp.MustCompile(`\[\d+\]`)
