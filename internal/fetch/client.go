package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"modwsgi/internal/version"
)

// connectTimeout is how long a connection to one address may take to come
// about; a network that swallows packets must not hold up a build for minutes.
const connectTimeout = 5 * time.Second

// maxRedirects is how many redirects are followed for one address.
const maxRedirects = 5

func tenthsOfSecond() int64 { return time.Now().UnixMilli() / 100 }

func newClient(o Options) (*http.Client, error) {
	transport := o.Transport
	if transport == nil {
		p, err := newProxies(o.Env)
		if err != nil {
			return nil, err
		}
		transport = &http.Transport{
			Proxy:                  func(r *http.Request) (*url.URL, error) { return p.of(r.URL), nil },
			DialContext:            (&net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout:    connectTimeout,
			ResponseHeaderTimeout:  o.HeaderTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        30 * time.Second,
			ForceAttemptHTTP2:      true,
			// The archive's own bytes are wanted; a body that Go unpacked on the
			// way could not be resumed, nor its length checked.
			DisableCompression: true,
			OnProxyConnectResponse: func(_ context.Context, proxy *url.URL, _ *http.Request, r *http.Response) error {
				if r.StatusCode != http.StatusOK {
					return &proxyRefusal{proxy: describe(proxy), status: r.StatusCode}
				}
				return nil
			},
		}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return &redirectError{fmt.Sprintf("more than %d redirects", maxRedirects)}
		}
		if r.URL.Scheme != "https" && !(o.AllowHTTP && r.URL.Scheme == "http" && loopback(r.URL.Hostname())) {
			return &redirectError{"redirect to " + redact(r.URL) + ", which is not https"}
		}
		return nil
	}}, nil
}

// redirectError is a redirect that is not followed.
type redirectError struct{ text string }

func (r *redirectError) Error() string { return r.text }

// proxyRefusal is a proxy that would not connect us.
type proxyRefusal struct {
	proxy  string
	status int
}

func (p *proxyRefusal) Error() string {
	return fmt.Sprintf("%s refused with %d %s", p.proxy, p.status, http.StatusText(p.status))
}

// statusError is an answer that is not what was asked for.
type statusError struct {
	status     int
	retryAfter time.Duration
}

func (s *statusError) Error() string {
	if text := http.StatusText(s.status); text != "" {
		return fmt.Sprintf("%d %s", s.status, text)
	}
	return fmt.Sprintf("status %d", s.status)
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return time.Duration(min(n, 1<<20)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// get asks for an address. Only https is asked for, and http where allowed is
// true. It returns the answer whatever its status.
func (f *Fetcher) get(ctx context.Context, u *url.URL, allowHTTP bool, header http.Header) (*http.Response, error) {
	if u.Scheme != "https" && !(u.Scheme == "http" && (allowHTTP || f.opts.AllowHTTP && loopback(u.Hostname()))) {
		return nil, permanent{fmt.Errorf("%s addresses are not used", u.Scheme)}
	}
	if err := f.hosts.dead(u.Host); err != nil {
		return nil, permanent{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, permanent{err}
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", "modwsgi/"+version.Release)
	req.Header.Set("Accept-Encoding", "identity")
	// A redirect has a body too, of which some is read: without this one that
	// comes a byte at a time has no limit of its own.
	limit := (maxRedirects + 1) * f.opts.HeaderTimeout / 2
	ctx, cancel := context.WithCancelCause(ctx)
	begun := time.AfterFunc(limit, func() { cancel(fmt.Errorf("timeout: no answer came within %s, redirects included", limit)) })
	resp, err := f.client.Do(req.WithContext(ctx))
	if err == nil && begun.Stop() {
		resp.Body = &body{resp.Body, cancel}
		return resp, nil
	}
	if err == nil {
		err = errors.Join(context.Cause(ctx), resp.Body.Close())
	}
	defer cancel(nil)
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	err = plain(err)
	if hopeless(err) {
		f.hosts.remember(u.Host, err)
		return nil, permanent{err}
	}
	if refusedForGood(err) {
		return nil, permanent{err}
	}
	return nil, err
}

// body ends with its request.
type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *body) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

// permanent is an error that asking again will not change.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// plain takes the address out of an error of net/http, which may hold
// credentials or a signed query, and shortens what remains.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return &lookupError{dns}
	}
	return err
}

// lookupError says of a failed name lookup only what matters.
type lookupError struct{ dns *net.DNSError }

func (l *lookupError) Error() string {
	if l.dns.IsNotFound {
		return "no such host"
	}
	return "the name could not be looked up"
}

func (l *lookupError) Unwrap() error { return l.dns }

// hopeless says whether a host will not answer in the next minutes either.
func hopeless(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	var refusal *proxyRefusal
	switch {
	case errors.As(err, &dns):
		return true
	case errors.As(err, &refusal):
		return true
	case errors.As(err, &op) && op.Op == "dial":
		return true
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH)
}

// refusedForGood says whether the answer would be the same again: a certificate
// that is not trusted, a redirect that is not followed.
func refusedForGood(err error) bool {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	var redirect *redirectError
	return errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &record) ||
		errors.As(err, &redirect) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// hostMemory remembers for the life of a Fetcher which hosts do not answer, so
// that a machine without the internet comes to the next provider at once.
type hostMemory struct {
	mu   sync.Mutex
	errs map[string]error
}

func (h *hostMemory) dead(host string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.errs[host]
}

func (h *hostMemory) remember(host string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.errs == nil {
		h.errs = map[string]error{}
	}
	h.errs[host] = err
}

// delay returns how long to wait before the n-th retry (from 0): exponential,
// with half of it random so that many builds do not come back together. A
// server's own wish is heard up to the limit; ok is false beyond that.
func (f *Fetcher) delay(n int, wish time.Duration) (d time.Duration, ok bool) {
	if wish > 0 {
		return wish, wish <= f.opts.MaxDelay
	}
	d = min(f.opts.RetryDelay<<min(n, 16), f.opts.MaxDelay)
	return d/2 + rand.N(d/2+1), true // #nosec G404 -- no secret
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
