package place

import (
	"errors"
	"fmt"
	"os"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// changeError gives a failed change its class and a matching hint.
func changeError(verb, path string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	var cause *os.PathError
	if errors.As(err, &cause) {
		err = cause.Err // the message has the path
	}
	return &fault.Error{Class: fault.Place, Advice: changeHint(path, err), Err: fmt.Errorf("%s %s: %w", verb, path, err)}
}

// obstacle is something that prevents even root from moving or removing a name.
type obstacle struct {
	what string // "is immutable (chattr +i)"
	hint string // what to do about the path
}

// error describes an obstacle at a path.
func (o *obstacle) error(path string) error {
	return fault.New(fault.Place, o.hintFor(path)+" and run the command again; nothing was changed", "%s %s", path, o.what)
}

func (o *obstacle) hintFor(path string) string { return o.hint + " " + run.Quote(path) }
