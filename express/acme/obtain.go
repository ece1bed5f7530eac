package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	rfc8555 "github.com/mholt/acmez/v3/acme"

	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
)

// attemptLimit is the time for one attempt, including all that the authority checks.
const attemptLimit = 15 * time.Minute

// mostLimit is the longest time that an authority can have a server wait.
const mostLimit = 7 * 24 * time.Hour

// responses observes the authority's responses.
type responses struct {
	base http.RoundTripper

	mu    sync.Mutex
	clock time.Duration // how far the authority's clock is ahead of this machine's
	again time.Time     // the last Retry-After of an error
}

func (r *responses) RoundTrip(q *http.Request) (*http.Response, error) {
	resp, err := r.base.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.clock = time.Until(at)
	}
	if resp.StatusCode >= 400 {
		text := resp.Header.Get("Retry-After")
		again := time.Time{}
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			again = time.Now().Add(time.Duration(min(n, int(mostLimit/time.Second))) * time.Second)
		} else if at, err := http.ParseTime(text); err == nil {
			again = at
		}
		if last := time.Now().Add(mostLimit); again.After(last) {
			again = last
		}
		r.again = again
	}
	return resp, nil
}

// client returns a client of the authority.
func (s *Settings) client() (*rfc8555.Client, *responses, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = time.Minute
	if s.CA != "" {
		text, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, nil, localError{error: fmt.Errorf("option --acme-ca: %w", err)}
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, nil, localError{error: fmt.Errorf("option --acme-ca: %s has no certificate in PEM format", s.CA)}
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	seen := &responses{base: transport}
	return &rfc8555.Client{Directory: s.Directory, HTTPClient: &http.Client{Transport: seen}, UserAgent: "mod_wsgi-express", PollTimeout: 5 * time.Minute}, seen, nil
}

// obtain gets a certificate and has httpd use it at its next start. It returns an error of
// type *Failure.
func (st *store) obtain(ctx context.Context, program Program, replaces *x509.Certificate) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	client, seen, err := st.client()
	if err != nil {
		return nil, st.explain(err, seen)
	}
	defer seen.base.(*http.Transport).CloseIdleConnections()
	version, key, err := st.begin()
	if err != nil {
		return nil, st.explain(local(err), seen)
	}
	chain, err := st.order(ctx, client, program, version, replaces)
	if isAccountGone(err) {
		// For example an authority for tests, which forgets its accounts.
		st.forgetAccount()
		chain, err = st.order(ctx, client, program, version, replaces)
	}
	if replaces != nil && isOrderRefused(err) {
		// It need not know the certificate: another authority has issued it, or it has
		// forgotten it.
		chain, err = st.order(ctx, client, program, version, nil)
	}
	if err != nil {
		st.discard(version)
		return nil, st.explain(err, seen)
	}
	leaf, err := st.finish(version, key, chain)
	if err != nil {
		st.discard(version)
		return nil, st.explain(late(err), seen)
	}
	return leaf, nil
}

func (st *store) order(ctx context.Context, client *rfc8555.Client, program Program, version string, replaces *x509.Certificate) ([]byte, error) {
	who, err := st.account(ctx, client)
	if err != nil {
		return nil, err
	}
	keyText, err := st.dir.Root().ReadFile(version + "/" + KeyFile)
	if err != nil {
		return nil, local(err)
	}
	key, err := parseKey(keyText)
	if err != nil {
		return nil, err
	}
	csr, err := acmez.NewCSR(key, st.Names)
	if err != nil {
		return nil, err
	}
	order, err := acmez.OrderParametersFromCSR(who, csr)
	if err != nil {
		return nil, err
	}
	if directory, err := client.GetDirectory(ctx); err == nil && directory.RenewalInfo != "" {
		order.Replaces = replaces // so that limits of the authority do not apply (RFC 9773, section 5)
	}
	high := acmez.Client{Client: client, ChallengeSolvers: st.solvers(program)}
	chains, err := high.ObtainCertificate(ctx, order)
	if err != nil {
		return nil, err
	}
	if len(chains) == 0 {
		return nil, errors.New("the authority offers no certificate")
	}
	return chains[0].ChainPEM, nil
}

// isAccountGone reports whether the authority does not accept the account any more.
func isAccountGone(err error) bool {
	var p rfc8555.Problem
	if !errors.As(err, &p) {
		return false
	}
	_, ofName := p.Resource.(rfc8555.Authorization)
	return p.Type == rfc8555.ProblemTypeAccountDoesNotExist || p.Type == rfc8555.ProblemTypeUnauthorized && !ofName && !isOrder(p.Resource)
}

// isOrderRefused reports whether the authority refuses an order before it checks anything.
func isOrderRefused(err error) bool {
	var p rfc8555.Problem
	if !errors.As(err, &p) || p.Type == rfc8555.ProblemTypeRateLimited {
		return false
	}
	_, ofName := p.Resource.(rfc8555.Authorization)
	return !ofName && p.Status >= 400 && p.Status < 500
}

func isOrder(resource any) bool {
	_, is := resource.(rfc8555.Order)
	return is
}

// lock keeps other servers with the same certificate from obtaining it at the same time.
func (st *store) lock(ctx context.Context) (release func(), err error) {
	l, err := flock.Wait(ctx, flock.Options{In: st.dir.Root(), Dir: st.Dir(), Limit: attemptLimit, Busy: "obtains a certificate"})
	if err != nil {
		return nil, fault.Wrap(fault.Busy, "", err)
	}
	return func() { _ = l.Release() }, nil
}
