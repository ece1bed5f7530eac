package config

import "modwsgi/express/option"

var (
	LogDirectory = option.Text("log-directory", "", "DIRECTORY", "Where log files go.").
			DefaultText("SERVER_ROOT")
	LogLevel = option.Text("log-level", "warn", "LEVEL", "Least severe messages that are logged; may name modules (info rewrite:trace3).").
			Check(logLevel)
	LogToTerminal = option.Toggle("log-to-terminal", "Logs go to standard error and standard output.").
			With(unixOnly)
	AccessLog       = option.Toggle("access-log", "Log each request.")
	AccessLogFormat = option.Text("access-log-format", "common", "FORMAT", "common, combined, or a format of mod_log_config.")
	ErrorLogFormat  = option.Text("error-log-format", "", "FORMAT", "Format of lines in the error log.")
	ErrorLogName    = option.Text("error-log-name", "error_log", "NAME", "File name of the error log.")
	AccessLogName   = option.Text("access-log-name", "access_log", "NAME", "File name of the access log.")
	StartupLog      = option.Toggle("startup-log", "Log what httpd says before it has read its configuration.").
			With(unixOnly)
	StartupLogName = option.Text("startup-log-name", "startup_log", "NAME", "File name of the startup log.").
			With(unixOnly)
	RotateLogs = option.Toggle("rotate-logs", "Start a new log file when one is full.").With(unixOnly)
	MaxLogSize = option.Number("max-log-size", "5", "MEGABYTES", "Size at which a log file is full.").
			Check(option.Between(1, 1<<20)).With(unixOnly)
	RotatelogsExecutable = option.Text("rotatelogs-executable", "", "FILE", "The rotatelogs program.").
				DefaultText("found beside httpd, else rotatelogs").With(unixOnly)
	VerboseDebugging = option.Toggle("verbose-debugging", "More messages from modules before 6.0.0.").Hide()
)

var logsGroup = option.NewGroup("Logs",
	LogDirectory, LogLevel, LogToTerminal, AccessLog, AccessLogFormat, ErrorLogFormat, ErrorLogName, AccessLogName,
	StartupLog, StartupLogName, RotateLogs, MaxLogSize, RotatelogsExecutable, VerboseDebugging,
)
