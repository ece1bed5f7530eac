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
	"modwsgi/internal/buildstore"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/cgroup"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
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

	buildstore.SharedOptions // of a shared build cache

	// LockTimeout is how long another run is waited for, see flock.Limit; "" is
	// MODWSGI_LOCK_TIMEOUT, and without that ten minutes.
	LockTimeout string

	Runner *run.Runner
	Events event.Sink

	shared    *remote.Cache // nil where there is none
	limit     int64         // bytes that the cache directory may have; negative for any
	downloads string        // where archives are kept; "" for the cache directory
	hold      string        // where this run has them; "" for the same
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
	q.Env = scratch.OwnTemp(q.Env, q.Events.Note)
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
	for _, option := range [][3]string{{"--mod-wsgi-version", "mod_wsgi", q.ModWSGIVersion}, {"--httpd-version", "httpd", q.HTTPDVersion}} {
		flag, v := option[0], option[2]
		if partVersion.MatchString(v) {
			return fault.New(fault.Usage, fmt.Sprintf(`write %s "~> %s" for any version that begins like that, or a whole one`, flag, v+strings.Repeat(".0", max(0, 1-strings.Count(v, ".")))),
				"%s %s is a part of a version", flag, v)
		}
		if err := recipe.Catalogue().CheckConstraint(option[1], v); err != nil {
			return fault.New(fault.Usage, fault.HintOf(err), "%s: %w", flag, err)
		}
	}
	return nil
}

var partVersion = regexp.MustCompile(`^\d+(\.\d+)?$`)

func (q *Request) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(q.Dir, path)
}

// findCache sets CacheDir. Only what fetches and builds needs one.
func (q *Request) findCache() error {
	dir, err := cachedir.Find(cachedir.Options{Path: q.CacheDir, Dir: q.Dir, Env: q.Env, Events: q.Events})
	if err == nil {
		q.CacheDir = dir
	}
	return err
}

// openShared understands what the request and the environment say about the
// build cache: its size, and a shared one. Errors are of class Usage.
func (q *Request) openShared() error {
	var err error
	if q.limit, err = cachedir.Limit(q.Env); err != nil || q.shared != nil {
		return err
	}
	q.shared, err = buildstore.OpenShared(q.SharedOptions, q.Env, q.Dir, q.Runner, q.lockLimit())
	return err
}

// workspace is the scratch space of a run, with the builds that it may use.
type workspace struct {
	*cachedir.Workspace
	builds *buildstore.Store
}

func newWorkspace(q *Request) (*workspace, error) {
	if err := q.openShared(); err != nil {
		return nil, err
	}
	w, err := cachedir.OpenWorkspace(cachedir.WorkOptions{Path: q.CacheDir, Env: q.Env, Keep: q.KeepBuild, Events: q.Events})
	if err != nil {
		return nil, err
	}
	q.downloads, q.hold = w.Downloads, w.Hold
	return &workspace{w, buildstore.New(buildstore.Options{
		Cache: w.Cache, Work: w.Dir, Shared: q.shared, Offline: q.Offline, Limit: q.limit, LockLimit: q.lockLimit(), Events: q.Events, Timeline: q.Timeline,
	})}, nil
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
