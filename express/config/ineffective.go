package config

import (
	"fmt"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

// useless are options that have no effect where useless is true, and why.
type useless struct {
	useless bool
	why     string
	options []conf.Origin
}

// ineffective lists, as warnings, the options that were given and that change nothing
// with the others: upstream's launcher accepts them in silence, and their user
// believes that they work.
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
