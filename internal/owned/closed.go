package owned

import (
	"os"
	"path/filepath"
)

// ClosedTo returns the first directory on the way to a path that only its owner and group
// may enter, or "" if all are open.
func ClosedTo(path string) string {
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.IsDir() && info.Mode().Perm()&0o001 == 0 {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}
