package express

import (
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/option"
)

// The virtual hosts: which names are answered, over which scheme.
//
// httpd takes the first virtual host of a port that has the name of a request, and
// the very first one where none has it. All of them inherit the documents, the
// application and its access rules from the main server: a virtual host that says
// nothing lets everybody in. So each one below says what it is for: it refuses,
// redirects, passes on, or is the server that was asked for. The order on each port:
//
//  1. what answers unknown names: it refuses them, unless there is no --server-name
//  2. services with a log of their own; they need a virtual host for it, which nobody
//     is to reach
//  3. --proxy-virtual-host, before the server, whose aliases may have wildcards
//  4. the server and its aliases
//  5. for a server www.NAME, NAME itself, which redirects
//
// Over HTTPS all of them have the same certificate and demand the same of clients:
// a request on a connection for one name may be for another one.

// internalName is what the names of virtual hosts start with that are not for
// clients.
const internalName = "_wsgi_"

// hasHosts reports whether there are virtual hosts; where there are none, the main
// server answers everything.
func (i *instance) hasHosts() bool {
	return config.ServerName.In(i) != "" || len(config.ProxyVirtualHost.In(i))+len(config.ServiceLogFile.In(i)) > 0
}

// virtualHosts adds the virtual hosts of all ports.
func (b *builder) virtualHosts() {
	i := b.i
	if !i.hasHosts() {
		return
	}
	b.add(b.portHosts("http")...)
	if i.Given(config.HTTPSPort) {
		b.add(conf.D("Listen", word(listenAddress(config.Host.In(i), config.HTTPSPort.In(i))), conf.Key("https")).From(config.HTTPSPort))
		b.add(b.portHosts("https")...)
	}
}

// portHosts are the virtual hosts of one port, in the order above.
func (b *builder) portHosts(scheme string) (nodes []conf.Node) {
	i := b.i
	add := func(kind hostKind, origins []conf.Origin, body ...conf.Node) {
		port := config.Port.In(i)
		if scheme == "https" {
			port, body = config.HTTPSPort.In(i), append(body, b.tls()...)
		}
		body = append(body, b.hostInclude(kind)...)
		nodes = append(nodes, conf.S("VirtualHost", args(word("*:"+strconv.Itoa(port))), body...).From(origins...))
	}
	unknown, named := serves, serves
	switch {
	case config.ServerName.In(i) != "" && config.AllowLocalhost.In(i):
		unknown = servesLocally
	case config.ServerName.In(i) != "":
		unknown = refuses
	}
	if scheme == "http" && config.HTTPSOnly.In(i) {
		named = redirects
	}
	add(unknown, []conf.Origin{config.ServerName, config.ProxyVirtualHost, config.ServiceLogFile}, b.unknownNames(scheme)...)
	if scheme == "http" {
		for _, s := range b.i.serviceScripts() {
			if file := lastOf(config.ServiceLogFile.In(i), s[0]); file != "" {
				body := []conf.Node{conf.D("ServerName", word(internalName+"service_"+s[0]+"_")), conf.D("ErrorLog", b.fileTarget(file, config.ServiceLogFile)).From(i.logOrigins(config.ServiceLogFile)...), nobody()}
				add(refuses, []conf.Origin{config.ServiceLogFile}, append(body, b.service(s)...)...)
			}
		}
	}
	for _, h := range config.ProxyVirtualHost.In(i) {
		add(named, []conf.Origin{config.ProxyVirtualHost}, b.proxyHost(h, scheme)...)
	}
	if config.ServerName.In(i) == "" {
		return nodes
	}
	add(named, []conf.Origin{config.ServerName}, b.ownHost(scheme)...)
	if parent := parentDomain(config.ServerName.In(i)); parent != "" {
		target := origin(scheme, config.ServerName.In(i), config.Port.In(i))
		if scheme == "https" || config.HTTPSOnly.In(i) { // at once, without a stop at www. and HTTP
			target = origin("https", config.ServerName.In(i), config.HTTPSPort.In(i))
		}
		add(redirects, []conf.Origin{config.ServerName}, append([]conf.Node{conf.D("ServerName", word(parent))}, b.redirect(target, config.ServerName, config.HTTPSOnly)...)...)
	}
	return nodes
}

// nobody refuses every request to a virtual host.
func nobody() conf.Node {
	return conf.S("Location", args(word("/")), conf.D("Require", conf.Key("all"), conf.Key("denied")))
}

// redirect leads all requests to a virtual host to another one, also those that
// the main server passes on: mod_proxy looks at a URL before mod_alias does.
func (b *builder) redirect(target string, options ...conf.Origin) []conf.Node {
	return append(b.passNothing(options...), conf.D("Redirect", conf.Key("permanent"), word("/"), word(target+"/")).From(options...))
}

// passNothing keeps a virtual host from passing on what --proxy-mount-point says: of
// all that says what to pass on, a section comes first.
func (b *builder) passNothing(options ...conf.Origin) []conf.Node {
	if len(config.ProxyMountPoint.In(b.i)) == 0 {
		return nil
	}
	return []conf.Node{conf.S("Location", args(word("/")), conf.D("ProxyPass", conf.Key("!"))).From(options...)}
}

// unknownNames is the body of the virtual host for names that no other one has.
func (b *builder) unknownNames(scheme string) []conf.Node {
	i := b.i
	if config.ServerName.In(i) == "" {
		return nil
	}
	body := []conf.Node{conf.D("ServerName", conf.Key(internalName))}
	if !config.AllowLocalhost.In(i) {
		body = append(body, nobody())
	} else {
		// What else is demanded of clients is demanded here, too.
		body = append(body, conf.S("Location", args(word("/")), conf.D("AuthMerging", conf.Key("And")),
			conf.S("RequireAll", nil, append(thisMachine(), require("! (%{HTTP_HOST} =~ m#^"+internalName+"#i)"))...)).From(config.AllowLocalhost))
		if scheme == "http" && config.HTTPSOnly.In(i) {
			paths := "^/"
			if config.ServerStatus.In(i) {
				paths = "^/(?!server-status(?:/|$))"
			}
			body = append(append(body, b.passNothing(config.HTTPSOnly)...), conf.S("LocationMatch", args(conf.Word(paths)),
				conf.D("Redirect", conf.Key("permanent"), word("/"), word(origin("https", config.ServerName.In(i), config.HTTPSPort.In(i))+"/"))).From(config.HTTPSOnly))
		}
	}
	if config.ServerStatus.In(i) {
		body = append(body, b.statusAccess())
	}
	if scheme == "https" && !strings.Contains(config.LogLevel.In(i), "ssl:") {
		// mod_ssl would warn at each start that the certificate is not for this name.
		body = append(body, conf.D("LogLevel", conf.Key("ssl:error")))
	}
	return body
}

// ownHost is the body of the virtual host of the server itself.
func (b *builder) ownHost(scheme string) []conf.Node {
	i := b.i
	body := []conf.Node{conf.D("ServerName", word(config.ServerName.In(i))).From(config.ServerName)}
	if len(config.ServerAlias.In(i)) > 0 {
		d := conf.D("ServerAlias").From(config.ServerAlias)
		for _, a := range config.ServerAlias.In(i) {
			d.Args = append(d.Args, word(a))
		}
		body = append(body, d)
	}
	switch {
	case scheme == "http" && config.HTTPSOnly.In(i):
		body = append(body, b.redirect(origin("https", config.ServerName.In(i), config.HTTPSPort.In(i)), config.HTTPSOnly)...)
	case scheme == "https":
		body = append(body, b.hsts()...)
		if config.SSLEnvironment.In(i) {
			body = append(body, conf.D("SSLOptions", conf.Key("+StdEnvVars")).From(config.SSLEnvironment))
		}
	}
	return body
}

// hsts tells browsers to come back over HTTPS only.
func (b *builder) hsts() []conf.Node {
	if config.HSTSPolicy.In(b.i) == "" {
		return nil
	}
	return []conf.Node{conf.D("Header", conf.Key("always"), conf.Key("set"), conf.Key("Strict-Transport-Security"), word(headerText(config.HSTSPolicy.In(b.i)))).From(config.HSTSPolicy)}
}

// proxyHost is the body of a virtual host that passes everything on.
func (b *builder) proxyHost(h [2]string, scheme string) []conf.Node {
	i := b.i
	body := []conf.Node{conf.D("ServerName", word(h[0])).From(config.ProxyVirtualHost)}
	if scheme == "http" && config.HTTPSOnly.In(i) {
		return append(body, b.redirect(origin("https", h[0], config.HTTPSPort.In(i)), config.HTTPSOnly)...)
	}
	url := word(strings.TrimRight(h[1], "/") + "/")
	// In a section, which comes before what --proxy-mount-point passes on.
	body = append(body, conf.S("Location", args(word("/")),
		conf.D("ProxyPass", url, conf.Key("upgrade=websocket")), conf.D("ProxyPassReverse", url)).From(config.ProxyVirtualHost))
	body = append(body, b.forwarded()...)
	if scheme == "https" && config.HSTSPolicy.In(i) != "" {
		// Of two policies a browser takes the first one.
		body = append(body, conf.D("Header", conf.Key("onsuccess"), conf.Key("unset"), conf.Key("Strict-Transport-Security")).From(config.HSTSPolicy))
		body = append(body, b.hsts()...)
	}
	return body
}

// hostConflicts reports names that two virtual hosts would have, and those that none
// can have.
func hostConflicts(s *Server) error {
	named := map[string]option.Ref{}
	claim := func(o option.Ref, given string) error {
		name := strings.ToLower(given)
		if strings.Contains(name, ":") {
			return usage("start-server", "", "option %s: httpd has no virtual hosts for IPv6 addresses such as %s", o, name)
		}
		if strings.HasPrefix(name, internalName) {
			return usage("start-server", "", "option %s: names that start with %s are reserved", o, internalName)
		}
		if other := named[name]; other != nil && (option.Same(o, config.ProxyVirtualHost) || option.Same(other, config.ProxyVirtualHost)) {
			return usage("start-server", "", "option %s: the name %s is given to %s, too; only one of them can answer it", o, name, other)
		}
		named[name] = o
		return nil
	}
	plainNames(s)
	if name := config.ServerName.In(s); name != "" {
		if err := claim(config.ServerName, name); err != nil {
			return err
		}
	}
	for _, name := range config.ServerAlias.In(s) {
		if err := claim(config.ServerAlias, name); err != nil {
			return err
		}
	}
	for _, h := range config.ProxyVirtualHost.In(s) {
		if err := claim(config.ProxyVirtualHost, h[0]); err != nil {
			return err
		}
	}
	return nil
}

// plainNames removes the dot at the end of names, as httpd does from a Host header.
func plainNames(s *Server) {
	config.ServerName.Set(s, strings.TrimSuffix(config.ServerName.In(s), "."))
	for k := range config.ServerAlias.In(s) {
		name := &config.ServerAlias.In(s)[k]
		*name = strings.TrimSuffix(*name, ".")
	}
	for k := range config.ProxyVirtualHost.In(s) {
		name := &config.ProxyVirtualHost.In(s)[k][0]
		*name = strings.TrimSuffix(*name, ".")
	}
}

// require is a condition on a request in httpd's language of expressions.
func require(expression string) conf.Node {
	return conf.D("Require", conf.Key("expr"), conf.Pattern(expression))
}

// forwardingHeaders are those by which proxies tell for whom they ask; a request
// that has one of them was not made by this machine itself.
var forwardingHeaders = slices.Concat(proxyHeaders, strings.Fields("Forwarded Via X-Forwarded X-Forwarded-By X-Forwarded-Path X-Forwarded-Prefix X-Forwarded-Uri "+
	"X-Original-Forwarded-For X-Original-Host X-Original-URL X-Original-URI X-Rewrite-URL X-Envoy-External-Address X-Envoy-Original-Path X-Cluster-Client-IP "+
	"X-Remote-IP X-Remote-Addr X-Originating-IP X-Proxyuser-IP X-Azure-ClientIP X-Azure-SocketIP Client-IP True-Client-IP CF-Connecting-IP CF-Ray Fastly-Client-IP "+
	"Proxy-Connection Ali-CDN-Real-IP CDN-Loop"))

// thisMachine are the conditions for a request that this machine has made itself.
// For httpd a reverse proxy on the same machine is local as well, whoever asks it.
func thisMachine() []conf.Node {
	return []conf.Node{conf.D("Require", conf.Key("local")), require(notForwarded())}
}

// notForwarded is the condition that no proxy has passed a request on.
func notForwarded() string {
	absent := make([]string, len(forwardingHeaders))
	for k, h := range forwardingHeaders {
		absent[k] = "-z req_novary('" + h + "')"
	}
	return strings.Join(absent, " && ")
}

// statusAccess is who may see /server-status: this machine, which asks for itself
// by the names that only it has. A proxy that adds none of the headers passes on the
// name that the client asked for.
func (b *builder) statusAccess() conf.Node {
	names := []string{`localhost`, `127\.[0-9.]+`, `\[::1\]`}
	if host := unbracket(config.Host.In(b.i)); host != "" {
		names = append(names, string(conf.Regexp(host)), `\[`+string(conf.Regexp(host))+`\]`)
	}
	return conf.S("Location", args(word("/server-status")), conf.S("RequireAll", nil,
		append(thisMachine(), require("%{HTTP_HOST} =~ m#^(?:"+strings.Join(names, "|")+")(?::[0-9]+)?$#i"))...)).From(config.ServerStatus)
}
