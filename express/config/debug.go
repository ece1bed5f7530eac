package config

import (
	"os"
	"path/filepath"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

var (
	EnableDebugger = option.Toggle("enable-debugger", "Python debugger on uncaught exceptions; implies --debug-mode, as all of these do.").
			With(unixOnly)
	DebuggerStartup = option.Toggle("debugger-startup", "Debugger prompt once the application is loaded, with --enable-debugger.").
			With(unixOnly)
	EnableCoverage = option.Toggle("enable-coverage", "Measure which lines run; the package coverage must be installed.").
			With(unixOnly)
	CoverageDirectory = option.Text("coverage-directory", "", "DIRECTORY", "Where the coverage report goes, when the server ends.").
				DefaultText("SERVER_ROOT/htmlcov").With(unixOnly)
	EnableProfiler    = option.Toggle("enable-profiler", "Profile loading and requests.").With(unixOnly)
	ProfilerDirectory = option.Text("profiler-directory", "", "DIRECTORY", "Where the profile goes, when the server ends.").
				DefaultText("SERVER_ROOT/pstats").With(unixOnly)
	EnableRecorder = option.Toggle("enable-recorder", "Record each request and its response, seven files each.").
			With(unixOnly)
	RecorderDirectory = option.Text("recorder-directory", "", "DIRECTORY", "Where recordings go.").
				DefaultText("SERVER_ROOT/archive").With(unixOnly)
	EnableGDB     = option.Toggle("enable-gdb", "Run httpd under gdb.").With(unixOnly)
	GDBExecutable = option.Text("gdb-executable", "gdb", "FILE", "The gdb to use.").With(unixOnly)
)

// debugging is the tools that look at the application; each implies debug mode.
var debugging = feature{
	options: option.NewGroup("Debugging",
		EnableDebugger, DebuggerStartup, EnableCoverage, CoverageDirectory, EnableProfiler, ProfilerDirectory, EnableRecorder,
		RecorderDirectory, EnableGDB, GDBExecutable,
	),
	imply: func(s *Server) {
		for _, t := range tools {
			// With --embedded-mode it is an error.
			DebugMode.Set(s, DebugMode.In(s) || t.tool.In(s) && !EmbeddedMode.In(s))
		}
	},
	conflicts: func(s *Server) error {
		for _, t := range tools {
			if t.tool.In(s) && EmbeddedMode.In(s) {
				return option.Usage("", "option %s implies --debug-mode, which --embedded-mode excludes", t.tool)
			}
		}
		if DebuggerStartup.In(s) && !EnableDebugger.In(s) {
			return option.Usage("", "option --debugger-startup needs --enable-debugger")
		}
		return nil
	},
	warnings: func(s *Server) (list []string) {
		for _, t := range tools {
			if !t.tool.In(s) && t.with.Option != nil && s.Given(t.with) {
				list = append(list, t.with.Flag()+" has no effect without "+t.tool.Flag())
			}
		}
		if OrphanInterpreter.In(s) && (EnableCoverage.In(s) || EnableProfiler.In(s)) {
			list = append(list, "with --orphan-interpreter what atexit functions do is not measured")
		}
		return list
	},
	private: func(i *Instance) (list []privateFile) {
		for _, d := range []string{i.CoverageDir, i.ProfilerDir, i.RecorderDir} {
			if d != "" {
				list = append(list, privateFile{what: "a directory of the server", path: d, dir: true})
			}
		}
		return list
	},
	carries: func(i *Instance) []carriedValue {
		return []carriedValue{
			{i.CoverageDir, "the directory for coverage", CoverageDirectory},
			{i.ProfilerDir, "the directory for profiles", ProfilerDirectory},
			{i.RecorderDir, "the directory for recordings", RecorderDirectory},
			{i.GDB, "the path of gdb", GDBExecutable},
		}
	},
	writes: map[slot]func(*writer){slotDaemon: func(w *writer) {
		if DebugMode.In(w.i) {
			w.add(conf.D("WSGIRestrictStdin", conf.Key("Off")).From(debugOrigins...))
		}
	}},
}

// tools are the options that imply debug mode, and what goes with them.
var tools = []struct {
	tool option.Handle[bool]
	with option.Handle[string] // without an option for none
}{
	{EnableDebugger, option.Handle[string]{}},
	{EnableCoverage, CoverageDirectory},
	{EnableProfiler, ProfilerDirectory},
	{EnableRecorder, RecorderDirectory},
	{EnableGDB, GDBExecutable},
}

// debugOrigins are the options that make it debug mode.
var debugOrigins = []conf.Origin{DebugMode, EnableDebugger, EnableCoverage, EnableProfiler, EnableRecorder, EnableGDB}

// ToolSettings is what the glue reads about the tools for debugging.
func (i *Instance) ToolSettings() map[string]any {
	t := map[string]any{}
	for name, dir := range map[string]string{"coverage": i.CoverageDir, "profiler": i.ProfilerDir, "recorder": i.RecorderDir} {
		if dir != "" {
			t[name] = dir
		}
	}
	if EnableDebugger.In(i) {
		t["debugger"], t["debugger_startup"] = true, DebuggerStartup.In(i)
	}
	return t
}

// Tools determines where the tools for debugging write to, and finds gdb.
func (i *Instance) Tools() error {
	for _, d := range []struct {
		on     bool
		option option.Ref
		value  string
		name   string
		to     *string
	}{
		{EnableCoverage.In(i), CoverageDirectory, CoverageDirectory.In(i), "htmlcov", &i.CoverageDir},
		{EnableProfiler.In(i), ProfilerDirectory, ProfilerDirectory.In(i), "pstats", &i.ProfilerDir},
		{EnableRecorder.In(i), RecorderDirectory, RecorderDirectory.In(i), "archive", &i.RecorderDir},
	} {
		if !d.on {
			continue
		}
		*d.to = OrElse(i.abs(d.value), filepath.Join(i.Root, d.name))
		if d.value != "" {
			if err := WantDirectory(d.option, filepath.Dir(*d.to)); err != nil {
				return err
			}
		}
	}
	if EnableCoverage.In(i) && !i.has("coverage") {
		i.Warn("--enable-coverage: the package coverage is not in this environment; the application will not load without it")
	}
	if !EnableGDB.In(i) {
		return nil
	}
	path, err := run.LookPath(GDBExecutable.In(i), i.Env)
	if err == nil {
		_, err = os.Stat(i.abs(path))
	}
	if err != nil {
		return fault.New(fault.Usage, "install gdb, or name it with --gdb-executable", "option --enable-gdb: %w", err)
	}
	i.GDB = i.abs(path)
	return nil
}

// has reports whether a Python package lies where the application would find it.
func (i *Instance) has(name string) bool {
	for _, d := range i.packageDirs() {
		if _, err := os.Stat(filepath.Join(d, name)); err == nil {
			return true
		}
	}
	return false
}

// HasDistribution reports whether a package of the index is installed there, by
// the directory of its metadata.
func (i *Instance) HasDistribution(name string) bool {
	for _, d := range i.packageDirs() {
		entries, _ := os.ReadDir(d)
		for _, e := range entries {
			if stem, ok := strings.CutSuffix(e.Name(), ".dist-info"); ok && strings.HasPrefix(stem, name+"-") {
				return true
			}
		}
	}
	return false
}

// packageDirs are where packages lie; directories that a .pth file adds are not
// looked at.
func (i *Instance) packageDirs() []string {
	dirs := []string{i.Python.Site, i.Work}
	for _, d := range PythonPath.In(i) {
		dirs = append(dirs, i.fromLaunch(d))
	}
	if i.Python.SeesSystem {
		dirs = append(dirs, filepath.Join(i.Python.Stdlib, "site-packages"), "/usr/lib/python3/dist-packages")
	}
	return dirs
}
