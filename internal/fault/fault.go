// Package fault defines how an error is reported to a person: what happened, its class
// (which decides the exit code, in internal/cli), and what to do next. It knows nothing
// about any particular failure.
package fault

import (
	"errors"
	"fmt"
)

// Class groups failures that a calling script may want to distinguish.
type Class int

// The classes. internal/cli maps each to one exit code.
const (
	Internal    Class = iota // a bug in modwsgi, or an unclassified error
	Usage                    // wrong flags or arguments
	Environment              // the Python environment or the host is unsuitable
	Source                   // an archive was unavailable or not the expected one
	Build                    // a configure, compile or link step failed
	Place                    // the prefix could not be changed
	Verify                   // what was installed does not work
	Busy                     // another process holds a lock
	Outdated                 // newer versions or advisories are known, and the caller asked to be told
	Interrupted              // stopped by a signal
)

// Error is an error with a class and a hint.
type Error struct {
	Class  Class
	Advice string // what to do next, a sentence without a final full stop; may be empty
	Err    error  // what happened to what
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Hint returns what to do next, or "".
func (e *Error) Hint() string { return e.Advice }

// New returns an error of a class with a hint ("" for none) and a formatted
// message. A %w verb in the format makes the cause reachable for errors.Is.
func New(class Class, hint, format string, args ...any) *Error {
	return &Error{Class: class, Advice: hint, Err: fmt.Errorf(format, args...)}
}

// Wrap gives err a class and a hint and keeps its message. It returns nil for
// a nil err.
func Wrap(class Class, hint string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Class: class, Advice: hint, Err: err}
}

// Hinter is an error that knows what to do next.
type Hinter interface{ Hint() string }

// HintOf returns the outermost non-empty hint in err's tree, or "".
func HintOf(err error) string {
	for err != nil {
		if h, ok := err.(Hinter); ok && h.Hint() != "" {
			return h.Hint()
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				if h := HintOf(e); h != "" {
					return h
				}
			}
			return ""
		default:
			return ""
		}
	}
	return ""
}

// HintOr returns the hint in err's tree, or otherwise if it has none: the cause of a
// failure may know better what to do.
func HintOr(err error, otherwise string) string {
	if h := HintOf(err); h != "" {
		return h
	}
	return otherwise
}

// ClassOf returns the class of the outermost classified error in err's tree, or Internal.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Internal
}
