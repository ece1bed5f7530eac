package express

import (
	"testing"

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

// anyValue is a command line that gives an option some valid value.
func anyValue(t *testing.T, o *option.Option) *Server {
	t.Helper()
	for _, value := range append([]string{o.Default, "1", "9000", "70000", "a", "/a", "10.0.0.1", "unix:/a", "+A"}, o.Words...) {
		args := []string{o.Flag()}
		for range o.Values {
			args = append(args, value)
		}
		if line, err := option.Parse(programName, &option.Command{Table: config.Table()}, args); err == nil {
			return &Server{Values: line.Values}
		}
	}
	t.Fatalf("no value for %s", o)
	return nil
}
