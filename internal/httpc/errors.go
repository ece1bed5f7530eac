package httpc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Permanent wraps an error that a retry cannot change.
type Permanent struct{ error }

// Final marks an error as [Permanent].
func Final(err error) error { return Permanent{err} }

func (p Permanent) Unwrap() error { return p.error }

// RedirectError is a redirect that is not followed.
type RedirectError struct{ Text string }

func (r *RedirectError) Error() string { return r.Text }

// ProxyRefusal is a proxy that refused to connect.
type ProxyRefusal struct {
	Proxy  string // host and port, without credentials
	Status int
}

func (p *ProxyRefusal) Error() string {
	return fmt.Sprintf("proxy %s refused with %d %s", p.Proxy, p.Status, http.StatusText(p.Status))
}

// StatusError is an answer with an unexpected status.
type StatusError struct {
	Status     int
	RetryAfter time.Duration // how long the server asks to wait; 0 if it does not
}

// NewStatusError returns the error for an answer's status, with its Retry-After. It is
// [Permanent] if the same request will get the same answer.
func NewStatusError(r *http.Response) error {
	if r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout {
		return &StatusError{r.StatusCode, retryAfter(r.Header, time.Now())}
	}
	return Permanent{&StatusError{Status: r.StatusCode}}
}

func (s *StatusError) Error() string {
	if text := http.StatusText(s.Status); text != "" {
		return fmt.Sprintf("%d %s", s.Status, text)
	}
	return fmt.Sprintf("status %d", s.Status)
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

// Plain removes the address, which may contain credentials or a signed query, from an
// error of net/http and shortens the rest.
func Plain(err error) error {
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

// lookupError is a failed name lookup without the resolver's address.
type lookupError struct{ dns *net.DNSError }

func (l *lookupError) Error() string {
	if l.dns.IsNotFound {
		return "no such host"
	}
	return "the name could not be looked up"
}

func (l *lookupError) Unwrap() error { return l.dns }

// Unreachable reports whether a host is unlikely to answer within the next minutes.
func Unreachable(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	var refusal *ProxyRefusal
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

// RefusedForGood reports whether a retry would fail the same way: a certificate that is
// not trusted, a redirect that is not followed.
func RefusedForGood(err error) bool {
	var record tls.RecordHeaderError
	var redirect *RedirectError
	return Untrusted(err) || WithoutTLS(err) || errors.As(err, &record) || errors.As(err, &redirect)
}

// Untrusted reports whether the certificate of a server was not accepted.
func Untrusted(err error) bool {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &name)
}

// WithoutTLS reports whether a server answered a request for https in plain HTTP.
func WithoutTLS(err error) bool { return errors.Is(err, http.ErrSchemeMismatch) }

// TooSlow reports whether a server sent data, but too slowly.
func TooSlow(err error) bool {
	var slow *Slow
	var late *Late
	return errors.As(err, &slow) || errors.As(err, &late)
}

// Redact returns an address without user, password, query and fragment.
func Redact(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// RedactText does the same for text that may not be an address.
func RedactText(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		return Redact(u)
	}
	// Text that cannot be parsed may contain a password anywhere before an @.
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		return "…" + raw[i:]
	}
	return raw
}
