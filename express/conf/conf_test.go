package conf

import (
	"strings"
	"testing"
)

// words reads a line as httpd does: it expands ${NAME} once in the whole line, then
// splits it into words like ap_getword_conf. It is written from httpd's documentation
// and source, as a reference for testing Quote.
func words(line string, vars map[string]string) []string {
	var b strings.Builder
	for line != "" {
		start := strings.Index(line, "${")
		if start < 0 {
			break
		}
		end := strings.IndexByte(line[start:], '}')
		if end < 0 {
			break
		}
		name := line[start+2 : start+end]
		b.WriteString(line[:start])
		if v, ok := vars[name]; ok {
			b.WriteString(v)
		} else {
			b.WriteString(line[start : start+end+1])
		}
		line = line[start+end+1:]
	}
	line = strings.TrimSpace(b.String() + line)
	var all []string
	for line != "" {
		var w strings.Builder
		quote := byte(0)
		k := 0
		if line[0] == '"' || line[0] == '\'' {
			quote, k = line[0], 1
		}
		for ; k < len(line); k++ {
			c := line[k]
			if quote == 0 && (c == ' ' || c == '\t') || quote != 0 && c == quote {
				break
			}
			if c == '\\' && k+1 < len(line) && (line[k+1] == '\\' || quote != 0 && line[k+1] == quote) {
				k++
			}
			w.WriteByte(line[k])
		}
		all = append(all, w.String())
		line = strings.TrimLeft(line[min(k+1, len(line)):], " \t")
	}
	return all
}

var httpdVars = map[string]string{"MOD_WSGI_DOLLAR": "$", "HOME": "/home/evil", "": "empty"}

func checkQuote(t *testing.T, value string) {
	t.Helper()
	line := D("SetEnv", Word(value), Word("end")).fileLine(t)
	if strings.ContainsAny(line, "\n\r") || strings.HasSuffix(line, `\`) {
		t.Errorf("%q became %q, which is not one line", value, line)
	}
	got := words(line, httpdVars)
	if len(got) != 3 || got[1] != value || got[2] != "end" {
		t.Errorf("%q became %q, which httpd reads as %q", value, line, got)
	}
}

// fileLine returns the directive as written by Text.
func (d *Directive) fileLine(t *testing.T) string {
	t.Helper()
	var f File
	f.Add(d)
	text, err := f.Text()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return lines[len(lines)-1]
}

var hostile = []string{
	"", " ", "plain", `it's`, `say "hi"`, `back\slash`, `end\`, `end\\`, `\"`, `\\"`, `"\`, `'"'`, "${HOME}", "$${HOME}", "${", "${HOME", "x${", "}${HOME}{",
	"${${HOME}}", "$", "${}", "%{HTTP_HOST}", "# comment", "<Directory />", "a\tb", "grüße ✓", "\xff\xfe", "${MOD_WSGI_DOLLAR}{HOME}",
}

func TestQuoteIsReadBack(t *testing.T) {
	for _, v := range hostile {
		checkQuote(t, v)
	}
	for _, a := range hostile { // a brace opened in one word and closed in the next
		got := words(D("WSGIDaemonProcess", Word(a), Word("}"), Pair{"n", a}).fileLine(t), httpdVars)
		if got[1] != a || got[2] != "}" {
			t.Errorf("%q and } are read as %q", a, got)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, v := range hostile {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if Check(v) == "" {
			checkQuote(t, v)
		}
	})
}

func TestValuesThatCannotBeWritten(t *testing.T) {
	for _, v := range []string{"a\nb", "a\rb", "\x00", "\x1b[2J", "\x7f", strings.Repeat("x", MaxLine)} {
		var f File
		f.Add(S("Directory", []Arg{Word("/")}, D("SetEnv", Word("A"), Word(v)).From(flag("--setenv"))))
		text, err := f.Text()
		if err == nil || !strings.Contains(err.Error(), "--setenv") || text != "" {
			t.Errorf("%.20q: %v, %d bytes", v, err, len(text))
		}
	}
}

func TestGlob(t *testing.T) {
	for path, want := range map[string]string{
		"/plain path": "/plain path", "/a[b]": "/a[[]b]", "/x*?": "/x[*][?]", `/back\slash`: `/back\slash`, `/b\*`: `/b\\[*]`, "/\xff*": "/\xff[*]",
	} {
		if got := string(Glob(path)); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestGlobEach(t *testing.T) {
	for path, want := range map[string]string{
		"/plain path": "/plain path", `/a[b]/c\d/e.conf`: `/a[[]b]/c\d/e.conf`, `/c\d/x*\.conf`: `/c\d/x[*]\\.conf`, `/[/]/\`: `/[[]/]/\`,
	} {
		if got := string(GlobEach(path)); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestRegexpHoldsNoQuoteAndNoVariable(t *testing.T) {
	for _, v := range hostile {
		got := Regexp(v).text()
		if inner := got[1 : len(got)-1]; strings.Contains(inner, `"`) || strings.Contains(inner, "${") {
			t.Errorf("%q: %s", v, got)
		}
	}
}

func TestPipeWord(t *testing.T) {
	for v, want := range map[string]string{"/a b": `"/a b"`, `it's`: `"it's"`, `q"q`: `"q\"q"`, `b\s`: `"b\\s"`} {
		if got, err := PipeWord(v); err != nil || got != want {
			t.Errorf("%q: %s %v, want %s", v, got, err, want)
		}
	}
	if _, err := PipeWord(`end\`); err == nil {
		t.Error("a trailing backslash was accepted")
	}
}

// flag is an option by its name.
type flag string

func (f flag) Flag() string { return string(f) }

func TestOrigin(t *testing.T) {
	var f File
	f.Add(D("A"), S("Directory", []Arg{Word("/")}, D("B").From(flag("--b")), D("C")).From(flag("--dir")), D("E").From(flag("--e"), flag("--f")))
	text, err := f.Text()
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(text, "\n") {
		want := map[string]string{"B": "--b", "C": "--dir", "E": "--e --f", `<Directory "/">`: "--dir", "</Directory>": "--dir"}[strings.TrimSpace(line)]
		var flags []string
		for _, o := range f.Origins(n + 1) {
			flags = append(flags, o.Flag())
		}
		if got := strings.Join(flags, " "); got != want {
			t.Errorf("line %d, %q: %q, want %q", n+1, line, got, want)
		}
	}
}

func TestLineForForeignFilesDefinesNothing(t *testing.T) {
	if got := D("LoadModule", Key("m"), Word(`/a ${X}"b`)).Line(); got != `LoadModule m "/a ${X}\"b"` {
		t.Error(got)
	}
}

// TestPairs checks that pairs are accepted only for directives that split their line.
// Other directives would read the quotes as part of the value (WSGITelemetryService
// reads interval="1" as 0).
func TestPairs(t *testing.T) {
	for name, good := range map[string]bool{
		"WSGIDaemonProcess": true, "WSGIImportScript": true, "WSGIHandlerScript": true, "WSGITelemetryService": false, "ProxyPass": false,
	} {
		for _, n := range []Node{D(name, Word("x"), Pair{"a", "1"}), S("Location", []Arg{Word("/")}, D(name, Pair{"a", "1"}))} {
			f := File{Nodes: []Node{n}}
			if _, err := f.Text(); (err == nil) != good {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
