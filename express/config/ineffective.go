package config

import (
	"fmt"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

// useless lists options that have no effect if useless is true, and the reason.
type useless struct {
	useless bool
	why     string
	options []conf.Origin
}

// ineffective returns warnings about options that were given but have no effect in
// combination. Upstream's launcher silently ignores them, so that users believe that
// they work.
func ineffective(s *Server) []string {
	warnings := all(s, func(f *feature) func(*Server) []string { return f.warnings })
	for _, u := range all(s, func(f *feature) func(*Server) []useless { return f.useless }) {
		for _, o := range u.options {
			if u.useless && s.Given(o.(option.Ref)) {
				warnings = append(warnings, fmt.Sprintf("%s has no effect %s", o, u.why))
			}
		}
	}
	return warnings
}
