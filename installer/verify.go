package installer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/detect"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/timeline"
)

// Subject is a module, the httpd and the Python that are to be tried together.
type Subject struct {
	Prefix        string // sys.prefix that must come back
	PythonVersion string // "3.11.7"
	Module        string // path
	ModuleVersion string
	Executable    string // httpd
	ModulesDir    string
	LibPython     string         // loaded before the module; "" where the module finds it by itself
	Staged        bool           // the module lies in a stage, and can be tried elsewhere
	Tree          string         // of the httpd, where that lies in the stage too
	Python        *detect.Python // what else is known of the Python
}

// Proof is what the application that ran inside httpd said of itself.
type Proof struct {
	Prefix        string        `json:"prefix"`
	PythonVersion string        `json:"python"`
	ModuleVersion string        `json:"mod_wsgi"`
	Server        string        `json:"server"`
	Threads       bool          `json:"multithread"`
	Elapsed       time.Duration `json:"elapsed_ns"`
}

// notTried is why something was not verified: as root, trying it would have given
// its code rights that others could use.
type notTried struct{ why, hint string }

func (n *notTried) Error() string { return n.why }

// fault is the error where trying was all that was asked for.
func (n *notTried) fault() error {
	return fault.New(fault.Verify, n.hint, "it was not tried: %w", n)
}

// untried finds the verdict in an error.
func untried(err error) *notTried {
	var n *notTried
	if errors.As(err, &n) {
		return n
	}
	return nil
}

// verifyTimeout is how long the throwaway server may take to its first answer.
const verifyTimeout = 30 * time.Second

// verifyHook is called at the moments of a verification at which others could
// interfere; tests do that there.
var verifyHook = func(moment string, t *throwaway) {}

// verify starts a throwaway httpd on a loopback port, which loads the module and
// runs an application in a daemon process with the Python, and asks it what it
// is. The errors are of class Verify and carry the end of httpd's error log, or they
// are *notTried.
func verify(ctx context.Context, q *Request, s Subject) (*Proof, error) {
	began := time.Now()
	var last error
	for range 3 { // another process may take the port between our look and httpd's
		proof, retry, err := verifyOnce(ctx, q, s)
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

func verifyOnce(ctx context.Context, q *Request, s Subject) (_ *Proof, retry bool, _ error) {
	t, err := q.newThrowaway()
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
	verifyHook("configured", t)
	out := &boundedText{}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	asking, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	t.log.follow(func() { fail(errors.New("the daemon process with the application could not start")) })
	server, err := q.Runner.Start(ctx, run.Cmd{
		Argv: []string{s.Executable, "-f", t.path("httpd.conf"), "-DFOREGROUND"},
		Dir:  t.dir.Path(), Env: t.environment(), Log: out, Account: t.account,
	})
	if err != nil {
		return nil, false, fault.New(fault.Verify, "programs must be executable where it lies: is that file system mounted noexec?",
			"start the throwaway server %s: %w", s.Executable, err)
	}
	verifyHook("started", t)
	proof, err := ask(asking, server, t)
	verifyHook("answered", t)
	var said string
	if err != nil { // what it says while it ends is not to the point
		t.log.settle(server)
		said = out.String() + t.log.text()
	}
	stop(server, err == nil)
	if err != nil {
		kept := keepLog(q.logs, said)
		return nil, strings.Contains(said, "could not bind"), fault.New(fault.Verify, verifyHint(said, s.Prefix, t.account),
			"%w\nhttpd said:\n%s%s", err, indent(telling(said, 20)), kept)
	}
	return proof, false, compare(proof, s)
}

// compare refuses an answer that is not of this Python and this module.
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
		return fault.New(fault.Verify, "the library and the interpreter of this Python are of different versions: repair the Python installation",
			"the module runs Python %s, not %s", p.PythonVersion, s.PythonVersion)
	case p.ModuleVersion != s.ModuleVersion:
		return fault.New(fault.Verify, "", "the module says that it is mod_wsgi %s, not %s", p.ModuleVersion, s.ModuleVersion)
	}
	return nil
}

// number is the part of a Python version without "rc1" or "+".
func number(version string) string {
	if i := strings.IndexFunc(version, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
		return version[:i]
	}
	return version
}

// installedSubject is what a receipt says lies in the environment.
func installedSubject(site string, py *detect.Python) (*Subject, error) {
	r, err := receipt.Read(site)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fault.New(fault.Environment, "build it again with modwsgi install --python "+run.Quote(py.Prefix), "the record of what is installed is damaged: %w", err)
	}
	return &Subject{
		Prefix: py.Prefix, PythonVersion: py.Version,
		Module: filepath.Join(site, "mod_wsgi", "server", r.Module.File), ModuleVersion: r.Module.Version,
		Executable: r.HTTPD.Executable, ModulesDir: r.HTTPD.ModulesDir, LibPython: wheelLibrary(r, py), Python: py,
	}, nil
}

// Verify tries what is installed, by a real request.
func Verify(ctx context.Context, q Request) (*Proof, error) {
	py, err := environment(ctx, &q)
	if err != nil {
		return nil, err
	}
	warnOfOwner(py, "verify", q.Events)
	sub, err := installedSubject(py.Platlib, py)
	if errors.Is(err, os.ErrNotExist) {
		return nil, notInstalled(py, q.Events)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range []string{ModuleDist, HTTPDDist} {
		d, err := pydist.Find(py.Platlib, name)
		if err != nil {
			return nil, err
		}
		if d == nil {
			continue
		}
		if problems := d.Check(); len(problems) > 0 {
			return nil, fault.New(fault.Verify, "run modwsgi install --python "+run.Quote(py.Prefix)+" to repair it",
				"%s is not as it was installed: %s", name, problems[0])
		}
	}
	proof, err := verifyStep(ctx, &q, "verify", *sub)
	if not := untried(err); not != nil {
		return nil, not.fault()
	}
	return proof, blameModule(err, py)
}

// blameModule adds to the error of a verification that the module no longer fits its
// Python, where that is so: no other hint helps then.
func blameModule(err error, py *detect.Python) error {
	if err == nil || fault.ClassOf(err) != fault.Verify {
		return err
	}
	r, readErr := receipt.Read(py.Platlib)
	if readErr != nil {
		return err
	}
	stale := reasons(receipt.Compare(r, receipt.Look(r, py.Recorded())))
	if len(stale) == 0 {
		return err
	}
	return fault.New(fault.Verify, "build the module again: modwsgi install --python "+run.Quote(py.Prefix), "%s\n%w", strings.Join(stale, "; "), err)
}

// notInstalled says that there is nothing to try, and what there is instead.
func notInstalled(py *detect.Python, events event.Sink) error {
	hint := "run modwsgi install --python " + run.Quote(py.Prefix)
	for _, e := range findEarlier(py, events) {
		return fault.New(fault.Environment, hint, "%s is in %s, but the environment was made again and has Python %s now", e, py.Prefix, py.Version)
	}
	return fault.New(fault.Environment, hint, "no mod_wsgi installed by modwsgi was found in %s", py.Prefix)
}

// verifyStep is verify as a named step, which does not fail where nothing was tried.
func verifyStep(ctx context.Context, q *Request, name string, s Subject) (*Proof, error) {
	var proof *Proof
	var not *notTried
	err := q.Events.Step(name, func() error {
		q.Events.Send(event.Event{Kind: event.Progress, Step: name, Text: "httpd answers a request with this Python"})
		end := q.Timeline.Begin(timeline.Verify, name, name)
		var err error
		proof, err = verify(ctx, q, s)
		end(func(s *timeline.Span) { s.Failed = err != nil })
		if not = untried(err); not != nil {
			return nil
		}
		return err
	})
	if not != nil {
		return nil, not
	}
	return proof, err
}

// tolerate makes a warning of what was not tried: building and placing go on
// without, and the report has why.
func tolerate(events event.Sink, err error) (why string, _ error) {
	not := untried(err)
	if not == nil {
		return "", err
	}
	events.Warn("not verified: " + not.why + "; " + not.hint)
	return not.why, nil
}
