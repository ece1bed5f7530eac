package owned

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// rename retries for two seconds: virus scanners and indexers hold a new file open for a
// moment, and Windows refuses to replace an open file.
func rename(root *os.Root, from, to string) error {
	var err error
	for wait := 5 * time.Millisecond; wait < time.Second; wait *= 2 {
		err = root.Rename(from, to)
		if !errors.Is(err, windows.ERROR_ACCESS_DENIED) && !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
			return err
		}
		time.Sleep(wait)
	}
	return err
}
