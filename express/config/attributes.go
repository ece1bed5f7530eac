package config

import "modwsgi/express/option"

// Facts about options that this package records in addition to those of package
// option.
var (
	// Unix marks options that are not accepted on Windows.
	Unix option.Attribute[bool]

	// Own marks options that upstream's launcher lacks.
	Own option.Attribute[bool]

	// Daemon is the parameter of WSGIDaemonProcess that the option sets.
	Daemon option.Attribute[string]

	sinceFact option.Attribute[string]
)

// unixOnly sets Unix.
func unixOnly(o *option.Option) { Unix.Is(true)(o) }

// own sets Own.
func own(o *option.Option) { Own.Is(true)(o) }

// Since returns the first version of mod_wsgi that supports an option.
func Since(o option.Ref) string {
	if v := sinceFact.Of(o); v != "" {
		return v
	}
	return "4.4.0"
}

// since sets that version.
func since(version string) option.Fact {
	return func(o *option.Option) {
		sinceFact.Is(version)(o)
		option.Note("Needs mod_wsgi " + version + ".")(o)
	}
}

// daemon makes the option a parameter of WSGIDaemonProcess, which Windows does not
// have.
func daemon(parameter string) option.Fact {
	return func(o *option.Option) {
		unixOnly(o)
		Daemon.Is(parameter)(o)
	}
}

// daemonAnywhere is daemon for options that also have a meaning on Windows.
func daemonAnywhere(parameter string) option.Fact { return Daemon.Is(parameter) }
