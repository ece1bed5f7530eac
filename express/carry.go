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
func carried(s *Server, table []*Option) error {
	for _, o := range table {
		if o.field == nil || !s.Given(o) {
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
				return usage("start-server", "", "option %s: the value %s", o, reason)
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
func (i *instance) canCarry(value, what string, option *Option) error {
	reason := conf.Check(value)
	if reason == "" {
		reason = notUTF8(value)
	}
	switch {
	case reason == "":
		return nil
	case option == nil:
		return fault.New(fault.Environment, "move it to a path without such a character", "%s %q %s", what, value, reason)
	case i.Given(option):
		return usage("start-server", "", "option %s: %q %s", option, value, reason)
	}
	return fault.New(fault.Environment, "choose another one with "+option.Flag(), "%s %q %s", what, value, reason)
}

// carriedValue is what canCarry takes.
type carriedValue struct {
	value, what string
	option      *Option
}

func (i *instance) carriedValues() []carriedValue {
	values := []carriedValue{
		{i.in.launcher, "the path of the launcher", nil},
		{i.root, "the server root", optServerRoot},
		{i.work, "the working directory", optWorkingDirectory},
		{i.httpd, "the path of httpd", optHTTPDExecutable},
		{i.modulesDir, "the directory of httpd's modules", optModulesDirectory},
		{i.pidFile, "the pid file", optPIDFile},
		{i.ProcessName, "the name of the process", optProcessName},
		{i.CallableObject, "the name of the callable", optCallableObject},
		{i.mount, "the mount point", optMountPoint},
		{i.group, "the process group", optProcessGroup},
		{i.coverageDir, "the directory for coverage", optCoverageDirectory},
		{i.profilerDir, "the directory for profiles", optProfilerDirectory},
		{i.recorderDir, "the directory for recordings", optRecorderDirectory},
		{i.gdb, "the path of gdb", optGDBExecutable},
		{i.entry, "the path of the application", optEntryPoint},
	}
	if i.StartupLog {
		values = append(values, carriedValue{i.startLog, "the startup log", optStartupLogName})
	}
	for _, h := range i.AddHandlers {
		values = append(values, carriedValue{h[0], "", optAddHandler}, carriedValue{i.fromLaunch(h[1]), "", optAddHandler})
	}
	for _, s := range i.ServiceScripts {
		values = append(values, carriedValue{i.fromLaunch(s[1]), "", optServiceScript})
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
