// Package timeline records when each piece of a build ran, on which lane, and how much
// CPU time it used, and renders that as a page or as a trace. It starts nothing and does
// not know what the pieces are.
package timeline

import (
	"slices"
	"sort"
	"sync"
	"time"
)

// Kind is the kind of a span, for colours and totals.
type Kind string

// The kinds of spans. A Step is a named step of the build, which includes other spans and
// occupies no lane.
const (
	Step      Kind = "step"
	Fetch     Kind = "fetch"
	Unpack    Kind = "unpack"
	Configure Kind = "configure"
	Compile   Kind = "compile"
	Link      Kind = "link"
	Tool      Kind = "tool"   // any other program
	Verify    Kind = "verify" // a throwaway server
	Cache     Kind = "cache"  // restoring or storing a cache entry
)

// Span is one piece of work. Times are relative to the recorder's start.
type Span struct {
	Name   string        `json:"name"` // "server/core.c", "configure apr"
	Step   string        `json:"step"` // its step
	Kind   Kind          `json:"kind"`
	Start  time.Duration `json:"start_ns"`
	End    time.Duration `json:"end_ns"`
	Lane   int           `json:"lane"`             // from 0; -1 for a step
	CPU    time.Duration `json:"cpu_ns,omitempty"` // user and system time of the process, including its children
	MaxRSS int64         `json:"max_rss,omitempty"`
	Needs  []string      `json:"needs,omitempty"`  // names of its dependencies
	Cached bool          `json:"cached,omitempty"` // the result came from a cache
	Failed bool          `json:"failed,omitempty"`
}

// Recorder collects spans. It is safe for concurrent use. The methods of a nil Recorder
// do nothing.
type Recorder struct {
	began time.Time
	mu    sync.Mutex
	spans []Span
	lanes []bool // taken
}

// New returns a recorder that starts now.
func New() *Recorder { return &Recorder{began: time.Now()} }

// Begin starts a span on the lowest free lane, or on none for a Step. The returned
// function ends the span and must be called once. Its argument, which may be nil, fills
// in further fields (CPU, Cached …).
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

// Spans returns the spans that have ended, sorted by start.
func (r *Recorder) Spans() []Span {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.spans)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Start < out[j].Start })
	return out
}
