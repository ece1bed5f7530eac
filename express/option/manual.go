package option

import (
	"fmt"
	"html"
	"strings"
	"unicode"
)

// about returns the option's help, with further facts from the table.
func (o *Option) about() string {
	s := o.Help
	if d := o.defaultText(); d != "" {
		s += " Default: " + d + "."
	}
	if o.Repeatable {
		s += " May be repeated."
	}
	for _, note := range o.notes {
		s += " " + note
	}
	return s
}

// Manual holds the parts of a manual page that do not come from tables.
type Manual struct {
	Version    string // of the program
	Synopsis   string // placeholders for the arguments, without the command
	Options    string // introduction to the options of Table
	Table      *Table
	ExitStatus string
	SeeAlso    []string // pages with their section, such as httpd(8)
}

// ManPage returns the program's manual page for section 1, in man(7) format.
func (p *Program) ManPage(m *Manual) string {
	var b strings.Builder
	roff := strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace
	name := roff(p.Name)
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s %s\"\n", strings.ToUpper(name), name, roff(m.Version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", name, roff(p.Summary))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I COMMAND\n[\\fIOPTIONS\\fR] [\\fI%s\\fR]\n.SH COMMANDS\n", name, roff(m.Synopsis))
	for _, c := range p.shown() {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s.\n", roff(strings.TrimSpace(c.Name+" "+c.Meta)), roff(sentence(c.Summary)))
	}
	fmt.Fprintf(&b, ".SH OPTIONS\n%s\n", roff(m.Options))
	for _, g := range m.Table.Groups {
		options := g.shown()
		if len(options) > 0 {
			fmt.Fprintf(&b, ".SS %s\n", roff(g.Name))
		}
		for _, o := range options {
			head := `\fB` + roff(o.Flag()) + `\fR`
			for _, a := range o.Aliases {
				head += `, \fB` + roff(dashed(a)) + `\fR`
			}
			if o.Meta != "" {
				head += ` \fI` + roff(o.Meta) + `\fR`
			}
			fmt.Fprintf(&b, ".TP\n%s\n%s\n", head, roff(o.about()))
		}
	}
	fmt.Fprintf(&b, ".SH EXIT STATUS\n%s\n.SH SEE ALSO\n", m.ExitStatus)
	for k, page := range m.SeeAlso {
		title, section, _ := strings.Cut(page, "(")
		comma := ","
		if k == len(m.SeeAlso)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, ".BR %s (%s%s\n", title, section, comma)
	}
	return b.String()
}

func sentence(s string) string { return string(unicode.ToUpper(rune(s[0]))) + s[1:] }

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// HTML returns the table as an HTML page.
func (t *Table) HTML(title string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%[1]s</title></head><body>\n<h1>%[1]s</h1>\n", html.EscapeString(title))
	open := false
	for _, g := range t.Groups {
		options := g.shown()
		if len(options) == 0 {
			continue
		}
		if open {
			b.WriteString("</dl>\n")
		}
		open = true
		fmt.Fprintf(&b, "<h2>%s</h2>\n<dl>\n", html.EscapeString(g.Name))
		for _, o := range options {
			head := o.Flag()
			if o.Meta != "" {
				head += " " + o.Meta
			}
			fmt.Fprintf(&b, "<dt><code>%s</code></dt><dd>%s</dd>\n", html.EscapeString(head), html.EscapeString(o.about()))
		}
	}
	b.WriteString("</dl>\n</body></html>\n")
	return []byte(b.String())
}
