package config

import (
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
	TrustProxyHeader = option.Texts("trust-proxy-header", "NAME", "Header of a proxy in front of us that is believed; needs --trust-proxy.").
				Check(oneWord).With(since("4.4.9"))
	TrustProxy = option.Texts("trust-proxy", "ADDRESS", "Address or network of a proxy in front of us.").
			Check(network).With(since("4.4.10"))
)

// proxies is the servers behind this one, and the proxies in front of it.
var proxies = feature{
	options: option.NewGroup("Proxies",
		ProxyMountPoint, ProxyVirtualHost, TrustProxyHeader, TrustProxy,
	),
	imply: func(s *Server) { // httpd removes a dot at the end from a Host header
		hosts := ProxyVirtualHost.In(s)
		for k := range hosts {
			hosts[k][0] = strings.TrimSuffix(hosts[k][0], ".")
		}
	},
	conflicts: func(s *Server) error {
		if len(TrustProxyHeader.In(s)) > 0 && len(TrustProxy.In(s)) == 0 {
			return option.Usage("name the address of the proxy with --trust-proxy, such as 127.0.0.1; --trust-proxy 0.0.0.0/0 --trust-proxy ::/0 trusts every client",
				"option --trust-proxy-header needs --trust-proxy: without an address, every client can claim another address, host and scheme")
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
			return append(needs(i.proxied(), by(ProxyMountPoint, ProxyVirtualHost), "proxy", "proxy_http", "headers"), needs(len(tls) > 0, tls, "ssl")...)
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
func (i *Instance) passesPaths() bool { return len(ProxyMountPoint.In(i)) > 0 }

// trusted adds the proxies in front that are believed.
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

// proxyHost is a virtual host that passes everything on.
func (w *writer) proxyHost(h [2]string, scheme string) virtualHost {
	i := w.i
	body := []conf.Node{conf.D("ServerName", word(h[0])).From(ProxyVirtualHost)}
	if redirect := w.secureRedirect(scheme, h[0]); redirect != nil {
		return virtualHost{redirects, by(ProxyVirtualHost), append(body, redirect...)}
	}
	url := word(strings.TrimRight(h[1], "/") + "/")
	// In a section, which comes before what --proxy-mount-point passes on.
	body = append(body, conf.S("Location", args(word("/")),
		conf.D("ProxyPass", url, conf.Key("upgrade=websocket")), conf.D("ProxyPassReverse", url)).From(ProxyVirtualHost))
	body = append(body, w.forwarded()...)
	if scheme == "https" && HSTSPolicy.In(i) != "" {
		// Of two policies a browser takes the first one.
		body = append(body, conf.D("Header", conf.Key("onsuccess"), conf.Key("unset"), conf.Key("Strict-Transport-Security")).From(HSTSPolicy))
		body = append(body, w.hsts()...)
	}
	return virtualHost{serves, by(ProxyVirtualHost), body}
}

// proxies passes paths and host names on to other servers.
func (w *writer) proxies() {
	i := w.i
	if !i.proxied() {
		return
	}
	if tls := i.proxiedTLS(); len(tls) > 0 {
		w.add(conf.D("SSLProxyEngine", conf.Key("On")).From(tls...))
	}
	var locations []conf.Node // the other way round: of those that fit, the last one counts
	list := slices.Clone(ProxyMountPoint.In(i))
	slices.SortStableFunc(list, func(x, y [2]string) int { return strings.Compare(slash(y[0]), slash(x[0])) })
	for _, m := range list {
		path, url := slash(m[0]), m[1]
		if !strings.HasSuffix(path, "/") {
			// Without a scheme in the target httpd takes the request's own.
			target := strings.NewReplacer(`\`, `\\`, "$", `\$`).Replace(path)
			// In a section, where it follows after the question who may come in.
			exactly := conf.Word("^" + regexpText(path) + "$")
			w.add(conf.S("LocationMatch", args(exactly), conf.D("RedirectMatch", conf.Key("302"), exactly, conf.Word(target+"/"))).From(ProxyMountPoint))
			path, url = path+"/", strings.TrimRight(url, "/")+"/"
		} else if _, server, _ := strings.Cut(url, "://"); !strings.Contains(server, "/") {
			url += "/" // or the client's path would become part of the server's name
		}
		location := location(path, w.forwarded()...).From(ProxyMountPoint)
		if prefix := strings.TrimSuffix(path, "/"); prefix != "" {
			location.Body = append(location.Body, conf.D("RequestHeader", conf.Key("set"), conf.Key("X-Forwarded-Prefix"), word(headerText(prefix))))
		}
		w.add(pass(path, url, ProxyMountPoint)...)
		locations = append(locations, location)
	}
	slices.Reverse(locations)
	w.add(locations...)
}

// forwarded tells the server behind us how the client reached us. A scheme that
// a proxy in front of us has said is passed on, unless we speak TLS ourselves.
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

// headerText is a text for mod_headers as it stands: there %X is replaced, and
// \n is a line break. A text that starts with expr= would be an expression in any
// case; no option lets one through.
func headerText(s string) string { return strings.NewReplacer(`\`, `\\`, "%", "%%").Replace(s) }

// location is the section for what lies at and below a URL path. <Location> takes
// a path for a pattern of the whole URL where it looks like one; what is below it
// would not be protected then.
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

// regexpText is a literal for the regular expressions of directives that are
// split in httpd's own way.
func regexpText(s string) string { return string(conf.Regexp(s)) }

func pass(path, url string, option option.Ref) []conf.Node {
	return []conf.Node{
		conf.D("ProxyPass", word(path), word(url), conf.Key("upgrade=websocket")).From(option),
		conf.D("ProxyPassReverse", word(path), word(url)).From(option),
	}
}

// proxyTargets checks where requests are passed on to.
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

// proxiedTLS are the options that pass requests on to a server over TLS.
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

// proxyTarget accepts what mod_proxy_http can speak to: a URL, or a socket of
// this machine and a URL (unix:/path|http://name/).
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

// proxyHeaders are those of --trust-proxy-header that the module knows.
var proxyHeaders = strings.Fields("X-Forwarded-For X-Client-IP X-Real-IP X-Forwarded-Proto X-Forwarded-Scheme X-Forwarded-HTTPS X-Forwarded-SSL " +
	"X-Scheme X-HTTPS X-Forwarded-Host X-Host X-Forwarded-Port X-Forwarded-Server X-Script-Name X-Forwarded-Script-Name")

// unknownHeaders warns about headers that the module would not look at.
func unknownHeaders(s *Server) (warnings []string) {
	for _, h := range TrustProxyHeader.In(s) {
		for _, name := range strings.Fields(h) {
			if !slices.ContainsFunc(proxyHeaders, func(k string) bool { return strings.EqualFold(k, name) }) {
				warnings = append(warnings, fmt.Sprintf("--trust-proxy-header %s has no effect: mod_wsgi knows %s", name, strings.Join(proxyHeaders, ", ")))
			}
		}
	}
	return warnings
}

// trusted returns an address or a network as the module reads it: in lower case, and
// where it is every address, in two halves, for a mask of no bits is refused.
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
