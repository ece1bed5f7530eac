// Package config knows the options of the launcher and what they mean: which of
// them exclude each other or need each other, which files and modules of httpd they
// need, and which directives they write. It turns a command line, and what others
// found out about the machine, into an httpd.conf.
//
// Each feature is one value in one file, with everything about its options. The order
// of the directives is the order of the slots in order.go.
//
// The package refuses to start anything, to write files, and to know how systems
// differ: it is told facts (package host).
package config

import (
	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
)

// feature is everything about some options. Fields that a feature does not need are
// nil.
type feature struct {
	options *option.Group

	// What is checked on the command line alone.
	imply     func(*Server)           // sets what options imply for others
	conflicts func(*Server) error     // options that exclude or need each other
	useless   func(*Server) []useless // options that change nothing with the others
	warnings  func(*Server) []string  // the same, with texts of their own

	// What is checked on this machine.
	files   func(*Instance) []named        // files that options name; they must exist
	check   func(*Instance) error          // other conditions
	reads   func(*Instance) []Need         // what the application's account must reach
	private func(*Instance) []privateFile  // what clients must not read
	logs    func(*Instance) []string       // names of log files, also of those that are off
	carries func(*Instance) []carriedValue // values for the files of the server root

	// What is written.
	defines func(*Instance) []define
	modules map[load]func(*Instance) []module
	writes  map[slot]func(*writer)

	// Virtual hosts: the options that make some, the names that these answer, and
	// the hosts.
	hostOptions []conf.Origin
	names       func(*Server) []claim
	hosts       map[hostSlot]func(w *writer, scheme string) []virtualHost
}

// features are all of them, in the order in which help shows their options.
var features []*feature

// table has the options of all features.
var table = &option.Table{Refused: Refused}

func init() {
	features = []*feature{
		&application, &listening, &tls, &processes, &timeouts, &buffers, &http, &documents, &proxies, &access, &logs,
		&python, &server, &services, &telemetry, &debugging, &gone,
	}
	for _, f := range features {
		table.Groups = append(table.Groups, f.options)
	}
}

// Table returns the options of the commands that serve an application.
func Table() *option.Table { return table }

// Refused returns why this system does not accept an option, "" where it does.
func Refused(o *option.Option) string {
	if Unix.Of(o) && !host.Unix {
		return "has no meaning on Windows"
	}
	return ""
}

// all collects what the features have for an instance or a command line.
func all[From, T any](from From, part func(*feature) func(From) []T) []T {
	var list []T
	for _, f := range features {
		if get := part(f); get != nil {
			list = append(list, get(from)...)
		}
	}
	return list
}
