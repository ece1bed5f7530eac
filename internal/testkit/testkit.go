// Package testkit has what the tests of several packages need: files to begin with, what
// a directory contains, errors for users, and events. Only tests import it.
package testkit

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
)

// Write creates files below dir, given by their slash-separated names. A name that ends
// in a slash is a directory.
func Write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Paths returns the paths of a directory and everything below it, in lexical order.
func Paths(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		out = append(out, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// WantFault checks an error for the user: its class, that it has a hint, and the words
// that error and hint contain.
func WantFault(t *testing.T, err error, class fault.Class, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if fault.ClassOf(err) != class {
		t.Errorf("class %d, want %d: %v", fault.ClassOf(err), class, err)
	}
	text := err.Error() + "\n" + fault.HintOf(err)
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("lacks %q: %s", w, text)
		}
	}
	if fault.HintOf(err) == "" {
		t.Errorf("no hint: %v", err)
	}
}

// Events collects events. Goroutines may send them concurrently.
type Events struct {
	mu    sync.Mutex
	texts []string
}

// Sink is an [event.Sink].
func (e *Events) Sink(ev event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.texts = append(e.texts, string(ev.Kind)+" "+ev.Text)
}

// Has reports whether the kind or the text of an event contains a word.
func (e *Events) Has(word string) bool {
	return slices.ContainsFunc(e.Texts(), func(s string) bool { return strings.Contains(s, word) })
}

// Texts returns kind and text of each event so far.
func (e *Events) Texts() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.texts)
}
