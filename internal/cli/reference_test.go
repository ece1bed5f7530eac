package cli

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/internal/fault"
	"modwsgi/internal/pages"
)

const (
	referencePage  = "../../docs/reference/modwsgi.md"
	referenceBegin = "<!-- commands: written by go test ./internal/cli -run Reference -update -->\n"
	referenceEnd   = "<!-- end of commands -->\n"
)

// classNames are the manual's names of the classes of errors.
var classNames = map[fault.Class]string{
	fault.Internal: "internal", fault.Usage: "usage", fault.Environment: "environment", fault.Source: "source", fault.Build: "build",
	fault.Place: "place", fault.Verify: "verify", fault.Busy: "busy", fault.Outdated: "outdated", fault.Interrupted: "interrupted",
}

// TestReference keeps the reference page consistent with the program.
func TestReference(t *testing.T) {
	data, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), referenceBegin)
	_, after, ok2 := strings.Cut(rest, referenceEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the commands", referencePage)
	}
	root := testRoot()
	root.InitDefaultCompletionCmd()
	want := before + referenceBegin + reference(root) + referenceEnd + after
	switch {
	case string(data) == want:
	case !*update:
		t.Fatalf("%s differs from the program: go test ./internal/cli -run Reference -update", referencePage)
	default:
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func testRoot() *cobra.Command {
	a := &app{Process: Process{Stdout: new(strings.Builder), Stderr: new(strings.Builder)}}
	return a.root()
}

// reference is the text for all commands.
func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("\n## Options of every command\n\n")
	referenceFlags(&b, root.PersistentFlags())
	referenceExitCodes(&b)
	referenceCommands(&b, root)
	return b.String() + "\n"
}

func referenceExitCodes(b *strings.Builder) {
	b.WriteString("\n## Exit codes of every command\n\n| code | class |\n| --- | --- |\n| 0 | success |\n")
	type row struct {
		code  int
		class fault.Class
	}
	var rows []row
	for class, code := range exitCodes {
		rows = append(rows, row{code, class})
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.code, b.code) })
	for _, r := range rows {
		fmt.Fprintf(b, "| %d | %s |\n", r.code, classNames[r.class])
	}
	fmt.Fprintf(b, "| %d | standard output was closed |\n", unread)
}

func referenceCommands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		fmt.Fprintf(b, "\n## %s\n\n", c.CommandPath())
		if c.Name() == "completion" {
			var shells []string
			for _, s := range c.Commands() {
				shells = append(shells, "`"+s.CommandPath()+"`")
			}
			fmt.Fprintf(b, "Prints a completion script: %s.\n", strings.Join(shells, ", "))
			continue
		}
		fmt.Fprintf(b, "%s.\n", strings.TrimSuffix(c.Short, "."))
		if c.Runnable() {
			fmt.Fprintf(b, "\n```text\n%s\n```\n", c.UseLine())
		}
		referenceText(b, c.Long)
		if c.Example != "" {
			b.WriteString("\n```sh\n")
			for line := range strings.Lines(c.Example) {
				b.WriteString(strings.TrimPrefix(strings.TrimRight(line, "\n"), "  ") + "\n")
			}
			b.WriteString("```\n")
		}
		if flags := c.LocalNonPersistentFlags(); flags.HasAvailableFlags() {
			b.WriteString("\n")
			referenceFlags(b, flags)
		}
		referenceCommands(b, c)
	}
}

// referenceText writes paragraphs; indented lines become a block.
func referenceText(b *strings.Builder, text string) {
	if text == "" {
		return
	}
	block := false
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		indented := strings.HasPrefix(line, "  ")
		switch {
		case indented && !block:
			b.WriteString("\n```text\n")
		case !indented && block:
			b.WriteString("```\n")
		case line != "" && !indented && strings.HasSuffix(b.String(), "```\n"):
			b.WriteString("\n")
		}
		block = indented
		if indented {
			b.WriteString(strings.TrimPrefix(line, "  ") + "\n")
		} else if line != "" || !strings.HasSuffix(b.String(), "\n\n") {
			b.WriteString(prose.Replace(line) + "\n")
		}
	}
	if block {
		b.WriteString("```\n")
	}
}

// prose escapes what Markdown would interpret as markup.
var prose = strings.NewReplacer("<", "\\<", "*", "\\*", "|", "\\|", "mod_wsgi", "mod\\_wsgi")

// kinds are more specific names of values than pflag's.
var kinds = map[string]string{"string": "VALUE", "strings": "LIST", "stringArray": "VALUE", "int": "NUMBER", "duration": "TIME"}

func referenceFlags(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| option | default | meaning |\n| --- | --- | --- |\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		head := "`--" + f.Name
		if kind != "" {
			head += " " + cmp.Or(kinds[kind], strings.ToUpper(kind))
		}
		head = strings.ReplaceAll(head, "|", `\|`) + "`"
		if f.Shorthand != "" {
			head = "`-" + f.Shorthand + "`, " + head
		}
		def := f.DefValue
		if def == "false" || def == "[]" || def == "0" {
			def = ""
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", head, def, prose.Replace(strings.ReplaceAll(usage, "\n", " ")))
	})
}

// TestExitCodesPage: the page explains exactly the program's codes.
func TestExitCodesPage(t *testing.T) {
	data, err := os.ReadFile("../../docs/reference/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	own, _, _ := strings.Cut(string(data), "\n## ") // the rest is about the other programs
	for line := range strings.Lines(own) {
		var code int
		if n, _ := fmt.Sscanf(line, "| %d |", &code); n == 1 {
			rows++
			known := code == 0 || code == unread
			for class, c := range exitCodes {
				known = known || c == code && strings.Contains(line, "| "+classNames[class]+" |")
			}
			if !known {
				t.Errorf("the program has no such code: %s", line)
			}
		}
	}
	if rows != len(exitCodes)+2 {
		t.Errorf("%d codes are explained, the program has %d", rows, len(exitCodes)+2)
	}
}

// TestCommandsOfThePages: the parser accepts every command line of the documentation:
// the command, its options with their values, and the number of arguments.
func TestCommandsOfThePages(t *testing.T) {
	all, err := pages.Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, p := range all {
		for _, b := range p.Blocks() {
			for _, c := range b.Commands() {
				for _, words := range c.Simple() {
					if args, ok := pages.Program(words, "modwsgi"); ok {
						checked++
						if err := accepted(args); err != nil {
							t.Errorf("%s:%d: %s\n\t%v", c.Page, c.Line, c.Text, err)
						}
					}
				}
			}
		}
		for _, code := range p.Code() {
			words := pages.Command{Text: code.Target}.Simple()
			if len(words) != 1 {
				continue
			}
			args, ok := pages.Program(words[0], "modwsgi")
			if ok && len(args) > 0 && !slices.Contains(args, "--help") && !placeholders.MatchString(args[0]) {
				exists(t, fmt.Sprintf("%s:%d", p.Name, code.Line), "modwsgi "+strings.Join(args, " "))
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d command lines were found", checked)
	}
}

// placeholders stand for a command or its options.
var placeholders = regexp.MustCompile(`^([A-Z]+|-+[a-z]*|…|completion)$`)

// accepted parses a command line without running it.
func accepted(args []string) error {
	root := testRoot()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	if slices.Equal(args, []string{"--help"}) || slices.Equal(args, []string{"--version"}) {
		return nil
	}
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	c.InitDefaultHelpFlag()
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if help, _ := c.Flags().GetBool("help"); help {
		return nil
	}
	if c == root || !c.Runnable() {
		return fmt.Errorf("%s is not complete", c.CommandPath())
	}
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		return err
	}
	return c.ValidateRequiredFlags()
}

func TestAcceptedRefuses(t *testing.T) {
	for _, wrong := range []string{"instal", "install --pyhton .venv", "install --jobs", "install surplus", "cache info", "list --python"} {
		if accepted(strings.Fields(wrong)) == nil {
			t.Errorf("%s was accepted", wrong)
		}
	}
}
