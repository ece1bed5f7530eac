package option

import (
	"fmt"
	"slices"
	"strings"

	"modwsgi/internal/quote"
)

// Program describes a program for completion scripts and manuals.
type Program struct {
	Name     string
	Summary  string // for the manual
	Commands []*Command
}

// Shells lists the shells that Completion supports.
var Shells = []string{"bash", "zsh", "fish"}

// Completion returns a completion script for one of Shells, and whether the shell is
// supported.
func (p *Program) Completion(shell string) (string, bool) {
	write, ok := map[string]func(*strings.Builder){"bash": p.bash, "zsh": p.zsh, "fish": p.fish}[shell]
	if !ok {
		return "", false
	}
	var b strings.Builder
	write(&b)
	return b.String(), true
}

// shown returns the commands that are not hidden.
func (p *Program) shown() []*Command {
	return slices.DeleteFunc(slices.Clone(p.Commands), func(c *Command) bool { return c.Hidden })
}

// function returns the name of the completion function.
func (p *Program) function() string { return "_" + strings.ReplaceAll(p.Name, "-", "_") }

// completed returns the options that a shell should offer.
func (c *Command) completed() []*Option {
	var shown []*Option
	for _, g := range c.Table.Groups {
		shown = append(shown, g.shown()...)
	}
	return shown
}

// options returns the options of all commands. Of several options with the same name,
// it returns the first.
func (p *Program) options() []*Option {
	var all []*Option
	for _, c := range p.shown() {
		for _, o := range c.completed() {
			if !slices.ContainsFunc(all, func(other *Option) bool { return other.Name == o.Name }) {
				all = append(all, o)
			}
		}
	}
	return all
}

// words returns the command with a fixed set of arguments, and these arguments.
func (p *Program) words() (c *Command, words string) {
	for _, c := range p.shown() {
		if c.Words != nil {
			return c, strings.Join(c.Words, " ")
		}
	}
	return &Command{}, ""
}

// takes returns the type of the last word of the value: "file", "directory" or "".
func (o *Option) takes() string {
	switch o.Meta[strings.LastIndex(o.Meta, " ")+1:] {
	case "FILE", "SCRIPT", "PATH", "STEM":
		return "file"
	case "DIRECTORY":
		return "directory"
	}
	return ""
}

func (p *Program) bash(b *strings.Builder) {
	fmt.Fprintf(b, "# %[1]s completion for bash: source this file.\n"+
		"%[2]s_paths() { # names may contain spaces\n    local IFS=$'\\n'\n    COMPREPLY=( $(compgen \"$1\" -- \"$cur\") )\n    compopt -o filenames 2>/dev/null || true\n}\n"+
		"%[2]s() {\n"+
		"    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n    COMPREPLY=()\n", p.Name, p.function())
	var names, files, dirs, values []string
	for _, c := range p.shown() {
		names = append(names, c.Name)
	}
	options := p.options()
	for _, o := range options {
		switch {
		case o.takes() == "file" && o.Values == 1:
			files = append(files, o.Flag())
		case o.takes() == "directory":
			dirs = append(dirs, o.Flag())
		case o.Values > 0 && o.takes() == "" && o.Words == nil:
			values = append(values, o.Flag())
		}
	}
	fmt.Fprintf(b, "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=( $(compgen -W '%s' -- \"$cur\") )\n        return\n    fi\n", strings.Join(names, " "))
	fmt.Fprintf(b, "    case $prev in\n    %s)\n        %s_paths -f; return ;;\n", strings.Join(files, "|"), p.function())
	fmt.Fprintf(b, "    %s)\n        %s_paths -d; return ;;\n", strings.Join(dirs, "|"), p.function())
	for _, o := range options {
		if o.Words != nil {
			fmt.Fprintf(b, "    %s)\n        COMPREPLY=( $(compgen -W '%s' -- \"$cur\") ); return ;;\n", o.Flag(), strings.Join(o.Words, " "))
		}
	}
	c, words := p.words()
	fmt.Fprintf(b, "    %s)\n        return ;;\n    esac\n", strings.Join(values, "|"))
	fmt.Fprintf(b, "    case $cur in\n    -*) ;;\n    *)\n        if [ \"${COMP_WORDS[1]}\" = %s ]; then\n            COMPREPLY=( $(compgen -W '%s' -- \"$cur\") )\n"+
		"        else\n            %s_paths -f\n        fi\n        return ;;\n    esac\n    case ${COMP_WORDS[1]} in\n", c.Name, words, p.function())
	for _, c := range p.shown() {
		var flags []string
		for _, o := range c.completed() {
			flags = append(flags, o.Flag())
		}
		fmt.Fprintf(b, "    %s) COMPREPLY=( $(compgen -W '%s' -- \"$cur\") ) ;;\n", c.Name, strings.Join(flags, " "))
	}
	fmt.Fprintf(b, "    esac\n}\ncomplete -F %s %s\n", p.function(), p.Name)
}

func (p *Program) zsh(b *strings.Builder) {
	fmt.Fprintf(b, "#compdef %[1]s\n# %[1]s completion for zsh: put this file as _%[1]s into a directory of $fpath.\n"+
		"%[2]s() {\n  local -a commands\n  commands=(\n", p.Name, p.function())
	for _, c := range p.shown() {
		fmt.Fprintf(b, "    %s\n", quote.Shell(c.Name+":"+c.Summary))
	}
	b.WriteString("  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n")
	for _, c := range p.shown() {
		fmt.Fprintf(b, "  %s)\n    _arguments", c.Name)
		for _, o := range c.completed() {
			fmt.Fprintf(b, " \\\n      %s", quote.Shell(o.zsh()))
		}
		switch {
		case c.Words != nil:
			fmt.Fprintf(b, " \\\n      '1:%s:(%s)'", strings.ToLower(c.Meta), strings.Join(c.Words, " "))
		case c.Arguments > 0:
			b.WriteString(" \\\n      '*:file:_files'")
		}
		b.WriteString("\n    ;;\n")
	}
	fmt.Fprintf(b, "  esac\n}\n%s \"$@\"\n", p.function())
}

// zsh returns the option in the syntax of _arguments.
func (o *Option) zsh() string {
	escape := strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`)
	spec := o.Flag() + "[" + escape.Replace(o.Help) + "]"
	if o.Repeatable {
		spec = "*" + spec
	}
	for k, meta := range strings.Fields(o.Meta) {
		action := ""
		if o.Words != nil {
			action = "(" + strings.Join(o.Words, " ") + ")"
		} else if k == o.Values-1 {
			action = map[string]string{"file": "_files", "directory": "_files -/"}[o.takes()]
		}
		spec += ":" + escape.Replace(meta) + ":" + action
	}
	return spec
}

func (p *Program) fish(b *strings.Builder) {
	quoted := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	fmt.Fprintf(b, "# %[1]s completion for fish: put this file as %[1]s.fish into ~/.config/fish/completions.\n", p.Name)
	for _, c := range p.shown() {
		fmt.Fprintf(b, "complete -c %s -n __fish_use_subcommand -f -a %s -d %s\n", p.Name, c.Name, quoted(c.Summary))
	}
	c, words := p.words()
	fmt.Fprintf(b, "complete -c %s -n '__fish_seen_subcommand_from %s' -f -a '%s'\n", p.Name, c.Name, words)
	for _, c := range p.shown() {
		for _, o := range c.completed() {
			flags := ""
			switch {
			case o.takes() != "":
				flags = " -r -F"
			case o.Words != nil:
				flags = " -x -a " + quoted(strings.Join(o.Words, " "))
			case o.Values > 0:
				flags = " -x"
			}
			fmt.Fprintf(b, "complete -c %s -n '__fish_seen_subcommand_from %s' -l %s%s -d %s\n", p.Name, c.Name, o.Name, flags, quoted(o.Help))
		}
	}
}
