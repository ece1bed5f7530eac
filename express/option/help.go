package option

import (
	"fmt"
	"io"
	"strings"
)

// helpWidth is the column at which help text is wrapped.
const helpWidth = 79

// UsageLine returns the usage line of a command.
func UsageLine(program string, c *Command) string {
	line := "Usage: " + program + " " + c.Name + " [OPTIONS]"
	if c.Meta != "" {
		line += " " + c.Meta
	}
	return line
}

// WriteHelp writes the help of a command: its usage, its summary, and its options,
// except those that this machine does not support.
func WriteHelp(w io.Writer, program string, c *Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s.\n", UsageLine(program, c), sentence(c.Summary))
	for _, g := range c.Table.Groups {
		headed := false
		for _, o := range g.shown() {
			if c.Table.refused(o) != "" {
				continue
			}
			if !headed {
				fmt.Fprintf(&b, "\n%s:\n", g.Name)
				headed = true
			}
			o.writeHelp(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *Option) writeHelp(b *strings.Builder) {
	head := "  --" + o.Name
	if o.Meta != "" {
		head += " " + o.Meta
	}
	for _, a := range o.Aliases {
		if len(a) == 1 {
			head = "  -" + a + "," + head[1:]
		}
	}
	b.WriteString(head + "\n")
	words := strings.Fields(o.Help)
	if d := o.defaultText(); d != "" {
		words = append(words, "[default: "+d+"]")
	}
	if o.Repeatable {
		words = append(words, "[repeatable]")
	}
	line := "       "
	for _, word := range words {
		if len(line)+1+len(word) > helpWidth {
			b.WriteString(line + "\n")
			line = "       "
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// defaultText returns the default to show in help and manual, or "".
func (o *Option) defaultText() string {
	d := o.Default + o.Shown
	if strings.HasPrefix(d, "none") || d == "see notes" {
		return ""
	}
	return d
}
