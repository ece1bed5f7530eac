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

func titled(s string) string { return strings.ToUpper(s[:1]) + strings.ToLower(s[1:]) }

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// unless returns an option or, if it was not given, the options that determine its
// default.
func (i *Instance) unless(o option.Ref, others ...conf.Origin) []conf.Origin {
	if i.Given(o) {
		return []conf.Origin{o}
	}
	return append([]conf.Origin{o}, others...)
}
