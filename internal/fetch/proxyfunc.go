package fetch

import (
	"net/http"
	"net/url"
)

// ProxyFunc chooses a proxy for a request by what an environment says, as this
// package's own client does. The error is for one that names no proxy.
func ProxyFunc(env []string) (func(*http.Request) (*url.URL, error), error) {
	p, err := newProxies(env)
	if err != nil {
		return nil, err
	}
	return func(r *http.Request) (*url.URL, error) { return p.of(r.URL), nil }, nil
}
