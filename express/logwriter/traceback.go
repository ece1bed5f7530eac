package logwriter

import (
	"bytes"
	"time"
)

// traceback is a traceback of Python whose lines are being joined.
type traceback struct {
	message

	last   time.Time
	frames bool // the line with the exception has not arrived
}

var (
	opening   = []byte("Traceback (most recent call last):")
	group     = []byte("  + Exception Group Traceback (most recent call last):")
	chainings = [][]byte{
		[]byte("During handling of the above exception, another exception occurred:"),
		[]byte("The above exception was the direct cause of the following exception:"),
	}
)

// newTraceback returns the traceback that a message starts, or nil.
func newTraceback(m *message, now time.Time) *traceback {
	if len(m.pid) == 0 || !bytes.Equal(m.text, opening) && !bytes.Equal(m.text, group) {
		return nil
	}
	copied := *m // of the input, which is overwritten
	for _, b := range []*[]byte{
		&copied.level, &copied.module, &copied.pid, &copied.tid, &copied.client, &copied.id, &copied.server, &copied.source, &copied.cause, &copied.referer, &copied.script, &copied.text,
	} {
		*b = bytes.Clone(*b)
	}
	return &traceback{message: copied, last: now, frames: true}
}

// same reports whether a message is of the same thread and request.
func (t *traceback) same(m *message) bool {
	return bytes.Equal(t.pid, m.pid) && bytes.Equal(t.tid, m.tid) && bytes.Equal(t.id, m.id)
}

// continues reports whether the traceback includes a line. After the exception, only the
// lines of a further traceback do: a message of several lines cannot be told from the
// text that follows.
func (t *traceback) continues(line []byte) bool {
	switch {
	case len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
		return true
	case t.frames:
		t.frames = false
		return true
	case len(line) == 0 || bytes.Equal(line, chainings[0]) || bytes.Equal(line, chainings[1]):
		return true
	case bytes.Equal(line, opening):
		t.frames = true
		return true
	}
	return false
}
