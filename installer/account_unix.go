//go:build unix

package installer

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"syscall"

	"modwsgi/detect"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// plainTemp is where we work if the path of the cache has characters that make
// and configure scripts cannot take.
const plainTemp = "/tmp"

// ServingUser is an account of this host that is made for serving, where we are
// root, which httpd refuses to serve as; "" for anybody else.
func ServingUser() string {
	if os.Geteuid() != 0 {
		return ""
	}
	for _, name := range []string{"www-data", "apache", "httpd", "wwwrun", "http", "_www", "www", "nobody"} {
		if u, err := user.Lookup(name); err == nil && u.Uid != "0" {
			return name
		}
	}
	return "nobody"
}

// warnOfClosed tells root of an environment that only root can enter: it is
// built and tried all the same, but httpd serves as another user.
func warnOfClosed(py *detect.Python, events event.Sink) {
	if os.Geteuid() != 0 {
		return
	}
	for _, path := range []string{py.Prefix, py.BasePrefix, filepath.Dir(py.LibPython)} {
		if dir := closedTo(path); dir != "" {
			events.Warn(fmt.Sprintf("this environment cannot serve as it is: httpd runs as another user than root, and %s, on the way to %s, is closed to others; "+
				"open it (chmod o+x %s), or use a Python and an environment elsewhere, for example below /srv or /opt", dir, path, run.Quote(dir)))
			return
		}
	}
}

// private makes sure that a directory with a name that others can foresee is
// ours alone: in /tmp somebody else could have made it first.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(st.Uid) != os.Geteuid() {
		return fault.New(fault.Environment, "remove it, or name a directory without special characters with --cache-dir",
			"the work directory %s is not a directory of this user alone", dir)
	}
	return nil
}

// openUp lets everybody read what root installs: another user serves it, and a
// umask of root's must not decide about that.
func openUp(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Type()&os.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode()
		wanted := mode | 0o444
		if mode.IsDir() || mode&0o100 != 0 {
			wanted |= 0o111
		}
		if wanted == mode {
			return nil
		}
		if err := os.Chmod(path, wanted.Perm()); err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		return nil
	})
}
