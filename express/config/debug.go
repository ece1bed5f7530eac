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
	EnableDebugger = option.Toggle("enable-debugger", "Start the Python debugger on uncaught exceptions; implies --debug-mode, as do the other tools of this group.").
			With(unixOnly)
	DebuggerStartup = option.Toggle("debugger-startup", "With --enable-debugger, also show a debugger prompt once the application is loaded.").
			With(unixOnly)
	EnableCoverage = option.Toggle("enable-coverage", "Measure code coverage; needs the package coverage.").
			With(unixOnly)
	CoverageDirectory = option.Text("coverage-directory", "", "DIRECTORY", "Directory for the coverage report, which is written when the server stops.").
				DefaultText("SERVER_ROOT/htmlcov").With(unixOnly)
	EnableProfiler    = option.Toggle("enable-profiler", "Profile loading and requests.").With(unixOnly)
	ProfilerDirectory = option.Text("profiler-directory", "", "DIRECTORY", "Directory for the profile, which is written when the server stops.").
				DefaultText("SERVER_ROOT/pstats").With(unixOnly)
	EnableRecorder = option.Toggle("enable-recorder", "Record each request and its response, in seven files per request.").
			With(unixOnly)
	RecorderDirectory = option.Text("recorder-directory", "", "DIRECTORY", "Directory for the recordings.").
				DefaultText("SERVER_ROOT/archive").With(unixOnly)
	EnableGDB     = option.Toggle("enable-gdb", "Run httpd under gdb.").With(unixOnly)
	GDBExecutable = option.Text("gdb-executable", "gdb", "FILE", "The gdb to use.").With(unixOnly)
)

// debugging is the tools for examining the application. Each implies debug mode.
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
				return option.Usage("", "option %s implies --debug-mode, which cannot be combined with --embedded-mode", t.tool)
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
			list = append(list, "with --orphan-interpreter, atexit functions are not measured")
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

// tools are the options that imply debug mode, each with the option that belongs to it.
var tools = []struct {
	tool option.Handle[bool]
	with option.Handle[string] // its Option is nil if the tool has no such option
}{
	{EnableDebugger, option.Handle[string]{}},
	{EnableCoverage, CoverageDirectory},
	{EnableProfiler, ProfilerDirectory},
	{EnableRecorder, RecorderDirectory},
	{EnableGDB, GDBExecutable},
}

// debugOrigins are the options that turn on debug mode.
var debugOrigins = []conf.Origin{DebugMode, EnableDebugger, EnableCoverage, EnableProfiler, EnableRecorder, EnableGDB}

// ToolSettings returns the settings of the debugging tools for the handler script.
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

// Tools determines the directories that the debugging tools write to, and finds gdb.
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
		i.Warn("--enable-coverage: the package coverage is not installed in this environment; the application will not load without it")
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

// has reports whether the application would find a Python package.
func (i *Instance) has(name string) bool {
	for _, d := range i.packageDirs() {
		if _, err := os.Stat(filepath.Join(d, name)); err == nil {
			return true
		}
	}
	return false
}

// HasDistribution reports whether a distribution is installed, judging by its
// metadata directory.
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

// packageDirs returns the directories with packages, without those that .pth files
// add.
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
