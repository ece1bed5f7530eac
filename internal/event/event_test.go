package event

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

func TestStep(t *testing.T) {
	var got []Event
	sink := Sink(func(e Event) { got = append(got, e) })
	if err := sink.Step("one", func() error { sink.Note("n"); return nil }); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if err := sink.LoggedStep("two", "/log", func() error { sink.Warn("w"); return boom }); !errors.Is(err, boom) {
		t.Errorf("the step's error became %v", err)
	}
	for i := range got {
		if ended := got[i].Kind == Done || got[i].Kind == Failed; ended != (got[i].Elapsed > 0) {
			t.Errorf("%+v", got[i])
		}
		got[i].Elapsed = 0
	}
	want := []Event{
		{Kind: Start, Step: "one"},
		{Kind: Note, Text: "n"},
		{Kind: Done, Step: "one"},
		{Kind: Start, Step: "two"},
		{Kind: Warn, Text: "w"},
		{Kind: Failed, Step: "two", Log: "/log"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestNilSinkStillWorks(t *testing.T) {
	var sink Sink
	ran := false
	if err := sink.Step("x", func() error { ran = true; sink.Note("n"); sink.Warn("w"); return nil }); err != nil || !ran {
		t.Errorf("ran %v, %v", ran, err)
	}
}

// The names are part of the --json interface.
func TestJSON(t *testing.T) {
	data, err := json.Marshal(Event{Kind: Progress, Step: "fetch x", Text: "t", Bytes: 1, Total: 2, Elapsed: 3, Log: "l"})
	want := `{"event":"progress","step":"fetch x","text":"t","bytes":1,"total":2,"elapsed_ns":3,"log":"l"}`
	if err != nil || string(data) != want {
		t.Errorf("got %s, %v", data, err)
	}
	if data, _ := json.Marshal(Event{Kind: Note}); string(data) != `{"event":"note"}` {
		t.Errorf("got %s", data)
	}
}
