package config

import "modwsgi/express/option"

var (
	ServerRoot = option.Text("server-root", "", "DIRECTORY", "Directory for the files of this instance.").
			DefaultText("see notes")
	User = option.Text("user", "", "NAME", "Account of the application, when started as root.").
		DefaultText("current user").With(unixOnly)
	Group = option.Text("group", "", "NAME", "Group of the application, when started as root.").
		DefaultText("primary group of current user").With(unixOnly)
	Setenv = option.Pairs("setenv", "NAME VALUE", "Put a variable into the WSGI environment of each request.").
		MayBeEmpty()
	Passenv = option.Texts("passenv", "NAME", "Put a variable of our own environment into that of each request.").
		Check(Variable)
	IncludeFile = option.Texts("include-file", "FILE", "Further httpd configuration, read at the end.")
	Locale      = option.Text("locale", "", "LOCALE", "Locale of the application.").
			DefaultText("process locale").Check(oneWord)
	Lang = option.Text("lang", "", "LOCALE", "Old spelling of --locale.").
		Hide().Check(oneWord).With(unixOnly)
	PIDFile = option.Text("pid-file", "", "FILE", "Where httpd writes its process identifier.").
		DefaultText("SERVER_ROOT/httpd.pid")
	ProcessName = option.Text("process-name", "httpd (mod_wsgi-express)", "NAME", "Name of the httpd processes in ps.").
			With(unixOnly)
	HTTPDExecutable = option.Text("httpd-executable", "", "FILE", "The httpd to run.").
			DefaultText("httpd known at build time")
	ModulesDirectory = option.Text("modules-directory", "", "DIRECTORY", "Where httpd's modules are.").
				DefaultText("known at build time")
	SocketPrefix = option.Text("socket-prefix", "", "DIRECTORY", "Directory for the sockets of the daemon processes.").
			DefaultText("SERVER_ROOT").With(unixOnly)
	SetupOnly     = option.Toggle("setup-only", "Write the files, start nothing.").With(unixOnly)
	EnvvarsScript = option.Text("envvars-script", "", "FILE", "Shell script, run once at setup, whose exported variables httpd gets.").
			DefaultText("SERVER_ROOT/envvars").With(unixOnly)
	ShellExecutable = option.Text("shell-executable", "", "FILE", "Shell for --envvars-script; nothing else here runs through a shell.").
			DefaultText("bash, else sh, from PATH").With(unixOnly)
	JSON      = option.Toggle("json", "Tell what was set up as JSON, one object on a line.")
	WaitReady = option.Toggle("wait-ready", "Tell so, and write the line last, only once the application is loaded; fail if it does not load.").
			With(unixOnly)
	Help = option.HelpFlag("Show this help.")
)

var serverGroup = option.NewGroup("Server",
	ServerRoot, User, Group, Setenv, Passenv, IncludeFile, Locale, Lang, PIDFile, ProcessName, HTTPDExecutable,
	ModulesDirectory, SocketPrefix, SetupOnly, EnvvarsScript, ShellExecutable, JSON, WaitReady, Help,
)
