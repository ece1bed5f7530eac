// Package tomlfile reads TOML that people write, and tells where each key is. It knows
// nothing about the keys.
package tomlfile

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Table is a table with its keys in the order of the file.
type Table struct {
	Entries []Entry
}

// Entry is a key and its value.
type Entry struct {
	Key   string
	Line  int // the first is 1; 0 if unknown
	Value any // string, int64, float64, bool, a time, []any (of the same kinds), or *Table
}

// Get returns the entry with a key.
func (t *Table) Get(key string) (Entry, bool) {
	k := slices.IndexFunc(t.Entries, func(e Entry) bool { return e.Key == key })
	if k < 0 {
		return Entry{}, false
	}
	return t.Entries[k], true
}

// SyntaxError is text that is not TOML.
type SyntaxError struct {
	Line   int // the first is 1; 0 if unknown
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// A key with many parts, or tables in tables, take memory with the square of their number.
// No file of a person has them.
var tooDeep = []*regexp.Regexp{
	regexp.MustCompile(`(?:["']?[\w-]+["']?[ \t]*\.[ \t]*){50}`),
	regexp.MustCompile(`(?:\{\s*["']?[\w.-]+["']?\s*=\s*){50}`),
}

// Parse reads a document, or only the table at a path of keys and those around it. The
// error is a *SyntaxError.
func Parse(text string, path ...string) (*Table, error) {
	for _, re := range tooDeep {
		if at := re.FindStringIndex(text); at != nil {
			return nil, &SyntaxError{Line: 1 + strings.Count(text[:at[0]], "\n"), Reason: "too many parts in a key"}
		}
	}
	var top map[string]toml.Primitive
	md, err := toml.Decode(text, &top)
	if err != nil {
		return nil, syntax(err)
	}
	r := reader{md: md, ordered: md.Keys(), only: path}
	return r.table(top, nil)
}

func syntax(err error) *SyntaxError {
	var at toml.ParseError
	if errors.As(err, &at) && at.Message != "" {
		return &SyntaxError{Line: at.Position.Line, Reason: at.Message}
	}
	return &SyntaxError{Line: at.Position.Line, Reason: strings.TrimPrefix(strings.TrimSpace(err.Error()), "toml: ")}
}

type reader struct {
	md      toml.MetaData
	ordered []toml.Key
	only    []string
}

// table reads a table whose values are not decoded yet.
func (r *reader) table(values map[string]toml.Primitive, at toml.Key) (*Table, error) {
	t := &Table{}
	for _, key := range r.keys(values, at) {
		value := values[key]
		path := append(slices.Clone(at), key)
		e := Entry{Key: key, Line: r.line(value)}
		if err := r.md.PrimitiveDecode(value, &e.Value); err != nil {
			return nil, syntax(err)
		}
		if _, ok := e.Value.(map[string]any); ok {
			var inner map[string]toml.Primitive
			if err := r.md.PrimitiveDecode(value, &inner); err != nil {
				return nil, syntax(err)
			}
			sub, err := r.table(inner, path)
			if err != nil {
				return nil, err
			}
			if e.Line == 0 && len(sub.Entries) > 0 { // a table that only its keys or subtables name
				e.Line = sub.Entries[0].Line
			}
			e.Value = sub
		} else {
			e.Value = listed(e.Value)
		}
		t.Entries = append(t.Entries, e)
	}
	return t, nil
}

// listed returns a value with one kind of lists and one kind of tables. The library does
// not tell where the keys of tables in lists are; they are sorted.
func listed(value any) any {
	switch v := value.(type) {
	case []map[string]any:
		list := []any{}
		for _, table := range v {
			list = append(list, listed(table))
		}
		return list
	case []any:
		list := []any{}
		for _, element := range v {
			list = append(list, listed(element))
		}
		return list
	case map[string]any:
		t := &Table{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			t.Entries = append(t.Entries, Entry{Key: key, Value: listed(v[key])})
		}
		return t
	}
	return value
}

// keys returns the keys of a table in the order of the file.
func (r *reader) keys(values map[string]toml.Primitive, at toml.Key) []string {
	if len(at) < len(r.only) {
		if _, ok := values[r.only[len(at)]]; ok {
			return r.only[len(at) : len(at)+1]
		}
		return nil
	}
	var keys []string
	for _, path := range r.ordered {
		if len(path) <= len(at) || !slices.Equal(path[:len(at)], at) {
			continue
		}
		if key := path[len(at)]; !slices.Contains(keys, key) {
			if _, ok := values[key]; ok {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// located refuses every value, because the library reports positions only in errors.
type located struct{}

func (located) UnmarshalTOML(any) error { return errors.New("located") }

func (r *reader) line(value toml.Primitive) int {
	var at toml.ParseError
	if errors.As(r.md.PrimitiveDecode(value, &located{}), &at) {
		return at.Position.Line
	}
	return 0
}
