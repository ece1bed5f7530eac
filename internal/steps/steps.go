// Package steps runs the named steps of a job in the order of their needs, as many
// concurrently as possible, and measures each. It does not know what a step does. A step
// that uses several cores limits itself.
package steps

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modwsgi/internal/objgraph"
	"modwsgi/internal/observer"
	"modwsgi/internal/timeline"
)

// Step is one named piece of work.
type Step struct {
	Name  string   // unique; appears in progress, log file names and errors
	Needs []string // names of the steps that must have succeeded before
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
	Began   time.Duration `json:"began_ns"` // after the start of the job
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Error is the failure of one step.
type Error struct {
	Step string
	Err  error
}

func (e *Error) Error() string { return e.Step + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Run runs all steps and returns how long each took, in the order in which they ended.
// The first failure ends the context of those still running; it is returned as an *Error.
// logs is a directory for one file per step, which Run creates.
func Run(ctx context.Context, logs string, watch observer.Observer, all []Step) ([]Timing, error) {
	j := &job{logs: logs, watch: watch, began: time.Now()}
	var tasks []objgraph.Task
	for _, s := range all {
		tasks = append(tasks, objgraph.Task{Name: s.Name, Needs: s.Needs, Run: func(ctx context.Context) error { return j.run(ctx, s) }})
	}
	if err := objgraph.Check(tasks); err != nil { // before anything is created
		return nil, err
	}
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	err := objgraph.Run(ctx, nil, tasks)
	return j.timings, err
}

type job struct {
	logs    string
	watch   observer.Observer
	began   time.Time
	mu      sync.Mutex
	timings []Timing
}

func (j *job) run(ctx context.Context, s Step) error {
	path := filepath.Join(j.logs, FileName(s.Name)+".log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return &Error{Step: s.Name, Err: err}
	}
	defer func() { _ = f.Close() }()
	began := time.Now()
	err = j.watch.Step(timeline.Step, s.Name, s.Needs, path, func() error { return s.Run(ctx, &Log{File: f, Path: path, Step: s.Name}) })
	j.mu.Lock()
	j.timings = append(j.timings, Timing{Step: s.Name, Began: began.Sub(j.began), Elapsed: time.Since(began)})
	j.mu.Unlock()
	if err != nil {
		return &Error{Step: s.Name, Err: err}
	}
	return nil
}

// FileName returns the form of a step's name for file names.
func FileName(step string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '/' {
			return '-'
		}
		return r
	}, step)
}
