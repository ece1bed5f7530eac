package httpc

import (
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// Proxy returns a function that chooses the proxy for an address, or nil for none. It
// follows golang.org/x/net/http/httpproxy, whose conventions curl and Python share, with
// three additions: ALL_PROXY applies if the variable of the scheme is unset, lower case
// wins as it does in curl, and NO_PROXY may be separated by spaces. The loopback
// interface is never proxied. The error is of class Usage: a variable that is not the
// address of a proxy.
func Proxy(env []string) (func(*url.URL) (*url.URL, error), error) {
	httpNames := []string{"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}
	if run.Getenv(env, "REQUEST_METHOD") != "" {
		// In a CGI process a client can set HTTP_PROXY (CVE-2016-5385).
		httpNames = []string{"http_proxy"}
	}
	config := &httpproxy.Config{}
	var err error
	if config.HTTPProxy, err = proxyAddress(firstSet(env, httpNames...)); err != nil {
		return nil, err
	}
	if config.HTTPSProxy, err = proxyAddress(firstSet(env, "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")); err != nil {
		return nil, err
	}
	_, list := firstSet(env, "no_proxy", "NO_PROXY")
	config.NoProxy = noProxy(list)
	choose := config.ProxyFunc()
	return func(u *url.URL) (*url.URL, error) {
		host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		if Loopback(host) {
			return nil, nil
		}
		return choose(withHost(u, host))
	}, nil
}

// firstSet returns the first variable that is not empty, with its value.
func firstSet(env []string, names ...string) (name, value string) {
	for _, n := range names {
		if v := run.Getenv(env, n); v != "" {
			return n, v
		}
	}
	return "", ""
}

// proxyAddress checks the value of a proxy variable. httpproxy ignores an unreadable one,
// and would connect directly although the user asked for a proxy.
func proxyAddress(name, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		u, err = url.Parse("http://" + value)
	}
	if err == nil {
		switch u.Scheme {
		case "http", "https", "socks5", "socks5h":
			if u.Host != "" {
				return u.String(), nil
			}
		}
	}
	return "", fault.New(fault.Usage, "set it to an address such as http://proxy.example.org:3128, or unset it",
		"use proxy from %s: %q is not an http, https or socks5 address", name, RedactText(value))
}

// noProxy returns the exceptions in the form that httpproxy reads: separated by commas,
// without the dot that ends a fully qualified name, and without a leading star unless
// that is all.
func noProxy(list string) string {
	items := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	for i, item := range items {
		if item == "*" {
			continue
		}
		items[i] = strings.TrimPrefix(strings.TrimSuffix(item, "."), "*")
	}
	return strings.Join(items, ",")
}

// withHost returns the address with another host and the same port.
func withHost(u *url.URL, host string) *url.URL {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" {
		host += ":" + port
	}
	out := *u
	out.Host = host
	return &out
}

// Loopback reports whether a host name or address is this machine by definition
// (RFC 6761, section 6.3; RFC 1122; RFC 4291).
func Loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
