package installer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// The cache directory is one thing: whoever could plant something in one part of
// it could have done so in the others. So there is one rule for all of it, which
// openStore applies. The path is one that only this user and root can change, links
// on the way included, and so is each part. Parts are never links: a link that
// somebody planted while the rights were wider looks like one that the user made.
// Everything below is reached through the handle.
//
// A cache that breaks the rule is not used at all. Builds happen in a private
// directory then, and a warning says why; commands on the cache itself fail.

// The parts of the cache directory.
const (
	partBuilds    = "builds"
	partDownloads = "downloads"
	partHost      = "host"
	partLocks     = "locks"
	partLogs      = "logs"
	partWork      = "work"
)

var parts = []string{partBuilds, partDownloads, partHost, partLocks, partLogs, partWork}

// openStore opens the cache directory. With create it is made where it is missing.
// The error is *owned.Untrusted where another user could have written to it.
func openStore(path string, create bool) (*owned.Dir, error) {
	open := owned.OpenDir
	if create {
		open = owned.MakeDir
	}
	dir, err := open(path)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		sub, err := dir.Sub(part)
		if owned.IsUntrusted(err) {
			return nil, errors.Join(err, dir.Close())
		}
		if err == nil {
			_ = sub.Close()
		}
	}
	hook("opened", dir.Path())
	return dir, nil
}

// hook is called at the moments between a check and its use, with the directory that
// was checked: "fetched", without one, is when all archives were verified and nothing
// is unpacked yet. Tests exchange directories and files there.
var hook = func(moment, path string) {}

// untrustedCache is the error for commands on a cache that others may write to.
func untrustedCache(err error) error {
	var u *owned.Untrusted
	if !errors.As(err, &u) {
		return err
	}
	return fault.New(fault.Environment, untrustedHint(u), "use the cache directory: %w", err)
}

// untrustedHint returns what to do about a cache that is not used.
func untrustedHint(u *owned.Untrusted) string {
	const other = "name another directory with --cache-dir or MODWSGI_CACHE_DIR, or share builds with --cache oci-layout:DIR"
	switch {
	case u.Owner == os.Geteuid() && u.Mode&fs.ModeSymlink != 0:
		return "remove the link " + run.Quote(u.At) + " (the whole cache directory may be a link, a part of it may not)"
	case u.Owner == os.Geteuid():
		return "others could have put something there, so remove it and take their rights away (chmod go-w " + run.Quote(u.At) + "), or " + other
	}
	return other + "; in a container that nobody else uses, set " + owned.TrustedVariable + " to the directory that belongs to another user"
}

// findCache sets CacheDir. Only what fetches and builds needs one: looking and
// removing work also for a service that has no home.
func (q *Request) findCache() error {
	if q.CacheDir == "" {
		dir, err := q.defaultCache()
		if err != nil {
			return err
		}
		q.CacheDir = dir
	}
	q.CacheDir = q.abs(q.CacheDir)
	return nil
}

// defaultCache is where the cache lies that nobody has named. sudo may keep the
// HOME of whoever called it: root makes nothing there, and uses its own home.
func (q *Request) defaultCache() (string, error) {
	dir, variable, err := cacheDir(q.Env)
	if err != nil || variable == "MODWSGI_CACHE_DIR" {
		return dir, err
	}
	var u *owned.Untrusted
	if !errors.As(owned.Check(dir), &u) {
		return dir, nil
	}
	home := ownHome()
	if home == "" {
		return dir, nil // it is reported when it is opened
	}
	instead := filepath.Join(home, ".cache", "modwsgi")
	if instead == dir || owned.IsUntrusted(owned.Check(instead)) {
		return dir, nil
	}
	q.Events.Note(fmt.Sprintf("%s is %s, and %s: the cache is %s instead", variable, run.Getenv(q.Env, variable), u.Reason(), instead))
	return instead, nil
}

// cacheDir is where downloads and builds are kept, and the variable that says so
// (https://specifications.freedesktop.org/basedir-spec/latest/).
func cacheDir(env []string) (dir, variable string, err error) {
	for _, c := range []struct{ name, below string }{
		{"MODWSGI_CACHE_DIR", ""}, {"XDG_CACHE_HOME", "modwsgi"}, {"LocalAppData", "modwsgi/cache"}, {"HOME", ".cache/modwsgi"},
	} {
		if dir := run.Getenv(env, c.name); filepath.IsAbs(dir) {
			return filepath.Join(dir, filepath.FromSlash(c.below)), c.name, nil
		}
	}
	return "", "", fault.New(fault.Environment, "set HOME, XDG_CACHE_HOME or MODWSGI_CACHE_DIR to an absolute path, or give --cache-dir",
		"there is no directory to keep downloads in")
}

// ownHome returns this user's home directory by the password database, "" where
// that does not have the user. Tests replace it.
var ownHome = func() string {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil || !filepath.IsAbs(u.HomeDir) {
		return ""
	}
	return u.HomeDir
}

// toolEnv is the environment for compilers: without homes and caches of other
// users, from which ccache would take objects and to which it would write.
func (q *Request) toolEnv() []string {
	var env []string
	for _, v := range q.Env {
		name, dir, _ := strings.Cut(v, "=")
		switch name {
		case "HOME":
			if owned.IsUntrusted(owned.Check(dir)) {
				if home := ownHome(); home != "" && !owned.IsUntrusted(owned.Check(home)) {
					env = append(env, "HOME="+home)
				}
				continue
			}
		case "CCACHE_DIR":
			if owned.IsUntrusted(owned.Check(dir)) {
				continue
			}
		}
		env = append(env, v)
	}
	return env
}

// cannotWrite reports whether a directory is closed to us for good: a cache that
// root keeps for everybody, which may be read all the same.
func cannotWrite(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
