package host

import (
	"slices"
	"time"
)

// State is what httpd answers to requests for the path of --health-path.
type State int

// The order is that of mod_handover.
const (
	Starting State = iota // the application is not loaded yet
	Ready
	Draining // it is about to end
	Failed   // the application did not load
)

func (s State) String() string {
	switch s {
	case Ready:
		return "ready"
	case Draining:
		return "draining"
	case Failed:
		return "failed"
	}
	return "starting"
}

// DurationBounds are the upper bounds of the classes of durations in Counts.Slow, whose
// last class has no bound.
var DurationBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Counts is what an httpd has counted since its start.
type Counts struct {
	Connections uint64    // accepted
	Running     int64     // requests that have been read and not completed; wrong after a process was killed
	Status      [6]uint64 // completed requests by the first digit of their status; 0 is any other one
	Bytes       uint64    // of the bodies of their responses
	Duration    time.Duration
	Slow        [len(DurationBounds) + 1]uint64 // completed requests by their duration
	Times       Times                           // the same in finer classes
	Periods     [periods]Period                 // of the last minute
	Slowest     []SlowRequest                   // of the last minutes, in no order
}

// Add adds what another httpd has counted.
func (c *Counts) Add(o Counts) {
	c.Connections, c.Running, c.Bytes, c.Duration = c.Connections+o.Connections, c.Running+o.Running, c.Bytes+o.Bytes, c.Duration+o.Duration
	for k := range c.Status {
		c.Status[k] += o.Status[k]
	}
	for k := range c.Slow {
		c.Slow[k] += o.Slow[k]
	}
	c.Times.add(&o.Times)
	for k := range c.Periods {
		c.Periods[k].add(&o.Periods[k])
	}
	c.Slowest = slices.Concat(c.Slowest, o.Slowest)
}

// Requests is the number of completed requests.
func (c Counts) Requests() (n uint64) {
	for _, m := range c.Status {
		n += m
	}
	return n
}
