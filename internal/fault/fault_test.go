package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

// hinter is an error of another package that has a hint.
type hinter struct{ hint string }

func (h hinter) Error() string { return "hinter" }
func (h hinter) Hint() string  { return h.hint }

func TestHintAndClass(t *testing.T) {
	source := New(Source, "get it again", "read %s: %w", "x", fs.ErrNotExist)
	for name, c := range map[string]struct {
		err   error
		hint  string
		class Class
	}{
		"nil":                  {nil, "", Internal},
		"plain":                {errors.New("x"), "", Internal},
		"itself":               {source, "get it again", Source},
		"wrapped":              {fmt.Errorf("a: %w", fmt.Errorf("b: %w", source)), "get it again", Source},
		"outer hint wins":      {Wrap(Build, "outer", source), "outer", Build},
		"outer without a hint": {Wrap(Build, "", source), "get it again", Build},
		"joined":               {errors.Join(errors.New("x"), source), "get it again", Source},
		"joined, first wins":   {errors.Join(New(Place, "first", "p"), source), "first", Place},
		"joined, hint later":   {errors.Join(New(Place, "", "p"), source), "get it again", Place},
		"joined and wrapped":   {fmt.Errorf("%w and %w", errors.New("x"), fmt.Errorf("y: %w", source)), "get it again", Source},
		"joined, no hint":      {errors.Join(errors.New("x"), errors.New("y")), "", Internal},
		"another's hint":       {fmt.Errorf("a: %w", hinter{"theirs"}), "theirs", Internal},
		"another's empty hint": {fmt.Errorf("a: %w", hinter{}), "", Internal},
		"below another's":      {New(Verify, "", "v: %w", hinter{"theirs"}), "theirs", Verify},
	} {
		t.Run(name, func(t *testing.T) {
			if got := HintOf(c.err); got != c.hint {
				t.Errorf("hint %q, want %q", got, c.hint)
			}
			if got := ClassOf(c.err); got != c.class {
				t.Errorf("class %v, want %v", got, c.class)
			}
		})
	}
}

func TestMessage(t *testing.T) {
	cause := errors.New("cause")
	for want, err := range map[string]error{
		"read x: cause": New(Source, "hint", "read %s: %w", "x", cause),
		"cause":         Wrap(Build, "hint", cause),
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
		if !errors.Is(err, cause) {
			t.Errorf("%q lost its cause", want)
		}
	}
	if err := Wrap(Build, "hint", nil); err != nil {
		t.Errorf("Wrap of nil is %v", err)
	}
}
