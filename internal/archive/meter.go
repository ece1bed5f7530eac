package archive

import (
	"fmt"
	"io"
)

// meter holds an archive against its limits while it is read.
type meter struct {
	limits  Limits
	packed  int64 // size of the archive file
	stream  int64 // bytes of a tar stream so far, with headers and padding
	content int64 // bytes of files so far (more than stream where those are sparse)
	entries int
	name    string // the entry that is being read
}

func newMeter(l Limits, packed int64) *meter { return &meter{limits: l, packed: packed} }

// entry counts one entry of any kind and returns why that is one too many.
func (m *meter) entry() string {
	if m.entries++; m.entries > m.limits.MaxFiles {
		return fmt.Sprintf("the archive has more than %d entries", m.limits.MaxFiles)
	}
	return ""
}

// declared returns why a file of that size cannot be taken.
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
	seen  int64 // bytes since somebody set it to zero
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
