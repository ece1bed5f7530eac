// Package sources takes the launcher's options from where they may stand besides the
// command line: a configuration file, and the environment. It knows the table of options,
// and nothing of what they do.
package sources

import (
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/settingsfile"
)

// Prefix begins the name of each environment variable that stands for an option.
const Prefix = "MODWSGI_EXPRESS_"

// Application is the key of the application in a file, which the command line has as an
// argument.
const Application = "application"

// Variable returns the environment variable for an option or for [Application].
func Variable(name string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Reader reads the options of one command.
type Reader struct {
	Dir     string   // working directory, absolute; "" if it is unknown
	Env     []string // the process environment
	All     *option.Table
	Command *option.Table // options that the command has; the others are only checked

	Trusted func(file string) error // refuses a file that another user can change
	Warn    func(string)

	// Unread leaves secrets unread, for a command that does not write a server's
	// configuration. Their value is [Unread] then.
	Unread bool
	Unit   bool // for a systemd unit, which reads the file, but lacks this environment
	Named  bool // the command line names a server that need not be the file's

	problems settingsfile.Problems
	from     *settingsfile.File
	reported map[option.Place]bool // sources of settings that were refused
	found    File
}

// Unread is the value of a secret that was not read.
const Unread = "(not read)"

// File is what was read besides the command line.
type File struct {
	Path        string   // of the configuration file, absolute; "" for none
	None        bool     // the user wants none
	Credentials []string // names of systemd credentials that it refers to
}

// Fill sets the options that the command line does not set: from the environment, and
// then from the configuration file. The error names every mistake, also in settings that
// the command line replaces.
func (r *Reader) Fill(line *option.Line) (*File, error) {
	variables := r.variables()
	if err := r.problems.Err("docs/guides/configuration-file.md has all rules"); err != nil {
		return nil, err
	}
	settings, dir, err := r.file(line)
	if err != nil {
		return nil, err
	}
	entry := config.EntryPoint.Row()
	if len(line.Positional) > 0 {
		variables, settings = without(variables, entry), without(settings, entry)
	}
	if r.Named {
		variables, settings = without(variables, config.ServerRoot.Row()), without(settings, config.ServerRoot.Row())
	}
	if r.Unit {
		r.lostInUnit(variables, settings)
	}
	for _, from := range [][]option.Setting{variables, settings} {
		line.Fill(apart(line, from), r.refused)
		// What a source above replaces must be right, too.
		option.NewValues().Fill(from, func(s option.Setting, err error) {
			if !r.reported[s.Source] {
				r.refused(s, err)
			}
		})
	}
	if err := r.problems.Err("docs/reference/mod_wsgi-express.md describes each option"); err != nil {
		return nil, err
	}
	named := slices.ContainsFunc(settings, func(s option.Setting) bool { return s.Option == entry && s.Source.String() == line.Origin(entry) })
	if named && config.ApplicationType.In(line) != "module" {
		if value := config.EntryPoint.In(line); !filepath.IsAbs(value) {
			config.EntryPoint.Set(line, filepath.Join(dir, value))
		}
	}
	return &r.found, nil
}

func without(settings []option.Setting, o *option.Option) []option.Setting {
	return slices.DeleteFunc(settings, func(s option.Setting) bool { return s.Option == o })
}

// rivals are options that say the same in two ways. The source that comes first decides
// about all of them.
var rivals = [][2][]option.Ref{
	{{config.SSLCertificate}, {config.SSLCertificateFile, config.SSLCertificateKeyFile}},
	{{config.Locale}, {config.Lang}},
}

// apart leaves out settings that would compete with what a source above has set.
func apart(line *option.Line, settings []option.Setting) []option.Setting {
	settings = slices.Clone(settings)
	for _, pair := range rivals {
		for k, mine := range pair {
			if slices.ContainsFunc(mine, line.Given) {
				for _, o := range pair[1-k] {
					settings = without(settings, o.Row())
				}
			}
		}
	}
	return settings
}

// lostInUnit refuses variables that switch off what the file switches on: the unit has no
// word for it.
func (r *Reader) lostInUnit(variables, settings []option.Setting) {
	for _, v := range variables {
		if len(v.Uses) == 0 && slices.ContainsFunc(settings, func(s option.Setting) bool { return s.Option == v.Option && len(s.Uses) > 0 }) {
			r.problems.Add(0, "%s: the service reads the file, but lacks this variable: change the file", v.Source)
		}
	}
}

// refused adds a setting that the option does not accept.
func (r *Reader) refused(s option.Setting, err error) {
	if r.reported == nil {
		r.reported = map[option.Place]bool{}
	}
	r.reported[s.Source] = true
	r.problems.Add(s.Source.Line, "%s: %s: %v", s.Source, s.Name, err)
}

// names returns the names that may have been meant by an unknown one.
func (r *Reader) names() []string {
	names := []string{Application}
	for _, o := range r.All.Options() {
		if !o.Hidden && o.Gone == "" && o != config.Help.Row() {
			names = append(names, o.Name)
		}
	}
	return names
}

// usable returns the option for a key or a variable. It returns nil if none has this
// name, and why it cannot be used, if so.
func (r *Reader) usable(name string) (o *option.Option, why string) {
	if name == Application {
		return config.EntryPoint.Row(), ""
	}
	o = r.All.Named(name)
	if o == nil {
		return nil, ""
	}
	return o, r.All.Refusal(o)
}
