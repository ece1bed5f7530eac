//go:build unix

package prove

import (
	"os"

	"golang.org/x/sys/unix"
)

// openErrorLog creates the pipe for the server's error log. It is opened for both
// directions, so that it neither waits for the server nor ends with it.
func openErrorLog(t *throwaway) (*errorLog, error) {
	if err := unix.Mkfifo(t.path("error_log"), 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: t.path("error_log"), Err: err}
	}
	if err := t.give("error_log", 0o600, 0o620); err != nil {
		return nil, err
	}
	pipe, err := t.dir.Root().OpenFile("error_log", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &errorLog{pipe: pipe}, nil
}
