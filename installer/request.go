// Package installer turns a request into a Python environment that serves WSGI
// applications through Apache httpd, and removes it again. It knows what has to be done,
// in which order, and why. Other packages do the individual steps.
//
// A [Plan] is data: it lists what will be done and why, and making one changes nothing. A
// job carries it out; job.go reads from top to bottom in the order of its steps: fetch,
// build, stage, prove, place, prove. The package does not know how progress is shown.
package installer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/buildcache/remote"
	"modwsgi/internal/buildstore"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/cgroup"
	"modwsgi/internal/event"
	"modwsgi/internal/farm"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/platform"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
	"modwsgi/internal/scratch"
	"modwsgi/internal/timeline"
	"modwsgi/internal/toolchain"
)

// The distributions that modwsgi places, by their PyPI names.
const (
	ModuleDist = "mod_wsgi"
	HTTPDDist  = "mod_wsgi-httpd"
)

// Request is what a user asks of install: the wish, and the means to fulfil it. Paths may
// be relative to Dir. Only [MakePlan] takes it as a whole.
type Request struct {
	Wish
	Means
}

// Wish is the wanted result. It is plain data and part of the plan.
type Wish struct {
	Python string `json:"python,omitempty"` // interpreter, environment or a program in it; "" searches for one
	HTTPD  string `json:"httpd,omitempty"`  // "auto", "bundled", "system" or a path

	HTTPDVersion   string   `json:"httpd_version,omitempty"`    // version or constraint; "" for the newest
	ModWSGIVersion string   `json:"mod_wsgi_version,omitempty"` // version or constraint; "" for the newest that supports the Python
	With           []string `json:"with,omitempty"`             // features that a bundled httpd must have
	Without        []string `json:"without,omitempty"`          // features that it must not have
	Libraries      string   `json:"libraries,omitempty"`        // where the libraries of features come from: "auto", "host", "bundled", or "" for auto
	Upgrade        bool     `json:"upgrade,omitempty"`          // look for newer versions even if the installed one satisfies the wish
	Reinstall      bool     `json:"reinstall,omitempty"`        // always build the module and place everything again; an httpd may come from the build cache

	Locked          bool   `json:"locked,omitempty"`           // use exactly the versions in LockFile
	LockFile        string `json:"lock_file,omitempty"`        // "" is modwsgi.lock in Dir
	AllowVulnerable bool   `json:"allow_vulnerable,omitempty"` // build versions that a known advisory warns of

	BreakSystemPackages bool   `json:"break_system_packages,omitempty"` // install into an externally managed Python (PEP 668)
	Hardening           string `json:"hardening,omitempty"`             // flags against exploitation: "auto", "none", or "" for auto
	DebugSymbols        bool   `json:"debug_symbols,omitempty"`         // compile with debugging information; for a result that is packaged
	BuildDriver         string `json:"build_driver,omitempty"`          // build driver for httpd: "native", "make", or "" for the best

	// Portable means that the result is packaged: the module is for Pythons of its kind
	// anywhere, and the packages installed in the environment are ignored.
	Portable bool `json:"portable,omitempty"`
}

// Setting is what every call needs to find and examine an environment.
type Setting struct {
	Dir         string   // the caller's working directory, absolute
	Env         []string // the caller's environment
	LockTimeout string   // how long to wait for another run, see flock.Limit; "" is MODWSGI_LOCK_TIMEOUT, and without that ten minutes
	Runner      *run.Runner
	Events      event.Sink
	System      platform.System // of this machine; "" is the one that the program runs on
	Probed      *Probed         // for a run that builds several times; may be nil
}

// Means are the resources to carry out a plan. They affect how long it takes and where
// sources come from, but not the result.
type Means struct {
	Setting

	SourceDirs []string // directories with archives; the first match wins
	Mirrors    []string // base addresses, tried before upstream
	Offline    bool     // never touch the network

	// Jobs is the maximum number of parallel compilers; 0 is as many as processors, control
	// group and memory allow, or as a compile farm can run.
	Jobs      int
	localJobs int                // of Jobs, the maximum on this machine
	farm      *farm.Farm         // that Env named; Env no longer does
	KeepBuild bool               // keep sources and objects
	Timeline  *timeline.Recorder // gets a span for each piece of the work; may be nil

	CacheDir                 string // downloads, builds and logs; "" is the user's cache directory
	buildstore.SharedOptions        // options of a shared build cache
	ToolsDir                 string // where the programs mod_wsgi-express and mod_wsgi-apxs are

	// Cross is the system to build for, if that is not this machine; for [Stage] only. The
	// Python of the wish is then one of its sysroot, by the version.
	Cross *Cross
}

// programs returns the directory of the programs that become part of the result.
func (m Means) programs() string {
	if m.Cross != nil {
		return m.Cross.Programs
	}
	return m.ToolsDir
}

// findPython finds the Python of a wish.
func (m Means) findPython(ctx context.Context, w Wish) (*detect.Python, error) {
	if m.Cross != nil {
		p, err := m.Cross.wanted(w.Python)
		if err != nil {
			return nil, err
		}
		return p.Facts, nil
	}
	return detect.FindPython(ctx, m.Runner, m.question(w.Python, w.HTTPD))
}

// Check refuses what can be seen to be wrong without looking at anything. Its errors are of
// class Usage.
func (w Wish) Check() error {
	_, err := w.complete("")
	return err
}

// hardening is the value of --hardening, which was validated earlier.
func (w Wish) hardening() toolchain.Hardening {
	if mode, err := toolchain.ParseHardening(w.Hardening); err == nil {
		return mode
	}
	return toolchain.HardeningAuto
}

// flags are the flags of a toolchain for this wish.
func (w Wish) flags(tools *toolchain.Toolchain) toolchain.Flags {
	f := tools.Flags(w.hardening())
	if w.DebugSymbols {
		f = f.WithDebugSymbols()
	}
	return f
}

// Complete fills in defaults. Relative paths are below dir.
func (w Wish) Complete(dir string) (Wish, error) { return w.complete(dir) }

// complete fills in defaults and refuses contradictions.
func (w Wish) complete(dir string) (Wish, error) {
	if err := checkVersions(w.HTTPDVersion, w.ModWSGIVersion); err != nil {
		return w, err
	}
	if _, err := httpdbuild.ParseDriver(w.BuildDriver); err != nil {
		return w, err
	}
	if _, err := httpdbuild.ParseLibraries(w.Libraries); err != nil {
		return w, err
	}
	if _, err := toolchain.ParseHardening(w.Hardening); err != nil {
		return w, err
	}
	if w.Locked && w.Upgrade {
		return w, fault.New(fault.Usage, "give one of them", "--locked takes the recorded versions and --upgrade newer ones")
	}
	if w.HTTPD == "" {
		w.HTTPD = "auto"
	}
	if w.LockFile == "" {
		w.LockFile = "modwsgi.lock"
	}
	w.LockFile = absolute(w.LockFile, dir)
	w.With, w.Without = slices.Clone(w.With), slices.Clone(w.Without)
	return w, nil
}

// complete fills in defaults and refuses contradictions.
func (m Means) complete(ctx context.Context) (Means, error) {
	if m.Offline && len(m.Mirrors) > 0 {
		return m, fault.New(fault.Usage, "give one of them", "--mirror needs the network and --offline forbids it")
	}
	if m.Jobs < 0 {
		return m, fault.New(fault.Usage, "give a number of at least 1, or auto for what this machine and its control group allow", "--jobs %d: must be positive", m.Jobs)
	}
	m.chooseJobs(ctx)
	m.SourceDirs = slices.Clone(m.SourceDirs)
	for i, dir := range m.SourceDirs {
		m.SourceDirs[i] = absolute(dir, m.Dir)
	}
	var err error
	m.Setting, err = m.Setting.complete()
	return m, err
}

// chooseJobs separates a compile farm from the environment, and fills in the number of
// jobs.
func (m *Means) chooseJobs(ctx context.Context) {
	if m.farm == nil {
		m.Env, m.farm = farm.Split(m.Env)
	}
	limits := cgroup.Read()
	m.localJobs, _ = limits.Jobs()
	switch {
	case m.Jobs > 0:
		if m.farm == nil {
			m.localJobs = m.Jobs
		}
		m.localJobs = min(m.localJobs, m.Jobs)
	case m.farm != nil:
		m.Jobs = m.farm.Slots(ctx, m.Runner, m.Env, m.localJobs, limits.Memory)
	default:
		m.Jobs = m.localJobs
	}
}

func (s Setting) complete() (Setting, error) {
	if _, err := flock.Limit(s.LockTimeout, run.Getenv(s.Env, flock.Variable)); err != nil {
		return s, err
	}
	s.Env = scratch.OwnTemp(s.Env, s.Events.Note)
	return s, nil
}

// lockLimit returns how long to wait for another run; a negative limit does not wait.
func (s Setting) lockLimit() time.Duration { return s.limit(flock.DefaultLimit) }

// BuildLimit returns how long to wait for another run that makes the same build; a
// negative limit does not wait.
func (s Setting) BuildLimit() time.Duration { return s.limit(flock.BuildLimit) }

func (s Setting) limit(other time.Duration) time.Duration {
	limit, err := flock.LimitOr(other, s.LockTimeout, run.Getenv(s.Env, flock.Variable))
	switch {
	case err != nil: // refused by complete
		return other
	case limit == 0:
		return -1
	}
	return limit
}

// question returns the request to detect for a Python and an httpd.
func (s Setting) question(python, httpd string) detect.Request {
	return detect.Request{Python: python, HTTPD: httpd, Env: s.Env, Dir: s.Dir}
}

// checkVersions refuses incomplete versions: nobody means the one version 5 by "5".
func checkVersions(httpd, module string) error {
	for _, option := range [][3]string{{"--mod-wsgi-version", "mod_wsgi", module}, {"--httpd-version", "httpd", httpd}} {
		flag, v := option[0], option[2]
		if partVersion.MatchString(v) {
			return fault.New(fault.Usage, fmt.Sprintf(`write %s "~> %s" for any version that begins like that, or a whole version`, flag, v+strings.Repeat(".0", max(0, 1-strings.Count(v, ".")))),
				"%s %s is only part of a version", flag, v)
		}
		if err := recipe.Catalogue().CheckConstraint(option[1], v); err != nil {
			return fault.New(fault.Usage, fault.HintOf(err), "%s: %w", flag, err)
		}
	}
	return nil
}

var partVersion = regexp.MustCompile(`^\d+(\.\d+)?$`)

func absolute(path, dir string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// cache names the cache directory.
func (m Means) cache() cachedir.Options {
	return cachedir.Options{Path: m.CacheDir, Dir: m.Dir, Env: m.Env, Events: m.Events}
}

// shared reads the options and the environment about the build cache: its size limit, and
// a shared cache. Errors are of class Usage.
func (m Means) shared() (shared *remote.Cache, limit int64, err error) {
	if limit, err = cachedir.Limit(m.Env); err != nil {
		return nil, 0, err
	}
	shared, err = buildstore.OpenShared(m.SharedOptions, m.Env, m.Dir, m.Runner, m.lockLimit())
	return shared, limit, err
}

// tool returns the path of another program of this release.
func tool(dir, name string) (string, error) {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(dir, name)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", fault.New(fault.Environment, "keep the programs of one release together in one directory (make build puts them into bin/)",
			"the program %s is not beside modwsgi in %s", name, dir)
	}
	return path, nil
}
