package config

import (
	"slices"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

// Server is what a command line says, before anything is derived from the environment
// that the launcher runs in. Paths are as given; relative ones start at the launcher's
// working directory. Times are in seconds and sizes in bytes unless an option's help
// says something else.
type Server struct {
	*option.Values

	Positional    []string
	ModuleVersion string // of the installed module
	FreeThreaded  bool   // the installed Python has no GIL
	ForUnit       bool   // a unit is printed, which runs it as --user
}

// Label returns what a line comes from: the options that were given, else the first
// of those that would change it, if it has a default.
func (s *Server) Label(origins []conf.Origin) string {
	if given := s.Flags(origins); len(given) > 0 {
		return strings.Join(given, " ")
	}
	if len(origins) > 0 {
		if o := origins[0].(option.Ref).Row(); o.Default+o.Shown != "" || o.Kind == option.KindFlag {
			return o.Flag() + ", by default"
		}
	}
	return "always"
}

// Flags returns those of the origins that were given, as people write them.
func (s *Server) Flags(origins []conf.Origin) []string {
	var flags []string
	for _, o := range origins {
		if s.Given(o.(option.Ref)) && !slices.Contains(flags, o.Flag()) {
			flags = append(flags, o.Flag())
		}
	}
	return flags
}
