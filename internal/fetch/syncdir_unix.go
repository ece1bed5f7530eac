//go:build unix

package fetch

import "os"

// syncDir makes a rename durable. Some file systems cannot sync a directory; the contents
// are safe anyway.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
