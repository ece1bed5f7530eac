// Package flock locks directories against concurrent processes. A lock ends with its
// process, however that ends. Waiting for one has a limit and reports who holds it.
//
// # What is locked
//
// flock(2) needs only a file that is open for reading, so anyone who can read a directory
// could hold a lock on the directory itself for ever. Only a directory that nobody else
// can read is locked that way. In any other one the lock is on a file in it, [Name],
// which only those who may write to the directory can read and write:
//
//   - Its mode and owner follow the directory's: 0600 and the owner of the
//     directory, with the group's rights if the group may write there. Root's
//     file in the environment of another user is that user's, so that what a
//     killed run of root left does not keep its owner out.
//   - It is opened without following a link and without waiting for a pipe's
//     writer. Anything else with its name (a link, a directory, a file that
//     others may read, a second name of another file) was planted there: it is
//     removed (a directory that is not empty is renamed) and a new file created.
//   - Its holder removes it before the lock ends. A process that opened it in the
//     meantime sees that the name leads elsewhere and tries again.
//
// Anyone who may write to the directory can keep the others waiting, and could as well
// remove their files. That is what the limit is for.
package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"modwsgi/internal/fault"
)

// Name is the lock file of a directory that others may read.
const Name = ".modwsgi.lock"

// DefaultLimit is the default time to wait for a lock.
const DefaultLimit = 10 * time.Minute

// BuildLimit is the default time to wait for another run that makes the same build: on a
// slow machine, httpd with OpenSSL from source takes half an hour.
const BuildLimit = 2 * time.Hour

// Variable is the environment variable that sets another limit.
const Variable = "MODWSGI_LOCK_TIMEOUT"

// Limit reads how long to wait: a duration as in 90s or 5m, or a number of seconds. 0
// does not wait. The first text that is not empty counts; without one the limit is
// DefaultLimit.
func Limit(texts ...string) (time.Duration, error) { return LimitOr(DefaultLimit, texts...) }

// LimitOr is Limit with another default.
func LimitOr(other time.Duration, texts ...string) (time.Duration, error) {
	for _, text := range texts {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		limit, err := time.ParseDuration(text)
		if n, nerr := strconv.ParseUint(text, 10, 31); nerr == nil {
			limit, err = time.Duration(n)*time.Second, nil
		}
		if err != nil || limit < 0 {
			return 0, fault.New(fault.Usage, "give a duration as in 30s or 10m (--lock-timeout, "+Variable+"); 0 does not wait", "%q is not a time to wait for a lock", text)
		}
		return limit, nil
	}
	return other, nil
}

// Holder is the process that has a lock, as far as the system reports it.
type Holder struct {
	PID     int       // 0 if unknown
	Command string    // its program and first argument
	User    string    // "the user alice"
	Since   time.Time // zero if unknown
}

// String describes the holder: "process 4242 (modwsgi install) of the user alice,
// since 14:03:05".
func (h Holder) String() string {
	if h.PID == 0 {
		if h.Since.IsZero() {
			return "another process"
		}
		return "another process, since " + h.since()
	}
	s := fmt.Sprintf("process %d", h.PID)
	if h.Command != "" {
		s += " (" + h.Command + ")"
	}
	if h.User != "" {
		s += " of " + h.User
	}
	if !h.Since.IsZero() {
		s += ", since " + h.since()
	}
	return s
}

func (h Holder) since() string {
	if time.Since(h.Since) > 12*time.Hour {
		return h.Since.Format("2006-01-02 15:04:05")
	}
	return h.Since.Format("15:04:05")
}

// Lock is a lock that is held.
type Lock struct {
	f  *os.File
	in *os.Root // of the file; nil if the directory itself is locked
}

// poll is the time between two attempts to get a lock.
const poll = 50 * time.Millisecond

// Options describe what to lock and how to wait.
type Options struct {
	// In is the open directory, in which a file is always locked. If nil, Dir is opened,
	// and locked itself if nobody else can read it.
	In *os.Root
	// Dir is the directory's path; with In it is only for messages.
	Dir string
	// Limit is how long to wait; 0 does not wait.
	Limit time.Duration
	// Waiting is called once, unless nil, with a text for the waiting user: "process 4242
	// (modwsgi install) of the user alice, since 14:03:05, changes it: waiting up to 10m
	// for its end".
	Waiting func(text string)
	// Busy is what the holder does, for that text and for the error: "changes it".
	Busy string
	// Hint is what to do about it, for the error; "" for the default.
	Hint string
}

// Now gets the lock, or returns an error of class fault.Busy that names the holder. It
// does not wait.
func Now(o Options) (*Lock, error) {
	lock, holder, err := o.try()
	if err != nil || lock != nil {
		return lock, err
	}
	o.Limit = 0
	return nil, o.tooLong(holder)
}

// Wait gets the lock, or waits for it until the limit or the end of ctx. Both give an
// error of class fault.Busy that names the holder.
func Wait(ctx context.Context, o Options) (*Lock, error) {
	began := time.Now()
	for told := false; ; {
		lock, holder, err := o.try()
		if err != nil || lock != nil {
			return lock, err
		}
		left := o.Limit - time.Since(began)
		if ctx.Err() == nil && left <= 0 {
			return nil, o.tooLong(holder)
		}
		if !told && o.Waiting != nil {
			o.Waiting(fmt.Sprintf("%s %s: waiting up to %s for its end", holder, o.busy(), Text(o.Limit)))
		}
		told = true
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.Busy, o.hint(), "lock %s: %s %s: %w", o.Dir, holder, o.busy(), context.Cause(ctx))
		case <-time.After(min(poll, left)):
		}
	}
}

func (o *Options) hint() string {
	if o.Hint == "" {
		return hint
	}
	return o.Hint
}

const hint = "wait for it to end, or end it; --lock-timeout and " + Variable + " set how long to wait"

func (o *Options) busy() string {
	if o.Busy == "" {
		return "works on it"
	}
	return o.Busy
}

func (o *Options) tooLong(holder Holder) error {
	if o.Limit == 0 {
		return fault.New(fault.Busy, o.hint(), "lock %s: %s %s", o.Dir, holder, o.busy())
	}
	return fault.New(fault.Busy, o.hint(), "lock %s: %s %s; the limit of %s for waiting is over", o.Dir, holder, o.busy(), Text(o.Limit))
}

// Text formats a limit for people: "10m", not "10m0s".
func Text(limit time.Duration) string {
	s := limit.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func (o *Options) try() (lock *Lock, holder Holder, err error) {
	for range attempts {
		if o.In != nil {
			lock, holder, err = tryIn(o.In, o.Dir)
		} else {
			lock, holder, err = tryPath(o.Dir)
		}
		if !errors.Is(err, errAgain) {
			return lock, holder, err
		}
	}
	return nil, Holder{}, nil // another process is very quick
}

// Try marks a private directory of this user as in use and returns how to unmark it. ok
// is false if another process has marked it. It never waits, and is for callers that
// leave alone a directory in use.
func Try(dir string) (release func(), ok bool, err error) {
	locks, err := tryBoth(dir)
	for i := 0; i < attempts && errors.Is(err, errAgain); i++ {
		locks, err = tryBoth(dir)
	}
	if errors.Is(err, errAgain) {
		err = nil
	}
	if err != nil || locks == nil {
		return nil, false, err
	}
	return func() {
		for _, l := range locks {
			_ = l.Release()
		}
	}, true, nil
}

// Release lets others have the lock. Calling it again does nothing.
func (l *Lock) Release() error {
	if l == nil || l.f == nil {
		return nil
	}
	err := l.release()
	if l.in != nil {
		_ = l.in.Close()
	}
	l.f, l.in = nil, nil
	return err
}

// errAgain means that another process changed the lock file during the attempt.
var errAgain = errors.New("the lock file was exchanged meanwhile")

// attempts is how often such an attempt is repeated immediately.
const attempts = 20

// planted is the error for something under the name of a lock file that cannot be one,
// and that this user cannot remove.
type planted struct {
	Path, Owner string
	Err         error
}

func (p *planted) Error() string {
	return fmt.Sprintf("%s is not a lock file that only those who may write there can open (it belongs to %s), and it cannot be removed: %v", p.Path, p.Owner, p.Err)
}

func (p *planted) Unwrap() error { return p.Err }

// Hint returns what to do about it.
func (p *planted) Hint() string { return "have " + p.Owner + ", or root, remove " + p.Path }
