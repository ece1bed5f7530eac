//go:build !windows

package atomicfile

import "os"

func rename(dir *os.Root, from, to string) error { return dir.Rename(from, to) }

// syncDir makes a rename durable. Some file systems cannot sync a directory;
// the content is safe all the same, so the error is of no use to a caller.
func syncDir(dir *os.Root) {
	if d, err := dir.Open("."); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
