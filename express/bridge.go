package express

import "modwsgi/express/config"

// What the configuration and this package both need.
var (
	unbracket     = config.Unbracket
	groupName     = config.GroupName
	listenAddress = config.ListenAddress
	origin        = config.Origin
	wantDirectory = config.WantDirectory
	included      = config.Included
	notUTF8       = config.NotUTF8
	hostLines     = config.HostLines
	exists        = config.Exists
	orElse        = config.OrElse
	lastOf        = config.LastOf
	opens         = config.Opens
)

const (
	handlerFile   = config.HandlerFile
	hostsFile     = config.HostsFile
	resourceFile  = config.ResourceFile
	telemetryFile = config.TelemetryFile
)
