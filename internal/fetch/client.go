package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"modwsgi/internal/httpc"
	"modwsgi/internal/version"
)

func tenthsOfSecond() int64 { return time.Now().UnixMilli() / 100 }

func newClient(o Options) (*http.Client, error) {
	transport, err := httpc.NewTransport(httpc.Options{Env: o.Env, HeaderTimeout: o.HeaderTimeout})
	if err != nil {
		return nil, err
	}
	return httpc.NewClient(transport, func(u *url.URL) error {
		if u.Scheme != "https" && !(o.AllowHTTP && u.Scheme == "http" && httpc.Loopback(u.Hostname())) {
			return &httpc.RedirectError{Text: "redirect to " + httpc.Redact(u) + ", which is not https"}
		}
		return nil
	}), nil
}

// get requests an address. It only uses https, and http if allowHTTP is true. It returns
// the answer whatever its status.
func (f *Fetcher) get(ctx context.Context, u *url.URL, allowHTTP bool, header http.Header) (*http.Response, error) {
	if u.Scheme != "https" && !(u.Scheme == "http" && (allowHTTP || f.opts.AllowHTTP && httpc.Loopback(u.Hostname()))) {
		return nil, httpc.Final(fmt.Errorf("%s addresses are not used", u.Scheme))
	}
	if err := f.hosts.dead(u.Host); err != nil {
		return nil, httpc.Final(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, httpc.Final(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", "modwsgi/"+version.Release)
	req.Header.Set("Accept-Encoding", "identity")
	// A redirect has a body too, part of which is read. Without this limit, one that
	// arrives a byte at a time would never end.
	limit := (httpc.MaxRedirects + 1) * f.opts.HeaderTimeout / 2
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
	err = httpc.Plain(err)
	if httpc.Unreachable(err) {
		f.hosts.remember(u.Host, err)
		return nil, httpc.Final(err)
	}
	if httpc.RefusedForGood(err) {
		return nil, httpc.Final(err)
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

// hostMemory remembers for the life of a Fetcher which hosts do not answer, so that a
// machine without the internet moves on to the next provider at once.
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

// retry is the policy for repeating requests.
func (f *Fetcher) retry() httpc.Retry {
	return httpc.Retry{Again: f.opts.Retries, Delay: f.opts.RetryDelay, Max: f.opts.MaxDelay}
}
