package httpdbuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"modwsgi/internal/event"
	"modwsgi/internal/farm"
	"modwsgi/internal/fault"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/run"
	"modwsgi/internal/steps"
	"modwsgi/internal/timeline"
	"modwsgi/internal/toolchain"
)

// Placeholder is the prefix that everything is configured for. It never exists: run
// paths that name it become relative, and a file that still needs it fails on every
// machine, including the build machine.
const Placeholder = "/opt/modwsgi/httpd"

// buildVersion changes when the same sources and flags produce another tree.
const buildVersion = "7"

// Component is a verified source archive.
type Component struct {
	Name    string // "httpd", "apr", "apr-util", "pcre2", or one of Sources
	Version string
	Archive string // path
	SHA256  string // digest of the archive, compared with what is unpacked
}

// Request is what to build.
type Request struct {
	Components []Component // with the libraries that Host.Select names
	Features   []string    // from Host.Select
	Host       *Host
	Flags      toolchain.Flags // hardening, and the caller's own flags
	Farm       *farm.Session   // compiles objects elsewhere; nil compiles them here
	Jobs       int             // number of concurrent processes, at least 1
	Driver     Driver          // how to compile and link; "" is Native
	Work       string          // directory for sources and objects; created if missing
	Stage      string          // path of the finished tree; must not exist
	Logs       string          // directory for one log per step; created if missing
	Runner     *run.Runner
	Events     event.Sink
	Timeline   *timeline.Recorder // gets a span for each step and each tool; may be nil
	// Beside, which may be nil, is called while httpd is compiled natively, once all
	// headers and build/config_vars.mk are in tree, which is laid out like the result. It
	// runs processes in slots, and must end when its context does.
	Beside func(ctx context.Context, tree string, slots *objgraph.Pool)
	// Answers are results of configure tests that are known for the target; they replace
	// those that a cross build assumes.
	Answers map[string]string
}

// Driver turns configured sources into objects, libraries and programs.
type Driver string

// The drivers. Their trees have the same files, symbols and settings.
const (
	// Native reads the makefiles and runs the compiler itself, once per object, for
	// all parts from one schedule. If it does not understand a makefile or a libtool,
	// the build is repeated with Make, and a note reports it.
	Native Driver = "native"
	// Make runs make, which runs libtool: httpd's own build.
	Make Driver = "make"
)

// ParseDriver parses the name of a driver; "" and "auto" are Native. Its errors are of
// class Usage.
func ParseDriver(name string) (Driver, error) {
	switch name {
	case "", "auto", string(Native):
		return Native, nil
	case string(Make):
		return Make, nil
	}
	return "", fault.New(fault.Usage, "use native or make", "unknown build driver %q", name)
}

// Result is a finished tree.
type Result struct {
	Tree    string   // = Request.Stage
	Driver  Driver   // the driver that built it
	Modules []string // names without ".so", sorted
	// Unpacked is the SHA-256 of exactly the bytes that each component was unpacked
	// from, by name.
	Unpacked map[string]string
	Timings  []steps.Timing
}

// component returns the archive of that name, or nil.
func (q *Request) component(name string) *Component {
	for i := range q.Components {
		if q.Components[i].Name == name {
			return &q.Components[i]
		}
	}
	return nil
}

// Key identifies the result of Build: the same key means the same tree. It is the
// SHA-256 of Inputs.
func (q *Request) Key() string {
	sum := sha256.Sum256([]byte(q.Inputs()))
	return hex.EncodeToString(sum[:])
}

// Inputs is a text that names everything that the tree depends on. It has a line "NAME
// VERSION SHA256" for each component.
func (q *Request) Inputs() string {
	var b strings.Builder
	fmt.Fprintf(&b, "httpdbuild %s\n", buildVersion)
	parts := slices.Clone(q.Components)
	sort.SliceStable(parts, func(i, j int) bool { return parts[i].Name < parts[j].Name })
	for _, c := range parts {
		fmt.Fprintf(&b, "%s %s %s\n", c.Name, c.Version, c.SHA256)
	}
	chosen := slices.Clone(q.Features)
	slices.Sort(chosen)
	for _, f := range append(chosen, "expat") {
		libs := strings.Join(q.Host.Linked[f], " ")
		if q.replaced(f) {
			libs = ""
		}
		fmt.Fprintf(&b, "feature %s %s\n", f, libs)
	}
	fmt.Fprintf(&b, "cc %q\ncflags %s\n%s\n%s\ncompiler %s\ntarget %s\nlibc %s\nepoch %s\n", q.Host.CC, strings.Join(q.cflags(""), " "), q.ldflags(), q.Flags,
		q.Host.Compiler, q.Host.Target, q.Host.Libc, run.Getenv(q.Host.Env, "SOURCE_DATE_EPOCH"))
	for _, p := range q.Host.Programs {
		fmt.Fprintf(&b, "program %s\n", p)
	}
	if q.Host.Sysroot != "" {
		fmt.Fprintf(&b, "sysroot %s\n%s\n", q.Host.Sysroot, strings.Join(q.settings(), "\n"))
	}
	return q.Host.Portable(b.String())
}

func (q *Request) check() error {
	for _, name := range []string{"httpd", "apr", "apr-util", "pcre2"} {
		if q.component(name) == nil {
			return fmt.Errorf("build httpd: missing source of %s", name)
		}
	}
	for _, f := range q.Features {
		if !q.Host.Has[f] && !q.replaced(f) {
			return fmt.Errorf("build httpd: missing source of the library for %s, and the host has none", f)
		}
	}
	for _, c := range q.Components {
		if c.SHA256 == "" {
			return fmt.Errorf("build httpd: the archive of %s has no SHA-256 to compare with", c.Name)
		}
	}
	if q.component("expat") == nil && !q.Host.Expat {
		return fmt.Errorf("build httpd: missing source of expat, and the host has none")
	}
	if q.Jobs < 1 {
		return fmt.Errorf("build httpd: %d jobs", q.Jobs)
	}
	if !filepath.IsAbs(q.Work) || !filepath.IsAbs(q.Stage) {
		return fmt.Errorf("build httpd: %q or %q is not an absolute path", q.Work, q.Stage)
	}
	if _, err := os.Lstat(q.Stage); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("build httpd: %s already exists (%v)", q.Stage, err)
	}
	return q.checkWork()
}

// checkWork refuses a build directory whose path shells, make, sed scripts, libtool
// and linker flags would misinterpret, as not all of them can quote it.
func (q *Request) checkWork() error {
	special := strings.IndexFunc(q.Work, func(r rune) bool {
		return r < 0x80 && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') && !strings.ContainsRune("/._-+", r)
	})
	if special < 0 {
		return nil
	}
	return fault.New(fault.Environment, "set XDG_CACHE_HOME or --cache-dir to a directory whose path contains only letters, digits and ._-+",
		"the build directory %q has the character %q in its path, which make cannot handle", q.Work, q.Work[special])
}

// cflags are the flags for all compilers, with the caller's own after those of the build.
// They keep paths of the build out of the result
// (https://reproducible-builds.org/docs/build-path/).
func (q *Request) cflags(work string) []string {
	return slices.Concat([]string{"-O2", "-g0"}, q.Flags.Compile, q.Flags.Given.Compile, []string{"-ffile-prefix-map=" + work + "=."})
}

// ldflags are the linker's flags. The run path is the placeholder's, which relocate
// makes relative to the file. A build identifier would make builds differ.
func (q *Request) ldflags(more ...string) string {
	return "LDFLAGS=" + strings.Join(slices.Concat([]string{"-Wl,-rpath," + Placeholder + "/lib"}, more, q.link()), " ")
}

// link are the linker's flags that every file is linked with.
func (q *Request) link() []string {
	return slices.Concat([]string{"-Wl,--build-id=none"}, q.Flags.Link, q.Flags.Given.Link)
}
