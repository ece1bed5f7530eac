package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
)

// named is a file that an option names.
type named struct {
	option option.Ref
	path   string
}

// Exists reports whether a path exists. Paths that cannot be examined are assumed to
// exist.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// WantDirectory returns an error if a path that an option names is not a directory.
func WantDirectory(o option.Ref, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Usage, "", "option %s: the directory %s does not exist", o, path)
	case err != nil:
		return fault.New(fault.Usage, "", "option %s: %w", o, err)
	case !info.IsDir():
		return fault.New(fault.Usage, "", "option %s: %s is not a directory", o, path)
	}
	return nil
}

// OrElse returns the cleaned path value, or other if value is empty.
func OrElse(value, other string) string {
	if value != "" {
		return filepath.Clean(value)
	}
	return other
}

// fromLaunch makes a path of the command line absolute.
func (i *Instance) fromLaunch(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(i.LaunchDir, path)
	}
	return filepath.Clean(path)
}

// namedFiles reports missing files together with the option that names them, before
// httpd or the application's account fails to open them.
func (i *Instance) namedFiles() error {
	for _, f := range all(i, func(f *feature) func(*Instance) []named { return f.files }) {
		if f.path == "" {
			continue
		}
		path := i.fromLaunch(f.path)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fault.New(fault.Usage, "", "option %s: the file %s does not exist", f.option, path)
		case err == nil && info.IsDir() && !option.Same(f.option, IncludeFile):
			return fault.New(fault.Usage, "", "option %s: %s is a directory", f.option, path)
		}
	}
	return nil
}

// FromLaunch makes a path of the command line absolute and clean.
func (i *Instance) FromLaunch(path string) string { return i.fromLaunch(path) }

// filesOf returns the files that options name, as files that clients must not read.
func (i *Instance) filesOf(options ...option.Handle[string]) (list []privateFile) {
	for _, o := range options {
		if path := o.In(i); path != "" {
			list = append(list, privateFile{what: "the file of " + o.Flag(), path: i.fromLaunch(path)})
		}
	}
	return list
}

// Beside returns a word of an option's value in a file, with a path that is relative to
// the file's directory made absolute. Names of programs that the shell would look up, and
// names in the log directory, are not paths of files beside it. Without a directory, words
// stay as they are.
func Beside(o *option.Option, word, dir string) string {
	prefix := ""
	switch rest, unix := strings.CutPrefix(word, "unix:"); {
	case dir == "" || word == "":
		return word
	case option.Same(o, TelemetryService) && unix:
		prefix, word = "unix:", rest
	case !o.Path() || option.Same(o, ServiceLogFile):
		return word
	case isProgram(o) && filepath.Base(word) == word:
		return word
	}
	if !filepath.IsAbs(word) {
		if option.Same(o, IncludeFile) && strings.ContainsAny(word, "*?[") && !Exists(filepath.Join(dir, word)) {
			dir = string(conf.Glob(dir)) // only the word is a pattern
		}
		word = filepath.Join(dir, word)
	}
	return prefix + word
}

func isProgram(o *option.Option) bool {
	for _, program := range []option.Ref{HTTPDExecutable, ShellExecutable, GDBExecutable, RotatelogsExecutable} {
		if option.Same(o, program) {
			return true
		}
	}
	return false
}
