package httpc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// Transport applies the limits to every request that goes through base. Nothing may stall
// for longer than Idle: the body that is sent, the wait for the answer, or the answer's
// body. Reading an answer may be neither slower than the rate nor longer than the total.
// Sending has no total: that depends on the line of the user, who started it.
func (l Limits) Transport(base http.RoundTripper) http.RoundTripper {
	return &transport{base: base, limits: l}
}

type transport struct {
	base   http.RoundTripper
	limits Limits
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	idle := t.limits.Idle
	if idle == 0 {
		idle = 2 * t.limits.Window
	}
	w := &watch{cancel: cancel, idle: idle}
	w.stall = time.AfterFunc(idle, func() { cancel(&Stalled{idle}) })
	sends := r.Body != nil && r.Body != http.NoBody
	if !sends {
		w.total = time.AfterFunc(t.limits.Total, func() { cancel(&Late{t.limits.Total}) })
	}
	r = r.Clone(ctx)
	if sends {
		r.Body = &sending{r.Body, w}
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		w.end()
		return nil, w.why(ctx, err)
	}
	w.moved()
	resp.Body = &receiving{body: resp.Body, from: t.limits.Reader(resp.Body), watch: w, ctx: ctx}
	return resp, nil
}

// watch ends a request that stalls.
type watch struct {
	cancel       context.CancelCauseFunc
	idle         time.Duration
	stall, total *time.Timer
	once         sync.Once
}

func (w *watch) moved() { w.stall.Reset(w.idle) }

func (w *watch) end() {
	w.once.Do(func() {
		w.stall.Stop()
		if w.total != nil {
			w.total.Stop()
		}
		w.cancel(nil)
	})
}

// why returns the reason of a cancelled request.
func (w *watch) why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// sending is a request's body. It is not read while the server accepts nothing.
type sending struct {
	io.ReadCloser
	watch *watch
}

func (s *sending) Read(b []byte) (int, error) {
	s.watch.moved()
	return s.ReadCloser.Read(b)
}

// receiving is an answer's body.
type receiving struct {
	body  io.ReadCloser
	from  io.Reader
	watch *watch
	ctx   context.Context
}

func (r *receiving) Read(b []byte) (int, error) {
	r.watch.moved()
	n, err := r.from.Read(b)
	r.watch.stall.Stop() // time spent by the reader is not the server's
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, r.watch.why(r.ctx, err)
}

func (r *receiving) Close() error {
	err := r.body.Close()
	r.watch.end()
	return err
}
