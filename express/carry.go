package express

import (
	"fmt"
	"unicode/utf8"

	"modwsgi/express/conf"
	"modwsgi/internal/fault"
)

// What the files of a server root cannot carry: httpd.conf no line breaks and
// control characters, the JSON files beside it no bytes that are not UTF-8.

// carried reports values that a line of httpd.conf cannot carry, by the option's
// name, before a directive is made of them.
func carried(s *Server, table []Option) error {
	for k := range table {
		o := &table[k]
		if o.field == nil || !s.given[o.Name] {
			continue
		}
		var values []string
		switch v := o.field(s).(type) {
		case *string:
			values = []string{*v}
		case *[]string:
			values = *v
		case *[][2]string:
			for _, w := range *v {
				values = append(values, w[0], w[1])
			}
		}
		for _, v := range values {
			if reason := conf.Check(v); reason != "" {
				return usage("start-server", "", "option --%s: the value %s", o.Name, reason)
			}
		}
	}
	return nil
}

// carriedPaths is carried for what was derived: paths that the caller's working
// directory, the environment's place or several options make up. Each is
// reported by the option that changes it.
func (i *instance) carriedPaths() error {
	for _, v := range i.carriedValues() {
		if err := i.canCarry(v.value, v.what, v.option); err != nil {
			return err
		}
	}
	return nil
}

// canCarry checks a value that goes into the JSON files of a server root: what it
// is, and the option that changes it, "" where none does.
func (i *instance) canCarry(value, what, option string) error {
	reason := conf.Check(value)
	if reason == "" {
		reason = notUTF8(value)
	}
	switch {
	case reason == "":
		return nil
	case option == "":
		return fault.New(fault.Environment, "move it to a path without such a character", "%s %q %s", what, value, reason)
	case i.given[option]:
		return usage("start-server", "", "option --%s: %q %s", option, value, reason)
	}
	return fault.New(fault.Environment, "choose another one with --"+option, "%s %q %s", what, value, reason)
}

// carriedValue is what canCarry takes.
type carriedValue struct{ value, what, option string }

func (i *instance) carriedValues() []carriedValue {
	values := []carriedValue{
		{i.in.launcher, "the path of the launcher", ""},
		{i.root, "the server root", "server-root"},
		{i.work, "the working directory", "working-directory"},
		{i.httpd, "the path of httpd", "httpd-executable"},
		{i.modulesDir, "the directory of httpd's modules", "modules-directory"},
		{i.pidFile, "the pid file", "pid-file"},
		{i.ProcessName, "the name of the process", "process-name"},
		{i.CallableObject, "the name of the callable", "callable-object"},
		{i.mount, "the mount point", "mount-point"},
		{i.group, "the process group", "process-group"},
		{i.coverageDir, "the directory for coverage", "coverage-directory"},
		{i.profilerDir, "the directory for profiles", "profiler-directory"},
		{i.recorderDir, "the directory for recordings", "recorder-directory"},
		{i.gdb, "the path of gdb", "gdb-executable"},
		{i.entry, "the path of the application", "entry-point"},
	}
	if i.StartupLog {
		values = append(values, carriedValue{i.startLog, "the startup log", "startup-log-name"})
	}
	for _, h := range i.AddHandlers {
		values = append(values, carriedValue{h[0], "", "add-handler"}, carriedValue{i.fromLaunch(h[1]), "", "add-handler"})
	}
	for _, s := range i.ServiceScripts {
		values = append(values, carriedValue{i.fromLaunch(s[1]), "", "service-script"})
	}
	return values
}

// notUTF8 tells the first byte of a value that is not part of UTF-8, or "".
func notUTF8(s string) string {
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
