package option_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"modwsgi/express/option"
	"modwsgi/express/option/markdown"
)

var since option.Attribute[string]

var (
	port    = option.Number("port", "8000", "NUMBER", "TCP port to listen on.").Check(option.Between(1, 65535))
	name    = option.Text("name", "", "NAME", "Name of the server.").DefaultText("localhost")
	colour  = option.Text("colour", "red", "WHICH", "Colour of the page.").Among(true, "red", "green").Alias("color").With(since.Is("2.0"), option.Note("Needs 2.0."))
	path    = option.Texts("path", "DIRECTORY", "Directory with modules.")
	setting = option.Pairs("setting", "NAME VALUE", "A setting.").MayBeEmpty()
	ratio   = option.Fraction("ratio", "0.5", "FRACTION", "How much.").Check(option.Part)
	quiet   = option.Toggle("quiet", "Print nothing.")
	secret  = option.Toggle("secret", "Not for everybody.").Hide()
	old     = option.Toggle("old", "").Removed("no longer exists; use --quiet")
	windows = option.Toggle("fork", "Fork.")
	help    = option.HelpFlag("Show this help.")
)

func command() *option.Command {
	return &option.Command{Name: "serve", Summary: "serve pages", Arguments: 1, Meta: "[PAGE]", Table: &option.Table{
		Groups: []*option.Group{
			option.NewGroup("Listening", port, name),
			option.NewGroup("Other", colour, path, setting, ratio, quiet, secret, old, windows, help),
		},
		Refused: func(o *option.Option) string {
			if o == windows.Option {
				return "is for other systems"
			}
			return ""
		},
	}}
}

func Example() {
	line, err := option.Parse("pages", command(), strings.Fields("--port=81 --path a --path b index.html"))
	fmt.Println(port.In(line), path.In(line), line.Given(name), line.Positional, err)
	// Output: 81 [a b] false [index.html] <nil>
}

func TestValues(t *testing.T) {
	line, err := option.Parse("pages", command(), []string{
		"--setting", "A", "-x", "--setting=B", "", "--color", "GREEN", "--ratio", "0.25", "--qui", "--", "--port",
	})
	if err != nil {
		t.Fatal(err)
	}
	if port.In(line) != 8000 || colour.In(line) != "GREEN" || ratio.In(line) != 0.25 || !quiet.In(line) || secret.In(line) || name.In(line) != "" {
		t.Errorf("%+v", line.Values)
	}
	if got := setting.In(line); !slices.Equal(got, [][2]string{{"A", "-x"}, {"B", ""}}) {
		t.Errorf("%q", got)
	}
	if len(line.Warnings) != 1 || !strings.Contains(line.Warnings[0], "--qui is short for --quiet") || !slices.Equal(line.Positional, []string{"--port"}) {
		t.Errorf("%q %q", line.Warnings, line.Positional)
	}
	if line.Given(port) || !line.Given(colour) {
		t.Error("an option that was given is not reported as given")
	}
	var words []string
	for _, o := range command().Table.Options() {
		words = append(words, line.Again(o)...)
	}
	again, err := option.Parse("pages", command(), words)
	if err != nil || !slices.Equal(setting.In(again), setting.In(line)) || ratio.In(again) != 0.25 || colour.In(again) != "GREEN" || !quiet.In(again) {
		t.Errorf("%q: %v %+v", words, err, again)
	}
	port.Set(line, 9)
	if port.In(line) != 9 || line.Given(port) {
		t.Error("an option whose value was set is reported as given")
	}
}

func TestMistakes(t *testing.T) {
	for words, want := range map[string][2]string{
		"--port":           {"option --port needs NUMBER", "--port=NUMBER"},
		"--port --quiet":   {"option --port needs NUMBER", ""},
		"--port 0":         {"option --port: 0 is not between 1 and 65535", ""},
		"--port x":         {"option --port: \"x\" is not a whole number", ""},
		"--ratio NaN":      {"not between 0 and 1", ""},
		"--colour blue":    {"\"blue\" is not one of red, green", ""},
		"--color=":         {"option --color: the value is empty", "omit the option"},
		"--quiet=1":        {"takes no value", ""},
		"--setting A":      {"needs NAME VALUE", ""},
		"--prot 1":         {"no such option: --prot", "did you mean --port?"},
		"--secrt":          {"no such option: --secrt", ""},
		"--p 1":            {"ambiguous option: --p (--port, --path)", ""},
		"--old":            {"--old no longer exists; use --quiet", ""},
		"--fork":           {"--fork is for other systems", ""},
		"-p 1":             {"no such option: -p", "pages serve --help"},
		"a b":              {"serve takes one application; unexpected argument \"b\"", "quote"},
		"--name \x00 more": {"NUL", ""},
	} {
		_, err := option.Parse("pages", command(), strings.Fields(words))
		var u *option.UsageError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), want[0]) || !strings.Contains(u.Hint(), want[1]) {
			t.Errorf("%s: %v, want %q", words, err, want)
		}
	}
}

func TestAttributes(t *testing.T) {
	if since.Of(colour) != "2.0" || since.Of(colour.Option) != "2.0" || since.Of(port) != "" {
		t.Error("an attribute is missing")
	}
	if !option.Same(colour, colour.Option) || option.Same(colour, port) {
		t.Error("references to the same option differ")
	}
}

func TestWriteHelp(t *testing.T) {
	var b strings.Builder
	if err := option.WriteHelp(&b, "pages", command()); err != nil {
		t.Fatal(err)
	}
	const want = `Usage: pages serve [OPTIONS] [PAGE]

Serve pages.

Listening:
  --port NUMBER
        TCP port to listen on. [default: 8000]
  --name NAME
        Name of the server. [default: localhost]

Other:
  --colour WHICH
        Colour of the page. [default: red]
  --path DIRECTORY
        Directory with modules. [repeatable]
  --setting NAME VALUE
        A setting. [repeatable]
  --ratio FRACTION
        How much. [default: 0.5]
  --quiet
        Print nothing.
  -h, --help
        Show this help.
`
	if b.String() != want {
		t.Errorf("help is\n%s", b.String())
	}
}

func TestMarkdown(t *testing.T) {
	got := markdown.Table(command().Table, markdown.Column{Name: "since", Text: func(o *option.Option) string { return since.Of(o) }})
	for _, want := range []string{
		"### Listening\n\n| option | default | since | meaning |\n| --- | --- | --- | --- |\n| `--port NUMBER` | 8000 |  | TCP port to listen on. |\n",
		"| `--colour WHICH`, `--color` | red | 2.0 | Colour of the page. |\n",
		"| `--old` |  |  | *Gone:* no longer exists; use --quiet |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "--secret") {
		t.Error("a hidden option is shown")
	}
}

// TestRenderings checks that each rendering contains the visible options and omits
// hidden ones.
func TestRenderings(t *testing.T) {
	c := command()
	p := &option.Program{Name: "pages", Summary: "serve pages", Commands: []*option.Command{c, {Name: "complete", Summary: "complete", Meta: "SHELL", Words: option.Shells, Table: &option.Table{}}}}
	forms := map[string]string{
		"man":  strings.ReplaceAll(p.ManPage(&option.Manual{Version: "1", Synopsis: "PAGE", Table: c.Table, SeeAlso: []string{"httpd(8)"}}), `\-`, "-"),
		"html": string(c.Table.HTML("pages")),
	}
	for _, shell := range option.Shells {
		script, ok := p.Completion(shell)
		if !ok {
			t.Errorf("%s is not supported", shell)
		}
		forms[shell] = script
	}
	for form, text := range forms {
		if !strings.Contains(text, "colour") || !strings.Contains(text, "quiet") || strings.Contains(text, "secret") || strings.Contains(text, "-old") {
			t.Errorf("%s:\n%s", form, text)
		}
	}
	if !strings.Contains(forms["man"], "Colour of the page. Default: red. Needs 2.0.") || !strings.Contains(forms["man"], ".BR httpd (8)\n") {
		t.Error(forms["man"])
	}
	if _, ok := p.Completion("tcsh"); ok {
		t.Error("tcsh is supported")
	}
}
