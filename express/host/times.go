package host

import (
	"cmp"
	"slices"
	"time"
)

// mod_handover counts durations in classes that grow by at most a quarter, so that
// percentiles are exact enough for display, from 64 microseconds to two minutes.

// These numbers are those of mod_handover.
const (
	classes    = 86
	period     = 5  // seconds
	periods    = 13 // a minute, and the present period
	span       = 60 // seconds whose slowest requests are kept together
	spans      = 6  // five minutes, and the present span
	slowest    = 10 // requests of a span
	slowText   = 176
	firstPower = 6 // everything below 1<<firstPower microseconds is in the first class
)

// Times are requests by their duration.
type Times [classes]uint64

// boundsOf returns the durations in microseconds that a class begins and ends with. The
// last class has no end.
func boundsOf(class int) (from, to uint64) {
	if class == 0 {
		return 0, 1 << firstPower
	}
	lower := func(k int) uint64 { return uint64(4+k%4) << (firstPower - 2 + k/4) }
	return lower(class - 1), lower(class)
}

func (t *Times) add(o *Times) {
	for k := range t {
		t[k] += o[k]
	}
}

// Requests is the number of requests.
func (t *Times) Requests() (n uint64) {
	for _, m := range t {
		n += m
	}
	return n
}

// Percentile returns the duration that a share of all requests does not exceed, with an
// error of at most a quarter; 0 without requests.
func (t *Times) Percentile(share float64) time.Duration {
	rank := share * float64(t.Requests())
	if rank == 0 {
		return 0
	}
	below := 0.0
	for k, n := range t {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		from, to := boundsOf(k)
		if k == classes-1 {
			to = from
		}
		return time.Duration(float64(from)+float64(to-from)*(rank-below)/float64(n)) * time.Microsecond
	}
	from, _ := boundsOf(classes - 1)
	return time.Duration(from) * time.Microsecond
}

// Period is what was completed in a few seconds.
type Period struct {
	Number uint64 // of the period since the epoch
	Failed uint64 // requests with a status of 500 or more
	Times  Times
}

func (p *Period) add(o *Period) {
	switch {
	case o.Number > p.Number:
		*p = *o
	case o.Number == p.Number:
		p.Failed += o.Failed
		p.Times.add(&o.Times)
	}
}

// LastMinute returns what was completed within the last minute before now, and the length
// of that time: the present period is not over yet.
func (c *Counts) LastMinute(now time.Time) (times Times, failed uint64, length time.Duration) {
	present := uint64(now.Unix()) / period
	for k := range c.Periods {
		if p := &c.Periods[k]; p.Number <= present && p.Number+periods > present+1 {
			times.add(&p.Times)
			failed += p.Failed
		}
	}
	first := time.Unix(int64(present+2-periods)*period, 0)
	return times, failed, now.Sub(first)
}

// SlowRequest is a completed request.
type SlowRequest struct {
	Time     time.Time // of its end
	Duration time.Duration
	Status   int
	Text     string // method, space, path without the query; a client chooses both
	Cut      bool   // the path is longer
}

// SlowestRequests returns the slowest requests of the last five minutes before now, one for
// each method and path, the slowest one first.
func (c *Counts) SlowestRequests(now time.Time) []SlowRequest {
	list := slices.DeleteFunc(slices.Clone(c.Slowest), func(s SlowRequest) bool {
		return s.Duration <= 0 || now.Sub(s.Time) > 5*time.Minute || s.Time.Sub(now) > time.Minute
	})
	slices.SortFunc(list, func(a, b SlowRequest) int { return cmp.Compare(b.Duration, a.Duration) })
	var kept []SlowRequest // one for each method and path
	for _, r := range list {
		if len(kept) < slowest && !slices.ContainsFunc(kept, func(k SlowRequest) bool { return k.Text == r.Text }) {
			kept = append(kept, r)
		}
	}
	return kept
}
