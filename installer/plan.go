package installer

import (
	"encoding/json"
	"fmt"
	"slices"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
	"modwsgi/internal/toolchain"
)

// What a plan does about the httpd.
const (
	KeepHTTPD  = "keep"  // use the environment's own
	UseHTTPD   = "use"   // use one outside the environment
	BuildHTTPD = "build" // build one into the environment
)

// What a plan does about the module.
const (
	keepModule  = "keep"
	buildModule = "build"
)

// Plan is what install would do, and why. It is data: JSON in, JSON out.
type Plan struct {
	Python  *detect.Python `json:"python"`
	Site    string         `json:"site_packages"`
	HTTPD   HTTPDPlan      `json:"httpd"`
	Module  ModulePlan     `json:"module"`
	Nothing bool           `json:"nothing_to_do"`
	Reasons []string       `json:"reasons"` // why each part is done
	// Warnings are what the user should know before anything is fetched: archives whose
	// hash is only in the lock file.
	Warnings []string `json:"warnings,omitempty"`

	Wish      Wish              `json:"wish,omitzero"`                // what the plan was made for
	Former    []Former          `json:"former,omitempty"`             // packages of the environment's former Pythons, to be removed
	Replaces  string            `json:"replaces,omitempty"`           // a module that modwsgi did not install
	Older     map[string]string `json:"older,omitempty"`              // the present versions, if --upgrade is the only reason
	Footprint string            `json:"footprint,omitempty"`          // changes with the packages installed in the environment
	Host      *Host             `json:"host,omitempty"`               // the compiler and what it finds; nil if nothing is built
	Recalled  bool              `json:"host_is_remembered,omitempty"` // Host comes from an earlier run
}

// HTTPDPlan is the part of the plan about httpd.
type HTTPDPlan struct {
	Action   string        `json:"action"` // "keep", "use" or "build"
	Use      *detect.HTTPD `json:"use,omitempty"`
	Versions []Choice      `json:"versions,omitempty"` // to build, in order of preference
	Features []string      `json:"features,omitempty"`
	// Libraries are the components that are built instead of using libraries of the host.
	Libraries []string            `json:"libraries,omitempty"`
	Notes     []string            `json:"notes,omitempty"` // what a user may not expect of the build
	Refused   []detect.HTTPD      `json:"refused,omitempty"`
	Parts     map[string][]Choice `json:"parts,omitempty"`  // versions of the components that httpd is built with
	Record    *httpdReceipt       `json:"record,omitempty"` // of the one that is kept
}

// ModulePlan is the part of the plan about mod_wsgi.
type ModulePlan struct {
	Action   string   `json:"action"` // "keep" or "build"
	Versions []Choice `json:"versions,omitempty"`
	Refused  []Choice `json:"refused,omitempty"` // versions that would be preferred, with the reason why they are not used
}

// notes explain why preferred versions are not used.
func (m ModulePlan) notes() []string {
	var out []string
	for _, c := range m.Refused {
		out = append(out, fmt.Sprintf("mod_wsgi %s is not used: %s", c.Version, c.Refused))
	}
	return out
}

// Choice is one version that could be used.
type Choice struct {
	Version    string         `json:"version"`
	Unpinned   bool           `json:"unpinned,omitempty"` // its hash must be looked up upstream
	Trust      string         `json:"trust,omitempty"`    // source of its hash before it is fetched: "pinned", "locked"
	Features   []string       `json:"features,omitempty"`
	Advisories []string       `json:"advisories,omitempty"` // advisories that apply and are allowed
	Refused    string         `json:"refused,omitempty"`    // why it is not used
	Locked     bool           `json:"locked,omitempty"`     // the lock file has this version
	Signer     string         `json:"signer,omitempty"`     // the signer recorded in the lock file for this archive
	Archive    recipe.Archive `json:"archive,omitzero"`
}

// UnmarshalJSON reads a plan that was written as JSON. Its compiler counts as
// remembered: the host is probed again before anything is built.
func (p *Plan) UnmarshalJSON(data []byte) error {
	type plain Plan
	if err := json.Unmarshal(data, (*plain)(p)); err != nil {
		return fault.New(fault.Usage, "make it again with modwsgi install --dry-run --json", "read the plan: %w", err)
	}
	p.Host.join()
	p.Recalled = p.Host != nil
	return nil
}

// builds reports whether anything is to be built and placed.
func (p *Plan) builds() bool { return p.HTTPD.Action == BuildHTTPD || p.Module.Action != keepModule }

// replacesOnlyOlder records that a component is built only because the present version is
// older; "" for other reasons.
func (p *Plan) replacesOnlyOlder(component, version string) {
	if version == "" {
		return
	}
	if p.Older == nil {
		p.Older = map[string]string{}
	}
	p.Older[component] = version
}

// Host is the compiler of this machine, and what it finds if an httpd is built.
type Host struct {
	Tools *toolchain.Toolchain `json:"tools"`
	HTTPD *httpdbuild.Host     `json:"httpd,omitempty"` // nil if only a module is built
}

// join makes both refer to one compiler, as before they were written out.
func (h *Host) join() {
	if h != nil && h.HTTPD != nil {
		h.HTTPD.Toolchain = h.Tools
	}
}

// wanted lists the components that a plan needs, with their versions in order of
// preference.
func (p *Plan) wanted() map[string][]Choice {
	all := map[string][]Choice{}
	if p.Module.Action == buildModule {
		all["mod_wsgi"] = p.Module.Versions
	}
	if p.HTTPD.Action == BuildHTTPD {
		all["httpd"] = p.HTTPD.Versions
		for name, versions := range p.HTTPD.Parts {
			all[name] = slices.Clone(versions)
		}
	}
	return all
}
