package config

import "modwsgi/express/option"

var (
	ServiceScript = option.Pairs("service-script", "NAME SCRIPT", "Run a script in a process of its own.").
			With(unixOnly, since("4.6.0"))
	ServiceUser = option.Pairs("service-user", "NAME USER", "Account of a service.").
			DefaultText("--user").With(unixOnly, since("4.6.0"))
	ServiceGroup = option.Pairs("service-group", "NAME GROUP", "Group of a service.").
			DefaultText("--group").With(unixOnly, since("4.6.0"))
	ServiceLogFile = option.Pairs("service-log-file", "NAME FILE", "Log file of a service, in the log directory.").
			Alias("service-log").With(unixOnly, since("4.6.0"))
)

var servicesGroup = option.NewGroup("Services",
	ServiceScript, ServiceUser, ServiceGroup, ServiceLogFile,
)
