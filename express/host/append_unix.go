//go:build unix

package host

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// AppendText appends a line to an existing regular file, not through a link. Anything else
// with that path is left alone.
func AppendText(path string, line []byte) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !now.Mode().IsRegular() {
		return &fs.PathError{Op: "append to", Path: path, Err: fmt.Errorf("it is not a regular file")}
	}
	_, err = f.Write(line)
	return err
}
