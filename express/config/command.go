package config

import (
	"slices"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

// Server is a parsed command line, before anything is derived from the environment
// that the launcher runs in. Paths are as given, possibly relative to the launcher's
// working directory. Times are in seconds and sizes in bytes unless an option's help
// states another unit.
type Server struct {
	*option.Values

	Positional    []string
	ModuleVersion string // of the installed module
	FreeThreaded  bool   // the installed Python has no GIL
	ForUnit       bool   // only a systemd unit is printed, which will run the server as --user

	ConfigNone  bool     // the user wants no configuration file
	ConfigFile  string   // file that options were read from, absolute; "" for none
	Credentials []string // names of systemd credentials that it refers to
}

// Label returns the source of a line: the options that were given or, if none was,
// the first option that would change the line.
func (s *Server) Label(origins []conf.Origin) string {
	var given []string
	for _, o := range s.given(origins) {
		label := o.Flag()
		if source := s.Origin(o); source != "" {
			label += " (" + source + ")"
		}
		given = append(given, label)
	}
	if given != nil {
		return strings.Join(given, " ")
	}
	if len(origins) > 0 {
		if o := origins[0].(option.Ref).Row(); o.Default+o.Shown != "" || o.Kind == option.KindFlag {
			return o.Flag() + ", by default"
		}
	}
	return "always"
}

// Flags returns the flags of those origins that were given on the command line.
func (s *Server) Flags(origins []conf.Origin) []string {
	var flags []string
	for _, o := range s.given(origins) {
		flags = append(flags, o.Flag())
	}
	return flags
}

// given returns those origins that were given, each once.
func (s *Server) given(origins []conf.Origin) (list []*option.Option) {
	for _, origin := range origins {
		if o := origin.(option.Ref).Row(); s.Given(o) && !slices.Contains(list, o) {
			list = append(list, o)
		}
	}
	return list
}
