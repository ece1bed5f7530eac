package express

import (
	"modwsgi/express/config"
	"modwsgi/express/option"
)

// typed returns what a command line says, for tests; args are those of start-server.
func typed(args ...string) *Server {
	line, err := option.Parse(programName, &option.Command{Table: config.Table()}, args)
	if err != nil {
		panic(err)
	}
	return &Server{Values: line.Values}
}

// localeOption is a command line with a locale, "" for none.
func localeOption(locale string) []string {
	if locale == "" {
		return nil
	}
	return []string{"--locale", locale}
}
