package config

import "modwsgi/express/option"

var (
	HostAccessScript = option.Text("host-access-script", "", "FILE", "Script whose allow_access(environ, host) decides who gets in.")
	AuthUserScript   = option.Text("auth-user-script", "", "FILE", "Script that knows users and their passwords.")
	AuthType         = option.Text("auth-type", "Basic", "TYPE", "Basic or Digest.").Among(true, "Basic", "Digest")
	AuthGroupScript  = option.Text("auth-group-script", "", "FILE", "Script that knows the groups of a user.")
	AuthGroup        = option.Text("auth-group", "wsgi", "NAME", "Group that a user must be in.")
	ServerStatus     = option.Toggle("server-status", "Show httpd's state at http://localhost/server-status, to this machine only, not through a proxy.")
	ServerMetrics    = option.Toggle("server-metrics", "Let the application read httpd's state.")
)

var accessGroup = option.NewGroup("Access",
	HostAccessScript, AuthUserScript, AuthType, AuthGroupScript, AuthGroup, ServerStatus, ServerMetrics,
)
