package config

import "modwsgi/express/option"

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

var debuggingGroup = option.NewGroup("Debugging",
	EnableDebugger, DebuggerStartup, EnableCoverage, CoverageDirectory, EnableProfiler, ProfilerDirectory, EnableRecorder,
	RecorderDirectory, EnableGDB, GDBExecutable,
)
