package httpc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRetry(t *testing.T) {
	failed := errors.New("failed")
	wish := func(d time.Duration) error { return &StatusError{503, d} }
	for _, tt := range []struct {
		name   string
		retry  Retry
		errs   []error // of successive attempts; the last one repeats
		gains  []int   // attempts that made progress
		tries  int
		want   error // nil for success
		text   string
		longer time.Duration
	}{
		{name: "at once", errs: []error{nil}, tries: 1},
		{name: "the third time", errs: []error{failed, failed, nil}, tries: 3},
		{name: "never", errs: []error{failed}, tries: 4, want: failed},
		{name: "for good", errs: []error{Final(failed)}, tries: 1, want: failed},
		{name: "not again", retry: Retry{Again: -1}, errs: []error{failed, nil}, tries: 1, want: failed},
		{name: "progress starts the count again", errs: []error{failed, failed, failed, failed, failed, nil}, gains: []int{2, 4}, tries: 6},
		{name: "not for ever", retry: Retry{Limit: 5}, errs: []error{failed}, gains: []int{1, 2, 3, 4, 5, 6, 7}, tries: 5, want: failed},
		{name: "a wish that is granted", errs: []error{wish(60 * time.Millisecond), nil}, tries: 2, longer: 60 * time.Millisecond},
		{name: "a wish that is too long", errs: []error{wish(time.Hour), nil}, tries: 1, want: wish(time.Hour), text: "asks to wait for 1h0m0s"},
		{name: "not wanted", retry: Retry{Wants: func(_ error, n int) bool { return n < 2 }}, errs: []error{failed}, tries: 2, want: failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.retry
			if r.Again == 0 {
				r.Again = 3
			}
			r.Delay, r.Max = time.Millisecond, 100*time.Millisecond
			tries, began := 0, time.Now()
			err := r.Do(t.Context(), func() (bool, error) {
				tries++
				return slices.Contains(tt.gains, tries), tt.errs[min(tries, len(tt.errs))-1]
			})
			if tries != tt.tries {
				t.Errorf("%d attempts, want %d", tries, tt.tries)
			}
			var status *StatusError
			if tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) && !errors.As(err, &status) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if tt.text != "" && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v", err)
			}
			if time.Since(began) < tt.longer {
				t.Errorf("it waited %s", time.Since(began))
			}
		})
	}
	t.Run("cancelled while it waits", func(t *testing.T) {
		why := errors.New("the user had enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		r := Retry{Again: 3, Delay: time.Hour, Max: time.Hour, Before: func(error, time.Duration) { cancel(why) }}
		if err := r.Do(ctx, func() (bool, error) { return false, failed }); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	})
}

func TestDelaysGrowToALimit(t *testing.T) {
	r := Retry{Delay: 100 * time.Millisecond, Max: time.Second}
	for n, most := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		if d := r.wait(n); d < most*time.Millisecond/2 || d > most*time.Millisecond {
			t.Errorf("the wait before repetition %d is %s", n, d)
		}
	}
	if d := r.wait(1 << 30); d > time.Second {
		t.Errorf("%s", d)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "-1": 0, "7": 7 * time.Second, "soon": 0, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
