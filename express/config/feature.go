// Package config defines the options of the launcher and their meaning: which options
// conflict or depend on each other, which files and httpd modules they need, and which
// directives they write. It turns a command line and facts about the machine into an
// httpd.conf.
//
// Each feature is one value in one file, with everything about its options. The order
// of the directives is the order of the slots in order.go.
//
// The package does not start programs or write files, and it gets facts about
// operating systems from package host.
package config

import (
	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
)

// feature is a group of related options and their behavior. Fields that a feature does
// not need are nil.
type feature struct {
	options *option.Group

	// Checks of the command line alone.
	imply     func(*Server)           // sets options that others imply
	conflicts func(*Server) error     // options that conflict or depend on each other
	useless   func(*Server) []useless // options that have no effect in combination
	warnings  func(*Server) []string  // the same, with individual messages

	// Checks on this machine.
	files   func(*Instance) []named        // files that options name, which must exist
	check   func(*Instance) error          // other conditions
	reads   func(*Instance) []Need         // paths that the application's account must reach
	private func(*Instance) []privateFile  // files that clients must not read
	logs    func(*Instance) []string       // names of log files, including disabled ones
	carries func(*Instance) []carriedValue // values written to the files of the server root

	// Output.
	defines func(*Instance) []define
	modules map[load]func(*Instance) []module
	writes  map[slot]func(*writer)

	// Virtual hosts: the options that create them, their names, and the hosts
	// themselves.
	hostOptions []conf.Origin
	names       func(*Server) []claim
	hosts       map[hostSlot]func(w *writer, scheme string) []virtualHost
}

// features lists all features, in the order in which help shows their options.
var features []*feature

// table has the options of all features.
var table = &option.Table{Refused: Refused}

func init() {
	features = []*feature{
		&application, &listening, &tls, &automatic, &processes, &timeouts, &buffers, &http, &documents, &proxies, &access, &logs, &monitoring,
		&python, &server, &services, &telemetry, &debugging, &gone,
	}
	for _, f := range features {
		table.Groups = append(table.Groups, f.options)
	}
}

// Table returns the options of the commands that serve an application.
func Table() *option.Table { return table }

// Refused returns why this system does not support an option, or "" if it does.
func Refused(o *option.Option) string {
	if Unix.Of(o) && !host.Unix {
		return "is not available on Windows"
	}
	return ""
}

// all concatenates the results of one part of all features.
func all[From, T any](from From, part func(*feature) func(From) []T) []T {
	var list []T
	for _, f := range features {
		if get := part(f); get != nil {
			list = append(list, get(from)...)
		}
	}
	return list
}
