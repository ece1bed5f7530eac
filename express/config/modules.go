package config

import (
	"os"
	"slices"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/quote"
)

// module is an httpd module and the options that may need it. A module without options
// is always needed.
type module struct {
	name    string
	options []conf.Origin
}

// needs returns the modules with these names if on is true.
func needs(on bool, options []conf.Origin, names ...string) (list []module) {
	for _, name := range names {
		if on {
			list = append(list, module{name, options})
		}
	}
	return list
}

// by returns a list of options.
func by(options ...conf.Origin) []conf.Origin { return options }

// neededModules returns the modules of the configuration, without the MPM. Those that
// are welcome are loaded if they exist.
func (i *Instance) neededModules() (needed, welcome []module) {
	for at := range loads {
		for _, f := range features {
			get := f.modules[at]
			switch {
			case get == nil:
			case at == loadIncluded:
				welcome = append(welcome, get(i)...)
			default:
				needed = append(needed, get(i)...)
			}
		}
	}
	return needed, welcome
}

// alwaysLoaded returns the modules of every configuration.
func alwaysLoaded(*Instance) []module {
	list := needs(true, nil, "authn_core", "authz_core", "mime", "rewrite", "alias", "dir", "env", "reqtimeout")
	return append(list, needs(host.Accounts, nil, "unixd")...)
}

// hasMPM reports whether a multi-processing module can be loaded.
func (i *Instance) hasMPM(name string) bool {
	return !i.MPMBuiltIn && Exists(i.moduleFile("mpm_"+name))
}

// writeModules adds the directives that load the needed modules, except those built
// into httpd.
func writeModules(w *writer) {
	i := w.i
	if !i.MPMBuiltIn {
		w.add(conf.D("LoadModule", conf.Key("mpm_"+i.MPM+"_module"), word(i.moduleFile("mpm_"+i.MPM))).From(orMode(ServerMPM, ModulesDirectory, HTTPDExecutable)...))
	}
	needed, welcome := i.neededModules()
	loaded := map[string]bool{}
	for k, m := range slices.Concat(needed, welcome) {
		if loaded[m.name] {
			continue
		}
		loaded[m.name] = true
		if _, err := os.Stat(i.moduleFile(m.name)); err == nil {
			w.add(conf.D("LoadModule", conf.Key(m.name+"_module"), word(i.moduleFile(m.name))).From(m.options...))
			continue
		}
		builtIn, err := i.BuiltIn()
		if err == nil && !builtIn[m.name] && k < len(needed) {
			err = i.missingModule(m)
		}
		if err != nil {
			w.err = err
			return
		}
	}
	for _, d := range i.Load {
		w.add(d)
	}
}

// missingModule returns an error for a module that httpd lacks, with the options that
// need it.
func (i *Instance) missingModule(m module) error {
	by := "every configuration"
	if given := i.Flags(m.options); len(given) > 0 {
		by = "option " + strings.Join(given, " or ")
	}
	hint := "use an httpd with this module, or see --modules-directory"
	if feature := map[string]string{"ssl": "tls", "http2": "http2", "deflate": "deflate"}[m.name]; feature != "" && host.Builds {
		hint = "modwsgi install --httpd bundled --with " + feature + " --python " + quote.Shell(i.Python.Home) + " builds an httpd with this module, or see --modules-directory"
	}
	return fault.New(fault.Environment, hint,
		"%s needs the httpd module mod_%s, which is neither in %s nor built in", by, m.name, i.ModulesDir)
}
