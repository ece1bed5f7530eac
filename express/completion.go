package express

import (
	"context"
	"io"

	"modwsgi/express/option"
)

// described is the launcher as completion scripts and manuals describe it.
func described() *option.Program {
	p := &option.Program{Name: programName, Summary: "serve Python WSGI applications through Apache httpd"}
	for _, c := range commands() {
		p.Commands = append(p.Commands, &c.Command)
	}
	return p
}

// completion prints a script that completes our command line in a shell.
func completion(_ context.Context, p *Program, c *parsed) (int, error) {
	if len(c.server.Positional) != 1 {
		return exitUsage, usage("completion", "", "completion needs the name of a shell: bash, zsh or fish")
	}
	script, ok := described().Completion(c.server.Positional[0])
	if !ok {
		return exitUsage, usage("completion", "", "%q is not one of bash, zsh, fish", c.server.Positional[0])
	}
	_, err := io.WriteString(p.Stdout, script)
	return 0, err
}
