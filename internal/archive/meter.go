package archive

import (
	"fmt"
	"io"
)

// meter enforces the limits while an archive is read.
type meter struct {
	limits  Limits
	packed  int64 // size of the archive file
	stream  int64 // bytes of a tar stream so far, including headers and padding
	content int64 // bytes of files so far (more than stream for sparse files)
	entries int
	name    string // the current entry
}

func newMeter(l Limits, packed int64) *meter { return &meter{limits: l, packed: packed} }

// entry counts an entry of any type, and returns why that is one too many, or "".
func (m *meter) entry() string {
	if m.entries++; m.entries > m.limits.MaxFiles {
		return fmt.Sprintf("the archive has more than %d entries", m.limits.MaxFiles)
	}
	return ""
}

// declared returns why a file of that size is not accepted, or "".
func (m *meter) declared(size int64) string {
	switch {
	case size < 0:
		return "its size is negative"
	case size > m.limits.MaxFileBytes:
		return fmt.Sprintf("it has more than %d bytes", m.limits.MaxFileBytes)
	}
	return m.total(m.content + size)
}

func (m *meter) total(n int64) string {
	switch {
	case n > m.limits.MaxBytes, n < 0:
		return fmt.Sprintf("the archive unpacks to more than %d bytes", m.limits.MaxBytes)
	case n > ratioFloor && n/int64(m.limits.MaxRatio) > m.packed:
		return fmt.Sprintf("the archive unpacks to more than %d times its size", m.limits.MaxRatio)
	}
	return ""
}

// watched counts what is read from a tar stream.
type watched struct {
	r     io.Reader
	meter *meter
	seen  int64 // bytes since it was last reset
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	w.seen += int64(n)
	w.meter.stream += int64(n)
	if reason := w.meter.total(w.meter.stream); reason != "" {
		return n, &RefusedError{Entry: w.meter.name, Reason: reason}
	}
	return n, err
}
