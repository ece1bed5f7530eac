package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/logwriter"
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
	AccessLogFormat = option.Text("access-log-format", "common", "FORMAT", "common, combined, json, terminal (short lines for people), or a format of mod_log_config.")
	ErrorLogFormat  = option.Text("error-log-format", "", "FORMAT", "json, terminal (for people, with whole tracebacks), or a format of httpd's ErrorLogFormat.")
	ErrorLogUTF8    = option.Toggle("error-log-utf8", "Write text in error logs as UTF-8 instead of escapes such as \\xc3\\xa4.").
			With(unixOnly, own)
	ErrorLogName  = option.Text("error-log-name", "error_log", "NAME", "File name of the error log.")
	AccessLogName = option.Text("access-log-name", "access_log", "NAME", "File name of the access log.")
	StartupLog    = option.Toggle("startup-log", "Log what httpd prints before it has read its configuration.").
			With(unixOnly)
	StartupLogName = option.Text("startup-log-name", "startup_log", "NAME", "File name of the startup log.").
			With(unixOnly)
	RotateLogs = option.Toggle("rotate-logs", "Start a new log file when the current one is full, or after an interval.").With(unixOnly)
	MaxLogSize = option.Number("max-log-size", "5", "MEGABYTES", "Size at which a log file is full.").
			Check(option.Between(1, 1<<20)).With(unixOnly)
	RotateInterval = option.Text("rotate-interval", "", "INTERVAL", "Start a new log file at each hourly, daily, weekly or monthly change, or after a number of seconds.").
			Check(rotateInterval).With(unixOnly, own)
	MaxLogFiles = option.Number("max-log-files", "0", "NUMBER", "Number of full files to keep of each log; 0 keeps all.").
			Check(option.Between(0, 1<<20)).With(unixOnly, own)
	RotatelogsExecutable = option.Text("rotatelogs-executable", "", "FILE", "Rotate with this rotatelogs instead of the launcher.").
				With(unixOnly)
	VerboseDebugging = option.Toggle("verbose-debugging", "Log more messages of modules older than 6.0.0.").Hide()
)

// logs is the log files and their contents.
var logs = feature{
	options: option.NewGroup("Logs",
		LogDirectory, LogLevel, LogToTerminal, AccessLog, AccessLogFormat, ErrorLogFormat, ErrorLogUTF8, ErrorLogName, AccessLogName,
		StartupLog, StartupLogName, RotateLogs, MaxLogSize, RotateInterval, MaxLogFiles, RotatelogsExecutable, VerboseDebugging,
	),
	useless: func(s *Server) []useless {
		return []useless{
			{!RotateLogs.In(s), "without --rotate-logs", by(MaxLogSize, RotateInterval, MaxLogFiles, RotatelogsExecutable)},
			{ErrorLogFormat.In(s) == jsonFormat || ErrorLogFormat.In(s) == terminalFormat, "with --error-log-format " + ErrorLogFormat.In(s) + ", which is always UTF-8", by(ErrorLogUTF8)},
			{RotatelogsExecutable.In(s) != "" && RotateLogs.In(s), "with --rotatelogs-executable", by(MaxLogFiles)},
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
		return logFormats(s)
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
		loadLogs: func(i *Instance) []module {
			return needs(AccessLog.In(i), by(AccessLog), "log_config")
		},
		// The number of a request, in both logs and in the environment of the application.
		loadIncluded: func(i *Instance) []module {
			return needs(i.logsJSON(), by(AccessLogFormat, ErrorLogFormat), "unique_id")
		},
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

// logPaths determines the paths of the logs as shown to users. With rotatelogs, these
// are patterns for the names that it creates.
func (i *Instance) logPaths() {
	path := func(name string, rotated bool) string {
		p := filepath.Join(i.Logs, name)
		if rotated && i.rotatelogs() {
			p += ".YYYY-mm-dd-HH_MM_SS"
		}
		return p
	}
	i.ErrorLog, i.AccessLog, i.StartLog = path(ErrorLogName.In(i), true), path(AccessLogName.In(i), true), path(StartupLogName.In(i), false)
	if LogToTerminal.In(i) {
		i.ErrorLog, i.AccessLog, i.StartLog = "/dev/stderr", "/dev/stdout", "/dev/stderr"
	}
}

// The values of --access-log-format and --error-log-format that are not formats of httpd.
const (
	jsonFormat     = "json"
	terminalFormat = "terminal"
)

func rotateInterval(v string) error {
	if !logwriter.IsInterval(v) {
		return fmt.Errorf("%q is neither %s nor a number of seconds", v, strings.Join(logwriter.Intervals(), ", "))
	}
	return nil
}

// logFormats refuses formats that need the launcher's program for logs where that cannot
// be used.
func logFormats(s *Server) error {
	for _, f := range []struct {
		on   bool
		flag string
	}{
		{ErrorLogUTF8.In(s), ErrorLogUTF8.Flag()},
		{ErrorLogFormat.In(s) == jsonFormat, ErrorLogFormat.Flag() + " json"},
		{ErrorLogFormat.In(s) == terminalFormat, ErrorLogFormat.Flag() + " terminal"},
		{AccessLog.In(s) && AccessLogFormat.In(s) == jsonFormat, AccessLogFormat.Flag() + " json"},
		{AccessLog.In(s) && AccessLogFormat.In(s) == terminalFormat, AccessLogFormat.Flag() + " terminal"},
	} {
		switch {
		case f.on && !host.Unix:
			return option.Usage("", "option %s is not available on Windows", f.flag)
		case f.on && RotateLogs.In(s) && RotatelogsExecutable.In(s) != "":
			return option.Usage("without "+RotatelogsExecutable.Flag()+" the launcher rotates the logs itself", "option %s cannot be combined with %s", f.flag, RotatelogsExecutable)
		}
	}
	return nil
}

// rotatelogs reports whether logs are rotated by another program than the launcher.
func (i *Instance) rotatelogs() bool { return RotateLogs.In(i) && RotatelogsExecutable.In(i) != "" }

// errorForm is the form of the error logs.
func (i *Instance) errorForm() logwriter.Form {
	switch {
	case ErrorLogFormat.In(i) == jsonFormat:
		return logwriter.ErrorJSON
	case ErrorLogFormat.In(i) == terminalFormat:
		return logwriter.ErrorTerminal
	case ErrorLogUTF8.In(i):
		return logwriter.UTF8
	}
	return logwriter.Plain
}

// errorOrigins returns the options that determine where an error log is written.
func (i *Instance) errorOrigins(name conf.Origin) []conf.Origin {
	if i.errorForm() == logwriter.Plain {
		return by(name)
	}
	return by(name, ErrorLogFormat, ErrorLogUTF8)
}

// accessForm is the form of the access log. Where the launcher's program writes it, its
// lines are marked, unless a format has several.
func (i *Instance) accessForm() logwriter.Form {
	piped := RotateLogs.In(i) && !i.rotatelogs() || LogToTerminal.In(i) && !Opens("/dev/"+logwriter.Stdout)
	switch {
	case AccessLogFormat.In(i) == jsonFormat:
		return logwriter.AccessJSON
	case AccessLogFormat.In(i) == terminalFormat:
		return logwriter.AccessTerminal
	case piped && !strings.Contains(AccessLogFormat.In(i), `\n`):
		return logwriter.AccessText
	}
	return logwriter.Plain
}

// logsJSON reports whether a log is JSON.
func (i *Instance) logsJSON() bool {
	return i.errorForm() == logwriter.ErrorJSON || AccessLog.In(i) && i.accessForm() == logwriter.AccessJSON
}

// Piped reports whether httpd pipes a log into the launcher's program instead of a
// stream.
func (i *Instance) Piped(stream string) bool {
	form := i.errorForm()
	if stream == logwriter.Stdout {
		form = i.accessForm()
	}
	return LogToTerminal.In(i) && (form != logwriter.Plain || !Opens("/dev/"+stream))
}

// logTarget returns the argument of ErrorLog and CustomLog: a file, one of the
// launcher's streams, or the command line of a piped log.
func (w *writer) logTarget(name, stream string, form logwriter.Form, o option.Ref) conf.Word {
	i := w.i
	switch {
	case !LogToTerminal.In(i):
		return w.fileTarget(name, form, stream == logwriter.Stderr, o)
	case !i.Piped(stream):
		return word("/dev/" + stream)
	}
	// Among others a socket, or another user's terminal, which cannot be opened by name.
	// A child of httpd inherits it.
	return w.writeLog(&logwriter.Settings{To: stream, Form: form, Error: stream == logwriter.Stderr}, o)
}

// logOrigins returns the options that determine the target of a log.
func (i *Instance) logOrigins(own ...conf.Origin) []conf.Origin {
	return slices.Concat(own, []conf.Origin{LogToTerminal, RotateLogs, MaxLogSize, RotateInterval, MaxLogFiles, RotatelogsExecutable}, i.unless(LogDirectory, i.rootOrigins()...))
}

// fileTarget is logTarget for logs that are never written to the terminal.
func (w *writer) fileTarget(name string, form logwriter.Form, errors bool, o option.Ref) conf.Word {
	i := w.i
	path := filepath.Join(i.Logs, name)
	if i.rotatelogs() {
		// rotatelogs passes the name to strftime.
		argv := []string{i.Rotatelogs, strings.ReplaceAll(path, "%", "%%") + ".%Y-%m-%d-%H_%M_%S"}
		if seconds := logwriter.Seconds(RotateInterval.In(i)); seconds > 0 {
			argv = append(slices.Insert(argv, 1, "-l"), strconv.Itoa(seconds))
		}
		if size := i.maxLogSize(); size > 0 {
			argv = append(argv, strconv.Itoa(size)+"M")
		}
		return w.pipe(o, argv...)
	}
	if form == logwriter.Plain && !RotateLogs.In(i) {
		return word(path)
	}
	settings := &logwriter.Settings{To: path, Form: form, Error: errors}
	if RotateLogs.In(i) {
		settings.Size, settings.Every, settings.Keep = int64(i.maxLogSize())<<20, RotateInterval.In(i), MaxLogFiles.In(i)
	}
	return w.writeLog(settings, o)
}

// WrittenLogs returns the log files that the launcher's program writes. httpd starts even
// if that cannot.
func (i *Instance) WrittenLogs() (paths []string) {
	if LogToTerminal.In(i) || i.rotatelogs() {
		return nil
	}
	if !i.DirectLog() {
		paths = append(paths, filepath.Join(i.Logs, ErrorLogName.In(i)))
		for _, v := range ServiceLogFile.In(i) {
			paths = append(paths, filepath.Join(i.Logs, v[1]))
		}
	}
	if AccessLog.In(i) && (RotateLogs.In(i) || i.accessForm() != logwriter.Plain) {
		paths = append(paths, filepath.Join(i.Logs, AccessLogName.In(i)))
	}
	return paths
}

// DirectLog reports whether httpd itself writes its error log, into a file.
func (i *Instance) DirectLog() bool {
	return !LogToTerminal.In(i) && !RotateLogs.In(i) && i.errorForm() == logwriter.Plain
}

// ErrorLogIsJSON reports whether the error log has one JSON object per line.
func (i *Instance) ErrorLogIsJSON() bool { return i.errorForm() == logwriter.ErrorJSON }

// maxLogSize returns the size at which a log is full, in MiB; 0 for none: a log that is
// rotated at certain times has a limit only if one is given.
func (i *Instance) maxLogSize() int {
	if RotateInterval.In(i) != "" && !i.Given(MaxLogSize) {
		return 0
	}
	return MaxLogSize.In(i)
}

// writeLog returns the command line of the launcher's own program for logs.
func (w *writer) writeLog(s *logwriter.Settings, o option.Ref) conf.Word {
	s.Root = w.i.Root
	return w.pipe(o, append([]string{w.i.Launcher, logwriter.Command}, s.Args()...)...)
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
	w.add(conf.D("ErrorLog", w.logTarget(ErrorLogName.In(i), logwriter.Stderr, i.errorForm(), ErrorLogName)).From(i.logOrigins(i.errorOrigins(ErrorLogName)...)...))
	level := conf.D("LogLevel").From(LogLevel)
	for _, w := range strings.Fields(LogLevel.In(i)) {
		level.Args = append(level.Args, word(w))
	}
	w.add(level)
	switch format := ErrorLogFormat.In(i); format {
	case "":
	case jsonFormat, terminalFormat:
		w.add(conf.D("ErrorLogFormat", word(logwriter.ErrorFormat)).From(ErrorLogFormat))
	default:
		w.add(conf.D("ErrorLogFormat", word(format)).From(ErrorLogFormat))
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
	case jsonFormat, terminalFormat:
		format = logwriter.AccessFormat
	}
	form := i.accessForm()
	if form == logwriter.AccessText {
		format = logwriter.TextFormat(format)
	}
	w.add(conf.D("CustomLog", w.logTarget(AccessLogName.In(i), logwriter.Stdout, form, AccessLogName), word(format)).From(i.logOrigins(AccessLogFormat, AccessLog, AccessLogName)...))
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
