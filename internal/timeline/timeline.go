// Package timeline keeps when each piece of a build ran, on which lane, and how
// much of a processor it used, and shows that as a page or as a trace. It does
// not start anything and does not know what the pieces are.
package timeline

import (
	"slices"
	"sync"
	"time"
)

// Kind groups spans by what they are, for colours and totals.
type Kind string

// The kinds of spans. A Step is a named step of the build and takes no lane: it
// spans what runs inside it.
const (
	Step      Kind = "step"
	Fetch     Kind = "fetch"
	Unpack    Kind = "unpack"
	Configure Kind = "configure"
	Compile   Kind = "compile"
	Link      Kind = "link"
	Tool      Kind = "tool"   // any other program
	Verify    Kind = "verify" // a server that is tried
	Cache     Kind = "cache"  // an entry that is restored or stored
)

// Span is one piece of work. Times count from the recorder's start.
type Span struct {
	Name   string        `json:"name"` // "server/core.c", "configure apr"
	Step   string        `json:"step"` // the step that it belongs to
	Kind   Kind          `json:"kind"`
	Start  time.Duration `json:"start_ns"`
	End    time.Duration `json:"end_ns"`
	Lane   int           `json:"lane"`             // from 0; -1 for a step
	CPU    time.Duration `json:"cpu_ns,omitempty"` // user and system time of the process and its children
	MaxRSS int64         `json:"max_rss,omitempty"`
	Needs  []string      `json:"needs,omitempty"`  // names of spans that had to end before
	Cached bool          `json:"cached,omitempty"` // the result came out of a cache
	Failed bool          `json:"failed,omitempty"`
}

// Recorder collects spans. It is safe for concurrent use; all methods of a nil
// Recorder do nothing.
type Recorder struct {
	began time.Time
	mu    sync.Mutex
	spans []Span
	lanes []bool // taken
}

// New starts a recorder.
func New() *Recorder { return &Recorder{began: time.Now()} }

// Begin starts a span: it gets the lowest free lane, or none where it is a Step.
// The returned function ends it and must be called once; what it is given is
// entered into the span first (CPU, Cached …) and may be nil.
func (r *Recorder) Begin(kind Kind, step, name string, needs ...string) (end func(func(*Span))) {
	if r == nil {
		return func(func(*Span)) {}
	}
	s := Span{Kind: kind, Step: step, Name: name, Needs: needs, Start: time.Since(r.began), Lane: -1}
	if kind != Step {
		s.Lane = r.take()
	}
	return func(fill func(*Span)) {
		s.End = time.Since(r.began)
		if fill != nil {
			fill(&s)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if s.Lane >= 0 {
			r.lanes[s.Lane] = false
		}
		r.spans = append(r.spans, s)
	}
}

func (r *Recorder) take() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, taken := range r.lanes {
		if !taken {
			r.lanes[i] = true
			return i
		}
	}
	r.lanes = append(r.lanes, true)
	return len(r.lanes) - 1
}

// Spans returns what has ended so far, by start.
func (r *Recorder) Spans() []Span {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.spans)
	slices.SortStableFunc(out, func(a, b Span) int { return int(a.Start - b.Start) })
	return out
}
