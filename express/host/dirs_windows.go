package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/internal/run"
)

// DefaultRoot is the server root where none is given.
func DefaultRoot(env []string, host string, port int, _ *Account) string {
	tmp := run.Getenv(env, "TEMP")
	if tmp == "" {
		tmp = os.TempDir()
	}
	return filepath.Join(tmp, fmt.Sprintf("mod_wsgi-%s-%d-%s", host, port, run.Getenv(env, "USERNAME")))
}

// Links returns the number of names that a file has; it is unknown here.
func Links(fs.FileInfo) uint64 { return 0 }

// HasEnded reports whether no process has a number.
func HasEnded(pid int) bool { return !alive(pid) }
