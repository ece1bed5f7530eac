package express

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"modwsgi/express/config"
	"modwsgi/express/console"
	"modwsgi/express/option"
	"modwsgi/internal/pages"
)

const (
	commandsBegin = "<!-- commands: written by go test ./express -run Docs -update -->\n"
	commandsEnd   = "<!-- end of commands -->\n"
)

// TestDocsHaveTheCommands keeps the list of commands on the page in step with the
// program.
func TestDocsHaveTheCommands(t *testing.T) {
	data, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), commandsBegin)
	_, after, ok2 := strings.Cut(rest, commandsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the commands", docsPath)
	}
	want := before + commandsBegin + commandTable() + commandsEnd + after
	switch {
	case string(data) == want:
	case !*update:
		t.Fatalf("the commands in %s are not those of the program: go test ./express -run Docs -update", docsPath)
	default:
		if err := os.WriteFile(docsPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func commandTable() string {
	var b strings.Builder
	b.WriteString("\n| command | meaning | options |\n| --- | --- | --- |\n")
	for _, c := range commands() {
		if c.Hidden {
			continue
		}
		var options []string
		for _, o := range c.Table.Options() {
			if !o.Hidden {
				options = append(options, "`--"+o.Name+"`")
			}
		}
		list := strings.Join(options, ", ")
		if len(options) > 10 {
			list = "all of the [options](#options)"
			for _, o := range c.Table.Options() {
				if !o.Hidden && !slices.Contains(config.Table().Options(), o) {
					list += ", `--" + o.Name + "`"
				}
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.TrimSpace(c.Name+" "+c.Meta), c.Summary, list)
	}
	return b.String() + "\n"
}

// accepted parses a command line without executing it.
func accepted(args []string) error {
	if len(args) == 0 {
		return option.Usage("", "no command")
	}
	if slices.Contains([]string{"help", "--help", "--version", "version"}, args[0]) {
		return nil
	}
	c, err := findCommand(args[0])
	if err != nil || c.raw {
		return err
	}
	line, err := option.Parse(console.Program, &c.Command, args[1:])
	if err == nil && len(line.Warnings) > 0 {
		return fmt.Errorf("warnings: %q", line.Warnings)
	}
	return err
}

// TestDocsCommands: the parser accepts every command line of the documentation: the
// command, its options with their values, and the number of arguments.
func TestDocsCommands(t *testing.T) {
	all, err := pages.Read("..")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	check := func(page string, line int, text string) {
		for _, words := range (pages.Command{Text: text}).Simple() {
			if args, ok := launcherCall(words); ok {
				checked++
				if err := accepted(args); err != nil {
					t.Errorf("%s:%d: %s\n\t%v", page, line, text, err)
				}
			}
		}
	}
	for _, p := range all {
		for _, b := range p.Blocks() {
			for _, c := range b.Commands() {
				check(c.Page, c.Line, c.Text)
			}
			for i, line := range strings.Split(b.Text, "\n") { // from a unit, a Dockerfile, a workflow
				_, call, ok := strings.Cut(line, "mod_wsgi-express ")
				if ok && b.Lang != "console" && b.Lang != "sh" && b.Lang != "text" && !strings.ContainsAny(call, "[(") {
					check(p.Name, b.Line+i, "mod_wsgi-express "+strings.TrimSuffix(call, `\`))
				}
			}
		}
		for _, code := range p.Code() {
			checkOptions(t, fmt.Sprintf("%s:%d", p.Name, code.Line), code.Target)
		}
	}
	if checked < 5 {
		t.Errorf("only %d command lines were found", checked)
	}
}

// launcherCall returns the arguments that a command line passes to the launcher, called
// by its name, as a Python module, or by Django's command.
func launcherCall(words []string) ([]string, bool) {
	if args, ok := pages.Program(words, "mod_wsgi-express"); ok {
		return args, true
	}
	if i := slices.Index(words, "mod_wsgi.express"); i > 0 && words[i-1] == "-m" {
		return words[i+1:], true
	}
	if i := slices.Index(words, "runmodwsgi"); i > 0 {
		return append([]string{"start-server"}, words[i+1:]...), true
	}
	return nil, false
}

// checkOptions checks that the name and the options of a command in running text exist.
// Such text often shows only part of a command line, so values are not checked.
func checkOptions(t *testing.T, at, text string) {
	t.Helper()
	words := strings.Fields(text)
	args, ok := pages.Program(words, "mod_wsgi-express")
	if !ok || len(args) == 0 || strings.ToUpper(args[0]) == args[0] || strings.HasPrefix(args[0], "-") || args[0] == "help" {
		return
	}
	c, err := findCommand(args[0])
	if err != nil {
		t.Errorf("%s: %s: %v", at, text, err)
		return
	}
	for _, w := range args[1:] {
		if name, ok := strings.CutPrefix(w, "--"); ok && name != "" && !c.raw {
			name, _, _ = strings.Cut(name, "=")
			if o, abbreviated, _ := c.Table.Lookup(name); o == nil || abbreviated {
				t.Errorf("%s: %s has no option --%s", at, text, name)
			}
		}
	}
}

func TestDocsCommandsRefuses(t *testing.T) {
	for _, wrong := range []string{"", "strat-server", "start-server a b", "start-server --prot 1", "start-server --port", "stop x", "start-server --thread 3"} {
		if accepted(strings.Fields(wrong)) == nil {
			t.Errorf("%q was accepted", wrong)
		}
	}
}
