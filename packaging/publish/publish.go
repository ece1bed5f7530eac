// Package publish gives finished artifacts to others: a package index, an apt or dnf
// repository, a registry. It is the core that all destinations share: which files may
// leave the machine (Set), what a destination would change (Plan), and in which order
// that happens (Run). Each destination is a package below it.
//
// Three rules hold for all of them:
//
//   - Nothing unverified leaves the machine. A Set is compared with its SHA256SUMS when
//     it is opened, and every file again while it is sent.
//   - Conflicts are found before the first change, at all destinations: a name that has
//     other contents there is never replaced.
//   - A reader of the destination never sees a name without its contents. What exists
//     with the same contents is skipped, so an interrupted run is completed by running
//     the same command again.
package publish

import (
	"context"
	"fmt"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
)

// State is what publishing does with one file.
type State string

// The states of a file.
const (
	Add      State = "add"      // not there yet
	Present  State = "present"  // there with the same contents
	Update   State = "update"   // an index or a tag that names the files
	Conflict State = "conflict" // there with other contents
)

// Change is one file at a destination, before or after publishing.
type Change struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Where  string `json:"where"` // path or address at the destination
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Reason string `json:"reason,omitempty"` // of a conflict
}

// Plan is what one destination would change.
type Plan struct {
	Kind    string   `json:"kind"` // "index", "apt", "dnf", "oci"
	Address string   `json:"address"`
	Changes []Change `json:"changes"`
}

// Pending reports whether the plan changes anything.
func (p *Plan) Pending() bool {
	for _, c := range p.Changes {
		if c.State == Add || c.State == Update {
			return true
		}
	}
	return false
}

// Destination is where artifacts are published.
type Destination interface {
	// Address names it for people.
	Address() string
	// Plan reads the destination and lists every file of the set for it, with its state.
	// It changes nothing. An error is about reading; conflicts are in the plan.
	Plan(ctx context.Context) (*Plan, error)
	// Publish carries out the plan that Plan returned. done is called after each file.
	Publish(ctx context.Context, done func(Change)) error
	// Close releases locks. It may be called more than once.
	Close()
}

// Options are how Run works and reports.
type Options struct {
	Dry  bool                                     // only plan
	Step func(name string, do func() error) error // runs a part of the work and reports it
	Done func(Change)                             // is called after each file
}

// Run publishes to several destinations. It plans all of them before it changes the first
// one, and changes nothing after a conflict.
func Run(ctx context.Context, all []Destination, o Options) ([]*Plan, error) {
	defer func() {
		for _, d := range all {
			d.Close()
		}
	}()
	var plans []*Plan
	for _, d := range all {
		err := o.Step("compare with "+d.Address(), func() error {
			p, err := d.Plan(ctx)
			plans = append(plans, p)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if err := conflicts(plans); err != nil || o.Dry {
		return plans, err
	}
	for i, d := range all {
		if plans[i].Pending() {
			if err := o.Step("publish to "+d.Address(), func() error { return d.Publish(ctx, o.Done) }); err != nil {
				return plans, err
			}
		}
		d.Close() // an upload to the next one may take long
	}
	return plans, nil
}

// conflicts is the error for all conflicts of the plans, nil without any.
func conflicts(plans []*Plan) error {
	var wrong []string
	for _, p := range plans {
		for _, c := range p.Changes {
			if c.State == Conflict {
				wrong = append(wrong, fmt.Sprintf("%s (%s: %s)", c.Name, c.Where, c.Reason))
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fault.New(fault.Usage, "published files are never replaced: make the artifacts again with another version (--build-number for wheels, --release for packages), or leave them out with --only",
		"nothing was published, because other contents have these names: %s", packaging.Some(wrong, 8))
}
