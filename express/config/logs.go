package config

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
	"modwsgi/express/site"
)

var (
	LogDirectory = option.Text("log-directory", "", "DIRECTORY", "Directory for log files.").
			DefaultText("SERVER_ROOT")
	LogLevel = option.Text("log-level", "warn", "LEVEL", "Lowest severity that is logged; may set levels of single modules (info rewrite:trace3).").
			Check(logLevel)
	LogToTerminal = option.Toggle("log-to-terminal", "Write logs to standard error and standard output.").
			With(unixOnly)
	AccessLog       = option.Toggle("access-log", "Log each request.")
	AccessLogFormat = option.Text("access-log-format", "common", "FORMAT", "common, combined, or a format of mod_log_config.")
	ErrorLogFormat  = option.Text("error-log-format", "", "FORMAT", "Format of error log lines.")
	ErrorLogName    = option.Text("error-log-name", "error_log", "NAME", "File name of the error log.")
	AccessLogName   = option.Text("access-log-name", "access_log", "NAME", "File name of the access log.")
	StartupLog      = option.Toggle("startup-log", "Log what httpd prints before it has read its configuration.").
			With(unixOnly)
	StartupLogName = option.Text("startup-log-name", "startup_log", "NAME", "File name of the startup log.").
			With(unixOnly)
	RotateLogs = option.Toggle("rotate-logs", "Start a new log file when the current one is full.").With(unixOnly)
	MaxLogSize = option.Number("max-log-size", "5", "MEGABYTES", "Size at which a log file is full.").
			Check(option.Between(1, 1<<20)).With(unixOnly)
	RotatelogsExecutable = option.Text("rotatelogs-executable", "", "FILE", "rotatelogs program to use.").
				DefaultText("found beside httpd, else rotatelogs").With(unixOnly)
	VerboseDebugging = option.Toggle("verbose-debugging", "Log more messages of modules older than 6.0.0.").Hide()
)

// logs is the log files and their contents.
var logs = feature{
	options: option.NewGroup("Logs",
		LogDirectory, LogLevel, LogToTerminal, AccessLog, AccessLogFormat, ErrorLogFormat, ErrorLogName, AccessLogName,
		StartupLog, StartupLogName, RotateLogs, MaxLogSize, RotatelogsExecutable, VerboseDebugging,
	),
	useless: func(s *Server) []useless {
		return []useless{
			{!RotateLogs.In(s), "without --rotate-logs", by(MaxLogSize, RotatelogsExecutable)},
			{!AccessLog.In(s), "without --access-log", by(AccessLogFormat, AccessLogName)},
			{!StartupLog.In(s), "without --startup-log", by(StartupLogName)},
		}
	},
	warnings: func(s *Server) (list []string) {
		directory := LogDirectory.In(s) != ""
		if LogToTerminal.In(s) && directory {
			list = append(list, "--log-to-terminal has no effect with --log-directory")
		}
		if LogToTerminal.In(s) && RotateLogs.In(s) && !directory {
			list = append(list, "--rotate-logs has no effect with --log-to-terminal")
		}
		if VerboseDebugging.In(s) && site.AtLeastVersion(s.ModuleVersion, "6.0.0") {
			list = append(list, "--verbose-debugging has no effect since mod_wsgi 6.0.0")
		}
		return list
	},
	conflicts: func(s *Server) error { // after the warnings about them
		if LogDirectory.In(s) != "" {
			LogToTerminal.Set(s, false)
		}
		if LogToTerminal.In(s) {
			RotateLogs.Set(s, false)
		}
		return nil
	},
	check: (*Instance).logNames,
	logs: func(i *Instance) []string {
		return []string{ErrorLogName.In(i), AccessLogName.In(i), StartupLogName.In(i)}
	},
	private: func(i *Instance) []privateFile {
		list := []privateFile{{what: "the error log", path: filepath.Join(i.Logs, ErrorLogName.In(i)), log: true}}
		if AccessLog.In(i) {
			list = append(list, privateFile{what: "the access log", path: filepath.Join(i.Logs, AccessLogName.In(i)), log: true})
		}
		if StartupLog.In(i) {
			list = append(list, privateFile{what: "the startup log", path: filepath.Join(i.Logs, StartupLogName.In(i)), log: true})
		}
		return list
	},
	carries: func(i *Instance) []carriedValue {
		if !StartupLog.In(i) {
			return nil
		}
		return []carriedValue{{i.StartLog, "the startup log", StartupLogName}}
	},
	defines: func(i *Instance) []define {
		return []define{
			{AccessLog.In(i), "MOD_WSGI_ACCESS_LOG"},
			{RotateLogs.In(i), "MOD_WSGI_ROTATE_LOGS"},
			{ErrorLogFormat.In(i) != "", "MOD_WSGI_ERROR_LOG_FORMAT"},
		}
	},
	modules: map[load]func(*Instance) []module{
		loadLogs: func(i *Instance) []module { return needs(AccessLog.In(i), by(AccessLog), "log_config") },
	},
	writes: map[slot]func(*writer){
		slotVerbosity: func(w *writer) {
			if VerboseDebugging.In(w.i) && !site.AtLeastVersion(w.i.ModuleVersion, "6.0.0") {
				w.add(conf.D("WSGIVerboseDebugging", conf.Key("On")).From(VerboseDebugging))
			}
		},
		slotLogs: (*writer).logging,
	},
}

// logPaths determines the paths of the logs as shown to users. With rotation, these
// are patterns for the names that rotatelogs creates.
func (i *Instance) logPaths() {
	path := func(name string, rotated bool) string {
		p := filepath.Join(i.Logs, name)
		if rotated && RotateLogs.In(i) {
			p += ".YYYY-mm-dd-HH_MM_SS"
		}
		return p
	}
	i.ErrorLog, i.AccessLog, i.StartLog = path(ErrorLogName.In(i), true), path(AccessLogName.In(i), true), path(StartupLogName.In(i), false)
	if LogToTerminal.In(i) {
		i.ErrorLog, i.AccessLog, i.StartLog = "/dev/stderr", "/dev/stdout", "/dev/stderr"
	}
}

// logTarget returns the argument of ErrorLog and CustomLog: a file, one of the
// launcher's streams, or the command line of a piped log.
func (w *writer) logTarget(name, stream string, o option.Ref) conf.Word {
	i := w.i
	if LogToTerminal.In(i) {
		if Opens("/dev/" + stream) {
			return word("/dev/" + stream)
		}
		// A socket, or another user's terminal, which cannot be opened by name. A
		// child of httpd inherits it.
		return w.pipe(o, i.Launcher, "copy-log", stream)
	}
	return w.fileTarget(name, o)
}

// logOrigins returns the options that determine the target of a log.
func (i *Instance) logOrigins(own ...conf.Origin) []conf.Origin {
	return slices.Concat(own, []conf.Origin{LogToTerminal, RotateLogs, MaxLogSize, RotatelogsExecutable}, i.unless(LogDirectory, i.rootOrigins()...))
}

// fileTarget is logTarget for logs that are never written to the terminal.
func (w *writer) fileTarget(name string, o option.Ref) conf.Word {
	i := w.i
	if RotateLogs.In(i) {
		// rotatelogs passes the name to strftime.
		pattern := strings.ReplaceAll(filepath.Join(i.Logs, name), "%", "%%") + ".%Y-%m-%d-%H_%M_%S"
		return w.pipe(o, i.Rotatelogs, pattern, strconv.Itoa(MaxLogSize.In(i))+"M")
	}
	return word(filepath.Join(i.Logs, name))
}

// Opens reports whether a stream can be opened by name.
func Opens(name string) bool {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

func (w *writer) pipe(o option.Ref, argv ...string) conf.Word {
	words := make([]string, len(argv))
	for k, a := range argv {
		var err error
		if words[k], err = conf.PipeWord(a); err != nil {
			w.err = option.Usage("", "option %s: %w", o, err)
		}
	}
	return word("|" + strings.Join(words, " "))
}

func (w *writer) logging() {
	i := w.i
	w.add(conf.D("ErrorLog", w.logTarget(ErrorLogName.In(i), "stderr", ErrorLogName)).From(i.logOrigins(ErrorLogName)...))
	level := conf.D("LogLevel").From(LogLevel)
	for _, w := range strings.Fields(LogLevel.In(i)) {
		level.Args = append(level.Args, word(w))
	}
	w.add(level)
	if ErrorLogFormat.In(i) != "" {
		w.add(conf.D("ErrorLogFormat", word(ErrorLogFormat.In(i))).From(ErrorLogFormat))
	}
	if !AccessLog.In(i) {
		return
	}
	format := AccessLogFormat.In(i)
	switch format {
	case "common":
		format = `%h %l %u %t "%r" %>s %b`
	case "combined":
		format = `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`
	}
	w.add(conf.D("CustomLog", w.logTarget(AccessLogName.In(i), "stdout", AccessLogName), word(format)).From(i.logOrigins(AccessLogFormat, AccessLog, AccessLogName)...))
}

// logNames checks the names of log files, which are relative to the log directory.
func (i *Instance) logNames() error {
	for _, o := range []option.Handle[string]{ErrorLogName, AccessLogName, StartupLogName} {
		name := o.In(i)
		if !i.Given(o) {
			continue
		}
		if name == "" || strings.HasSuffix(name, "/") {
			return option.Usage("the file is created in the log directory", "option %s: %q is not a file name", o, name)
		}
		dir := filepath.Dir(filepath.Join(i.Logs, name))
		if dir == filepath.Clean(i.Logs) {
			continue // which the launcher creates
		}
		if err := WantDirectory(o, dir); err != nil {
			return err
		}
	}
	return nil
}

// LogNames returns the names of all log files, relative to the log directory.
func (i *Instance) LogNames() []string {
	return all(i, func(f *feature) func(*Instance) []string { return f.logs })
}
