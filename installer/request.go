// Package installer turns a request into a Python environment that serves WSGI
// applications through Apache httpd: plan, fetch, build, stage, place, verify,
// report; and takes it away again. It knows the order of these and what makes
// them necessary. How each is done is known by the packages that it uses; how it
// is shown is not its business.
package installer

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"modwsgi/httpdbuild"
	"modwsgi/internal/buildcache/remote"
	"modwsgi/internal/cgroup"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/run"
	"modwsgi/internal/timeline"
)

// The distributions that we place, by their PyPI names.
const (
	ModuleDist = "mod_wsgi"
	HTTPDDist  = "mod_wsgi-httpd"
)

// Request is what a user asks of install. Paths may be relative to Dir.
type Request struct {
	Python string // interpreter, environment or a program in it; "" to look around
	HTTPD  string // "auto", "bundled", "system" or a path

	HTTPDVersion   string   // version or constraint; "" for the newest
	ModWSGIVersion string   // version or constraint; "" for the newest that admits the Python
	With, Without  []string // features of a bundled httpd
	Upgrade        bool     // look for newer versions also where an installed one would do
	Reinstall      bool     // build the module and place everything again in any case; an httpd may come out of the build cache

	SourceDirs      []string // directories with archives, first wins
	Mirrors         []string // base addresses, tried before upstream's
	Offline         bool     // never touch the network
	Locked          bool     // exactly what LockFile says
	LockFile        string   // "" is modwsgi.lock in Dir
	AllowVulnerable bool     // build what a known advisory warns of

	BreakSystemPackages bool // install into an externally managed Python (PEP 668)
	Jobs                int  // compilers at a time; 0 is as many as processors, control group and memory allow
	KeepBuild           bool // leave sources and objects behind

	BuildDriver string             // what compiles httpd: "native", "make", or "" for what is best
	Timeline    *timeline.Recorder // gets a span for each piece of the work; may be nil

	CacheDir string   // downloads, builds and logs; "" is the user's cache directory
	ToolsDir string   // where the programs mod_wsgi-express and mod_wsgi-apxs lie
	Dir      string   // the caller's working directory, absolute
	Env      []string // the caller's environment

	// A shared build cache: where it is, the private key that entries are pushed
	// with ("" for reading only), public keys whose entries count, and whether a
	// registry elsewhere may be asked without TLS. Empty ones are taken from
	// MODWSGI_CACHE, MODWSGI_CACHE_SIGN_KEY and MODWSGI_CACHE_TRUST.
	Cache        string
	CacheSignKey string
	CacheTrust   []string
	CacheHTTP    bool

	// LockTimeout is how long another run is waited for, see flock.Limit; "" is
	// MODWSGI_LOCK_TIMEOUT, and without that ten minutes.
	LockTimeout string

	Runner *run.Runner
	Events event.Sink

	shared    *remote.Cache // nil where there is none
	limit     int64         // bytes that the cache directory may have; negative for any
	downloads string        // where archives are kept; "" for the cache directory

	logs string // where the log of a throwaway server that failed is kept; "" for nowhere
}

// normalise fills in defaults and refuses what contradicts itself.
func (q *Request) normalise() error {
	if q.Offline && len(q.Mirrors) > 0 {
		return fault.New(fault.Usage, "give one of them", "--mirror needs the network and --offline forbids it")
	}
	if err := q.checkVersions(); err != nil {
		return err
	}
	if _, err := httpdbuild.ParseDriver(q.BuildDriver); err != nil {
		return err
	}
	if q.Locked && q.Upgrade {
		return fault.New(fault.Usage, "give one of them", "--locked takes the recorded versions and --upgrade newer ones")
	}
	if q.Jobs < 0 {
		return fault.New(fault.Usage, "give a number from 1, or auto for what this machine and its control group allow", "--jobs %d makes no sense", q.Jobs)
	}
	if q.Jobs == 0 {
		q.Jobs, _ = cgroup.Read().Jobs()
	}
	if _, err := flock.Limit(q.LockTimeout, run.Getenv(q.Env, flock.Variable)); err != nil {
		return err
	}
	if q.HTTPD == "" {
		q.HTTPD = "auto"
	}
	if q.LockFile == "" {
		q.LockFile = "modwsgi.lock"
	}
	q.LockFile = q.abs(q.LockFile)
	q.SourceDirs = slices.Clone(q.SourceDirs)
	for i, dir := range q.SourceDirs {
		q.SourceDirs[i] = q.abs(dir)
	}
	q.With, q.Without = slices.Clone(q.With), slices.Clone(q.Without)
	return nil
}

// lockLimit is how long another run is waited for; negative does not wait.
func (q *Request) lockLimit() time.Duration {
	limit, err := flock.Limit(q.LockTimeout, run.Getenv(q.Env, flock.Variable))
	switch {
	case err != nil: // normalise refuses it
		return flock.DefaultLimit
	case limit == 0:
		return -1
	}
	return limit
}

// checkVersions refuses what looks like a version and is none: "5" is taken by
// nobody as the one version 5.
func (q *Request) checkVersions() error {
	for flag, v := range map[string]string{"--mod-wsgi-version": q.ModWSGIVersion, "--httpd-version": q.HTTPDVersion} {
		if partVersion.MatchString(v) {
			return fault.New(fault.Usage, fmt.Sprintf(`write %s "~> %s" for any version that begins like that, or a whole one`, flag, v+strings.Repeat(".0", max(0, 1-strings.Count(v, ".")))),
				"%s %s is a part of a version", flag, v)
		}
	}
	return nil
}

var partVersion = regexp.MustCompile(`^\d+(\.\d+)?$`)

// findCache sets CacheDir. Only what fetches and builds needs one: looking and
// removing work also for a service that has no home.
func (q *Request) findCache() error {
	if q.CacheDir == "" {
		dir, err := cacheDir(q.Env)
		if err != nil {
			return err
		}
		q.CacheDir = dir
	}
	q.CacheDir = q.abs(q.CacheDir)
	return nil
}

// longestSocketDir is how long the path of a directory may be in which mod_wsgi
// makes "wsgi.PID.N.M.sock": sun_path has 104 bytes on BSD and 108 on Linux
// (unix(7)).
const longestSocketDir = 104 - len("/modwsgi-verify-4294967295/wsgi.4194304.10.10.sock")

// scratch makes a temporary directory, in TMPDIR or where the system keeps them.
// With serves it is one for a server: a socket's path has room in it, and the
// user whom root serves as can come there. remove takes it away; a run that is
// killed before that leaves it to the next one (pam_tmpdir gives root a TMPDIR that
// nobody else may enter).
func (q *Request) scratch(pattern string, serves bool) (dir string, remove func(), err error) {
	base := run.Getenv(q.Env, "TMPDIR")
	if runtime.GOOS == "windows" {
		base = os.TempDir()
	}
	if !filepath.IsAbs(base) || serves && (len(base) > longestSocketDir || os.Geteuid() == 0 && closedTo(base) != "") {
		base = "/tmp"
	}
	sweepScratch(base)
	dir, err = os.MkdirTemp(base, pattern)
	if err != nil {
		return "", nil, fault.New(fault.Environment, "make "+base+" writable and see that it has room, or set TMPDIR to a directory that is", "make a temporary directory: %w", err)
	}
	release, ok, err := flock.Try(dir)
	if err != nil || !ok { // it works without; only a sweep would not know
		release = func() {}
	}
	return dir, func() { _ = removeTree(dir); release(); _ = os.Remove(dir) }, nil
}

// sweepScratch removes what killed runs of this user left among the temporary
// directories: nobody holds those any more.
func sweepScratch(base string) {
	found, _ := filepath.Glob(filepath.Join(globEscape(base), "modwsgi-*"))
	for _, dir := range found {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || !scratchName.MatchString(filepath.Base(dir)) || !ownScratch(info) || time.Since(info.ModTime()) < time.Second {
			continue
		}
		if release, ok, err := flock.Try(dir); err == nil && ok {
			_ = removeTree(dir)
			release()
		}
	}
}

var scratchName = regexp.MustCompile(`^modwsgi-(verify|probe|work)-\d{5,}$`)

func (q *Request) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(q.Dir, path)
}

// cacheDir is where downloads and builds are kept
// (https://specifications.freedesktop.org/basedir-spec/latest/).
func cacheDir(env []string) (string, error) {
	for _, c := range []struct{ name, below string }{
		{"MODWSGI_CACHE_DIR", ""}, {"XDG_CACHE_HOME", "modwsgi"}, {"LocalAppData", "modwsgi/cache"}, {"HOME", ".cache/modwsgi"},
	} {
		if dir := run.Getenv(env, c.name); filepath.IsAbs(dir) {
			return filepath.Join(dir, filepath.FromSlash(c.below)), nil
		}
	}
	return "", fault.New(fault.Environment, "set HOME, XDG_CACHE_HOME or MODWSGI_CACHE_DIR to an absolute path, or give --cache-dir",
		"there is no directory to keep downloads in")
}

// tool returns the path of one of our other programs.
func (q *Request) tool(name string) (string, error) {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(q.ToolsDir, name)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", fault.New(fault.Environment, "keep the programs of one release together in one directory (make build puts them into bin/)",
			"the program %s is not beside modwsgi in %s", name, q.ToolsDir)
	}
	return path, nil
}
