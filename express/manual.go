package express

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
	"unicode"
)

// The manual in all its forms is written from the table of options.

// note adds to an option's help what the table knows beside it.
func (o *Option) note() string {
	s := o.Help
	if d := o.Default + o.Shown; d != "" && !strings.HasPrefix(d, "none") && d != "see notes" {
		s += " Default: " + d + "."
	}
	if o.Repeatable {
		s += " May be repeated."
	}
	if o.Since != "4.4.0" && o.Since != "" {
		s += " Needs mod_wsgi " + o.Since + "."
	}
	return s
}

// shownOptions are those of start-server that people are told about.
func shownOptions() []*Option {
	var shown []*Option
	for _, o := range Options() {
		if !o.Hidden {
			shown = append(shown, o)
		}
	}
	return shown
}

// manPage prints the manual page, in the language of man(7).
func manPage(_ context.Context, p *Program, _ *parsed) (int, error) {
	var b strings.Builder
	roff := strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`)
	fmt.Fprintf(&b, ".TH MOD_WSGI\\-EXPRESS 1 \"\" \"mod_wsgi\\-express %s\"\n", roff.Replace(p.Version))
	b.WriteString(".SH NAME\nmod_wsgi\\-express \\- serve Python WSGI applications through Apache httpd\n")
	b.WriteString(".SH SYNOPSIS\n.B mod_wsgi\\-express\n.I COMMAND\n[\\fIOPTIONS\\fR] [\\fIAPPLICATION\\fR]\n.SH COMMANDS\n")
	for _, c := range commands() {
		if c.hidden {
			continue
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s.\n", roff.Replace(strings.TrimSpace(c.name+" "+c.meta)), roff.Replace(sentence(c.help)))
	}
	b.WriteString(".SH OPTIONS\nThese are the options of start\\-server and setup\\-server.\n")
	group := ""
	for _, o := range shownOptions() {
		if o.Group != group {
			group = o.Group
			fmt.Fprintf(&b, ".SS %s\n", roff.Replace(group))
		}
		head := `\fB` + roff.Replace("--"+o.Name) + `\fR`
		for _, a := range o.Aliases {
			head += `, \fB` + roff.Replace(dashed(a)) + `\fR`
		}
		if o.Meta != "" {
			head += ` \fI` + roff.Replace(o.Meta) + `\fR`
		}
		fmt.Fprintf(&b, ".TP\n%s\n%s\n", head, roff.Replace(o.note()))
	}
	b.WriteString(".SH EXIT STATUS\n0 after a stop; 2 for a command line that makes no sense; 1 for what was in the way; else that of httpd, 128 and the number of the signal that ended it.\n")
	b.WriteString(".SH SEE ALSO\n.BR httpd (8),\n.BR modwsgi (1)\n")
	_, err := io.WriteString(p.Stdout, b.String())
	return 0, err
}

func sentence(s string) string { return string(unicode.ToUpper(rune(s[0]))) + s[1:] }

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// htmlManual is the page of --enable-docs.
func htmlManual() []byte {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>mod_wsgi-express</title></head><body>\n<h1>mod_wsgi-express</h1>\n")
	group := ""
	for _, o := range shownOptions() {
		if o.Group != group {
			if group != "" {
				b.WriteString("</dl>\n")
			}
			group = o.Group
			fmt.Fprintf(&b, "<h2>%s</h2>\n<dl>\n", html.EscapeString(group))
		}
		head := "--" + o.Name
		if o.Meta != "" {
			head += " " + o.Meta
		}
		fmt.Fprintf(&b, "<dt><code>%s</code></dt><dd>%s</dd>\n", html.EscapeString(head), html.EscapeString(o.note()))
	}
	b.WriteString("</dl>\n</body></html>\n")
	return []byte(b.String())
}

// listOptions prints the table as JSON, for the command of Django.
func listOptions(_ context.Context, p *Program, _ *parsed) (int, error) {
	type row struct {
		Name       string   `json:"name"`
		Aliases    []string `json:"aliases"`
		Values     int      `json:"values"`
		Repeatable bool     `json:"repeatable"`
		Meta       string   `json:"meta"`
		Help       string   `json:"help"`
		Group      string   `json:"group"`
		Hidden     bool     `json:"hidden"`
	}
	rows := []row{}
	for _, o := range Options() {
		rows = append(rows, row{o.Name, append([]string{}, o.Aliases...), o.Values, o.Repeatable, o.Meta, o.Help, o.Group, o.Hidden})
	}
	return 0, json.NewEncoder(p.Stdout).Encode(rows)
}

// printEnvironment is the hidden command behind --envvars-script.
func printEnvironment(_ context.Context, p *Program, _ *parsed) (int, error) {
	for _, kv := range p.Env {
		if _, err := io.WriteString(p.Stdout, kv+"\x00"); err != nil {
			return 1, err
		}
	}
	return 0, nil
}
