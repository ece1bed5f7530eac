package packaging

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"modwsgi/internal/fault"
)

// TestWithPaths: another path in the message does not hide what happened.
func TestWithPaths(t *testing.T) {
	full := fault.New(fault.Environment, "free some space", "copy: %w", &fs.PathError{Op: "write", Path: "/dist/.part/x.so", Err: syscall.ENOSPC})
	err := WithPaths(full, "/dist/.part", "/env/site")
	if err.Error() != "copy: write /env/site/x.so: no space left on device" || !errors.Is(err, syscall.ENOSPC) ||
		fault.ClassOf(err) != fault.Environment || fault.HintOf(err) != "free some space" {
		t.Errorf("%v (%v, %q)", err, fault.ClassOf(err), fault.HintOf(err))
	}
	if got := WithPaths(full, "/elsewhere", "/x"); got != error(full) {
		t.Errorf("without the path: %v", got)
	}
}
