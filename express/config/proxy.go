package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/option"
)

var (
	ProxyMountPoint = option.Pairs("proxy-mount-point", "URL-PATH URL", "Pass requests below a path on to another server.").
			Alias("proxy-url-alias")
	ProxyVirtualHost = option.Pairs("proxy-virtual-host", "NAME URL", "Pass requests for a host name on to another server.")
	TrustProxyHeader = option.Texts("trust-proxy-header", "NAME", "Header to trust if a proxy of --trust-proxy sends it.").
				Check(oneWord).With(since("4.4.9"))
	TrustProxy = option.Texts("trust-proxy", "ADDRESS", "Address or network of a trusted proxy in front of this server.").
			Check(network).With(since("4.4.10"))
)

// proxies is the servers that requests are passed on to, and the trusted proxies in
// front of this server.
var proxies = feature{
	options: option.NewGroup("Proxies",
		ProxyMountPoint, ProxyVirtualHost, TrustProxyHeader, TrustProxy,
	),
	imply: func(s *Server) { // httpd removes a trailing dot from the Host header
		hosts := ProxyVirtualHost.In(s)
		for k := range hosts {
			hosts[k][0] = strings.TrimSuffix(hosts[k][0], ".")
		}
	},
	conflicts: func(s *Server) error {
		if len(TrustProxyHeader.In(s)) > 0 && len(TrustProxy.In(s)) == 0 {
			return option.Usage("pass the address of the proxy, such as --trust-proxy 127.0.0.1; --trust-proxy 0.0.0.0/0 --trust-proxy ::/0 trusts every client",
				"option --trust-proxy-header needs --trust-proxy: otherwise every client could forge its address, host and scheme")
		}
		return nil
	},
	warnings: func(s *Server) (list []string) {
		if len(TrustProxy.In(s)) > 0 && len(TrustProxyHeader.In(s)) == 0 {
			list = append(list, "--trust-proxy has no effect without --trust-proxy-header")
		}
		return append(list, unknownHeaders(s)...)
	},
	check: (*Instance).proxyTargets,
	defines: func(i *Instance) []define {
		return []define{
			{i.proxied(), "MOD_WSGI_WITH_PROXY"},
			{len(TrustProxyHeader.In(i)) > 0, "MOD_WSGI_WITH_PROXY_HEADERS"},
			{len(TrustProxy.In(i)) > 0, "MOD_WSGI_WITH_TRUSTED_PROXIES"},
		}
	},
	modules: map[load]func(*Instance) []module{
		loadProxy: func(i *Instance) []module {
			tls := i.proxiedTLS()
			return append(needs(i.proxied() || i.passesDashboard(), by(ProxyMountPoint, ProxyVirtualHost, DashboardPath), "proxy", "proxy_http", "headers"), needs(len(tls) > 0, tls, "ssl")...)
		},
	},
	writes: map[slot]func(*writer){
		slotTrusted: (*writer).trusted,
		slotProxies: (*writer).proxies,
	},
	hostOptions: by(ProxyVirtualHost),
	names: func(s *Server) (list []claim) {
		for _, h := range ProxyVirtualHost.In(s) {
			list = append(list, claim{option: ProxyVirtualHost, name: h[0], apart: true})
		}
		return list
	},
	hosts: map[hostSlot]func(*writer, string) []virtualHost{
		hostProxies: func(w *writer, scheme string) (list []virtualHost) {
			for _, h := range ProxyVirtualHost.In(w.i) {
				list = append(list, w.proxyHost(h, scheme))
			}
			return list
		},
	},
}

// passesPaths reports whether paths are passed on to other servers.
func (i *Instance) passesPaths() bool { return len(i.passed()) > 0 }

// passedPath is a path below which requests are passed on to another server.
type passedPath struct {
	path, url string
	by        option.Ref
}

// passed returns these paths. The page of --dashboard is on a server of this machine, too.
func (i *Instance) passed() (list []passedPath) {
	for _, m := range ProxyMountPoint.In(i) {
		list = append(list, passedPath{slash(m[0]), m[1], ProxyMountPoint})
	}
	if i.passesDashboard() {
		list = append(list, passedPath{DashboardPath.In(i), "http://" + i.DashboardAddress() + "/", DashboardPath})
	}
	return list
}

// trusted adds the trusted proxies in front of this server.
func (w *writer) trusted() {
	for _, h := range TrustProxyHeader.In(w.i) {
		w.add(conf.D("WSGITrustedProxyHeaders", word(h)).From(TrustProxyHeader))
	}
	for _, a := range TrustProxy.In(w.i) {
		for _, network := range trusted(a) {
			w.add(conf.D("WSGITrustedProxies", word(network)).From(TrustProxy))
		}
	}
}

func (s *Server) proxied() bool {
	return len(ProxyMountPoint.In(s))+len(ProxyVirtualHost.In(s)) > 0
}

// proxyHost returns a virtual host that passes on all requests.
func (w *writer) proxyHost(h [2]string, scheme string) virtualHost {
	i := w.i
	body := []conf.Node{conf.D("ServerName", word(h[0])).From(ProxyVirtualHost)}
	if redirect := w.secureRedirect(scheme, h[0]); redirect != nil {
		return virtualHost{redirects, by(ProxyVirtualHost), append(body, redirect...)}
	}
	url := word(strings.TrimRight(h[1], "/") + "/")
	// In a section, which takes precedence over --proxy-mount-point.
	body = append(body, conf.S("Location", args(word("/")),
		conf.D("ProxyPass", url, conf.Key("upgrade=websocket")), conf.D("ProxyPassReverse", url)).From(ProxyVirtualHost))
	body = append(body, w.forwarded()...)
	if scheme == "https" && HSTSPolicy.In(i) != "" {
		// Of two policies, a browser uses the first.
		body = append(body, conf.D("Header", conf.Key("onsuccess"), conf.Key("unset"), conf.Key("Strict-Transport-Security")).From(HSTSPolicy))
		body = append(body, w.hsts()...)
	}
	return virtualHost{serves, by(ProxyVirtualHost), body}
}

// proxies adds the paths that are passed on to other servers, and enables TLS for
// connections to those servers.
func (w *writer) proxies() {
	i := w.i
	if tls := i.proxiedTLS(); len(tls) > 0 {
		w.add(conf.D("SSLProxyEngine", conf.Key("On")).From(tls...))
	}
	var locations []conf.Node // in reverse order, because the last matching section applies
	list := i.passed()
	slices.SortStableFunc(list, func(x, y passedPath) int { return cmp.Compare(y.path, x.path) })
	for _, m := range list {
		path, url := m.path, m.url
		if !strings.HasSuffix(path, "/") {
			// Without a scheme in the target, httpd uses that of the request.
			target := strings.NewReplacer(`\`, `\\`, "$", `\$`).Replace(path)
			// In a section, so that access control comes first.
			exactly := conf.Word("^" + regexpText(path) + "$")
			w.add(conf.S("LocationMatch", args(exactly), conf.D("RedirectMatch", conf.Key("302"), exactly, conf.Word(target+"/"))).From(m.by))
			path, url = path+"/", strings.TrimRight(url, "/")+"/"
		} else if _, server, _ := strings.Cut(url, "://"); !strings.Contains(server, "/") {
			url += "/" // or the client's path would become part of the host name
		}
		location := location(path, w.forwarded()...).From(m.by)
		if prefix := strings.TrimSuffix(path, "/"); prefix != "" {
			location.Body = append(location.Body, conf.D("RequestHeader", conf.Key("set"), conf.Key("X-Forwarded-Prefix"), word(headerText(prefix))))
		}
		w.add(pass(path, url, m.by)...)
		locations = append(locations, location)
	}
	slices.Reverse(locations)
	w.add(locations...)
}

// forwarded adds headers that describe how the client reached this server. For requests
// without TLS, the scheme reported by a proxy in front of this server is passed on.
func (w *writer) forwarded() []conf.Node {
	set := func(name, value string, when ...conf.Arg) conf.Node {
		return conf.D("RequestHeader", append(args(conf.Key("set"), conf.Key(name), word(value)), when...)...)
	}
	http, https := strconv.Itoa(Port.In(w.i)), strconv.Itoa(HTTPSPort.In(w.i))
	if !w.i.Given(HTTPSPort) {
		return []conf.Node{set("X-Forwarded-Port", http)}
	}
	encrypted := word("expr=%{HTTPS} == 'on'")
	return []conf.Node{
		set("X-Forwarded-Port", http, word("expr=%{HTTPS} != 'on'")), set("X-Forwarded-Port", https, encrypted), set("X-Forwarded-Scheme", "https", encrypted),
	}
}

// headerText escapes a literal text for mod_headers, which replaces %X and interprets
// backslashes. It cannot escape a text that starts with expr=, which would always be
// an expression, but no option accepts one.
func headerText(s string) string { return strings.NewReplacer(`\`, `\\`, "%", "%%").Replace(s) }

// location returns the section for a URL path and everything below it. If a path
// contains wildcards, <Location> would treat it as a pattern for the whole URL, and
// would not apply below it.
func location(url string, body ...conf.Node) *conf.Section {
	url = slash(url)
	if !strings.ContainsAny(url, "*?[") {
		return conf.S("Location", args(conf.Word(url)), body...)
	}
	below := "(/|$)"
	if strings.HasSuffix(url, "/") {
		below = ""
	}
	return conf.S("LocationMatch", args(conf.Word("^"+regexpText(url)+below)), body...)
}

// regexpText returns a regular expression for a literal text, for directives whose
// arguments httpd splits.
func regexpText(s string) string { return string(conf.Regexp(s)) }

func pass(path, url string, option option.Ref) []conf.Node {
	return []conf.Node{
		conf.D("ProxyPass", word(path), word(url), conf.Key("upgrade=websocket")).From(option),
		conf.D("ProxyPassReverse", word(path), word(url)).From(option),
	}
}

// proxyTargets checks the servers that requests are passed on to.
func (i *Instance) proxyTargets() error {
	for _, v := range ProxyMountPoint.In(i) {
		if err := proxyTarget(v[1]); err != nil {
			return option.Usage("", "option --proxy-mount-point: %w", err)
		}
	}
	for _, v := range ProxyVirtualHost.In(i) {
		if err := HostName(v[0]); err != nil {
			return option.Usage("", "option --proxy-virtual-host: %w", err)
		}
		if err := proxyTarget(v[1]); err != nil {
			return option.Usage("", "option --proxy-virtual-host: %w", err)
		}
	}
	return nil
}

// proxiedTLS returns the options that pass on requests over TLS.
func (i *Instance) proxiedTLS() (options []conf.Origin) {
	for _, given := range []struct {
		option option.Ref
		list   [][2]string
	}{{ProxyMountPoint, ProxyMountPoint.In(i)}, {ProxyVirtualHost, ProxyVirtualHost.In(i)}} {
		if slices.ContainsFunc(given.list, func(v [2]string) bool {
			return strings.HasPrefix(v[1], "https:") || strings.Contains(v[1], "|https:")
		}) {
			options = append(options, given.option)
		}
	}
	return options
}

// proxyTarget accepts the targets that mod_proxy_http supports: a URL, or a local
// socket and a URL (unix:/path|http://name/).
func proxyTarget(v string) error {
	target := v
	if rest, ok := strings.CutPrefix(v, "unix:"); ok {
		_, target, _ = strings.Cut(rest, "|")
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is not the URL of a server, such as http://NAME/", v)
	}
	return nil
}

// proxyHeaders are the headers that the module supports for --trust-proxy-header.
var proxyHeaders = strings.Fields("X-Forwarded-For X-Client-IP X-Real-IP X-Forwarded-Proto X-Forwarded-Scheme X-Forwarded-HTTPS X-Forwarded-SSL " +
	"X-Scheme X-HTTPS X-Forwarded-Host X-Host X-Forwarded-Port X-Forwarded-Server X-Script-Name X-Forwarded-Script-Name")

// unknownHeaders warns about headers that the module would ignore.
func unknownHeaders(s *Server) (warnings []string) {
	for _, h := range TrustProxyHeader.In(s) {
		for _, name := range strings.Fields(h) {
			if !slices.ContainsFunc(proxyHeaders, func(k string) bool { return strings.EqualFold(k, name) }) {
				warnings = append(warnings, fmt.Sprintf("--trust-proxy-header %s has no effect: mod_wsgi supports only %s", name, strings.Join(proxyHeaders, ", ")))
			}
		}
	}
	return warnings
}

// trusted returns an address or a network in the form that the module reads, in lower
// case. The network of all addresses is split in two, because the module rejects a mask
// of zero bits.
func trusted(v string) []string {
	switch prefix, err := netip.ParsePrefix(v); {
	case err == nil && prefix.Bits() == 0 && prefix.Addr().Is4():
		return []string{"0.0.0.0/1", "128.0.0.0/1"}
	case err == nil && prefix.Bits() == 0:
		return []string{"::/1", "8000::/1"}
	case err == nil:
		return []string{prefix.String()}
	}
	if address, err := netip.ParseAddr(v); err == nil {
		return []string{address.String()}
	}
	return []string{v}
}
