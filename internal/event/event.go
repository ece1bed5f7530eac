// Package event defines the events that the tool reports while it runs, as plain values.
// It does not know how they are shown: internal/cli renders them for a terminal, for a
// log, for GitHub Actions or as JSON lines.
package event

import "time"

// Kind is the kind of an event.
type Kind string

// The kinds of events, in the order in which a step sends them. Note and Warn may be sent
// at any time, and belong to no step if Step is empty.
const (
	Start    Kind = "start"    // a step begins
	Progress Kind = "progress" // bytes transferred, or Text names the current work
	Done     Kind = "done"     // a step succeeded; Elapsed is set
	Failed   Kind = "failed"   // a step failed; Elapsed is set
	Note     Kind = "note"     // information for the user
	Warn     Kind = "warn"     // a warning
)

// Event is one event.
type Event struct {
	Kind    Kind          `json:"event"`
	Step    string        `json:"step,omitempty"`  // for example "fetch httpd 2.4.71", "configure apr"
	Text    string        `json:"text,omitempty"`  // one line for people
	Bytes   int64         `json:"bytes,omitempty"` // bytes done so far
	Total   int64         `json:"total,omitempty"` // total bytes; 0 if unknown
	Elapsed time.Duration `json:"elapsed_ns,omitempty"`
	Log     string        `json:"log,omitempty"` // of a step that ended: the file with the output of its tools
}

// Sink receives events. It is safe for concurrent use. A nil Sink drops them.
type Sink func(Event)

// Send delivers e; on a nil Sink it does nothing.
func (s Sink) Send(e Event) {
	if s != nil {
		s(e)
	}
}

// Note reports a line that belongs to no step.
func (s Sink) Note(text string) { s.Send(Event{Kind: Note, Text: text}) }

// Warn reports a warning that belongs to no step.
func (s Sink) Warn(text string) { s.Send(Event{Kind: Warn, Text: text}) }

// Step runs do as a named step: Start before it, Done or Failed after it.
func (s Sink) Step(name string, do func() error) error { return s.LoggedStep(name, "", do) }

// LoggedStep is [Sink.Step] for a step whose tools write to a log file.
func (s Sink) LoggedStep(name, log string, do func() error) error {
	began := time.Now()
	s.Send(Event{Kind: Start, Step: name})
	err := do()
	kind := Done
	if err != nil {
		kind = Failed
	}
	s.Send(Event{Kind: kind, Step: name, Elapsed: time.Since(began), Log: log})
	return err
}
