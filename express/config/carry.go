package config

import (
	"fmt"
	"unicode/utf8"

	"modwsgi/express/conf"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// The files of a server root cannot represent every value: httpd.conf has no way to
// write line breaks and control characters, and the JSON files must be UTF-8.

// carried reports values that httpd.conf cannot represent, with the name of the
// option, before they are used in a directive.
func carried(s *Server, rows []*option.Option) error {
	for _, o := range rows {
		if !s.Given(o) {
			continue
		}
		for _, v := range s.Texts(o) {
			if reason := conf.Check(v); reason != "" {
				return option.Usage("", "option %s: the value %s", o, reason)
			}
		}
	}
	return nil
}

// CheckCarried is carried for derived values: paths that depend on the caller's
// working directory, the location of the environment or several options. Each is
// reported with the option that changes it.
func (i *Instance) CheckCarried() error {
	for _, v := range all(i, func(f *feature) func(*Instance) []carriedValue { return f.carries }) {
		if err := i.CanCarry(v.value, v.what, v.option); err != nil {
			return err
		}
	}
	return nil
}

// CanCarry checks a value for the JSON files of a server root. what describes the
// value, and o is the option that changes it, or nil.
func (i *Instance) CanCarry(value, what string, o option.Ref) error {
	reason := conf.Check(value)
	if reason == "" {
		reason = NotUTF8(value)
	}
	switch {
	case reason == "":
		return nil
	case o == nil:
		return fault.New(fault.Environment, "move it to a path without this character", "%s %q %s", what, value, reason)
	case i.Given(o):
		return option.Usage("", "option %s: %q %s", o, value, reason)
	}
	return fault.New(fault.Environment, "choose another value with "+o.Flag(), "%s %q %s", what, value, reason)
}

// carriedValue holds the arguments of CanCarry.
type carriedValue struct {
	value, what string
	option      option.Ref
}

// NotUTF8 returns a description of the first byte in s that is not UTF-8, or "".
func NotUTF8(s string) string {
	if utf8.ValidString(s) {
		return ""
	}
	for k, r := range s {
		if r != utf8.RuneError {
			continue
		}
		if _, size := utf8.DecodeRuneInString(s[k:]); size == 1 {
			return fmt.Sprintf("contains the byte %#02x, which is not UTF-8", s[k])
		}
	}
	return ""
}
