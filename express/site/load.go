package site

import (
	"path/filepath"

	"modwsgi/express/conf"
)

// LoadModule returns the directives that load the module and name its Python. The
// shared libpython is loaded first, by path: the module asks for it by name, and the
// loader would search LD_LIBRARY_PATH before the directory recorded in the module and
// silently run another Python of that minor version. A module from a wheel does not
// even name it.
func LoadModule(in *Environment, module string) []*conf.Directive {
	var all []*conf.Directive
	if lib := in.SharedPython(); lib != "" {
		all = append(all, conf.D("LoadFile", conf.Word(filepath.ToSlash(lib))))
	}
	return append(all,
		conf.D("LoadModule", conf.Key("wsgi_module"), conf.Word(filepath.ToSlash(module))),
		conf.D("WSGIPythonHome", conf.Word(filepath.ToSlash(in.Home))))
}
