package tomlfile

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// flat lists the entries as "line path = value".
func flat(t *Table, prefix string) (all []string) {
	for _, e := range t.Entries {
		if sub, ok := e.Value.(*Table); ok {
			all = append(all, fmt.Sprintf("%d %s", e.Line, prefix+e.Key))
			all = append(all, flat(sub, prefix+e.Key+"/")...)
			continue
		}
		all = append(all, fmt.Sprintf("%d %s = %#v", e.Line, prefix+e.Key, e.Value))
	}
	return all
}

func TestPositionsAndOrder(t *testing.T) {
	doc, err := Parse(`# a comment
zebra = 1
apple = "x"

name."dotted.key" = true
inline = { b = 1, a = [1, "two"] }

[tool."mod_wsgi-express"]
port = 8000
list = [
  "a",
  "b",
]

[tool."mod_wsgi-express".url-alias]
"/z" = "z"
"/a" = "a"
[[many]]
k = 1.5
[[many]]
k = 2.5
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`2 zebra = 1`, `3 apple = "x"`, `5 name`, `5 name/dotted.key = true`, `6 inline`, `6 inline/b = 1`,
		`6 inline/a = []interface {}{1, "two"}`, `8 tool`, `8 tool/mod_wsgi-express`,
		`9 tool/mod_wsgi-express/port = 8000`, `10 tool/mod_wsgi-express/list = []interface {}{"a", "b"}`,
		`15 tool/mod_wsgi-express/url-alias`, `16 tool/mod_wsgi-express/url-alias//z = "z"`, `17 tool/mod_wsgi-express/url-alias//a = "a"`,
	}
	got := flat(doc, "")
	if len(got) < len(want) || !reflect.DeepEqual(got[:len(want)], want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if many, ok := doc.Get("many"); !ok || reflect.TypeOf(many.Value).Kind() != reflect.Slice {
		t.Errorf("%#v", many)
	}
}

func TestSyntaxErrors(t *testing.T) {
	for text, line := range map[string]int{
		"a = 1\nb = \n":          2,
		"a = 1\na = 2\n":         2,
		"x = 1\n\n[t\n":          4,
		"a = \"open\nb = 1\n":    1,
		"a = 01\n":               1,
		"a = \"\\q\"\n":          1,
		"a = 1 b = 2\n":          1,
		"[a]\nb = 1\n[a]\nc=1\n": 3,
		"a = \xff\n":             1,
	} {
		_, err := Parse(text)
		var s *SyntaxError
		if !errors.As(err, &s) || s.Line != line || s.Reason == "" {
			t.Errorf("%q: %v, want line %d", text, err, line)
		}
	}
}

// TestLargeFiles: a file that others may have written takes neither time nor memory.
func TestLargeFiles(t *testing.T) {
	for name, text := range map[string]string{
		"parts":  "\nx" + strings.Repeat(".x", 200000) + " = 1\n",
		"quotes": "\n" + strings.Repeat(`"x" . `, 100000) + "x = 1\n",
		"header": "\n[x" + strings.Repeat(".x", 200000) + "]\n",
		"tables": "\nx = " + strings.Repeat("{ x = ", 100000) + "1" + strings.Repeat(" }", 100000) + "\n",
	} {
		_, err := Parse(text)
		var s *SyntaxError
		if !errors.As(err, &s) || s.Line != 2 {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	var b strings.Builder
	for k := range 20000 {
		fmt.Fprintf(&b, "[tool.other%d]\nkey = 1\n", k)
	}
	b.WriteString("[tool.mine]\nport = 1\n")
	doc, err := Parse(b.String(), "tool", "mine")
	if err != nil {
		t.Fatal(err)
	}
	if got := flat(doc, ""); !reflect.DeepEqual(got, []string{"40001 tool", "40001 tool/mine", "40002 tool/mine/port = 1"}) {
		t.Errorf("%q", got)
	}
	if doc, err := Parse("a = 1\n", "tool", "mine"); err != nil || len(doc.Entries) != 0 {
		t.Errorf("%v, %v", doc, err)
	}
}
