package express

import (
	"fmt"
	"io"
	"modwsgi/express/host"
	"strings"
)

// helpWidth is the column at which help text is wrapped.
const helpWidth = 79

func usageLine(c *command) string {
	line := "Usage: mod_wsgi-express " + c.name + " [OPTIONS]"
	if c.meta != "" {
		line += " " + c.meta
	}
	return line
}

func writeCommands(w io.Writer) error {
	var b strings.Builder
	b.WriteString("Usage: mod_wsgi-express COMMAND [OPTIONS] [APPLICATION]\n\nCommands:\n")
	for _, c := range commands() {
		if !c.hidden {
			fmt.Fprintf(&b, "  %-16s %s\n", c.name, c.help)
		}
	}
	b.WriteString("\nmod_wsgi-express help COMMAND shows the options of a command, --version the version.\n\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func writeHelp(w io.Writer, c *command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s.\n", usageLine(c), strings.ToUpper(c.help[:1])+c.help[1:])
	last := ""
	for _, o := range c.options {
		if o.Hidden || o.Unix && !host.Unix { // the latter are refused there
			continue
		}
		if o.Group != last {
			fmt.Fprintf(&b, "\n%s:\n", o.Group)
			last = o.Group
		}
		writeOption(&b, o)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeOption(b *strings.Builder, o *Option) {
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
	if !o.Available() {
		words = append(words, "(Not available in this release.)")
	}
	if d := o.Default + o.Shown; d != "" && !strings.HasPrefix(d, "none") && d != "see notes" {
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
