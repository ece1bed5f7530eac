// Package doctor checks a Python environment and its host, from the compiler to the
// port, and reports for each finding its severity, the evidence and the fix on this
// system. It reads, compiles one tiny program in a temporary directory, and listens
// for an instant on the given port. It changes nothing; callers pass in what repairs.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"modwsgi/detect"
	"modwsgi/internal/catalogue"
	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/platform"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/toolchain"
)

// Schema is the version of Report's JSON, which docs/reference/json.md documents.
const Schema = 1

// Severity is the severity of a finding.
type Severity string

// The severities, mildest first.
const (
	OK      Severity = "ok"      // checked and found right
	Note    Severity = "note"    // informational
	Warning Severity = "warning" // works, except in the named case
	Problem Severity = "error"   // does not work
)

var order = map[Severity]int{OK: 0, Note: 1, Warning: 2, Problem: 3}

// Finding is the result of one check.
type Finding struct {
	Check    string            `json:"check"` // a stable name, "compiler"
	Severity Severity          `json:"severity"`
	Summary  string            `json:"summary"`            // one sentence
	Evidence []detect.Evidence `json:"evidence,omitempty"` // files and values
	Cure     string            `json:"cure,omitempty"`     // the fix for this system
	Fixable  bool              `json:"fixable,omitempty"`  // Fix repairs it

	busy bool // its only error is a port in use
}

// Report lists all findings, in the order of the checks.
type Report struct {
	Schema   int            `json:"schema"`
	Worst    Severity       `json:"worst"`
	Python   *detect.Python `json:"python,omitempty"`
	HTTPD    *detect.HTTPD  `json:"httpd,omitempty"`   // the one that would be used now
	Findings []Finding      `json:"findings"`          // never null
	Install  string         `json:"install,omitempty"` // the command that installs everything missing, if several findings name packages

	Receipt *receipt.Receipt `json:"receipt,omitempty"` // of the installed module, for this Python or for one that the environment had before
}

// Request is what to check.
type Request struct {
	Python, HTTPD string   // as for detect.Request
	Env           []string // the caller's environment
	Dir           string   // the caller's working directory
	Runner        *run.Runner
	User          string            // account that will run the server, "" for none
	App           string            // application file, "" for none
	Host          string            // address to listen on, "" for all
	Port          int               // 0 for no check
	System        platform.System   // of this machine; "" is the one that the program runs on
	Catalogue     *catalogue.Status // of this run; nil is not checked
	Now           time.Time         // for the age of the catalogue
}

// exam is one run of the checks.
type exam struct {
	Request
	host    host
	py      *detect.Python
	httpd   *detect.HTTPD
	cands   []detect.HTTPD
	receipt *receipt.Receipt
	tools   *toolchain.Toolchain // nil if the compiler does not work
	site    string               // path of the receipt
	lacking []error              // findings that packages fix
	report  *Report
	check   string // name of the current check
}

// host is the source of facts about the machine. Tests replace parts that they cannot
// produce.
type host struct{ selinux, proc string }

func thisHost() host { return host{selinux: "/sys/fs/selinux/enforce", proc: "/proc"} }

// Examine runs every check that applies. A finding is not an error; the error is the
// context's.
func Examine(ctx context.Context, q Request) (*Report, error) {
	return examine(ctx, q, thisHost())
}

func examine(ctx context.Context, q Request, h host) (*Report, error) {
	e := &exam{Request: q, host: h, report: &Report{Schema: Schema, Worst: OK, Findings: []Finding{}}}
	for _, c := range []struct {
		name string
		run  func(context.Context)
	}{
		{"system", e.system},
		{"python", e.python},
		{"headers", e.headers},
		{"httpd", e.findHTTPD},
		{"installed", e.installed},
		{"stale", e.stale},
		{"module", e.module},
		{"libc", e.libc},
		{"mpm", e.mpm},
		{"libraries", e.libraries},
		{"advisories", e.advisories},
		{"catalogue", e.catalogue},
		{"certificates", e.certificates},
		{"compiler", e.compiler},
		{"build", e.build},
		{"temporary", e.temporary},
		{"mount", e.mount},
		{"user", e.user},
		{"reach", e.reach},
		{"port", e.port},
		{"selinux", e.selinux},
	} {
		if !q.System.Serves() && c.name != "system" && c.name != "python" {
			continue // about building and serving
		}
		e.check = c.name
		c.run(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	e.finish()
	return e.report, nil
}

// finish adds to the report what all checks together found.
func (e *exam) finish() {
	if len(e.lacking) > 1 {
		e.report.Install = distro.Together(distro.Fixing(e.lacking...)...).Command(distro.Family())
	}
	e.report.Python, e.report.HTTPD = e.py, e.httpd
	if e.receipt != nil {
		e.report.Receipt = e.receipt
	}
}

// find adds a finding; evidence alternates between fact, source and value.
func (e *exam) find(s Severity, fix, format string, args ...any) *Finding {
	e.report.Findings = append(e.report.Findings, Finding{Check: e.check, Severity: s, Summary: fmt.Sprintf(format, args...), Cure: fix})
	if order[s] > order[e.report.Worst] {
		e.report.Worst = s
	}
	return &e.report.Findings[len(e.report.Findings)-1]
}

func (f *Finding) because(fact, source, value string) *Finding {
	f.Evidence = append(f.Evidence, detect.Evidence{Fact: fact, Source: source, Value: value})
	return f
}

// failed adds an error that another package classified and gave a fix.
func (e *exam) failed(s Severity, err error) *Finding {
	if s != Note && len(distro.Fixing(err)) > 0 {
		e.lacking = append(e.lacking, err)
	}
	return e.find(s, fault.HintOf(err), "%s", err)
}

// Err returns nil if nothing is worse than a note, else an error of class
// fault.Environment, or fault.Busy if a port in use is the only error. With strict,
// warnings count as errors.
func (r *Report) Err(strict bool) error {
	var first *Finding
	problems, busy := 0, 0
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Severity != Problem && (!strict || f.Severity != Warning) {
			continue
		}
		if first == nil || order[f.Severity] > order[first.Severity] {
			first = f
		}
		problems++
		if f.busy {
			busy++
		}
	}
	if first == nil {
		return nil
	}
	class := fault.Environment
	if busy == problems {
		class = fault.Busy
	}
	more, hint := "", first.Cure
	if problems > 1 {
		more = fmt.Sprintf(" (and %d more)", problems-1)
		hint = cmp.Or(r.Install, hint)
	}
	return fault.New(class, hint, "%s%s", first.Summary, more)
}

// Fixable lists the checks whose findings a rebuild fixes.
func (r *Report) Fixable() []string {
	var out []string
	for _, f := range r.Findings {
		if f.Fixable {
			out = append(out, f.Check)
		}
	}
	return out
}

// Rebuild builds and installs the module again, for the Python and the httpd in the
// report.
type Rebuild func(ctx context.Context, r *Report) error

// Fix repairs what it can, with rebuild, and examines again. The first result is the
// report after that. If there is nothing to repair, it is before, and rebuild is not
// called.
func Fix(ctx context.Context, before *Report, q Request, rebuild Rebuild) (*Report, error) {
	checks := before.Fixable()
	if len(checks) == 0 {
		return before, nil
	}
	if err := rebuild(ctx, before); err != nil {
		return before, fmt.Errorf("rebuild the module: %w", err)
	}
	after, err := Examine(ctx, q)
	if err != nil {
		return nil, err
	}
	if left := after.Fixable(); len(left) > 0 {
		return after, fault.New(fault.Verify, "install again with modwsgi install --reinstall"+forPython(after)+" and read its log", "the rebuild did not fix: %s", strings.Join(left, ", "))
	}
	return after, nil
}

// forPython is the option that names the environment of a report.
func forPython(r *Report) string {
	if r.Python == nil {
		return ""
	}
	return " --python " + run.Quote(r.Python.Prefix)
}

var errNone = errors.New("none")
