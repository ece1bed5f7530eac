package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/internal/fault"
	"modwsgi/internal/version"
)

// man is "modwsgi man": the manual page of the program and all its commands.
func (a *app) man() *cobra.Command {
	return &cobra.Command{
		Use: "man", Args: noArgs, Short: "Print the manual page",
		RunE: func(c *cobra.Command, _ []string) error {
			if a.flags.json {
				return fault.New(fault.Usage, "leave --json out", "the manual page cannot be printed as JSON")
			}
			_, err := io.WriteString(a.Stdout, manualPage(c.Root()))
			return err
		},
	}
}

// roff escapes text for man(7), where a backslash starts an escape, a hyphen may
// become a typographic one that cannot be pasted, and a dot or an apostrophe at the
// beginning of a line starts a request.
func roff(s string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "…", "...").Replace(s), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// manualPage is generated from the commands and their flags. It has no date, so the
// same version always produces the same page.
func manualPage(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH MODWSGI 1 \"\" \"modwsgi %s\"\n", roff(version.Release))
	fmt.Fprintf(&b, ".SH NAME\nmodwsgi \\- %s\n", roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	b.WriteString(".SH SYNOPSIS\n.B modwsgi\n.I COMMAND\n[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n")
	manualText(&b, root.Long)
	b.WriteString(".SH COMMANDS\n")
	manualCommands(&b, root)
	b.WriteString(".SH OPTIONS\nEvery command accepts these options.\n")
	manualFlags(&b, root.PersistentFlags())
	b.WriteString(".SH EXIT STATUS\n0 is success. Other codes are the kind of failure: 1 a fault of the program, 2 the command line,\n" +
		"3 the environment, 4 a source archive, 5 a build, 6 placing, 7 verification, 8 another run holds the lock, 130 interrupted.\n")
	b.WriteString(".SH SEE ALSO\n.BR mod_wsgi\\-express (1),\n.BR mod_wsgi\\-apxs (1)\n")
	return b.String()
}

// manualCommands describes the subcommands of a command, recursively.
func manualCommands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		if c.HasAvailableSubCommands() && c.Name() != "completion" {
			manualCommands(b, c)
			continue
		}
		fmt.Fprintf(b, ".SS %s\n", roff(strings.TrimPrefix(c.CommandPath(), "modwsgi ")))
		text := c.Long
		if text == "" || c.Name() == "completion" {
			text = c.Short + "."
		}
		manualText(b, text)
		manualFlags(b, c.LocalNonPersistentFlags())
		if c.Example != "" {
			fmt.Fprintf(b, ".PP\nExamples:\n.PP\n.nf\n%s\n.fi\n", roff(c.Example))
		}
	}
}

// manualText writes running text; indented lines stay as they are.
func manualText(b *strings.Builder, text string) {
	verbatim := false
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		switch indented := strings.HasPrefix(line, " "); {
		case indented && !verbatim:
			b.WriteString(".nf\n")
			verbatim = true
		case !indented && verbatim:
			b.WriteString(".fi\n")
			verbatim = false
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(line) + "\n")
	}
	if verbatim {
		b.WriteString(".fi\n")
	}
}

func manualFlags(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		head := `\fB` + roff("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			head = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + head
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			head += ` \fI` + roff(strings.ToUpper(kind)) + `\fR`
		}
		fmt.Fprintf(b, ".TP\n%s\n%s\n", head, roff(strings.ReplaceAll(usage, "\n", " ")))
	})
}
