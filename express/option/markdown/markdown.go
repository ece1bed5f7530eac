// Package markdown writes a table of options as Markdown, for the reference pages that
// tests keep up to date. No program contains it.
package markdown

import (
	"fmt"
	"strings"

	"modwsgi/express/option"
)

// Column is a column of the table between an option's default and its meaning.
type Column struct {
	Name string
	Text func(*option.Option) string
}

// Table returns one Markdown table per group. Removed options are in it; other hidden
// ones are not.
func Table(t *option.Table, columns ...Column) string {
	var b strings.Builder
	row := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	head := []string{"option", "default"}
	for _, c := range columns {
		head = append(head, c.Name)
	}
	head = append(head, "meaning")
	for _, g := range t.Groups {
		fmt.Fprintf(&b, "\n### %s\n\n", g.Name)
		row(head)
		row(strings.Split(strings.Repeat("---,", len(head)-1)+"---", ","))
		for _, o := range g.Options {
			if o.Hidden && o.Gone == "" {
				continue
			}
			row(cells(o, columns))
		}
	}
	return b.String() + "\n"
}

// cells returns the cells of an option's row.
func cells(o *option.Option, columns []Column) []string {
	escape := strings.NewReplacer("|", `\|`, "\n", " ").Replace
	value, help := o.Default, o.Help
	if o.Shown != "" {
		value = o.Shown
	}
	if o.Gone != "" {
		help = "*Gone:* " + o.Gone
	}
	out := []string{escape(name(o)), escape(value)}
	for _, c := range columns {
		out = append(out, escape(c.Text(o)))
	}
	return append(out, escape(help))
}

// name returns an option as it is written on the command line, with its other names.
func name(o *option.Option) string {
	s := "`" + o.Flag()
	if o.Meta != "" && o.Values > 0 {
		s += " " + o.Meta
	}
	s += "`"
	for _, alias := range o.Aliases {
		if len(alias) == 1 {
			s += ", `-" + alias + "`"
		} else {
			s += ", `--" + alias + "`"
		}
	}
	if o.Repeatable {
		s += " (repeatable)"
	}
	return s
}
