package scratch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// longestSocketDir is the maximum length of a directory's path in which mod_wsgi creates
// "wsgi.PID.N.M.sock": sun_path has 104 bytes on BSD and 108 on Linux (unix(7)).
const longestSocketDir = 104 - len("/modwsgi-verify-123456789012/run/wsgi.4194304.10.10.sock")

// Temp creates a directory in TMPDIR of an environment, or where the system keeps
// temporary files. With serves it is for a server: its path leaves room for a socket's,
// and the account that root serves as can enter it (pam_tmpdir gives root one that no
// other user may enter). A run killed before it discards the directory leaves it to be
// swept by the next run.
func Temp(env []string, kind Kind, serves bool) (*Dir, error) {
	var first error
	for _, base := range temporary(run.Getenv(env, "TMPDIR")) {
		if serves && (len(base.path) > longestSocketDir || os.Geteuid() == 0 && owned.ClosedTo(base.path) != "") {
			continue
		}
		d, err := base.make(kind)
		if err == nil {
			return d, nil
		}
		if owned.IsUntrusted(err) {
			err = fault.New(fault.Environment, "set TMPDIR to a directory that only you and root can write to, or that is sticky (chmod +t "+run.Quote(base.path)+")", "make a temporary directory: %w", err)
		} else {
			err = noTemp(base.path, err)
			if !base.skip(err) {
				return nil, err
			}
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = fault.New(fault.Environment, "set TMPDIR to a directory with a short path", "no directory for temporary files has a path short enough for a socket in it")
	}
	return nil, first
}

// place is a directory in which temporary directories may be created.
type place struct {
	path   string
	given  bool // the user named it: no other one is used if it does not exist or cannot be written to
	create bool
}

// fallback is set by Fallback.
var fallback string

// Fallback names a directory for temporary files on machines where none of the usual ones
// can be written to, such as a container whose root file system is read-only. It is
// created when it is needed, private to this user. Fallback is called once, before
// anything else in this package.
func Fallback(dir string) { fallback = dir }

// temporary lists the directories for temporary files, best first: TMPDIR or those that
// every system has, and then the fallback and what containers have for shared memory.
// TMPDIR is passed over if another user could exchange it, as when sudo keeps the TMPDIR
// of its caller.
func temporary(tmpdir string) []place {
	if runtime.GOOS == "windows" {
		return []place{{path: os.TempDir(), given: true}}
	}
	var all []place
	for _, p := range []place{{path: tmpdir, given: true}, {path: "/tmp"}, {path: "/var/tmp"}, {path: fallback, create: true}, {path: "/dev/shm"}} {
		if filepath.IsAbs(p.path) {
			all = append(all, p)
		}
	}
	return all
}

// skip reports whether the next place is tried after an error.
func (p place) skip(err error) bool {
	return !p.given && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR))
}

// make creates a directory in the place.
func (p place) make(kind Kind) (*Dir, error) {
	open := owned.OpenTemp
	if p.create {
		open = owned.MakeDir
	}
	base, err := open(p.path)
	if err != nil {
		return nil, err
	}
	d, err := In(base, kind)
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	return d, nil
}

func noTemp(base string, err error) error {
	return fault.New(fault.Environment, "make "+base+" writable and check that it has room, or set TMPDIR to a directory that is", "make a temporary directory: %w", err)
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
