package logwriter

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"
)

// former makes lines of a form.
type former interface {
	line(to, line []byte) []byte // line has no line feed; appends lines that have
	idle(to []byte) []byte       // appends what was held back long enough
	flush(to []byte) []byte      // appends all that is held back
	held() bool                  // whether something is
}

// newFormer returns the former of a form. Colours are for a terminal, and files are shown
// relative to dir there.
func newFormer(form Form, now func() time.Time, colours bool, dir string) former {
	switch form {
	case AccessText:
		return newAccessText()
	case AccessJSON:
		return newAccessJSON(now, accessFields)
	case ErrorJSON:
		return newErrorLines(now, jsonMessage)
	case AccessTerminal:
		return newAccessTerminal(now, paint(colours))
	case ErrorTerminal:
		return newErrorLines(now, (&terminal{paint: paint(colours), dir: dir}).message)
	case UTF8:
		return plain(readable)
	}
	return plain(func(to, line []byte) []byte { return append(to, line...) })
}

// plain is a form whose lines do not depend on one another.
type plain func(to, line []byte) []byte

func (f plain) line(to, line []byte) []byte { return append(f(to, line), '\n') }
func (f plain) idle(to []byte) []byte       { return to }
func (f plain) flush(to []byte) []byte      { return to }
func (f plain) held() bool                  { return false }

// Limits of what is kept in memory.
const (
	longestLine = 1 << 20 // a longer one is split
	mostPending = 1 << 20 // of lines that could not be written
)

// writer forms lines and writes them.
type writer struct {
	form former
	sink interface {
		write(lines []byte) (int, error)
	}
	name  string // of the log, for messages
	now   func() time.Time
	own   bool      // the log may have messages about itself
	notes io.Writer // for messages about the log

	partial []byte // the start of a line
	out     []byte // complete lines that are not written
	failing bool
	lost    int // lines
}

// add takes input.
func (w *writer) add(data []byte) {
	for {
		k := bytes.IndexByte(data, '\n')
		if k < 0 {
			break
		}
		line := data[:k]
		if len(w.partial) > 0 {
			w.partial = append(w.partial, line...)
			line = w.partial
		}
		w.take(line)
		w.partial, data = w.partial[:0], data[k+1:]
	}
	w.partial = append(w.partial, data...)
	for len(w.partial) >= longestLine {
		w.take(w.partial[:longestLine])
		w.partial = append(w.partial[:0], w.partial[longestLine:]...)
	}
	w.out = w.form.idle(w.out)
	w.write()
}

// take forms a line, unless too many wait to be written.
func (w *writer) take(line []byte) {
	if w.failing && len(w.out) >= mostPending {
		w.lost++
		return
	}
	w.out = w.form.line(w.out, bytes.TrimSuffix(line, []byte{'\r'}))
}

// tick writes what was held back long enough, or could not be written.
func (w *writer) tick() {
	w.out = w.form.idle(w.out)
	w.write()
}

// finish writes everything, including a line without its end.
func (w *writer) finish() {
	if len(w.partial) > 0 {
		w.take(w.partial)
		w.partial = w.partial[:0]
	}
	w.out = w.form.flush(w.out)
	w.write()
}

// waits reports whether tick has something to do later.
func (w *writer) waits() bool { return len(w.out) > 0 || w.form.held() }

func (w *writer) write() {
	if len(w.out) == 0 {
		return
	}
	n, err := w.sink.write(w.out)
	w.out = append(w.out[:0], w.out[n:]...)
	switch {
	case err != nil && !w.failing:
		w.failing = true
		w.note(fmt.Sprintf("cannot write the log %s: %v; up to %d KiB of lines are kept until it is possible", w.name, err, mostPending>>10))
	case err == nil && w.failing:
		w.failing = false
		if w.lost > 0 {
			text := fmt.Sprintf("%d lines of the log %s were lost while it could not be written", w.lost, w.name)
			w.lost = 0
			w.note(text)
			if w.own {
				w.out = w.form.line(w.out, []byte(w.usual(text)))
				w.write()
			}
		}
	}
	if cap(w.out) > 2*mostPending {
		w.out = bytes.Clone(w.out)
	}
}

// usual returns a message in the form of httpd's.
func (w *writer) usual(text string) string {
	return fmt.Sprintf("[%s] [express:error] [pid %d] %s", w.now().Format("Mon Jan 02 15:04:05.000000 2006"), os.Getpid(), text)
}

func (w *writer) note(text string) { fmt.Fprintln(w.notes, w.usual(text)) }
