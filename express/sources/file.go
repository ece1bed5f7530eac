package sources

import (
	"modwsgi/express/config"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/settingsfile"
	"modwsgi/internal/tomlfile"
)

// Names of the files that are read without being named.
const (
	OwnFile     = "mod_wsgi-express.toml"
	ProjectFile = settingsfile.ProjectFile
)

// toolName is the launcher's table in ProjectFile: [tool.mod_wsgi-express].
const toolName = "mod_wsgi-express"

// file returns the settings of the configuration file, and its directory.
func (r *Reader) file(line *option.Line) (settings []option.Setting, dir string, err error) {
	named, by := config.Config.In(line), config.Config.Flag()
	if !line.Given(config.Config) {
		if value, ok := lookup(r.Env, Variable(config.Config.Row().Name)); ok {
			if value == "" {
				return nil, "", fault.New(fault.Usage, "unset it", "%s: the value is empty", Variable(config.Config.Row().Name))
			}
			named, by = value, Variable(config.Config.Row().Name)
		}
	}
	finder := settingsfile.Finder{Dir: r.Dir, Tool: toolName, Own: OwnFile, Trusted: r.Trusted, Warn: r.Warn}
	r.found.None = named == settingsfile.None
	r.from, err = finder.Find(named, by)
	if err != nil || r.from == nil {
		return nil, "", err
	}
	if r.Unit && owned.Descriptor(r.from.Path) {
		return nil, "", fault.New(fault.Usage, "name a file", "%s: the service cannot read %s", by, r.from.Path)
	}
	r.found.Path = r.from.Path
	settings = r.settings(r.from.Table, r.from.Dir())
	return settings, r.from.Dir(), r.problems.Err("docs/guides/configuration-file.md has all rules")
}

// settings returns what the keys of a table set. Mistakes are added to the problems.
func (r *Reader) settings(t *tomlfile.Table, dir string) (settings []option.Setting) {
	seen := map[*option.Option]string{}
	for _, e := range t.Entries {
		source := r.from.At(e.Line)
		o, why := r.usable(e.Key)
		switch {
		case o == nil:
			known := func(name string) bool { return r.All.Named(name) != nil }
			r.problems.Add(e.Line, "%s: %s", source, r.from.Unknown(e.Key, known, r.names()))
			continue
		case why != "":
			r.problems.Add(e.Line, "%s: %s %s", source, e.Key, why)
			continue
		case o == config.Config.Row():
			r.problems.Add(e.Line, "%s: a configuration file cannot name another one", source)
			continue
		case seen[o] != "":
			r.problems.Add(e.Line, "%s: %s and %s are the same option: write one of them", source, e.Key, seen[o])
			continue
		}
		seen[o] = e.Key
		uses, wrong := r.uses(o, e.Value, dir)
		if wrong.Text != "" {
			at := max(e.Line, wrong.Line)
			r.problems.Add(at, "%s: %s: %s", r.from.At(at), e.Key, wrong.Text)
			continue
		}
		if !r.wants(o) {
			continue
		}
		s := option.Setting{Option: o, Uses: uses, Name: e.Key, Source: option.Place{Name: r.from.Name, Line: e.Line}}
		if table, ok := e.Value.(*tomlfile.Table); ok {
			for _, one := range table.Entries {
				s.At = append(s.At, option.Place{Name: r.from.Name, Line: max(one.Line, e.Line)})
			}
		}
		settings = append(settings, s)
	}
	return settings
}
