//go:build unix

package scripttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// jsonCommand is the command json. Standard output of the last program must be JSON
// values and nothing else. EVENT: chooses the last object whose "event" it is; without,
// the last value is meant. PATH has keys between dots, the number of an element, or
// key=value for the first element that has that; "." is the whole, length that of a
// list. VALUE is compared as text: strings as they are, everything else as JSON;
// between slashes it is a regular expression. Without VALUE the path must exist.
func jsonCommand(ts *testscript.TestScript, neg bool, args []string) {
	all, err := decodeAll(ts.ReadFile("stdout"))
	if err != nil {
		ts.Fatalf("standard output is not JSON: %v", err)
	}
	event := ""
	if len(args) > 0 && strings.HasSuffix(args[0], ":") {
		event, args = strings.TrimSuffix(args[0], ":"), args[1:]
	}
	if len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: json [EVENT:] PATH [VALUE]")
	}
	got, err := "", choose(&all, event)
	if err == nil {
		got, err = lookup(all[0], args[0])
	}
	switch {
	case neg && len(args) == 1:
		if err == nil {
			ts.Fatalf("%s exists: %s", args[0], got)
		}
	case err != nil:
		ts.Fatalf("%v", err)
	case len(args) == 2 && matches(ts, got, args[1]) == neg:
		ts.Fatalf("%s is %s", args[0], got)
	}
}

func decodeAll(text string) ([]any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var all []any
	for {
		var v any
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF) && len(all) == 0:
			return nil, errors.New("it is empty")
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, v)
	}
}

// choose leaves the value that is meant in all.
func choose(all *[]any, event string) error {
	for i := len(*all) - 1; i >= 0; i-- {
		object, _ := (*all)[i].(map[string]any)
		if event == "" || object["event"] == event {
			*all = (*all)[i : i+1]
			return nil
		}
	}
	return fmt.Errorf("there is no event %q", event)
}

func lookup(v any, path string) (string, error) {
	if path != "." {
		for key := range strings.SplitSeq(path, ".") {
			next, ok := child(v, key)
			if !ok {
				return "", fmt.Errorf("%s: %q does not exist in %s", path, key, text(v))
			}
			v = next
		}
	}
	return text(v), nil
}

func child(v any, key string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		next, ok := v[key]
		return next, ok
	case []any:
		if key == "length" {
			return json.Number(strconv.Itoa(len(v))), true
		}
		if name, want, ok := strings.Cut(key, "="); ok {
			for _, e := range v {
				if got, ok := child(e, name); ok && text(got) == want {
					return e, true
				}
			}
			return nil, false
		}
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(v) {
			return v[i], true
		}
	}
	return nil, false
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func matches(ts *testscript.TestScript, got, want string) bool {
	if len(want) > 1 && strings.HasPrefix(want, "/") && strings.HasSuffix(want, "/") {
		re, err := regexp.Compile(want[1 : len(want)-1])
		ts.Check(err)
		return re.MatchString(got)
	}
	return got == want
}
