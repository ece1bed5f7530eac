package scratch

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// longestSocketDir is the maximum length of a directory's path in which mod_wsgi creates
// "wsgi.PID.N.M.sock": sun_path has 104 bytes on BSD and 108 on Linux (unix(7)).
const longestSocketDir = 104 - len("/modwsgi-verify-123456789012/run/wsgi.4194304.10.10.sock")

// Temp creates a directory in TMPDIR of an environment, or where the system keeps
// temporary files. With serves it is for a server: its path leaves room for a socket's,
// and the account that root serves as can enter it. A run killed before it discards the
// directory leaves it to be swept by the next run.
func Temp(env []string, kind Kind, serves bool) (*Dir, error) {
	base, err := openTemp(env, serves)
	if err != nil {
		return nil, err
	}
	d, err := In(base, kind)
	if err != nil {
		err = noTemp(base.Path(), err)
		return nil, errors.Join(err, base.Close())
	}
	return d, nil
}

func noTemp(base string, err error) error {
	return fault.New(fault.Environment, "make "+base+" writable and check that it has room, or set TMPDIR to a directory that is", "make a temporary directory: %w", err)
}

// openTemp opens the directory for temporary files: TMPDIR, or if that is unsuitable, the
// system's. It skips one that another user could exchange, as when sudo keeps the TMPDIR
// of its caller. pam_tmpdir gives root one that no other user may enter, which is
// unsuitable for a server.
func openTemp(env []string, serves bool) (*owned.Dir, error) {
	bases := []string{run.Getenv(env, "TMPDIR"), "/tmp", "/var/tmp"}
	if runtime.GOOS == "windows" {
		bases = []string{os.TempDir()}
	}
	var first error
	for _, base := range bases {
		if !filepath.IsAbs(base) || serves && (len(base) > longestSocketDir || os.Geteuid() == 0 && owned.ClosedTo(base) != "") {
			continue
		}
		dir, err := owned.OpenTemp(base)
		if err == nil {
			return dir, nil
		}
		if !owned.IsUntrusted(err) {
			return nil, noTemp(base, err)
		}
		if first == nil {
			first = fault.New(fault.Environment, "set TMPDIR to a directory that only you and root can write to, or that is sticky (chmod +t "+run.Quote(base)+")", "make a temporary directory: %w", err)
		}
	}
	return nil, first
}

// OwnTemp returns an environment without a TMPDIR that another user could exchange:
// temporary files of compilers could be replaced there before they are read again. note
// is called if TMPDIR is removed.
func OwnTemp(env []string, note func(text string)) []string {
	tmp := run.Getenv(env, "TMPDIR")
	if !filepath.IsAbs(tmp) || runtime.GOOS == "windows" {
		return env
	}
	dir, err := owned.OpenTemp(tmp)
	if err == nil {
		_ = dir.Close()
	}
	var u *owned.Untrusted
	if !errors.As(err, &u) {
		return env
	}
	note("TMPDIR is " + tmp + ", and " + u.Reason() + ": not used")
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "TMPDIR=") })
}
