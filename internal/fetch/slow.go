package fetch

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
)

// Names of the files that keep a slow server's data while others are asked.
const (
	slowName      = "partial.slow"
	slowStateName = "partial.slow.json"
)

// queue divides the time for one archive among its possible locations.
type queue struct {
	until  time.Time
	places int     // not asked yet
	slow   []place // too slow, asked again at the end
	debian bool    // the package mirror was too slow
}

func (f *Fetcher) newQueue(a recipe.Archive) *queue {
	q := &queue{until: time.Now().Add(f.opts.Total)}
	for _, by := range providers {
		if by.places != nil {
			q.places += len(by.places(f, a))
		}
	}
	return q
}

// turn is how long one server may take, and how many bytes per second it must send.
type turn struct {
	time time.Duration
	rate int64 // 0 or less for no minimum
}

// turn returns the share of the next location. One share is left for the slow ones.
func (q *queue) turn(rate int64) turn {
	share := time.Until(q.until) / time.Duration(q.places+1)
	q.places = max(0, q.places-1)
	return turn{max(share, time.Millisecond), rate}
}

// fromSlow continues, if no other server has the archive, with those that were too slow.
// Anything that arrives within the remaining time is then fast enough. The user's own
// line may be slow.
func (f *Fetcher) fromSlow(ctx context.Context, s *search) (*File, error) {
	a, e, q := s.archive, s.entry, s.queue
	q.places = len(q.slow)
	if len(q.slow) > 0 {
		q.places--
		e.bringSlow()
		f.opts.Events.Note("no other server has " + a.String() + ": asking the slow ones again, for as long as --download-timeout allows")
	}
	if q.debian {
		q.places++
	}
	for _, at := range q.slow {
		file, err := f.fromURL(ctx, a, e, at, s.progress, q.turn(0))
		if file != nil || err == nil || !tryNext(ctx, err) {
			return file, err
		}
		s.missing.add(URL, httpc.Redact(at.url), err)
		e.dropEmptyPartial()
	}
	if !q.debian {
		return nil, nil
	}
	return f.fromDebian(ctx, s)
}

// keepSlow keeps the data of a slow server. The next one resumes from a copy of it, which
// may turn out to be wrong.
func (e *entry) keepSlow() {
	part, err := e.root.Lstat(partialName)
	if err != nil || !part.Mode().IsRegular() || part.Size() == 0 {
		return
	}
	if kept, err := e.root.Lstat(slowName); err == nil && kept.Size() >= part.Size() {
		return
	}
	e.drop(slowName, slowStateName)
	if e.copy(partialName, slowName) != nil || e.copy(stateName, slowStateName) != nil {
		e.drop(slowName, slowStateName) // only a beginning
	}
}

// copy copies a file of the entry to a new one.
func (e *entry) copy(from, to string) error {
	in, err := e.root.Root().Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := e.root.Root().OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return fill(out, in)
}

// fill copies everything into a new file, and closes it.
func fill(out *os.File, in io.Reader) error {
	_, err := io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// bringSlow makes the kept beginning the one to resume from, if the other one is shorter.
func (e *entry) bringSlow() {
	kept, err := e.root.Lstat(slowName)
	if err != nil || !kept.Mode().IsRegular() {
		return
	}
	if part, err := e.root.Lstat(partialName); err == nil && part.Size() >= kept.Size() {
		return
	}
	e.drop(partialName, stateName)
	_ = e.root.Root().Rename(slowName, partialName)
	_ = e.root.Root().Rename(slowStateName, stateName)
}

// pace limits how slow a body may be.
func (f *Fetcher) pace(rate int64) httpc.Limits {
	return httpc.Limits{Rate: rate, Window: f.opts.StallTimeout}
}
