package httpc

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// The variables that hold the limits.
const (
	RateVariable    = "MODWSGI_DOWNLOAD_MIN_RATE"
	TimeoutVariable = "MODWSGI_DOWNLOAD_TIMEOUT"
)

// The default limits. The rate is below that of a GSM telephone with EDGE, and the time
// is enough for the largest archive at that rate.
const (
	DefaultRate   = 8 << 10
	DefaultTotal  = 30 * time.Minute
	DefaultWindow = 30 * time.Second
)

// Limits set how slow an answer may be. What happens to a slow server, whether another
// one is asked or the work ends, is the caller's decision.
type Limits struct {
	Rate   int64         // bytes per second; 0 for any
	Window time.Duration // over which the rate is measured; also the longest time without data
	Total  time.Duration // for the whole answer
	Set    bool          // Total is not the default
	Idle   time.Duration // how long a transport may stall; 0 is twice the window
}

// ReadLimits reads the limits from an environment. A short total shortens the window too,
// which would otherwise have no effect.
func ReadLimits(env []string) (Limits, error) {
	l := Limits{Rate: DefaultRate, Total: DefaultTotal}
	if v := strings.TrimSpace(run.Getenv(env, RateVariable)); v != "" {
		n, ok := size(v)
		if !ok {
			return l, fault.New(fault.Usage, "give bytes per second, as in 500, 8K or 1M (--download-min-rate, "+RateVariable+"); 0 accepts any rate", "%q is not a rate", v)
		}
		l.Rate = n
	}
	if v := strings.TrimSpace(run.Getenv(env, TimeoutVariable)); v != "" {
		d, err := time.ParseDuration(v)
		if n, nerr := strconv.ParseUint(v, 10, 31); nerr == nil {
			d, err = time.Duration(n)*time.Second, nil
		}
		if err != nil || d <= 0 {
			return l, fault.New(fault.Usage, "give a duration above 0, as in 90s or 1h (--download-timeout, "+TimeoutVariable+")", "%q is not a time limit for a download", v)
		}
		l.Total, l.Set = d, true
	}
	l.Window = min(DefaultWindow, max(l.Total/16, 100*time.Millisecond))
	return l, nil
}

// size reads a number of bytes with K, M or G for powers of 1024.
func size(text string) (int64, bool) {
	factor := int64(1)
	if i := strings.IndexByte("KMG", strings.ToUpper(text)[len(text)-1]); i >= 0 {
		factor, text = 1<<(10*(i+1)), text[:len(text)-1]
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n * factor, err == nil && n >= 0 && n <= math.MaxInt64/factor/3600
}

// Slow is the error for an answer below the minimum rate.
type Slow struct {
	Got  int64
	Over time.Duration
	Rate int64 // the limit
}

func (s *Slow) Error() string {
	return fmt.Sprintf("only %d bytes arrived in %s, below the minimum of %d per second (--download-min-rate)", s.Got, s.Over.Round(100*time.Millisecond), s.Rate)
}

// Late is the error for an answer that is not complete in time.
type Late struct{ Limit time.Duration }

func (l *Late) Error() string {
	return fmt.Sprintf("not complete after %s (--download-timeout)", l.Limit.Round(100*time.Millisecond))
}

// Stalled is the error for an answer that stopped.
type Stalled struct{ After time.Duration }

func (s *Stalled) Error() string { return fmt.Sprintf("no more data arrived for %s", s.After) }

// Reader reads from r, and fails with *Slow if less than the minimum arrives in a window.
// Only time in Read counts: a reader that is busy elsewhere does not make the server
// slow. It does not end a Read in which nothing arrives at all.
func (l Limits) Reader(r io.Reader) io.Reader {
	if l.Rate <= 0 || l.Window <= 0 {
		return r
	}
	return &meter{from: r, limits: l}
}

// Paced is Reader, and calls cancel with *Stalled if nothing arrives for a window. The
// request of the body must end with that context.
func (l Limits) Paced(body io.Reader, cancel context.CancelCauseFunc) io.Reader {
	t := time.AfterFunc(l.Window, func() { cancel(&Stalled{After: l.Window}) })
	return l.Reader(readerFunc(func(b []byte) (int, error) {
		t.Reset(l.Window)
		n, err := body.Read(b)
		t.Stop() // time spent by the reader is not the server's
		return n, err
	}))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

type meter struct {
	from   io.Reader
	limits Limits
	got    int64
	spent  time.Duration
}

func (m *meter) Read(b []byte) (int, error) {
	start := time.Now()
	n, err := m.from.Read(b)
	m.spent += time.Since(start)
	m.got += int64(n)
	if err == nil && m.spent >= m.limits.Window {
		if float64(m.got) < float64(m.limits.Rate)*m.spent.Seconds() {
			return n, &Slow{m.got, m.spent, m.limits.Rate}
		}
		m.got, m.spent = 0, 0
	}
	return n, err
}
