// Package registry is the client of OCI registries, both for images and for the shared
// build cache (https://github.com/opencontainers/distribution-spec). The protocol, the
// exchange of tokens and the rule which hosts may receive them come from
// github.com/google/go-containerregistry. This package gives it the transport of
// internal/httpc, the credentials of the caller's environment, and limits against hostile
// registries.
//
// It does not know what is stored, and trusts nothing that it reads: callers compare
// digests and check signatures.
package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"modwsgi/internal/httpc"
	"modwsgi/internal/run"
)

// Options configure a client.
type Options struct {
	Env    []string     // the caller's environment: credentials, proxies
	Runner *run.Runner  // starts credential helpers; nil for none
	Login  Login        // variables that override docker's and podman's configuration
	Limits httpc.Limits // how slow a registry may be; a zero Total sets no limit
	// ConnectTimeout and HeaderTimeout are those of [httpc.Options]. The former is
	// also how long a credential helper may take.
	ConnectTimeout, HeaderTimeout time.Duration
	TLS                           *tls.Config // nil trusts the system's authorities
	// Allowed refuses addresses, including those of redirects and token servers; nil
	// leaves that to go-containerregistry.
	Allowed func(*url.URL) error
	Retry   httpc.Retry
}

// Client asks registries. It is safe for concurrent use.
type Client struct {
	keychain  *Keychain
	transport http.RoundTripper
	o         Options
}

// New returns a client. The error is of class Usage: a proxy variable is not a valid
// address.
func New(o Options) (*Client, error) {
	base, err := httpc.NewTransport(httpc.Options{Env: o.Env, ConnectTimeout: o.ConnectTimeout, HeaderTimeout: o.HeaderTimeout, TLS: o.TLS})
	if err != nil {
		return nil, err
	}
	var t http.RoundTripper = base
	if o.Limits.Total != 0 {
		t = o.Limits.Transport(base)
	}
	keychain := NewKeychain(o.Env, o.Runner, o.Login, cmp.Or(o.ConnectTimeout, httpc.ConnectTimeout))
	return &Client{keychain: keychain, transport: &guard{inner: t, allowed: o.Allowed}, o: o}, nil
}

// Remote returns the options with which go-containerregistry's functions use this client.
func (c *Client) Remote(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(c.keychain), remote.WithTransport(c.transport), remote.WithUserAgent(agent),
		remote.WithRetryPredicate(again),
		remote.WithRetryBackoff(remote.Backoff{Duration: c.o.Retry.Delay, Factor: 2, Jitter: 0.5, Steps: c.o.Retry.Again + 1, Cap: c.o.Retry.Max}),
	}
}

// agent is the client's name in requests to registries.
const agent = "modwsgi"

// CheckPush asks a registry whether a reference may be pushed to.
func (c *Client) CheckPush(ctx context.Context, ref name.Reference) error {
	return remote.CheckPushPermission(ref, c.keychain, contextTransport{ctx, c.transport})
}

// contextTransport ends requests with a context that the library does not accept.
type contextTransport struct {
	ctx context.Context
	http.RoundTripper
}

func (c contextTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return c.RoundTripper.RoundTrip(r.WithContext(c.ctx))
}

// again reports whether a request is worth another attempt. If nobody listens, that is
// reported at once.
func again(err error) bool {
	var op *net.OpError
	if err == nil || errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	var temporary interface{ Temporary() bool }
	if errors.As(err, &temporary) && temporary.Temporary() {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed)
}

// guard applies the rules that go-containerregistry leaves to its transport: which
// addresses may be asked, how many redirects are followed, and how much of the answer to
// its first request is read, which it reads to the end.
type guard struct {
	inner   http.RoundTripper
	allowed func(*url.URL) error
}

// maxGreeting is how many bytes of the answer to /v2/ are read.
const maxGreeting = 64 << 10

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.ask(r)
	switch {
	case err != nil && r.URL.Scheme == "http":
		return nil, &inClear{err}
	case err != nil:
		return nil, &overTLS{err}
	}
	if strings.HasSuffix(r.URL.Path, "/v2/") {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxGreeting), resp.Body}
	}
	return resp, nil
}

func (g *guard) ask(r *http.Request) (*http.Response, error) {
	hops := 0
	for via := r.Response; via != nil && via.Request != nil; via = via.Request.Response {
		hops++
	}
	if hops > httpc.MaxRedirects {
		return nil, &httpc.RedirectError{Text: fmt.Sprintf("more than %d redirects", httpc.MaxRedirects)}
	}
	if g.allowed != nil {
		if err := g.allowed(r.URL); err != nil {
			return nil, err
		}
	}
	return g.inner.RoundTrip(r)
}

// A registry on this machine may use TLS or not: go-containerregistry asks both ways, and
// returns both errors as one. These two types distinguish them.
type (
	overTLS struct{ error }
	inClear struct{ error }
)

func (o *overTLS) Unwrap() error { return o.error }
func (i *inClear) Unwrap() error { return i.error }

// plain returns the error that matters without the address, which may contain a secret.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var answer *transport.Error
	var tls *overTLS
	var clear *inClear
	var other *url.Error
	switch {
	case errors.As(err, &tls) && spokeTLS(tls):
		err = tls.error
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &tls) && !errors.As(err, &clear):
		err = tls.error
	case errors.As(err, &clear):
		err = clear.error
	case errors.As(err, &other):
		err = other.Err
	}
	var stalled *httpc.Stalled
	if errors.As(err, &stalled) {
		return &standstill{stalled}
	}
	return err
}

// standstill is a connection on which nothing moves, in either direction.
type standstill struct{ *httpc.Stalled }

func (s *standstill) Error() string { return fmt.Sprintf("stalled for %s", s.After) }
func (s *standstill) Unwrap() error { return s.Stalled }

// spokeTLS reports whether a failed handshake was TLS: it ended with a certificate that
// is not trusted, or with an alert.
func spokeTLS(err error) bool {
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	return errors.As(err, &certificate) || errors.As(err, &alert)
}
