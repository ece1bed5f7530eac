package timeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Report is the timeline of a finished build.
type Report struct {
	Title string // one line: what was built
	Facts []Fact // further facts, in order
	Cores int    // processors that the build could use, at least 1
	Total time.Duration
	Spans []Span
}

// Fact is one line of a report.
type Fact struct{ Name, Value string }

// Report returns a report of the spans recorded so far.
func (r *Recorder) Report(title string, cores int, facts ...Fact) *Report {
	out := &Report{Title: title, Facts: facts, Cores: max(1, cores), Spans: r.Spans()}
	for _, s := range out.Spans {
		out.Total = max(out.Total, s.End)
	}
	return out
}

// Encode returns the report in the format that a file's name selects: Chrome trace events
// if it ends in ".json", otherwise an HTML page.
func (r *Report) Encode(name string) ([]byte, error) {
	var b bytes.Buffer
	write := r.HTML
	if strings.EqualFold(filepath.Ext(name), ".json") {
		write = r.Trace
	}
	err := write(&b)
	return b.Bytes(), err
}

// Totals are the totals of a report.
type Totals struct {
	CPU        time.Duration // of all processes
	CompileCPU time.Duration // of compilers only
	Floor      time.Duration // CompileCPU divided by cores: a lower bound for any build
	Ratio      float64       // Total divided by Floor; 0 if nothing was compiled
	Busy       float64       // fraction of the cores' time in which a lane was busy, at most 1
	Objects    int           // compiled
	Cached     int           // spans whose result came from a cache
	MaxRSS     int64         // of the largest process, bytes
	MaxRSSName string
	LaneCount  int // maximum number of concurrent spans
}

// Totals computes the totals.
func (r *Report) Totals() Totals {
	var t Totals
	var busy time.Duration
	for _, s := range r.Spans {
		if s.Cached {
			t.Cached++
		}
		if s.Lane < 0 {
			continue
		}
		t.LaneCount = max(t.LaneCount, s.Lane+1)
		t.CPU += s.CPU
		busy += s.End - s.Start
		if s.Kind == Compile && !s.Cached {
			t.CompileCPU += s.CPU
			t.Objects++
		}
		if s.MaxRSS > t.MaxRSS {
			t.MaxRSS, t.MaxRSSName = s.MaxRSS, s.Name
		}
	}
	cores := time.Duration(max(1, r.Cores))
	t.Floor = t.CompileCPU / cores
	if t.Floor > 0 {
		t.Ratio = float64(r.Total) / float64(t.Floor)
	}
	if r.Total > 0 {
		t.Busy = math.Min(1, float64(busy)/float64(r.Total*cores))
	}
	return t
}

// handover is the maximum gap between two spans for which the second is assumed to have
// waited for the first one's lane.
const handover = 50 * time.Millisecond

// Critical returns the indexes of the spans on the critical path, in order of time: the
// span that ended last, and from there back through what each span waited for, a
// dependency or a lane.
func (r *Report) Critical() []int {
	at := -1
	for i, s := range r.Spans {
		if s.Lane >= 0 && (at < 0 || s.End > r.Spans[at].End) {
			at = i
		}
	}
	var path []int
	for at >= 0 && len(path) <= len(r.Spans) {
		path = append(path, at)
		at = r.before(r.Spans[at])
	}
	slices.Reverse(path)
	return path
}

// before returns the span that a span waited for, or -1. Dependencies come first: if the
// span started immediately after one, it did not wait for the lane.
func (r *Report) before(s Span) int {
	need, lane, last := -1, -1, -1
	later := func(best, i int) int {
		if best < 0 || r.Spans[i].End > r.Spans[best].End {
			return i
		}
		return best
	}
	for i, p := range r.Spans {
		if p.Lane < 0 || p.End > s.Start || p.Start >= s.Start {
			continue
		}
		last = later(last, i)
		if p.Lane == s.Lane {
			lane = later(lane, i)
		}
		if slices.Contains(s.Needs, p.Name) || slices.Contains(s.Needs, p.Step) {
			need = later(need, i)
		}
	}
	switch {
	case need >= 0 && s.Start-r.Spans[need].End <= handover:
		return need
	case lane >= 0 && s.Start-r.Spans[lane].End <= handover:
		return lane
	case need >= 0:
		return need
	}
	return last
}

// traceEvent is one event of the trace format that chrome://tracing and
// ui.perfetto.dev read (Trace Event Format, "complete" and metadata events).
type traceEvent struct {
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	Phase    string         `json:"ph"`
	Time     int64          `json:"ts"` // microseconds
	Duration int64          `json:"dur,omitempty"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`
	Args     map[string]any `json:"args,omitempty"`
}

// Trace writes the spans as Chrome trace events: process 1 contains the lanes, process 2
// the steps.
func (r *Report) Trace(w io.Writer) error {
	name := func(kind string, process, thread int, text string) traceEvent {
		return traceEvent{Name: kind, Phase: "M", Process: process, Thread: thread, Args: map[string]any{"name": text}}
	}
	events := []traceEvent{name("process_name", 1, 0, r.Title), name("process_name", 2, 0, "steps")}
	for lane := range r.Totals().LaneCount {
		events = append(events, name("thread_name", 1, lane, fmt.Sprintf("lane %d", lane+1)))
	}
	critical := map[int]bool{}
	for _, i := range r.Critical() {
		critical[i] = true
	}
	rows := stepRows(r.Spans)
	for i, s := range r.Spans {
		e := traceEvent{
			Name: s.Name, Category: string(s.Kind), Phase: "X", Time: s.Start.Microseconds(), Duration: max(1, (s.End - s.Start).Microseconds()),
			Process: 1, Thread: s.Lane, Args: map[string]any{"step": s.Step, "cpu_ms": s.CPU.Milliseconds(), "critical": critical[i]},
		}
		if s.Lane < 0 {
			e.Process, e.Thread, e.Args = 2, rows[i], nil
		}
		if s.Cached {
			e.Args = map[string]any{"cached": true}
		}
		events = append(events, e)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ms"})
}

// stepRows assigns each step the first row that is free at its time, by index of the
// span.
func stepRows(spans []Span) map[int]int {
	rows := map[int]int{}
	var ends []time.Duration
	for i, s := range spans {
		if s.Lane >= 0 {
			continue
		}
		row := slices.IndexFunc(ends, func(end time.Duration) bool { return end <= s.Start })
		if row < 0 {
			row = len(ends)
			ends = append(ends, 0)
		}
		ends[row] = s.End
		rows[i] = row
	}
	return rows
}
