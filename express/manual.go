package express

import (
	"context"
	"encoding/json"
	"io"

	"modwsgi/express/config"
	"modwsgi/express/console"
	"modwsgi/express/option"
	"modwsgi/express/sources"
)

// manPage returns the command that prints the manual page of a program.
func manPage(program *option.Program) func(context.Context, *Console, *Invocation, *Server) (int, error) {
	return func(_ context.Context, c *Console, inv *Invocation, _ *Server) (int, error) {
		_, err := io.WriteString(c.Stdout, program.ManPage(&option.Manual{
			Version:    inv.Version,
			Synopsis:   "APPLICATION",
			Options:    "These are the options of start-server and setup-server. They can also stand in " + sources.OwnFile + ", or in the table [tool.mod_wsgi-express] of " + sources.ProjectFile + ", in the current directory, with the same names; and in environment variables, such as " + sources.Variable("port") + ". The command line comes first, then variables, then the file.",
			Table:      config.Table(),
			ExitStatus: "0 after a stop; 2 for an invalid command line; 1 for any other failure of the launcher; otherwise the exit code of httpd, or 128 plus the number of the signal that ended it.",
			SeeAlso:    []string{"httpd(8)", "modwsgi(1)"},
		}))
		return 0, err
	}
}

// htmlManual returns the page of --enable-docs.
func htmlManual() []byte { return config.Table().HTML(console.Program) }

// listOptions prints the table as JSON, for the Django command.
func listOptions(_ context.Context, c *Console, _ *Invocation, _ *Server) (int, error) {
	type row struct {
		Name       string   `json:"name"`
		Aliases    []string `json:"aliases"`
		Values     int      `json:"values"`
		Repeatable bool     `json:"repeatable"`
		Meta       string   `json:"meta"`
		Help       string   `json:"help"`
		Group      string   `json:"group"`
		Hidden     bool     `json:"hidden"`
	}
	rows := []row{}
	for _, g := range config.Table().Groups {
		for _, o := range g.Options {
			rows = append(rows, row{o.Name, append([]string{}, o.Aliases...), o.Values, o.Repeatable, o.Meta, o.Help, g.Name, o.Hidden})
		}
	}
	return 0, json.NewEncoder(c.Stdout).Encode(rows)
}

// printEnvironment is the hidden command behind --envvars-script.
func printEnvironment(_ context.Context, c *Console, inv *Invocation, _ *Server) (int, error) {
	for _, kv := range inv.Env {
		if _, err := io.WriteString(c.Stdout, kv+"\x00"); err != nil {
			return 1, err
		}
	}
	return 0, nil
}
