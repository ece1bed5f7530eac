package site

import (
	"path/filepath"

	"modwsgi/express/conf"
)

// LoadModule returns the directives that load the module and name its Python. The
// shared libpython is loaded by its path first: the module asks for it by name, and
// for a name the loader would look into LD_LIBRARY_PATH before the place that the
// module gives, and run another Python of that minor version without a word. A
// module from a wheel gives no place at all.
func LoadModule(in *Environment, module string) []*conf.Directive {
	var all []*conf.Directive
	if lib := in.SharedPython(); lib != "" {
		all = append(all, conf.D("LoadFile", conf.Word(filepath.ToSlash(lib))))
	}
	return append(all,
		conf.D("LoadModule", conf.Key("wsgi_module"), conf.Word(filepath.ToSlash(module))),
		conf.D("WSGIPythonHome", conf.Word(filepath.ToSlash(in.Home))))
}
