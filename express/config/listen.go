package config

import (
	"net"
	"strconv"
	"strings"

	"modwsgi/express/acme"
	"modwsgi/express/conf"
	"modwsgi/express/host"
	"modwsgi/express/option"
)

var (
	Host = option.Text("host", "", "ADDRESS", "Address or name to listen on; by default all addresses.").
		DefaultText("none (all interfaces)").Check(HostName)
	Port = option.Number("port", "8000", "NUMBER", "TCP port to listen on.").
		Check(option.Between(1, 65535))
	HTTP2      = option.Toggle("http2", "Enable HTTP/2; httpd must have mod_http2.")
	ServerName = option.Text("server-name", "", "NAME", "Host name of the server; requests for other names get 403.").
			Check(HostName)
	ServerAlias = option.Texts("server-alias", "NAME", "Additional name of the server; may contain * and ?.").
			Check(hostPattern)
	AllowLocalhost = option.Toggle("allow-localhost", "With --server-name, answer requests that originate on this machine under any name.")
)

// listening is the addresses and names of the server.
var listening = feature{
	options: option.NewGroup("Listening and names",
		Host, Port, HTTP2, ServerName, ServerAlias, AllowLocalhost,
	),
	imply: func(s *Server) { // httpd removes a trailing dot from the Host header
		ServerName.Set(s, strings.TrimSuffix(ServerName.In(s), "."))
		names := ServerAlias.In(s)
		for k := range names {
			names[k] = strings.TrimSuffix(names[k], ".")
		}
	},
	warnings: func(s *Server) (list []string) {
		if AllowLocalhost.In(s) && ServerName.In(s) == "" {
			list = append(list, "--allow-localhost has no effect without --server-name")
		}
		if len(ServerAlias.In(s)) > 0 && ServerName.In(s) == "" {
			list = append(list, "--server-alias has no effect on requests without --server-name")
		}
		return list
	},
	defines: func(i *Instance) []define {
		return []define{
			{Host.In(i) != "", "MOD_WSGI_WITH_LISTENER_HOST"},
			{ServerName.In(i) != "", "MOD_WSGI_VIRTUAL_HOST"},
			{len(ServerAlias.In(i)) > 0, "MOD_WSGI_SERVER_ALIAS"},
			{AllowLocalhost.In(i), "MOD_WSGI_ALLOW_LOCALHOST"},
			{HTTP2.In(i), "MOD_WSGI_WITH_HTTP2"},
			{parentDomain(ServerName.In(i)) != "", "MOD_WSGI_REDIRECT_WWW"},
		}
	},
	modules: map[load]func(*Instance) []module{
		loadLocal: func(i *Instance) []module { return needs(AllowLocalhost.In(i), by(AllowLocalhost), "authz_host") },
		loadHTTP2: func(i *Instance) []module { return needs(HTTP2.In(i), by(HTTP2), "http2") },
	},
	writes: map[slot]func(*writer){
		slotServer: (*writer).identity,
		slotFixed: func(w *writer) {
			w.add(conf.D("HostnameLookups", conf.Key("Off")), conf.D("MaxMemFree", integer(64)))
		},
		slotProtocols: func(w *writer) {
			var list []conf.Arg
			if HTTP2.In(w.i) {
				list = append(list, conf.Key("h2"), conf.Key("h2c"))
			}
			list = append(list, conf.Key("http/1.1"))
			if a := w.i.ACME(); a != nil && a.Challenge == acme.TLSALPN01 {
				list = append(list, conf.Key("acme-tls/1"))
			}
			if len(list) > 1 {
				w.add(conf.D("Protocols", list...).From(HTTP2, ACMEChallenge))
			}
		},
		slotHosts: (*writer).virtualHosts,
	},
	hostOptions: by(ServerName),
	names: func(s *Server) (list []claim) {
		if name := ServerName.In(s); name != "" {
			list = append(list, claim{option: ServerName, name: name})
		}
		for _, name := range ServerAlias.In(s) {
			list = append(list, claim{option: ServerAlias, name: name})
		}
		return list
	},
	hosts: map[hostSlot]func(*writer, string) []virtualHost{
		hostUnknown: (*writer).unknownNames,
		hostServer:  (*writer).ownHost,
		hostParent:  (*writer).parentHost,
	},
}

func (w *writer) identity() {
	i := w.i
	name := Unbracket(Host.In(i))
	if name == "" || strings.Contains(name, ":") { // ServerName does not accept an IPv6 address
		name = "localhost"
	}
	w.add(
		conf.D("ServerName", word(name)).From(Host),
		conf.D("ServerRoot", word(i.Root)).From(i.rootOrigins()...),
		conf.D("PidFile", word(i.PIDFile)).From(i.unless(PIDFile, i.rootOrigins()...)...),
		conf.D("DefaultRuntimeDir", word(i.Root)).From(i.rootOrigins()...),
		conf.D("ServerTokens", conf.Key("ProductOnly")),
		conf.D("ServerSignature", conf.Key("Off")),
	)
	if host.Accounts {
		w.add(conf.D("User", word(i.Account.User)).From(User), conf.D("Group", word(i.Account.Group)).From(Group, User))
	}
	w.add(conf.D("Listen", word(ListenAddress(Host.In(i), Port.In(i)))).From(Port, Host))
}

// unknownNames returns the virtual host for names that no other host has.
func (w *writer) unknownNames(scheme string) []virtualHost {
	i := w.i
	h := virtualHost{kind: serves, origins: hostOptions()}
	if ServerName.In(i) == "" {
		return []virtualHost{h}
	}
	h.kind, h.body = refuses, []conf.Node{conf.D("ServerName", conf.Key(internalName))}
	if AllowLocalhost.In(i) {
		h.kind = servesLocally
		// Other access requirements apply in addition.
		h.body = append(h.body, conf.S("Location", args(word("/")), conf.D("AuthMerging", conf.Key("And")),
			conf.S("RequireAll", nil, append(thisMachine(), require("! (%{HTTP_HOST} =~ m#^"+internalName+"#i)"))...)).From(AllowLocalhost))
		h.body = append(h.body, w.localRedirect(scheme)...)
	} else {
		h.body = append(h.body, nobody())
	}
	if ServerStatus.In(i) {
		h.body = append(h.body, w.statusAccess())
	}
	if scheme == "https" && !strings.Contains(LogLevel.In(i), "ssl:") {
		// mod_ssl would warn at each start that the certificate does not match this name.
		h.body = append(h.body, conf.D("LogLevel", conf.Key("ssl:error")))
	}
	return []virtualHost{h}
}

// ownHost returns the virtual host of the server itself.
func (w *writer) ownHost(scheme string) []virtualHost {
	i := w.i
	if ServerName.In(i) == "" {
		return nil
	}
	body := []conf.Node{conf.D("ServerName", word(ServerName.In(i))).From(ServerName)}
	if len(ServerAlias.In(i)) > 0 {
		d := conf.D("ServerAlias").From(ServerAlias)
		for _, a := range ServerAlias.In(i) {
			d.Args = append(d.Args, word(a))
		}
		body = append(body, d)
	}
	kind := serves
	switch redirect := w.secureRedirect(scheme, ServerName.In(i)); {
	case redirect != nil:
		kind, body = redirects, append(body, redirect...)
	case scheme == "https":
		body = append(body, w.secured()...)
	}
	return []virtualHost{{kind, by(ServerName), body}}
}

// parentHost returns, for a server www.NAME, the virtual host NAME, which redirects.
func (w *writer) parentHost(scheme string) []virtualHost {
	i := w.i
	parent := parentDomain(ServerName.In(i))
	if parent == "" {
		return nil
	}
	target, by := w.reachedAt(scheme, ServerName.In(i))
	body := []conf.Node{conf.D("ServerName", word(parent))}
	body = append(body, w.redirect(target, append([]conf.Origin{ServerName}, by...)...)...)
	return []virtualHost{{redirects, []conf.Origin{ServerName}, body}}
}

// parentDomain returns NAME for www.NAME, and "" for other names.
func parentDomain(name string) string {
	if len(name) > 4 && strings.EqualFold(name[:4], "www.") {
		return name[4:]
	}
	return ""
}

// Origin returns a URL without a path. It omits the scheme's default port.
func Origin(scheme, name string, port int) string {
	if strings.Contains(name, ":") {
		name = "[" + Unbracket(name) + "]"
	}
	if scheme == "http" && port == 80 || scheme == "https" && port == 443 {
		return scheme + "://" + name
	}
	return scheme + "://" + name + ":" + strconv.Itoa(port)
}

// ListenAddress returns the argument of httpd's Listen directive.
func ListenAddress(host string, port int) string {
	if host == "" {
		return strconv.Itoa(port)
	}
	return net.JoinHostPort(Unbracket(host), strconv.Itoa(port))
}
