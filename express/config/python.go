package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

var (
	PythonPath = option.Texts("python-path", "DIRECTORY", "Directory to add to the module path of the application.")
	PythonEggs = option.Text("python-eggs", "", "DIRECTORY", "Directory to unpack zipped eggs to.").
			DefaultText("SERVER_ROOT/python-eggs")
	PythonWarnings = option.Texts("python-warnings", "FILTER", "Warning filter, as for python -W.")
	SwitchInterval = option.Fraction("switch-interval", "", "SECONDS", "How long a thread may run before Python switches to another.").
			DefaultText("none (Python: 0.005)").Check(option.Positive).With(since("6.0.0"))
	FreeThreading = option.Toggle("free-threading", "Run without the global interpreter lock; needs a free-threaded Python.").
			With(since("6.0.0"))
)

// python is the Python interpreter.
var python = feature{
	options: option.NewGroup("Python",
		PythonPath, PythonEggs, PythonWarnings, SwitchInterval, FreeThreading,
	),
	conflicts: func(s *Server) error {
		if FreeThreading.In(s) && !s.FreeThreaded {
			return option.Usage("", "option --free-threading needs a free-threaded Python")
		}
		return nil
	},
	useless: func(s *Server) []useless {
		return []useless{{!s.Daemon(), "in " + s.mode() + " mode", by(PythonEggs)}}
	},
	check: func(i *Instance) error {
		for _, d := range PythonPath.In(i) {
			if path := i.fromLaunch(d); !Exists(path) {
				i.Warn("option --python-path: " + path + " does not exist")
			}
		}
		return nil
	},
	private: func(i *Instance) []privateFile {
		list := []privateFile{{what: "a directory of the server", path: i.Eggs, dir: true}}
		if ApplicationType.In(i) == "static" {
			return list
		}
		for _, d := range PythonPath.In(i) {
			list = append(list, privateFile{what: "the module path of the application", path: i.fromLaunch(d), code: true})
		}
		return list
	},
	defines: func(i *Instance) []define {
		return []define{
			{len(PythonPath.In(i)) > 0, "MOD_WSGI_WITH_PYTHON_PATH"},
			{i.Given(SwitchInterval), "MOD_WSGI_SWITCH_INTERVAL"},
			{FreeThreading.In(i), "MOD_WSGI_FREE_THREADING"},
		}
	},
	writes: map[slot]func(*writer){slotPython: (*writer).interpreter},
}

func (w *writer) interpreter() {
	i := w.i
	for _, filter := range PythonWarnings.In(i) {
		w.add(conf.D("WSGIPythonWarnings", word(filter)).From(PythonWarnings))
	}
	if i.Given(SwitchInterval) {
		w.add(conf.D("WSGISwitchInterval", word(decimal(SwitchInterval.In(i)))).From(SwitchInterval))
	}
	if FreeThreading.In(i) {
		w.add(conf.D("WSGIFreeThreading", conf.Key("On")).From(FreeThreading))
	}
}

// eggsOrigins returns the options that determine the directory for eggs.
func (i *Instance) eggsOrigins() []conf.Origin {
	return i.unless(PythonEggs, i.rootOrigins()...)
}

func (w *writer) pythonPath() []string {
	var dirs []string
	for _, d := range PythonPath.In(w.i) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(w.i.LaunchDir, d)
		}
		dirs = append(dirs, d)
	}
	return dirs
}

func badPathEntry(dirs []string) string {
	for _, d := range dirs {
		if strings.Contains(d, ":") {
			return d
		}
	}
	return ""
}

// pathFiles returns the directories that the .pth files of a site-packages directory
// add to the module path. known is false if one of them runs code, which may add more.
// The file of setuptools, which most environments have, adds nothing.
func pathFiles(site string) (dirs []string, known bool) {
	names, _ := fs.Glob(os.DirFS(site), "*.pth")
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(site, name))
		if err != nil {
			return nil, false
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			switch {
			case line == "" || line[0] == '#' || name == "distutils-precedence.pth":
			case strings.HasPrefix(line, "import ") || strings.HasPrefix(line, "import\t"):
				return nil, false
			case filepath.IsAbs(line):
				dirs = append(dirs, line)
			default:
				dirs = append(dirs, filepath.Join(site, line))
			}
		}
	}
	return dirs, true
}
