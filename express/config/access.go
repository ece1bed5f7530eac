package config

import (
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

var (
	HostAccessScript = option.Text("host-access-script", "", "FILE", "Script whose allow_access(environ, host) decides which clients are admitted.")
	AuthUserScript   = option.Text("auth-user-script", "", "FILE", "Script that authenticates users.")
	AuthType         = option.Text("auth-type", "Basic", "TYPE", "Basic or Digest.").Among(true, "Basic", "Digest")
	AuthGroupScript  = option.Text("auth-group-script", "", "FILE", "Script that returns the groups of a user.")
	AuthGroup        = option.Text("auth-group", "wsgi", "NAME", "Group that a user must belong to.")
	ServerStatus     = option.Toggle("server-status", "Show httpd's status at http://localhost/server-status, to this machine only and not through a proxy.")
	ServerMetrics    = option.Toggle("server-metrics", "Let the application read httpd's status.")
)

// access controls which clients are admitted, and which may see httpd's status.
var access = feature{
	options: option.NewGroup("Access",
		HostAccessScript, AuthUserScript, AuthType, AuthGroupScript, AuthGroup, ServerStatus, ServerMetrics,
	),
	conflicts: func(s *Server) error {
		if AuthGroupScript.In(s) != "" && AuthUserScript.In(s) == "" {
			return option.Usage("", "option --auth-group-script needs --auth-user-script")
		}
		return nil
	},
	useless: func(s *Server) []useless {
		return []useless{
			{AuthUserScript.In(s) == "", "without --auth-user-script", by(AuthType)},
			{AuthGroupScript.In(s) == "", "without --auth-group-script", by(AuthGroup)},
		}
	},
	files: func(i *Instance) (list []named) {
		for _, o := range accessScripts {
			list = append(list, named{o, o.In(i)})
		}
		return list
	},
	reads: func(i *Instance) (list []Need) {
		for _, o := range accessScripts {
			if script := o.In(i); script != "" {
				list = append(list, Need{i.fromLaunch(script), "the script " + script, true})
			}
		}
		return list
	},
	private: func(i *Instance) (list []privateFile) {
		for _, o := range accessScripts {
			if script := o.In(i); script != "" {
				list = append(list, privateFile{what: "the script of " + o.Flag(), path: i.fromLaunch(script), code: true})
			}
		}
		return list
	},
	defines: func(i *Instance) []define {
		return []define{
			{HostAccessScript.In(i) != "", "MOD_WSGI_HOST_ACCESS"},
			{AuthUserScript.In(i) != "", "MOD_WSGI_AUTH_USER"},
			{AuthGroupScript.In(i) != "", "MOD_WSGI_AUTH_GROUP"},
			{ServerStatus.In(i), "MOD_WSGI_SERVER_STATUS"},
			{ServerMetrics.In(i) || ServerStatus.In(i), "MOD_WSGI_SERVER_METRICS"},
		}
	},
	modules: map[load]func(*Instance) []module{
		loadStatus: func(i *Instance) []module {
			return append(needs(ServerStatus.In(i), by(ServerStatus), "authz_host", "status"), needs(ServerMetrics.In(i), by(ServerMetrics), "status")...)
		},
		loadAccounts: func(i *Instance) []module {
			on := AuthUserScript.In(i) != ""
			return append(needs(on, by(AuthUserScript, AuthType), "auth_"+strings.ToLower(AuthType.In(i))), needs(on, by(AuthUserScript), "authz_user")...)
		},
	},
	writes: map[slot]func(*writer){
		slotMetrics: (*writer).metrics,
		slotAccess:  (*writer).access,
		slotStatus:  (*writer).status,
	},
}

// accessScripts are the options that name an access control script.
var accessScripts = []option.Handle[string]{HostAccessScript, AuthUserScript, AuthGroupScript}

func (w *writer) metrics() {
	i := w.i
	if ServerMetrics.In(i) || ServerStatus.In(i) {
		w.add(conf.D("ExtendedStatus", conf.Key("On")).From(ServerStatus, ServerMetrics))
	}
	if ServerMetrics.In(i) {
		w.add(conf.D("WSGIServerMetrics", conf.Key("On")).From(ServerMetrics))
	}
}

// access adds the access control for the whole server.
func (w *writer) access() {
	i := w.i
	root := args(word("/"))
	if HostAccessScript.In(i) != "" {
		w.add(conf.S("Location", root, conf.D("WSGIAccessScript", word(i.fromLaunch(HostAccessScript.In(i))))).From(HostAccessScript))
	}
	if AuthUserScript.In(i) == "" {
		return
	}
	kind := titled(AuthType.In(i))
	body := []conf.Node{
		conf.D("AuthType", conf.Key(kind)).From(i.unless(AuthType, AuthUserScript)...),
		conf.D("AuthName", word(GroupName(Host.In(i), Port.In(i)))).From(AuthUserScript, Host, Port),
		conf.D("Auth"+kind+"Provider", conf.Key("wsgi")).From(AuthUserScript, AuthType),
		conf.D("WSGIAuthUserScript", word(i.fromLaunch(AuthUserScript.In(i)))).From(AuthUserScript),
	}
	require := []conf.Node{conf.D("Require", conf.Key("valid-user"))}
	if AuthGroupScript.In(i) != "" {
		body = append(body, conf.D("WSGIAuthGroupScript", word(i.fromLaunch(AuthGroupScript.In(i)))).From(AuthGroupScript))
		require = append(require, conf.D("Require", conf.Key("wsgi-group"), word(AuthGroup.In(i))).From(AuthGroupScript, AuthGroup))
	}
	body = append(body, conf.S("RequireAll", nil, require...))
	w.add(conf.S("Location", root, body...).From(AuthUserScript, AuthGroupScript))
}

// status adds the page with httpd's status. It comes after the access rules of the
// whole server, because the last of several matching sections applies.
func (w *writer) status() {
	if ServerStatus.In(w.i) {
		w.add(conf.S("Location", args(word("/server-status")), conf.D("SetHandler", conf.Key("server-status"))).From(ServerStatus), w.statusAccess())
	}
}

// statusAccess admits only this machine to /server-status, and only under names that
// mean the machine itself. A proxy that adds none of the forwarding headers is
// excluded too, because it passes on the name that its client asked for.
func (w *writer) statusAccess() conf.Node {
	names := []string{`localhost`, `127\.[0-9.]+`, `\[::1\]`}
	if host := Unbracket(Host.In(w.i)); host != "" {
		names = append(names, string(conf.Regexp(host)), `\[`+string(conf.Regexp(host))+`\]`)
	}
	return conf.S("Location", args(word("/server-status")), conf.S("RequireAll", nil,
		append(thisMachine(), require("%{HTTP_HOST} =~ m#^(?:"+strings.Join(names, "|")+")(?::[0-9]+)?$#i"))...)).From(ServerStatus)
}
