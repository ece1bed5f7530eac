package express

import (
	"context"
	"fmt"
	"io"
	"strings"

	"modwsgi/internal/run"
)

// completion prints a script that completes our command line in a shell.
func completion(_ context.Context, p *Program, c *parsed) (int, error) {
	if len(c.server.positional) != 1 {
		return exitUsage, usage("completion", "", "completion needs the name of a shell: bash, zsh or fish")
	}
	write, ok := map[string]func(*strings.Builder){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.server.positional[0]]
	if !ok {
		return exitUsage, usage("completion", "", "%q is not one of bash, zsh, fish", c.server.positional[0])
	}
	var b strings.Builder
	write(&b)
	_, err := io.WriteString(p.Stdout, b.String())
	return 0, err
}

// shells are those that we complete command lines in.
var shells = []string{"bash", "zsh", "fish"}

func shownCommands() []*command {
	var shown []*command
	for _, c := range commands() {
		if !c.hidden {
			shown = append(shown, c)
		}
	}
	return shown
}

// completed are the options of a command that a shell offers.
func (c *command) completed() []*Option {
	var shown []*Option
	for _, o := range c.options {
		if !o.Hidden {
			shown = append(shown, o)
		}
	}
	return shown
}

// takes tells what a value is: "file", "directory" or "".
func (o *Option) takes() string {
	last := o.Meta[strings.LastIndex(o.Meta, " ")+1:]
	switch last {
	case "FILE", "SCRIPT", "PATH", "STEM":
		return "file"
	case "DIRECTORY":
		return "directory"
	}
	return ""
}

func bashCompletion(b *strings.Builder) {
	b.WriteString("# mod_wsgi-express completion for bash: source this file.\n" +
		"_mod_wsgi_express_paths() { # names may hold blanks\n    local IFS=$'\\n'\n    COMPREPLY=( $(compgen \"$1\" -- \"$cur\") )\n    compopt -o filenames 2>/dev/null || true\n}\n" +
		"_mod_wsgi_express() {\n" +
		"    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n    COMPREPLY=()\n")
	var names, files, dirs, values []string
	for _, c := range shownCommands() {
		names = append(names, c.name)
	}
	for _, o := range shownOptions() {
		switch {
		case o.takes() == "file" && o.Values == 1:
			files = append(files, "--"+o.Name)
		case o.takes() == "directory":
			dirs = append(dirs, "--"+o.Name)
		case o.Values > 0 && o.takes() == "" && o.Words == nil:
			values = append(values, "--"+o.Name)
		}
	}
	fmt.Fprintf(b, "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=( $(compgen -W '%s' -- \"$cur\") )\n        return\n    fi\n", strings.Join(names, " "))
	fmt.Fprintf(b, "    case $prev in\n    %s)\n        _mod_wsgi_express_paths -f; return ;;\n", strings.Join(files, "|"))
	fmt.Fprintf(b, "    %s)\n        _mod_wsgi_express_paths -d; return ;;\n", strings.Join(dirs, "|"))
	for _, o := range shownOptions() {
		if o.Words != nil {
			fmt.Fprintf(b, "    --%s)\n        COMPREPLY=( $(compgen -W '%s' -- \"$cur\") ); return ;;\n", o.Name, strings.Join(o.Words, " "))
		}
	}
	fmt.Fprintf(b, "    %s)\n        return ;;\n    esac\n", strings.Join(values, "|"))
	b.WriteString("    case $cur in\n    -*) ;;\n    *)\n        if [ \"${COMP_WORDS[1]}\" = completion ]; then\n            COMPREPLY=( $(compgen -W '" + strings.Join(shells, " ") + "' -- \"$cur\") )\n" +
		"        else\n            _mod_wsgi_express_paths -f\n        fi\n        return ;;\n    esac\n    case ${COMP_WORDS[1]} in\n")
	for _, c := range shownCommands() {
		var options []string
		for _, o := range c.completed() {
			options = append(options, "--"+o.Name)
		}
		fmt.Fprintf(b, "    %s) COMPREPLY=( $(compgen -W '%s' -- \"$cur\") ) ;;\n", c.name, strings.Join(options, " "))
	}
	b.WriteString("    esac\n}\ncomplete -F _mod_wsgi_express mod_wsgi-express\n")
}

func zshCompletion(b *strings.Builder) {
	b.WriteString("#compdef mod_wsgi-express\n# mod_wsgi-express completion for zsh: put this file as _mod_wsgi-express into a directory of $fpath.\n" +
		"_mod_wsgi_express() {\n  local -a commands\n  commands=(\n")
	for _, c := range shownCommands() {
		fmt.Fprintf(b, "    %s\n", run.Quote(c.name+":"+c.help))
	}
	b.WriteString("  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n")
	escape := strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`)
	for _, c := range shownCommands() {
		fmt.Fprintf(b, "  %s)\n    _arguments", c.name)
		for _, o := range c.completed() {
			spec := "--" + o.Name + "[" + escape.Replace(o.Help) + "]"
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
			fmt.Fprintf(b, " \\\n      %s", run.Quote(spec))
		}
		switch {
		case c.meta == "SHELL":
			fmt.Fprintf(b, " \\\n      '1:shell:(%s)'", strings.Join(shells, " "))
		case c.arguments > 0:
			b.WriteString(" \\\n      '*:file:_files'")
		}
		b.WriteString("\n    ;;\n")
	}
	b.WriteString("  esac\n}\n_mod_wsgi_express \"$@\"\n")
}

func fishCompletion(b *strings.Builder) {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	b.WriteString("# mod_wsgi-express completion for fish: put this file as mod_wsgi-express.fish into ~/.config/fish/completions.\n")
	for _, c := range shownCommands() {
		fmt.Fprintf(b, "complete -c mod_wsgi-express -n __fish_use_subcommand -f -a %s -d %s\n", c.name, quote(c.help))
	}
	fmt.Fprintf(b, "complete -c mod_wsgi-express -n '__fish_seen_subcommand_from completion' -f -a '%s'\n", strings.Join(shells, " "))
	for _, c := range shownCommands() {
		for _, o := range c.completed() {
			flags := ""
			switch {
			case o.takes() != "":
				flags = " -r -F"
			case o.Words != nil:
				flags = " -x -a " + quote(strings.Join(o.Words, " "))
			case o.Values > 0:
				flags = " -x"
			}
			fmt.Fprintf(b, "complete -c mod_wsgi-express -n '__fish_seen_subcommand_from %s' -l %s%s -d %s\n", c.name, o.Name, flags, quote(o.Help))
		}
	}
}
