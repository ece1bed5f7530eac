package config

import "modwsgi/express/option"

// What this package records about options, beside what package option knows.
var (
	// Unix marks options that are not accepted on Windows.
	Unix option.Attribute[bool]

	// Own marks options that upstream's launcher does not have.
	Own option.Attribute[bool]

	// Daemon is the parameter of WSGIDaemonProcess that has the option's value.
	Daemon option.Attribute[string]

	sinceFact option.Attribute[string]
)

// unixOnly marks an option as one of these.
func unixOnly(o *option.Option) { Unix.Is(true)(o) }

// own marks an option as one of these.
func own(o *option.Option) { Own.Is(true)(o) }

// Since returns the first mod_wsgi that knows an option.
func Since(o option.Ref) string {
	if v := sinceFact.Of(o); v != "" {
		return v
	}
	return "4.4.0"
}

// since sets it.
func since(version string) option.Fact {
	return func(o *option.Option) {
		sinceFact.Is(version)(o)
		option.Note("Needs mod_wsgi " + version + ".")(o)
	}
}

// daemon makes the option a parameter of WSGIDaemonProcess, and so one that has no
// meaning on Windows.
func daemon(parameter string) option.Fact {
	return func(o *option.Option) {
		unixOnly(o)
		Daemon.Is(parameter)(o)
	}
}

// daemonAnywhere is daemon for options that mean something on Windows, too.
func daemonAnywhere(parameter string) option.Fact { return Daemon.Is(parameter) }
