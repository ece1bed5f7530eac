package detect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// ExplanationSchema is the version of Explanation's JSON. New names do not change it;
// removing one or changing its meaning does.
const ExplanationSchema = 1

// Explanation lists everything that was inspected, in order, and what was chosen.
// docs/reference/json.md documents its JSON.
type Explanation struct {
	Schema  int               `json:"schema"`
	Root    string            `json:"root,omitempty"` // the directory of another system's disk, "" for this machine
	System  string            `json:"system"`         // "linux", "darwin", "windows"
	Pythons []PythonCandidate `json:"pythons"`        // never null
	HTTPDs  []HTTPDCandidate  `json:"httpds"`         // never null
}

// Verdict is the outcome for a candidate.
type Verdict string

// The verdicts.
const (
	Chosen   Verdict = "chosen"   // the first usable one
	Usable   Verdict = "usable"   // usable if requested
	Rejected Verdict = "rejected" // unusable for the given reason
)

// PythonCandidate is an interpreter that was considered.
type PythonCandidate struct {
	Path    string  `json:"path"`   // as found
	Source  string  `json:"source"` // its source: "--python", "VIRTUAL_ENV", a directory, a registry key
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	Cure    string  `json:"cure,omitempty"`
	Builds  bool    `json:"builds"` // a module can be compiled and linked for it
	Python  *Python `json:"python,omitempty"`
}

// HTTPDCandidate is an httpd that was considered.
type HTTPDCandidate struct {
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	HTTPD   *HTTPD  `json:"httpd"`
}

// Python returns the chosen one, nil if none was chosen.
func (e *Explanation) Python() *Python {
	for _, c := range e.Pythons {
		if c.Verdict == Chosen {
			return c.Python
		}
	}
	return nil
}

// HTTPD returns the chosen one, nil if none was chosen.
func (e *Explanation) HTTPD() *HTTPD {
	for _, c := range e.HTTPDs {
		if c.Verdict == Chosen {
			return c.HTTPD
		}
	}
	return nil
}

// Explain finds what FindPython, FindHTTPDs and Choose would find, and explains for
// every candidate why it was chosen or not. It starts the chosen interpreter once and
// describes others from their files. The error is of class fault.Environment if no
// Python can be used, or not the httpd at a named path; the explanation is complete even
// then.
func Explain(ctx context.Context, r *run.Runner, req Request) (*Explanation, error) {
	d := ThisDisk()
	e := &Explanation{Schema: ExplanationSchema, System: d.goos, Pythons: []PythonCandidate{}, HTTPDs: []HTTPDCandidate{}}
	py, err := FindPython(ctx, r, req)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	e.nameFirst(d, req, py, err)
	e.others(d, req, py)
	subject := py
	if subject == nil {
		subject = &Python{}
	}
	found, findErr := FindHTTPDs(ctx, r, subject, req)
	if findErr != nil {
		return nil, findErr
	}
	e.chooseHTTPD(found, req)
	if err == nil && isPath(req.HTTPD) {
		_, err = Choose(found, req)
	}
	return e, err
}

// nameFirst adds the requested interpreter.
func (e *Explanation) nameFirst(d *Disk, req Request, py *Python, err error) {
	path, source := req.named(d)
	if path == "" {
		return
	}
	c := PythonCandidate{Path: path, Source: source, Verdict: Chosen, Reason: "it was named by " + source, Python: py}
	if source == "directory" {
		c.Reason = "no environment is activated, but .venv is in the working directory"
	}
	if err != nil {
		c.Verdict, c.Reason, c.Cure = Rejected, err.Error(), fault.HintOf(err)
	}
	c.judge(d)
	e.Pythons = append(e.Pythons, c)
}

// judge reports whether a module can be built for it.
func (c *PythonCandidate) judge(d *Disk) {
	if c.Python == nil {
		return
	}
	err := c.Python.canBuild(d)
	if c.Builds = err == nil; !c.Builds {
		c.Reason += ", but modules cannot be built for it: " + err.Error()
		c.Cure = fault.HintOf(err)
	}
}

// named returns what the request itself names, and where; see locateRequested.
func (r Request) named(d *Disk) (path, source string) {
	if r.Python != "" {
		return r.Python, "--python"
	}
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if dir := r.env(name); dir != "" && (name != "CONDA_PREFIX" || r.env("CONDA_DEFAULT_ENV") != "base") {
			return dir, name
		}
	}
	if dir := filepath.Join(r.Dir, ".venv"); d.exists(dir) {
		return dir, "directory"
	}
	return "", ""
}

// others adds the candidates that were not chosen: weaker names in the request's
// environment, the registry, and interpreters on PATH.
func (e *Explanation) others(d *Disk, req Request, chosen *Python) {
	var places []place
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if dir := req.env(name); dir != "" {
			places = append(places, place{req.abs(d, dir), name})
		}
	}
	places = append(places, place{filepath.Join(req.Dir, ".venv"), "directory"})
	places = append(places, registered(thisRegistry())...)
	for _, dir := range filepath.SplitList(req.env("PATH")) {
		for _, name := range []string{"python3", "python", "python.exe"} {
			if path := filepath.Join(dir, name); filepath.IsAbs(dir) && d.isFile(path) {
				places = append(places, place{path, "PATH"})
			}
		}
	}
	_, first := req.named(d)
	seen := []string{}
	if chosen != nil {
		seen = append(seen, chosen.Executable)
	}
	for _, p := range places {
		if p.source == first || !d.exists(p.path) {
			continue
		}
		exe := p.path
		if d.isDir(p.path) {
			exe = d.interpreterBelow(p.path)
		}
		if real, shim, _ := d.pyenvShim(req, exe); shim && real != "" {
			exe = real
		}
		// /bin may be a link to /usr/bin. An environment's interpreter is a link to
		// its base's, but is a different Python.
		if exe == "" || slices.ContainsFunc(seen, func(s string) bool { return d.sameFile(filepath.Dir(s), filepath.Dir(exe)) && d.sameFile(s, exe) }) {
			continue
		}
		seen = append(seen, exe)
		e.Pythons = append(e.Pythons, describe(d, place{exe, p.source}, Usable, nameIt))
	}
}

// nameIt is the reason for a candidate that was not requested.
const nameIt = "it is usable: name it with --python"

// describe is a candidate that is known only from its files. verdict and reason apply
// if it is usable.
func describe(d *Disk, p place, verdict Verdict, reason string) PythonCandidate {
	c := PythonCandidate{Path: p.path, Source: p.source, Verdict: verdict, Reason: reason}
	py, err := FromFiles(d, p.path)
	if err != nil {
		c.Verdict, c.Reason, c.Cure = Rejected, err.Error(), fault.HintOf(err)
		return c
	}
	c.Python = py
	c.judge(d)
	return c
}

// chooseHTTPD gives each httpd its verdict.
func (e *Explanation) chooseHTTPD(found []HTTPD, req Request) {
	chosen := false
	named := false
	for i := range found {
		h := &found[i]
		c := HTTPDCandidate{Verdict: Usable, Reason: "one with a higher priority was chosen", HTTPD: h}
		switch {
		case h.Refused != "":
			c.Verdict, c.Reason = Rejected, h.Refused
			// Choose stops at a named one that cannot be used.
			named = named || !chosen && h.Provenance == Explicit && eligible(h, req.HTTPD)
		case !eligible(h, req.HTTPD):
			c.Reason = fmt.Sprintf("--httpd %s excludes it", req.HTTPD)
		case named:
			c.Reason = "the named httpd cannot be used, and no other replaces it"
		case !chosen:
			chosen = true
			c.Verdict, c.Reason = Chosen, reasonFor(h)
		}
		e.HTTPDs = append(e.HTTPDs, c)
	}
}

func reasonFor(h *HTTPD) string {
	switch h.Provenance {
	case Explicit:
		return "it was named explicitly, which takes precedence over all others"
	case Bundled:
		return "it is the environment's own, which takes precedence over the system's"
	default:
		return "it is the system's first usable httpd"
	}
}

// ExplainRoot is Explain for a disk that is mounted or unpacked at root and opened as
// fsys. It runs nothing on that disk. req.Python and req.HTTPD are paths on it; the
// variables of req are ignored, because they belong to this machine.
func ExplainRoot(fsys fs.FS, root, goos string, req Request) (*Explanation, error) {
	d := NewDisk(fsys, goos)
	e := &Explanation{Schema: ExplanationSchema, Root: root, System: goos, Pythons: []PythonCandidate{}, HTTPDs: []HTTPDCandidate{}}
	err := e.pythonsOn(d, d.slashes(req.Python))
	py := e.Python()
	if py == nil {
		py = &Python{}
	}
	f := &finder{py: py, disk: d, req: Request{HTTPD: req.HTTPD}}
	f.onDisk(noKeys{})
	e.chooseHTTPD(f.found, req)
	if err == nil && isPath(req.HTTPD) && e.HTTPD() == nil && len(e.HTTPDs) > 0 {
		err = fault.New(fault.Environment, "name another one with --httpd, as a path on that disk", "cannot use the httpd that you named (--httpd %s): %s", req.HTTPD, e.HTTPDs[0].Reason)
	}
	return e, err
}

// noKeys: another machine's registry is in files that are not read.
type noKeys struct{}

func (noKeys) keys(string) []string        { return nil }
func (noKeys) value(string, string) string { return "" }

func (e *Explanation) pythonsOn(d *Disk, named string) error {
	var places []place
	if named != "" {
		exe, err := d.locate(named)
		if err != nil {
			e.Pythons = append(e.Pythons, PythonCandidate{Path: named, Source: "--python", Verdict: Rejected, Reason: err.Error(), Cure: fault.HintOf(err)})
			return err
		}
		places = append(places, place{exe, "--python"})
	}
	places = append(places, d.pythonPlaces()...)
	chosen := false
	for i, p := range places {
		if i > 0 && named != "" && p.path == places[0].path {
			continue
		}
		verdict, reason := Usable, nameIt
		switch {
		case chosen || named != "" && i > 0:
		case named != "":
			verdict, reason = Chosen, "it was named by --python"
		default:
			verdict, reason = Chosen, "it comes first: environments precede the Pythons of version managers, which precede the system's"
		}
		c := describe(d, p, verdict, reason)
		chosen = chosen || c.Verdict == Chosen
		e.Pythons = append(e.Pythons, c)
	}
	if chosen {
		return nil
	}
	if named != "" {
		return fault.New(fault.Environment, hintGivePath, "cannot use %s: %s", named, e.Pythons[0].Reason)
	}
	return fault.New(fault.Environment, hintGivePath+", as a path on that disk", "no usable Python found on that disk")
}

// locate finds the interpreter for a path on a disk: a directory, an interpreter, or
// any program next to one.
func (d *Disk) locate(path string) (string, error) {
	if !d.isAbs(path) {
		path = "/" + path
	}
	path = filepath.Clean(path)
	if d.isDir(path) {
		if exe := d.interpreterBelow(path); exe != "" {
			return exe, nil
		}
		return "", fault.New(fault.Environment, hintGivePath, "%s is not a Python environment: it has no program bin/python", path)
	}
	if _, err := d.stat(path); err != nil {
		return "", fault.New(fault.Environment, hintGivePath, "%s: %w", path, reasonOf(err))
	}
	for _, step := range d.links(path) {
		if isInterpreterName(filepath.Base(step)) && d.notBinary(step) == "" {
			return step, nil
		}
		if exe := d.interpreterBelow(filepath.Dir(step)); exe != "" && d.inEnvironment(exe) {
			return exe, nil
		}
	}
	if why := d.notBinary(path); why != "" {
		return "", fault.New(fault.Environment, hintGivePath, "%s is not a Python interpreter: %s", path, why)
	}
	return path, nil
}

// reasonOf returns the reason without the path, which the caller names.
func reasonOf(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
