// Package prove starts a throwaway httpd that loads a mod_wsgi module, lets it run an
// application with a Python, and asks the application which Python and which module
// answered. An install, a verification or a package is good only after such an answer.
// The server listens on a loopback port, runs with the fewest possible rights, and leaves
// nothing behind.
//
// It does not know where the module came from, where it will be installed, or how to
// handle a failure. It refuses to run code that another user can change with rights that
// this user does not have ([NotTried]).
package prove

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/observer"
	"modwsgi/internal/run"
	"modwsgi/internal/timeline"
)

// Options are the options for a throwaway server.
type Options struct {
	Runner   *run.Runner
	Env      []string           // TMPDIR names the directory for the server's files
	Logs     string             // directory for the log of a failed server; "" keeps none
	Events   event.Sink         // may be nil
	Timeline *timeline.Recorder // may be nil
}

// Subject is a module, an httpd and a Python to be tried together.
type Subject struct {
	Prefix        string // the expected sys.prefix
	PythonVersion string // "3.11.7"
	Module        string // path
	ModuleVersion string
	Executable    string // httpd
	ModulesDir    string
	LibPython     string  // loaded before the module; "" if the module finds it by itself
	Staged        bool    // the module is in a stage, and can be tried elsewhere
	Tree          string  // tree of the httpd, if that is in the stage too
	Site          string  // where the Python must import mod_wsgi from; "" for a stage, which it does not import
	Python        *Python // more about the Python; nil if unknown
	// Emulator is the command that runs programs of the subject's machine, with absolute
	// paths; nil to run them directly.
	Emulator []string
	// Root is the directory in which the emulator looks for the loader and its libraries
	// first; "" without an emulator.
	Root string
}

// Python has the paths of a Python's files.
type Python struct {
	Executable                     string
	Prefix, BasePrefix, ExecPrefix string
	Scripts, Purelib, Platlib      string
	LibPython                      string
	LibShared                      bool // LibPython is a shared library
	Major, Minor                   int
	FreeThreaded                   bool
}

// Proof is what the application reported from inside httpd.
type Proof struct {
	Prefix        string        `json:"prefix"`
	PythonVersion string        `json:"python"`
	ModuleVersion string        `json:"mod_wsgi"`
	Server        string        `json:"server"`
	Threads       bool          `json:"multithread"`
	Elapsed       time.Duration `json:"elapsed_ns"`
}

// NotTried is why something was not verified: as root, trying it would have given its
// code rights that others could use.
type NotTried struct{ Why, Hint string }

func (n *NotTried) Error() string { return n.Why }

// Fault returns an error for callers that asked only for a trial.
func (n *NotTried) Fault() error {
	return fault.New(fault.Verify, n.Hint, "it was not tried: %w", n)
}

// Untried finds the verdict in an error; nil if it has none.
func Untried(err error) *NotTried {
	var n *NotTried
	if errors.As(err, &n) {
		return n
	}
	return nil
}

// timeout is how long the throwaway server may take until its first answer.
const timeout = 30 * time.Second

// slower is how many times longer an emulated server may take.
const slower = 5

// patience multiplies the time limits of a subject.
func (s *Subject) patience() int {
	if len(s.Emulator) > 0 {
		return slower
	}
	return 1
}

func (s *Subject) timeout() time.Duration { return timeout * time.Duration(s.patience()) }

// hook is called at moments of a verification when other users could interfere. Tests set
// it.
var hook = func(moment string, t *throwaway) {}

// Run starts a throwaway httpd on a loopback port, which loads the module and runs an
// application in a daemon process with the Python, and asks it to identify itself. Errors
// are of class Verify and include the end of httpd's error log, or they are *NotTried.
func Run(ctx context.Context, o Options, s Subject) (*Proof, error) {
	began := time.Now()
	var last error
	for range 3 { // another process may take the port before httpd does
		proof, retry, err := runOnce(ctx, o, s)
		if err == nil {
			proof.Elapsed = time.Since(began)
			return proof, nil
		}
		if last = err; !retry || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, last
}

// Step is [Run] as a named step, which does not fail if nothing was tried.
func Step(ctx context.Context, o Options, name string, s Subject) (*Proof, error) {
	var proof *Proof
	var not *NotTried
	watch := observer.Observer{Events: o.Events, Timeline: o.Timeline}
	err := watch.Step(timeline.Verify, name, nil, "", func() (err error) {
		o.Events.Send(event.Event{Kind: event.Progress, Step: name, Text: "httpd answers a request with this Python"})
		proof, err = Run(ctx, o, s)
		if not = Untried(err); not != nil {
			return nil
		}
		return err
	})
	if not != nil {
		return nil, not
	}
	return proof, err
}

func runOnce(ctx context.Context, o Options, s Subject) (_ *Proof, retry bool, _ error) {
	t, err := newThrowaway(o.Env)
	if err != nil {
		return nil, false, err
	}
	defer t.remove()
	if s, err = t.admit(s); err != nil {
		return nil, false, err
	}
	if err := t.configure(ctx, s); err != nil {
		return nil, false, err
	}
	hook("configured", t)
	out := &boundedText{}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	asking, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	t.log.follow(func() { fail(errors.New("the daemon process with the application could not start")) })
	server, err := o.Runner.Start(ctx, run.Cmd{
		Argv: append(slices.Clone(s.Emulator), s.Executable, "-f", t.path("httpd.conf"), "-DFOREGROUND"),
		Dir:  t.dir.Path(), Env: t.environment(), Log: out, Account: t.account,
	})
	if err != nil {
		return nil, false, fault.New(fault.Verify, "programs must be executable there: is that file system mounted noexec?",
			"start the throwaway server %s: %w", s.Executable, err)
	}
	hook("started", t)
	proof, err := ask(asking, server, t, s.timeout())
	hook("answered", t)
	var said string
	if err != nil { // its output while it ends does not matter
		t.log.settle(server)
		said = out.String() + t.log.text()
	}
	stop(server, err == nil)
	if err != nil {
		kept := keepLog(o.Logs, said)
		return nil, strings.Contains(said, "could not bind"), fault.New(fault.Verify, hint(said, s.Prefix, t.account),
			"%w%s%s", err, outputBlock(said), kept)
	}
	if err := compare(proof, s); err != nil {
		return proof, false, err
	}
	return proof, false, t.imports(ctx, o, s)
}

// compare refuses an answer from another Python or module.
func compare(p *Proof, s Subject) error {
	same := p.Prefix == s.Prefix
	if !same {
		a, errA := os.Stat(p.Prefix)
		b, errB := os.Stat(s.Prefix)
		same = errA == nil && errB == nil && os.SameFile(a, b)
	}
	switch {
	case !same:
		return fault.New(fault.Verify, "", "the module runs Python with the prefix %s, not %s", p.Prefix, s.Prefix)
	case number(s.PythonVersion) != number(p.PythonVersion):
		return fault.New(fault.Verify, "the library and the interpreter of this Python are different versions: repair the Python installation",
			"the module runs Python %s, not %s", p.PythonVersion, s.PythonVersion)
	case p.ModuleVersion != s.ModuleVersion:
		return fault.New(fault.Verify, "", "the module reports mod_wsgi %s, not %s", p.ModuleVersion, s.ModuleVersion)
	}
	return nil
}

// number returns a Python version without "rc1" or "+".
func number(version string) string {
	if i := strings.IndexFunc(version, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
		return version[:i]
	}
	return version
}
