// Package steps runs the named steps of a job in the order of their needs, as
// many at once as there are, and measures each. It does not know what a step
// does; a step that uses several cores limits itself.
package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modwsgi/internal/event"
)

// Step is one named piece of work.
type Step struct {
	Name  string   // unique; appears in progress, log file names and errors
	Needs []string // names of the steps that must have ended well before
	Run   func(context.Context, *Log) error
}

// Log is the log file of one step.
type Log struct {
	*os.File
	Path string
	Step string // its name
}

// Timing is how long a step took.
type Timing struct {
	Step    string        `json:"step"`
	Began   time.Duration `json:"began_ns"` // after the start of the whole
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Error is the failure of one step.
type Error struct {
	Step string
	Err  error
}

func (e *Error) Error() string { return e.Step + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Run runs all steps and returns how long each took, in the order of their
// ends. The first failure ends the context of those that still run; it is
// returned as an *Error. logs is a directory for one file a step; it is made.
func Run(ctx context.Context, logs string, events event.Sink, all []Step) ([]Timing, error) {
	if err := check(all); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	j := &job{logs: logs, events: events, began: time.Now(), done: map[string]chan struct{}{}}
	for _, s := range all {
		j.done[s.Name] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			if err := j.run(ctx, s); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return j.timings, context.Cause(ctx)
}

type job struct {
	logs    string
	events  event.Sink
	began   time.Time
	mu      sync.Mutex
	timings []Timing
	done    map[string]chan struct{}
}

func (j *job) run(ctx context.Context, s Step) error {
	for _, need := range s.Needs {
		select {
		case <-j.done[need]:
		case <-ctx.Done():
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	path := filepath.Join(j.logs, FileName(s.Name)+".log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return &Error{Step: s.Name, Err: err}
	}
	defer func() { _ = f.Close() }()
	began := time.Now()
	err = j.events.LoggedStep(s.Name, path, func() error { return s.Run(ctx, &Log{File: f, Path: path, Step: s.Name}) })
	j.mu.Lock()
	j.timings = append(j.timings, Timing{Step: s.Name, Began: began.Sub(j.began), Elapsed: time.Since(began)})
	j.mu.Unlock()
	if err != nil {
		return &Error{Step: s.Name, Err: err}
	}
	close(j.done[s.Name])
	return nil
}

// check refuses what would hang: double names, needs that do not exist, cycles.
func check(all []Step) error {
	needs := map[string][]string{}
	for _, s := range all {
		if _, twice := needs[s.Name]; twice {
			return fmt.Errorf("step %q is there twice", s.Name)
		}
		needs[s.Name] = s.Needs
	}
	state := map[string]int{}
	var visit func(string) error
	visit = func(name string) error {
		switch state[name] {
		case 1:
			return fmt.Errorf("step %q needs itself", name)
		case 2:
			return nil
		}
		state[name] = 1
		for _, need := range needs[name] {
			if _, ok := needs[need]; !ok {
				return fmt.Errorf("step %q needs %q, which is not there", name, need)
			}
			if err := visit(need); err != nil {
				return err
			}
		}
		state[name] = 2
		return nil
	}
	var errs []error
	for _, s := range all {
		errs = append(errs, visit(s.Name))
	}
	return errors.Join(errs...)
}

// FileName returns a step's name as it is used for files.
func FileName(step string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '/' {
			return '-'
		}
		return r
	}, step)
}
