package express

import (
	"context"
	"slices"

	"modwsgi/express/config"
	"modwsgi/express/console"
	"modwsgi/express/logwriter"
	"modwsgi/express/option"
)

// commands returns all commands, in the order in which help lists them.
func commands() []*command {
	asJSON, help := ownOptions(optAsJSON, config.Help), ownOptions(config.Help)
	address := ownOptions(config.ServerRoot, config.Host, config.Port, config.Config, config.Help)
	type runFunc = func(context.Context, *Console, *Invocation, *Server) (int, error)
	serving := func(name, summary string, run runFunc) *command {
		return &command{Command: option.Command{Name: name, Summary: summary, Arguments: 1, Meta: "[APPLICATION]", Table: config.Table()}, run: run}
	}
	plain := func(name, summary string, table *option.Table, run runFunc) *command {
		return &command{Command: option.Command{Name: name, Summary: summary, Table: table}, run: run}
	}
	raw := func(name string, run runFunc) *command {
		return &command{Command: option.Command{Name: name, Hidden: true, Table: &option.Table{}}, raw: true, run: run}
	}
	all := []*command{
		{Command: option.Command{
			Name: serveCommand, Summary: "find the application of a project, and serve it for development", Arguments: 1, Meta: "[DIRECTORY|APPLICATION]",
			Table: &option.Table{Groups: append([]*option.Group{option.NewGroup("Project", optExplain, optHTTPS)}, config.Table().Groups...), Refused: config.Refused},
		}, run: serve},
		serving("start-server", "serve an application in the foreground", startServer),
		serving("setup-server", "write what is needed to serve an application, with a control script", setupServer),
		plain("module-config", "print the httpd directives that load the module", asJSON, moduleConfig),
		plain("module-location", "print the path of the module", asJSON, moduleLocation),
		plain("install-module", "copy the module into httpd's modules directory", ownOptions(optTarget, optAsJSON, config.Help), installModule),
		plain("status", "report whether an instance is running", ownOptions(config.ServerRoot, config.Host, config.Port, config.JSON, config.Config, config.Help), status),
		plain("top", "show what an instance does on a terminal, again and again", ownOptions(config.ServerRoot, config.Host, config.Port, optInterval, optCount, optOnce, config.Config, config.Help), topCommand),
		plain("reload", "reload the configuration and application of an instance without losing a request", address, reload),
		plain("stop", "stop an instance after running requests have completed", address, stop),
		plain("certificates", "list the certificates of --https-auto, and what they lack", ownOptions(config.ACMEState, optAsJSON, config.Help), certificates),
		serving("show-config", "print the httpd.conf for these options, with the origin of each line", showConfig),
		{Command: option.Command{
			Name: unitCommand, Summary: "print a hardened systemd unit that serves the application", Arguments: 1, Meta: "[APPLICATION]",
			Table: &option.Table{Groups: append(slices.Clone(config.Table().Groups), option.NewGroup("Socket activation", optSocketActivation, optSocketUnit)), Refused: config.Refused},
		}, run: systemdUnit},
		{Command: option.Command{
			Name: "completion", Summary: "print a script that completes command lines in bash, zsh or fish", Arguments: 1, Meta: "SHELL", Words: option.Shells, Table: help,
		}},
		plain("man", "print the manual page", help, nil),
		plain("config-schema", "print the JSON schema of configuration files", help, configSchema),
		raw("list-options", listOptions),
		raw("print-environment", printEnvironment),
		raw(logwriter.Command, writeLog),
		raw("apachectl", control),
	}
	describe(all)
	return all
}

// describe marks the commands that only describe the launcher, and adds what completion
// scripts and the manual page need: the list of all commands, including those that print
// them.
func describe(all []*command) {
	program := &option.Program{Name: console.Program, Summary: "serve Python WSGI applications through Apache httpd"}
	for _, c := range all {
		program.Commands = append(program.Commands, &c.Command)
		c.anywhere = slices.Contains([]string{"completion", "man", "list-options", "config-schema"}, c.Name)
		switch c.Name {
		case "completion":
			c.run = completion(program)
		case "man":
			c.run = manPage(program)
		}
	}
}

// Commands that are compared by name.
const (
	unitCommand  = "systemd-unit"
	serveCommand = "serve"
)

// Options of commands that have only a few. The options of commands that serve an
// application are in package config.
var (
	optTarget = option.Text("modules-directory", "", "DIRECTORY", "Directory to copy the module to; httpd's own modules directory by default.")
	optAsJSON = option.Toggle("json", "Print one JSON object on a line.")

	optExplain = option.Toggle("explain", "Only print which application was found, why, and how it would be served; with --json as JSON.")
	optHTTPS   = option.Toggle("https", "Serve over HTTPS, with a certificate of a private authority of this user, for localhost.")

	optSocketActivation = option.Toggle("socket-activation", "The service gets its listening sockets from the socket unit of the same name.")
	optSocketUnit       = option.Toggle("socket-unit", "Print that socket unit instead of the service.")
)

func ownOptions(options ...option.Ref) *option.Table {
	return &option.Table{Groups: []*option.Group{option.NewGroup("Options", options...)}, Refused: config.Refused}
}
