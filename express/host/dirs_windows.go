package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/internal/run"
)

// DefaultRoot returns the server root to use if none is given.
func DefaultRoot(env []string, host string, port int, _ *Account) string {
	tmp := run.Getenv(env, "TEMP")
	if tmp == "" {
		tmp = os.TempDir()
	}
	return filepath.Join(tmp, fmt.Sprintf("mod_wsgi-%s-%d-%s", host, port, run.Getenv(env, "USERNAME")))
}

// Links always returns 0 on Windows, where the number of hard links is unknown.
func Links(fs.FileInfo) uint64 { return 0 }

// HasEnded reports whether no process with this ID exists.
func HasEnded(pid int) bool { return !alive(pid) }

// LimitUmask does nothing on Windows, where files inherit the permissions of their
// directory.
func LimitUmask() {}
