package config

import (
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
)

// Shorthands for the arguments of directives.

func word(s string) conf.Word { return conf.Word(host.Slashed(s)) }

func integer(n int) conf.Key { return conf.Key(strconv.Itoa(n)) }

func args(a ...conf.Arg) []conf.Arg { return a }

func onOff(on bool) conf.Key {
	if on {
		return "On"
	}
	return "Off"
}

// knows reports whether the installed module has a directive.
func (w *writer) knows(directive string) bool {
	since := directiveSince[directive]
	return since == "" || atLeastVersion(w.i.ModuleVersion, since)
}

func titled(s string) string { return strings.ToUpper(s[:1]) + strings.ToLower(s[1:]) }

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// unless is an option, and what its default comes from where it is not given.
func (i *Instance) unless(o option.Ref, others ...conf.Origin) []conf.Origin {
	if i.Given(o) {
		return []conf.Origin{o}
	}
	return append([]conf.Origin{o}, others...)
}

// daemonSince is the first mod_wsgi that knows a parameter of WSGIDaemonProcess;
// those that are not here are older than any module that we support.
var daemonSince = map[string]string{
	"startup-timeout": "4.5.6", "restart-interval": "4.5.12", "eviction-timeout": "4.4.7", "interrupt-timeout": "6.0.0",
	"response-buffer-size": "4.4.7", "response-socket-timeout": "4.5.13", "response-flush-delay": "6.0.2",
	"switch-interval": "6.0.0",
}
