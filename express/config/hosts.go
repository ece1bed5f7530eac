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

// virtualHost is one of them: what it does with requests, the options that it comes
// from, and what it says.
type virtualHost struct {
	kind    hostKind
	origins []conf.Origin
	body    []conf.Node
}

// hostOptions are the options that make virtual hosts.
func hostOptions() (options []conf.Origin) {
	for _, f := range features {
		options = append(options, f.hostOptions...)
	}
	return options
}

// hasHosts reports whether there are virtual hosts; where there are none, the main
// server answers everything.
func (i *Instance) hasHosts() bool { return len(i.Flags(hostOptions())) > 0 }

// virtualHosts adds the virtual hosts of all ports.
func (w *writer) virtualHosts() {
	i := w.i
	if !i.hasHosts() {
		return
	}
	w.add(w.portHosts("http", Port.In(i))...)
	if i.Given(HTTPSPort) {
		w.add(conf.D("Listen", word(ListenAddress(Host.In(i), HTTPSPort.In(i))), conf.Key("https")).From(HTTPSPort))
		w.add(w.portHosts("https", HTTPSPort.In(i))...)
	}
}

// portHosts are the virtual hosts of one port, in the order above.
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

// claim is a name that a virtual host answers. One that stands apart is another
// server's; names of one server may be equal.
type claim struct {
	option option.Ref
	name   string
	apart  bool
}

// hostConflicts reports names that two virtual hosts would have, and those that none
// can have.
func hostConflicts(s *Server) error {
	named := map[string]claim{}
	for _, c := range all(s, func(f *feature) func(*Server) []claim { return f.names }) {
		name := strings.ToLower(c.name)
		if strings.Contains(name, ":") {
			return option.Usage("", "option %s: httpd has no virtual hosts for IPv6 addresses such as %s", c.option, name)
		}
		if strings.HasPrefix(name, internalName) {
			return option.Usage("", "option %s: names that start with %s are reserved", c.option, internalName)
		}
		if other, taken := named[name]; taken && (c.apart || other.apart) {
			return option.Usage("", "option %s: the name %s is given to %s, too; only one of them can answer it", c.option, name, other.option)
		}
		named[name] = c
	}
	return nil
}

// nobody refuses every request to a virtual host.
func nobody() conf.Node {
	return conf.S("Location", args(word("/")), conf.D("Require", conf.Key("all"), conf.Key("denied")))
}

// redirect leads all requests to a virtual host to another one, also those that
// the main server passes on: mod_proxy looks at a URL before mod_alias does.
func (w *writer) redirect(target string, options ...conf.Origin) []conf.Node {
	return append(w.passNothing(options...), conf.D("Redirect", conf.Key("permanent"), word("/"), word(target+"/")).From(options...))
}

// passNothing keeps a virtual host from passing on what --proxy-mount-point says: of
// all that says what to pass on, a section comes first.
func (w *writer) passNothing(options ...conf.Origin) []conf.Node {
	if !w.i.passesPaths() {
		return nil
	}
	return []conf.Node{conf.S("Location", args(word("/")), conf.D("ProxyPass", conf.Key("!"))).From(options...)}
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
