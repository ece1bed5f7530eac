//go:build unix

package installer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"modwsgi/detect"
	"modwsgi/internal/event"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// ServingUser returns, when running as root, an account of this host that exists for
// serving, because httpd refuses to serve as root. It returns "" for any other user.
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

// warnOfClosed warns root of an environment that only root can enter. It is built and
// tried anyway, but httpd serves as another user.
func warnOfClosed(py *detect.Python, events event.Sink) {
	if os.Geteuid() != 0 {
		return
	}
	for _, path := range []string{py.Prefix, py.BasePrefix, filepath.Dir(py.LibPython)} {
		if dir := owned.ClosedTo(path); dir != "" {
			events.Warn(fmt.Sprintf("this environment cannot serve as it is: httpd runs as another user than root, and %s, on the way to %s, is closed to others; "+
				"open it (chmod o+x %s), or use a Python and an environment elsewhere, for example in /srv or /opt", dir, path, run.Quote(dir)))
			return
		}
	}
}

// warnOfOwner warns root of an environment that another user can change: that user can
// replace whatever root places there.
func warnOfOwner(py *detect.Python, command string, events event.Sink) {
	var u *owned.Untrusted
	if os.Geteuid() != 0 || !errors.As(owned.Check(py.Platlib), &u) {
		return
	}
	if u.Owner <= 0 {
		events.Warn(fmt.Sprintf("another user can change this environment, and with it what root puts there: %v; take their rights away (chmod go-w %s)", u, run.Quote(u.At)))
		return
	}
	name := "'#" + strconv.Itoa(u.Owner) + "'"
	if account, err := user.LookupId(strconv.Itoa(u.Owner)); err == nil {
		name = run.Quote(account.Username)
	}
	events.Warn(fmt.Sprintf("another user can change this environment, and with it what root puts there: %v; run modwsgi as that user: sudo -H -u %s modwsgi %s --python %s",
		u, name, command, run.Quote(py.Prefix)))
}

// openUp lets everybody read what root installs: another user serves it, whatever root's
// umask is. Links are left alone.
func openUp(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	d, err := owned.OpenDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return fs.WalkDir(d.Root().FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := e.Info()
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
		if err := d.Root().Chmod(filepath.FromSlash(name), wanted.Perm()); err != nil {
			return fmt.Errorf("open %s: %w", filepath.Join(dir, name), err)
		}
		return nil
	})
}
