package observer

import (
	"errors"
	"slices"
	"testing"

	"modwsgi/internal/event"
	"modwsgi/internal/run"
	"modwsgi/internal/timeline"
)

func TestStepIsAnEventAndASpan(t *testing.T) {
	var kinds []event.Kind
	var log string
	o := Observer{func(e event.Event) { kinds, log = append(kinds, e.Kind), e.Log }, timeline.New()}
	broken := errors.New("broken")
	for name, want := range map[string]error{"good": nil, "bad": broken} {
		if err := o.Step(timeline.Step, name, []string{"before"}, "the.log", func() error { return want }); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		end := map[bool]event.Kind{true: event.Failed, false: event.Done}[want != nil]
		if !slices.Equal(kinds, []event.Kind{event.Start, end}) || log != "the.log" {
			t.Errorf("%s: %v, %q", name, kinds, log)
		}
		kinds = nil
	}
	for _, s := range o.Timeline.Spans() {
		if s.Step != s.Name || s.Lane != -1 || s.Failed != (s.Name == "bad") || !slices.Equal(s.Needs, []string{"before"}) {
			t.Errorf("%+v", s)
		}
	}
	if n := len(o.Timeline.Spans()); n != 2 {
		t.Errorf("%d spans", n)
	}
}

func TestNobodyWatches(t *testing.T) {
	done := false
	if err := (Observer{}).Step(timeline.Step, "x", nil, "", func() error { done = true; return nil }); err != nil || !done {
		t.Errorf("%v, %v", done, err)
	}
}

func TestToolThatDoesNotStart(t *testing.T) {
	o := Observer{Timeline: timeline.New()}
	err := o.Tool(t.Context(), &run.Runner{}, timeline.Tool, "step", "tool", nil, run.Cmd{Argv: []string{"/nonexistent/tool"}, Dir: t.TempDir()})
	if spans := o.Timeline.Spans(); err == nil || len(spans) != 1 || !spans[0].Failed || spans[0].Step != "step" || spans[0].Name != "tool" {
		t.Errorf("%+v, %v", spans, err)
	}
}
