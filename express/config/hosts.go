package config

import (
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

// The virtual hosts: which names are answered, over which scheme.
//
// httpd uses the first virtual host of a port that matches the name of a request, and
// the first one of all if none matches. All virtual hosts inherit the documents, the
// application and its access rules from the main server, so a virtual host without
// directives serves everyone. Each virtual host below therefore states its purpose: it
// refuses, redirects or proxies requests, or it is the server itself. The order on each
// port is:
//
//  1. the host for unknown names, which refuses them unless --server-name is missing
//  2. services with a separate log, which needs a virtual host; clients must not reach
//     these hosts
//  3. --proxy-virtual-host, before the server, whose aliases may contain wildcards
//  4. the server and its aliases
//  5. for a server www.NAME, the host NAME, which redirects
//
// Over HTTPS, all of them have the same certificate and the same requirements for
// clients, because a connection made for one name can carry requests for another.

// internalName is the prefix of the names of virtual hosts that are not for clients.
const internalName = "_wsgi_"

// virtualHost describes a virtual host: how it treats requests, the options that it
// comes from, and its directives.
type virtualHost struct {
	kind    hostKind
	origins []conf.Origin
	body    []conf.Node
}

// hostOptions returns the options that create virtual hosts.
func hostOptions() (options []conf.Origin) {
	for _, f := range features {
		options = append(options, f.hostOptions...)
	}
	return options
}

// hasHosts reports whether the configuration has virtual hosts. Without any, the main
// server answers all requests.
func (i *Instance) hasHosts() bool { return len(i.Flags(hostOptions())) > 0 }

// virtualHosts adds the virtual hosts of all ports.
func (w *writer) virtualHosts() {
	i := w.i
	if !i.hasHosts() {
		return
	}
	w.add(w.onceIssued(func(w *writer) []conf.Node { return w.portHosts("http", Port.In(i)) })...)
	if i.Given(HTTPSPort) {
		w.add(conf.D("Listen", word(ListenAddress(Host.In(i), HTTPSPort.In(i))), conf.Key("https")).From(HTTPSPort))
		w.add(w.portHosts("https", HTTPSPort.In(i))...)
	}
}

// portHosts returns the virtual hosts of one port, in the order above.
func (w *writer) portHosts(scheme string, port int) (nodes []conf.Node) {
	for at := range hostSlots {
		for _, f := range features {
			if f.hosts[at] == nil {
				continue
			}
			for _, h := range f.hosts[at](w, scheme) {
				body := h.body
				if scheme == "https" {
					body = append(body, w.tls()...)
				}
				body = append(body, w.hostInclude(h.kind)...)
				nodes = append(nodes, conf.S("VirtualHost", args(word("*:"+strconv.Itoa(port))), body...).From(h.origins...))
			}
		}
	}
	return nodes
}

// claim is a name that a virtual host answers. apart marks the name of another server,
// which must be unique. Names of the same server may be repeated.
type claim struct {
	option option.Ref
	name   string
	apart  bool
}

// hostConflicts reports names that two virtual hosts claim, and names that no virtual
// host can have.
func hostConflicts(s *Server) error {
	named := map[string]claim{}
	for _, c := range all(s, func(f *feature) func(*Server) []claim { return f.names }) {
		name := strings.ToLower(c.name)
		if strings.Contains(name, ":") {
			return option.Usage("", "option %s: httpd does not support virtual hosts for IPv6 addresses such as %s", c.option, name)
		}
		if strings.HasPrefix(name, internalName) {
			return option.Usage("", "option %s: names that start with %s are reserved", c.option, internalName)
		}
		if other, taken := named[name]; taken && (c.apart || other.apart) {
			return option.Usage("", "option %s: the name %s is also given to %s; only one of them can answer it", c.option, name, other.option)
		}
		named[name] = c
	}
	return nil
}

// nobody refuses every request to a virtual host.
func nobody() conf.Node {
	return conf.S("Location", args(word("/")), conf.D("Require", conf.Key("all"), conf.Key("denied")))
}

// redirect sends all requests for a virtual host to another one, including those that
// the main server proxies, because mod_proxy examines a URL before mod_alias.
func (w *writer) redirect(target string, options ...conf.Origin) []conf.Node {
	return append(w.passNothing(options...), conf.D("Redirect", conf.Key("permanent"), word("/"), word(target+"/")).From(options...))
}

// passNothing exempts a virtual host from --proxy-mount-point. A ProxyPass in a section
// takes precedence over all others.
func (w *writer) passNothing(options ...conf.Origin) []conf.Node {
	if !w.i.passesPaths() {
		return nil
	}
	return []conf.Node{conf.S("Location", args(word("/")), conf.D("ProxyPass", conf.Key("!"))).From(options...)}
}

// require returns a condition on a request, in httpd's expression syntax.
func require(expression string) conf.Node {
	return conf.D("Require", conf.Key("expr"), conf.Pattern(expression))
}

// forwardingHeaders are the headers in which proxies describe the original client. A
// request with any of them did not originate on this machine.
var forwardingHeaders = slices.Concat(proxyHeaders, strings.Fields("Forwarded Via X-Forwarded X-Forwarded-By X-Forwarded-Path X-Forwarded-Prefix X-Forwarded-Uri "+
	"X-Original-Forwarded-For X-Original-Host X-Original-URL X-Original-URI X-Rewrite-URL X-Envoy-External-Address X-Envoy-Original-Path X-Cluster-Client-IP "+
	"X-Remote-IP X-Remote-Addr X-Originating-IP X-Proxyuser-IP X-Azure-ClientIP X-Azure-SocketIP Client-IP True-Client-IP CF-Connecting-IP CF-Ray Fastly-Client-IP "+
	"Proxy-Connection Ali-CDN-Real-IP CDN-Loop"))

// thisMachine returns the conditions for a request that originated on this machine.
// Require local is not enough: to httpd, requests through a reverse proxy on this
// machine are local too.
func thisMachine() []conf.Node {
	return []conf.Node{conf.D("Require", conf.Key("local")), require(notForwarded())}
}

// notForwarded returns the condition that a request did not come through a proxy.
func notForwarded() string {
	absent := make([]string, len(forwardingHeaders))
	for k, h := range forwardingHeaders {
		absent[k] = "-z req_novary('" + h + "')"
	}
	return strings.Join(absent, " && ")
}
