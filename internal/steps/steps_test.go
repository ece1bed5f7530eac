package steps

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"modwsgi/internal/observer"
)

func TestRunKeepsTheOrderOfNeeds(t *testing.T) {
	var mu sync.Mutex
	var order []string
	step := func(name string, needs ...string) Step {
		return Step{Name: name, Needs: needs, Run: func(_ context.Context, l *Log) error {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			_, err := l.WriteString("log of " + name)
			return err
		}}
	}
	logs := filepath.Join(t.TempDir(), "logs")
	timings, err := Run(t.Context(), logs, observer.Observer{}, []Step{step("d", "b", "c"), step("b", "a"), step("c", "a"), step("a")})
	if err != nil {
		t.Fatal(err)
	}
	if order[0] != "a" || order[3] != "d" || len(timings) != 4 {
		t.Errorf("order %v, timings %v", order, timings)
	}
	if text, _ := os.ReadFile(filepath.Join(logs, "b.log")); string(text) != "log of b" {
		t.Errorf("log of b: %q", text)
	}
}

func TestFailureNamesTheStepAndStopsTheRest(t *testing.T) {
	broken := errors.New("broken")
	ran := false
	_, err := Run(t.Context(), t.TempDir(), observer.Observer{}, []Step{
		{Name: "make apr", Run: func(context.Context, *Log) error { return broken }},
		{Name: "slow", Run: func(ctx context.Context, _ *Log) error { <-ctx.Done(); return ctx.Err() }},
		{Name: "after", Needs: []string{"make apr"}, Run: func(context.Context, *Log) error { ran = true; return nil }},
	})
	var e *Error
	if !errors.As(err, &e) || e.Step != "make apr" || !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if ran {
		t.Error("a step ran though what it needs had failed")
	}
}

func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := Run(ctx, t.TempDir(), observer.Observer{}, []Step{{Name: "a", Run: func(context.Context, *Log) error { t.Error("ran"); return nil }}}); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func TestImpossibleGraphs(t *testing.T) {
	none := func(context.Context, *Log) error { return nil }
	for want, all := range map[string][]Step{
		"duplicate":      {{Name: "a", Run: none}, {Name: "a", Run: none}},
		"does not exist": {{Name: "a", Needs: []string{"b"}, Run: none}},
		"needs itself":   {{Name: "a", Needs: []string{"b"}, Run: none}, {Name: "b", Needs: []string{"a"}, Run: none}},
	} {
		if _, err := Run(t.Context(), t.TempDir(), observer.Observer{}, all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if !slices.Contains([]string{"configure-apr"}, FileName("configure apr")) {
		t.Error(FileName("configure apr"))
	}
}
