package config

import (
	"fmt"
	"unicode/utf8"

	"modwsgi/express/conf"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// What the files of a server root cannot carry: httpd.conf no line breaks and
// control characters, the JSON files beside it no bytes that are not UTF-8.

// carried reports values that a line of httpd.conf cannot carry, by the option's
// name, before a directive is made of them.
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

// CheckCarried is carried for what was derived: paths that the caller's working
// directory, the environment's place or several options make up. Each is
// reported by the option that changes it.
func (i *Instance) CheckCarried() error {
	for _, v := range all(i, func(f *feature) func(*Instance) []carriedValue { return f.carries }) {
		if err := i.CanCarry(v.value, v.what, v.option); err != nil {
			return err
		}
	}
	return nil
}

// CanCarry checks a value that goes into the JSON files of a server root: what it
// is, and the option that changes it, "" where none does.
func (i *Instance) CanCarry(value, what string, o option.Ref) error {
	reason := conf.Check(value)
	if reason == "" {
		reason = NotUTF8(value)
	}
	switch {
	case reason == "":
		return nil
	case o == nil:
		return fault.New(fault.Environment, "move it to a path without such a character", "%s %q %s", what, value, reason)
	case i.Given(o):
		return option.Usage("", "option %s: %q %s", o, value, reason)
	}
	return fault.New(fault.Environment, "choose another one with "+o.Flag(), "%s %q %s", what, value, reason)
}

// carriedValue is what CanCarry takes.
type carriedValue struct {
	value, what string
	option      option.Ref
}

// NotUTF8 tells the first byte of a value that is not part of UTF-8, or "".
func NotUTF8(s string) string {
	if utf8.ValidString(s) {
		return ""
	}
	for k, r := range s {
		if r != utf8.RuneError {
			continue
		}
		if _, size := utf8.DecodeRuneInString(s[k:]); size == 1 {
			return fmt.Sprintf("holds the byte %#02x, which is not UTF-8", s[k])
		}
	}
	return ""
}
