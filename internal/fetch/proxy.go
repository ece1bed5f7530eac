package fetch

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// proxies chooses a proxy by the conventions that curl, Python and Go's own
// golang.org/x/net/http/httpproxy share: HTTPS_PROXY and HTTP_PROXY by the
// scheme of the address, ALL_PROXY for the rest, NO_PROXY as the list of
// exceptions; lower case wins. The loopback interface is never proxied.
type proxies struct {
	http, https *url.URL // nil: none
	exceptAll   bool
	except      []exception
}

// exception is one element of NO_PROXY. Exactly one of network, address and
// host is set; port restricts the latter two where it is not "".
type exception struct {
	network netip.Prefix
	address netip.Addr
	host    string // without a leading dot, lower case
	subOnly bool   // ".example.org": the names below it, not itself
	port    string
}

// newProxies reads the environment. HTTP_PROXY in capitals is not used in a CGI
// process (REQUEST_METHOD set), where a client could set it (CVE-2016-5385).
func newProxies(env []string) (*proxies, error) {
	get := func(names ...string) (string, string) {
		for _, n := range names {
			if v := run.Getenv(env, n); v != "" {
				return n, v
			}
		}
		return "", ""
	}
	httpNames := []string{"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}
	if run.Getenv(env, "REQUEST_METHOD") != "" {
		httpNames = []string{"http_proxy"}
	}
	p := &proxies{}
	var err error
	if p.http, err = proxyURL(get(httpNames...)); err != nil {
		return nil, err
	}
	if p.https, err = proxyURL(get("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")); err != nil {
		return nil, err
	}
	_, list := get("no_proxy", "NO_PROXY")
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if item == "*" {
			p.exceptAll = true
			continue
		}
		p.except = append(p.except, parseException(item))
	}
	return p, nil
}

func proxyURL(name, value string) (*url.URL, error) {
	if value == "" {
		return nil, nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		u, err = url.Parse("http://" + value)
	}
	if err == nil {
		switch u.Scheme {
		case "http", "https", "socks5", "socks5h":
			if u.Host != "" {
				return u, nil
			}
		}
	}
	return nil, fault.New(fault.Usage, "set it to an address such as http://proxy.example.org:3128, or unset it",
		"use proxy from %s: %q is not an http, https or socks5 address", name, redactRaw(value))
}

func parseException(item string) exception {
	item = strings.ToLower(item)
	if network, err := netip.ParsePrefix(item); err == nil {
		return exception{network: network.Masked()}
	}
	host, port, err := net.SplitHostPort(item)
	if err != nil {
		host, port = strings.Trim(item, "[]"), ""
	}
	if address, err := netip.ParseAddr(host); err == nil {
		return exception{address: address.Unmap(), port: port}
	}
	e := exception{host: strings.TrimSuffix(host, "."), port: port}
	e.host = strings.TrimPrefix(e.host, "*")
	if strings.HasPrefix(e.host, ".") {
		e.host, e.subOnly = e.host[1:], true
	}
	return e
}

func (e exception) covers(host, port string) bool {
	address, err := netip.ParseAddr(host)
	isAddress := err == nil
	if e.network.IsValid() {
		return isAddress && e.network.Contains(address.Unmap())
	}
	if e.port != "" && e.port != port {
		return false
	}
	if e.address.IsValid() {
		return isAddress && e.address == address.Unmap()
	}
	if isAddress || e.host == "" {
		return false
	}
	return host == e.host && !e.subOnly || strings.HasSuffix(host, "."+e.host)
}

// of returns the proxy for an address, or nil.
func (p *proxies) of(u *url.URL) *url.URL {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	port, proxy := u.Port(), p.http
	if u.Scheme == "https" {
		proxy = p.https
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if proxy == nil || p.exceptAll || loopback(host) {
		return nil
	}
	for _, e := range p.except {
		if e.covers(host, port) {
			return nil
		}
	}
	return proxy
}

// loopback says whether a host name or address is this machine by definition
// (RFC 6761, section 6.3; RFC 1122; RFC 4291).
func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// describe names a proxy without its credentials.
func describe(fixed *url.URL) string { return fmt.Sprintf("proxy %s", fixed.Host) }
