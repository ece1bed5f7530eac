package installer

import (
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"modwsgi/detect"
	"modwsgi/internal/elf"
	"modwsgi/internal/event"
	"modwsgi/internal/prove"
	"modwsgi/internal/pydist"
	"modwsgi/internal/steps"
)

// Report is what an install did.
type Report struct {
	Nothing   bool           `json:"nothing_to_do"`
	Python    *detect.Python `json:"python"`
	Site      string         `json:"site_packages"`
	Installed []Installed    `json:"installed"`
	Removed   []string       `json:"removed,omitempty"` // of the environment's former Pythons
	Sources   []SourceReport `json:"sources,omitempty"`
	Proof     *prove.Proof   `json:"proof,omitempty"`
	Untried   string         `json:"not_verified,omitempty"` // why the placed files were not verified
	Timings   []steps.Timing `json:"timings,omitempty"`
	Cached    bool           `json:"httpd_from_build_cache"`
	Launcher  string         `json:"launcher"`
	Instead   []Substitute   `json:"instead,omitempty"` // components for which an older version was used
	User      string         `json:"user,omitempty"`    // account to serve as, when running as root
	Logs      string         `json:"logs,omitempty"`
	Lock      string         `json:"lock_file,omitempty"`
	Elapsed   time.Duration  `json:"elapsed_ns"`
	Warnings  []string       `json:"warnings,omitempty"` // sorted
}

// Installed is one distribution in the environment.
type Installed struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Location string   `json:"location"`
	HTTPD    string   `json:"httpd,omitempty"`    // version of the httpd that a module is for
	Server   string   `json:"server,omitempty"`   // its executable
	Features []string `json:"features,omitempty"` // of a bundled httpd
	By       string   `json:"installer"`
	Problems []string `json:"problems,omitempty"`
	// Hardening is what all its libraries, modules and programs of C have; nil if it has no
	// such files.
	Hardening *elf.Hardening `json:"hardening,omitempty"`
	Earlier   string         `json:"earlier_python,omitempty"` // "3.11": it was installed for a Python that the environment had before
}

// SourceReport is one archive that was used.
type SourceReport struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	Provider  string `json:"provider"`
	From      string `json:"from"`
	Trust     string `json:"trust"`
	Signer    string `json:"signer,omitempty"`
}

// Substitute is a version that was used although a newer one is known.
type Substitute struct {
	Component string `json:"component"`
	Wanted    string `json:"wanted"`
	Used      string `json:"used"`
	Why       string `json:"why"` // one line
}

// recorder collects the events of one install for its report.
type recorder struct {
	mu       sync.Mutex
	began    time.Time
	timings  []steps.Timing
	warnings []string
}

func (r *recorder) sink(next event.Sink) event.Sink {
	return func(e event.Event) {
		r.mu.Lock()
		switch e.Kind {
		case event.Done:
			r.timings = append(r.timings, steps.Timing{Step: e.Step, Began: time.Since(r.began) - e.Elapsed, Elapsed: e.Elapsed})
		case event.Warn:
			r.warnings = append(r.warnings, e.Text)
		}
		r.mu.Unlock()
		next.Send(e)
	}
}

// into adds them to a report.
func (r *recorder) into(report *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report.Timings, report.Elapsed = r.timings, time.Since(r.began)
	report.Warnings = slices.Sorted(slices.Values(r.warnings)) // archives are fetched concurrently
}

// newReport describes the current state of an environment.
func newReport(py *detect.Python) *Report {
	r := &Report{Python: py, Site: py.Platlib, Launcher: filepath.Join(py.Scripts, "mod_wsgi-express"), User: ServingUser()}
	if list, err := listSite(py.Platlib); err == nil {
		r.Installed = list
	}
	return r
}

// used adds what the environment was built from.
func (r *Report) used(src *sources, made *product, lockFile string) {
	r.Cached = made.cached
	for name, f := range src.files {
		r.Sources = append(r.Sources, SourceReport{
			Component: name, Version: f.Archive.Version, Provider: f.Provider, From: f.From, Trust: string(f.Trust), Signer: f.Signer,
		})
	}
	sort.SliceStable(r.Sources, func(i, j int) bool { return r.Sources[i].Component < r.Sources[j].Component })
	r.Instead = slices.Clone(src.instead)
	sort.SliceStable(r.Instead, func(i, j int) bool { return r.Instead[i].Component < r.Instead[j].Component })
	if fileExists(lockFile) {
		r.Lock = lockFile
	}
}

func orSomebody(installer string) string {
	if installer == "" {
		return "somebody"
	}
	return installer
}

func distNames(dists []pydist.Dist) string {
	var names []string
	for _, d := range dists {
		names = append(names, d.Name+" "+d.Version)
	}
	return strings.Join(names, ", ")
}

func listSite(site string) ([]Installed, error) {
	s, err := readState(site)
	if err != nil {
		return nil, err
	}
	var out []Installed
	if s.module != nil {
		i := Installed{Name: s.module.Name, Version: s.module.Version, Location: filepath.Join(site, "mod_wsgi"), By: s.module.Installer}
		if s.receipt != nil {
			i.HTTPD, i.Server = s.receipt.HTTPD.Version, s.receipt.HTTPD.Executable
		}
		out = append(out, i)
	}
	if s.httpd != nil {
		i := Installed{Name: s.httpd.Name, Version: s.httpd.Version, Location: httpdTree(site), By: s.httpd.Installer}
		if s.tree != nil {
			i.Features = s.tree.Features
		}
		out = append(out, i)
	}
	for i := range out {
		d := s.module
		if out[i].Name != d.Name {
			d = s.httpd
		}
		for _, problem := range d.Check() {
			out[i].Problems = append(out[i].Problems, problem.String())
		}
		out[i].Hardening = hardeningOf(d, out[i].Location)
	}
	return out, nil
}

// hardeningOf returns what all binaries of a distribution below dir have. A damaged one is
// among its problems.
func hardeningOf(d *pydist.Installed, dir string) *elf.Hardening {
	var all *elf.Hardening
	for _, path := range d.Paths() {
		if !inside(dir, path) {
			continue
		}
		h, err := elf.ReadHardening(path)
		if err != nil { // mostly a file of another format
			continue
		}
		if all != nil {
			h = h.And(*all)
		}
		all = &h
	}
	return all
}
