package express

import (
	"context"
	"io"

	"modwsgi/express/option"
)

// completion returns the command that prints a shell's completion script for a program.
func completion(program *option.Program) func(context.Context, *Console, *Invocation, *Server) (int, error) {
	return func(_ context.Context, c *Console, _ *Invocation, s *Server) (int, error) {
		if len(s.Positional) != 1 {
			return exitUsage, option.Usage("", "completion needs the name of a shell: bash, zsh or fish")
		}
		script, ok := program.Completion(s.Positional[0])
		if !ok {
			return exitUsage, option.Usage("", "%q is not one of bash, zsh, fish", s.Positional[0])
		}
		_, err := io.WriteString(c.Stdout, script)
		return 0, err
	}
}
