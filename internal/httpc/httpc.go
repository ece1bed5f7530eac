// Package httpc is the HTTP client for all network requests. It decides which proxy a
// request goes through, how long a connection, an answer and a stall may take, how slow
// an answer may be, which redirects are followed, when a request is repeated, and which
// part of an address an error may show. It reads limits and proxies from the caller's
// environment, never from the process's.
//
// It does not know what is downloaded or whether that is correct. Which server is asked
// next, and what a failure means, is the caller's decision.
package httpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// ConnectTimeout is how long a connection to one address may take. A network that drops
// packets must not hold up a build for minutes.
const ConnectTimeout = 5 * time.Second

// MaxRedirects is how many redirects are followed from one address.
const MaxRedirects = 5

// Options configure a transport. The zero value uses no proxy and waits for an answer as
// long as the request's context allows.
type Options struct {
	Env            []string      // the caller's environment, which names proxies
	ConnectTimeout time.Duration // for a connection and for its TLS handshake; 0 is ConnectTimeout
	HeaderTimeout  time.Duration // until an answer begins; 0 sets no limit
	TLS            *tls.Config   // nil trusts the system's authorities
}

// NewTransport returns a transport that uses the proxies of the environment. The error is
// of class Usage: a proxy variable is not a valid address.
func NewTransport(o Options) (*http.Transport, error) {
	proxy, err := Proxy(o.Env)
	if err != nil {
		return nil, err
	}
	connect := cmp.Or(o.ConnectTimeout, ConnectTimeout)
	return &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		DialContext:            (&net.Dialer{Timeout: connect, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        o.TLS,
		TLSHandshakeTimeout:    connect,
		ResponseHeaderTimeout:  o.HeaderTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        30 * time.Second,
		ForceAttemptHTTP2:      true,
		// Callers compare lengths and hashes, and resume. None of that works on a body that
		// Go has decompressed.
		DisableCompression: true,
		OnProxyConnectResponse: func(_ context.Context, proxy *url.URL, _ *http.Request, r *http.Response) error {
			if r.StatusCode != http.StatusOK {
				return &ProxyRefusal{Proxy: proxy.Host, Status: r.StatusCode}
			}
			return nil
		},
	}, nil
}

// NewClient returns a client that follows at most MaxRedirects redirects, and only
// to addresses for which allowed returns nil.
func NewClient(t http.RoundTripper, allowed func(*url.URL) error) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > MaxRedirects {
			return &RedirectError{fmt.Sprintf("more than %d redirects", MaxRedirects)}
		}
		return allowed(r.URL)
	}}
}
