package run

import (
	"errors"
	"strings"
)

// Tail returns the last lines of the tool's output that an error carries, one per line
// and after a line break, or "".
func Tail(err error) string {
	var e *Error
	if !errors.As(err, &e) || len(e.Tail) == 0 {
		return ""
	}
	return "\n" + strings.Join(e.Tail, "\n")
}
