package express

import (
	"fmt"
	"unicode/utf8"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// What the files of a server root cannot carry: httpd.conf no line breaks and
// control characters, the JSON files beside it no bytes that are not UTF-8.

// carried reports values that a line of httpd.conf cannot carry, by the option's
// name, before a directive is made of them.
func carried(s *Server, table []*option.Option) error {
	for _, o := range table {
		if !s.Given(o) {
			continue
		}
		for _, v := range s.Texts(o) {
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
func (i *instance) canCarry(value, what string, option option.Ref) error {
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
	option      option.Ref
}

func (i *instance) carriedValues() []carriedValue {
	values := []carriedValue{
		{i.in.Launcher, "the path of the launcher", nil},
		{i.root, "the server root", config.ServerRoot},
		{i.work, "the working directory", config.WorkingDirectory},
		{i.httpd, "the path of httpd", config.HTTPDExecutable},
		{i.modulesDir, "the directory of httpd's modules", config.ModulesDirectory},
		{i.pidFile, "the pid file", config.PIDFile},
		{config.ProcessName.In(i), "the name of the process", config.ProcessName},
		{config.CallableObject.In(i), "the name of the callable", config.CallableObject},
		{i.mount, "the mount point", config.MountPoint},
		{i.group, "the process group", config.ProcessGroup},
		{i.coverageDir, "the directory for coverage", config.CoverageDirectory},
		{i.profilerDir, "the directory for profiles", config.ProfilerDirectory},
		{i.recorderDir, "the directory for recordings", config.RecorderDirectory},
		{i.gdb, "the path of gdb", config.GDBExecutable},
		{i.entry, "the path of the application", config.EntryPoint},
	}
	if config.StartupLog.In(i) {
		values = append(values, carriedValue{i.startLog, "the startup log", config.StartupLogName})
	}
	for _, h := range config.AddHandler.In(i) {
		values = append(values, carriedValue{h[0], "", config.AddHandler}, carriedValue{i.fromLaunch(h[1]), "", config.AddHandler})
	}
	for _, s := range config.ServiceScript.In(i) {
		values = append(values, carriedValue{i.fromLaunch(s[1]), "", config.ServiceScript})
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
