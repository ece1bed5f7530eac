package config

import "modwsgi/express/option"

var (
	PythonPath = option.Texts("python-path", "DIRECTORY", "Directory for the module path of the application.")
	PythonEggs = option.Text("python-eggs", "", "DIRECTORY", "Where zipped eggs are unpacked.").
			DefaultText("SERVER_ROOT/python-eggs")
	PythonWarnings = option.Texts("python-warnings", "FILTER", "Filter as for python -W.")
	SwitchInterval = option.Fraction("switch-interval", "", "SECONDS", "How long a thread may run before another one gets its turn.").
			DefaultText("none (Python: 0.005)").Check(option.Positive).With(since("6.0.0"))
	FreeThreading = option.Toggle("free-threading", "Run without the global interpreter lock; Python must be built for it.").
			With(since("6.0.0"))
)

var pythonGroup = option.NewGroup("Python",
	PythonPath, PythonEggs, PythonWarnings, SwitchInterval, FreeThreading,
)
