package express

import (
	"context"
	"encoding/json"
	"io"

	"modwsgi/express/config"
	"modwsgi/express/option"
)

// manPage prints the manual page.
func manPage(_ context.Context, p *Program, _ *parsed) (int, error) {
	_, err := io.WriteString(p.Stdout, described().ManPage(&option.Manual{
		Version:    p.Version,
		Synopsis:   "APPLICATION",
		Options:    "These are the options of start-server and setup-server.",
		Table:      config.Table(),
		ExitStatus: "0 after a stop; 2 for a command line that makes no sense; 1 for what was in the way; else that of httpd, 128 and the number of the signal that ended it.",
		SeeAlso:    []string{"httpd(8)", "modwsgi(1)"},
	}))
	return 0, err
}

// htmlManual is the page of --enable-docs.
func htmlManual() []byte { return config.Table().HTML(programName) }

// listOptions prints the table as JSON, for the command of Django.
func listOptions(_ context.Context, p *Program, _ *parsed) (int, error) {
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
	return 0, json.NewEncoder(p.Stdout).Encode(rows)
}

// printEnvironment is the hidden command behind --envvars-script.
func printEnvironment(_ context.Context, p *Program, _ *parsed) (int, error) {
	for _, kv := range p.Env {
		if _, err := io.WriteString(p.Stdout, kv+"\x00"); err != nil {
			return 1, err
		}
	}
	return 0, nil
}
