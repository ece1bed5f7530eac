package owned

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ReadInput returns the contents of a file that the user names or works beside, such as a
// lock file or a matrix, whoever owns it; the caller checks the contents. It never waits:
// a pipe or a device with that name is an error. An open descriptor (/dev/stdin, a
// shell's process substitution) is read to its end. A file of more than limit bytes is an
// error.
func ReadInput(path string, limit int64) ([]byte, error) {
	if Descriptor(path) {
		return ReadFile(path, limit)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		kind := "not a regular file"
		if info.IsDir() {
			kind = "a directory"
		}
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is %s", kind)}
	}
	return readAll(f, limit)
}
