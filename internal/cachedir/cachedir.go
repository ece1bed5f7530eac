// Package cachedir knows the cache directory: where it is, which parts it has, who may
// write to it, what it contains and which of that is in use. It lists, verifies and
// removes the contents, and gives each run its scratch space. It does not know what a
// build consists of (internal/buildcache) or when one is wanted (internal/buildstore).
//
// A cache that another user could have written to is neither read nor written.
package cachedir

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

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
)

// The cache directory is protected as a whole: anyone who could plant something in one
// part of it could have done so in the others. So [Open] applies one rule to all of it.
// Only this user and root may be able to change the path, links on the way included, and
// each part. Parts are never links: a link that another user planted while the rights
// were wider looks like one that the user made. Everything below is reached through the
// handle.
//
// A cache that breaks the rule is not used at all. Builds then happen in a private
// directory, and a warning gives the reason. Commands on the cache itself fail.

// The parts of the cache directory.
const (
	Builds    = "builds"    // finished trees
	Catalogue = "catalogue" // a newer catalogue and its proofs (internal/catalogue)
	Downloads = "downloads" // source archives
	Host      = "host"      // recorded results of compiler probes
	Locks     = "locks"     // locks of builds under way
	Logs      = "logs"      // logs of the last runs
	Work      = "work"      // scratch space of runs
)

var parts = []string{Builds, Catalogue, Downloads, Host, Locks, Logs, Work}

// Options name a cache directory.
type Options struct {
	Path   string     // "" for the user's default
	Dir    string     // base of a relative Path
	Env    []string   // environment that determines the default
	Events event.Sink // may be nil
}

// Open opens the cache directory. With create it is created if missing. The error is
// *owned.Untrusted if another user could have written to it.
func Open(path string, create bool) (*owned.Dir, error) {
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

// hook is called between a check and its use, with the directory that was checked. Tests
// exchange directories there.
var hook = func(moment, path string) {}

// untrusted is the error for commands on a cache that others may write to.
func untrusted(err error) error {
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
		return "others could have put something there, so remove it and deny them write access (chmod go-w " + run.Quote(u.At) + "), or " + other
	}
	return other + "; in a container that nobody else uses, set " + owned.TrustedVariable + " to the directory that belongs to another user"
}

// Find returns the absolute path of the cache directory, which need not exist. Only
// commands that fetch or build need one: listing and removing also work for a service
// without a home.
func Find(o Options) (string, error) {
	dir := o.Path
	if dir == "" {
		var err error
		if dir, err = defaultCache(o.Env, o.Events); err != nil {
			return "", err
		}
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(o.Dir, dir)
	}
	return filepath.Clean(dir), nil
}

// defaultCache returns the cache directory when none is named. sudo may keep the HOME of
// its caller: root creates nothing there, and uses its own home.
func defaultCache(env []string, events event.Sink) (string, error) {
	dir, variable, err := cacheDir(env)
	if err != nil || variable == "MODWSGI_CACHE_DIR" {
		return dir, err
	}
	var u *owned.Untrusted
	if !errors.As(owned.Check(dir), &u) {
		return dir, nil
	}
	home := OwnHome()
	if home == "" {
		return dir, nil // reported when it is opened
	}
	instead := filepath.Join(home, ".cache", "modwsgi")
	if instead == dir || owned.IsUntrusted(owned.Check(instead)) {
		return dir, nil
	}
	events.Note(fmt.Sprintf("%s is %s, and %s: the cache is %s instead", variable, run.Getenv(env, variable), u.Reason(), instead))
	return instead, nil
}

// cacheDir returns where downloads and builds are kept, and the variable that names it
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
		"no directory to keep downloads in")
}

// OwnHome returns this user's home directory from the password database, or "" if the
// user is not in it. Tests replace it.
var OwnHome = func() string {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil || !filepath.IsAbs(u.HomeDir) {
		return ""
	}
	return u.HomeDir
}

// ToolEnv returns an environment for compilers: without homes and caches of other users,
// in which ccache would read and write objects.
func ToolEnv(of []string) []string {
	var env []string
	for _, v := range of {
		name, dir, _ := strings.Cut(v, "=")
		switch name {
		case "HOME":
			if owned.IsUntrusted(owned.Check(dir)) {
				if home := OwnHome(); home != "" && !owned.IsUntrusted(owned.Check(home)) {
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

// cannotWrite reports whether a directory is permanently read-only for this user: a cache
// that root keeps for everybody, which can still be read.
func cannotWrite(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
