// Package observer reports a piece of work both as events to the waiting user and as
// spans to the timeline of the build. One call does both, so that they cannot disagree.
// It does not know what the work is or how either is shown.
package observer

import (
	"context"

	"modwsgi/internal/event"
	"modwsgi/internal/run"
	"modwsgi/internal/timeline"
)

// Observer has the two recipients; either may be nil.
type Observer struct {
	Events   event.Sink
	Timeline *timeline.Recorder
}

// Step runs do as a named step, which is a span of that kind after the spans in needs.
// log is the file that its tools write to, or "".
func (o Observer) Step(kind timeline.Kind, name string, needs []string, log string, do func() error) error {
	return o.Events.LoggedStep(name, log, func() error {
		end := o.Timeline.Begin(kind, name, name, needs...)
		err := do()
		end(func(s *timeline.Span) { s.Failed = err != nil })
		return err
	})
}

// Tool runs a command as a span of a step, with the time and memory that its processes
// used.
func (o Observer) Tool(ctx context.Context, r *run.Runner, kind timeline.Kind, step, name string, needs []string, c run.Cmd) error {
	end := o.Timeline.Begin(kind, step, name, needs...)
	p, err := r.Start(ctx, c)
	if err != nil {
		end(func(s *timeline.Span) { s.Failed = true })
		return err
	}
	err = p.Wait()
	end(func(s *timeline.Span) {
		s.CPU, s.MaxRSS = p.Usage()
		s.Failed = err != nil
	})
	return err
}
