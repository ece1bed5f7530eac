package installer

import (
	"context"
	"slices"
	"time"

	"modwsgi/detect"
	"modwsgi/internal/recipe"
)

// Component is an installed part of an environment, compared with the catalogue.
type Component struct {
	Name      string `json:"component"` // "mod_wsgi", "httpd", or a part of a bundled httpd
	Installed string `json:"installed"` // its version
	// Newest is the version that install --upgrade would choose, or "".
	Newest   string `json:"newest,omitempty"`
	Outdated bool   `json:"outdated"` // Newest is newer
	// External is who maintains an httpd that modwsgi did not build: its version says
	// little about its vulnerabilities, and modwsgi does not upgrade it.
	External   string   `json:"external,omitempty"`
	Advisories []Notice `json:"advisories,omitempty"`
	Ended      string   `json:"support_ended,omitempty"` // the last day of upstream's support, if it has passed
	Why        string   `json:"reason,omitempty"`        // why there is no newer version
}

// Notice is an advisory about an installed version.
type Notice struct {
	recipe.Advisory
	Applies bool   `json:"applies"`
	Why     string `json:"reason,omitempty"` // why it does not apply, or may not
}

// Vulnerable reports whether an advisory applies.
func (c Component) Vulnerable() bool {
	return slices.ContainsFunc(c.Advisories, func(n Notice) bool { return n.Applies })
}

// Attention reports whether something should be done about a component.
func (c Component) Attention() bool { return c.Outdated || c.Vulnerable() || c.Ended != "" }

// Outdated compares what an environment contains with the catalogue. It reads files, and
// runs an httpd outside of the environment to learn its present version.
func Outdated(ctx context.Context, python string, at Setting) (*detect.Python, []Component, error) {
	py, err := lastingEnvironment(ctx, python, at)
	if err != nil {
		return nil, nil, err
	}
	s, err := readState(py.Platlib)
	if err != nil {
		return nil, nil, err
	}
	out := []Component{}
	if s.module != nil {
		out = append(out, moduleComponent(s.module.Version, py.Version))
	}
	switch {
	case s.tree != nil:
		out = append(out, bundledComponents(s.tree)...)
	case s.httpd != nil:
		out = append(out, httpdComponent(s.httpd.Version, nil))
	case s.receipt != nil:
		out = append(out, externalHTTPD(ctx, s, py, at))
	}
	return py, out, nil
}

// moduleComponent compares an installed module.
func moduleComponent(version, python string) Component {
	c := Component{Name: "mod_wsgi", Installed: version}
	choices, _, err := moduleChoices(Wish{Upgrade: true}, python, &recipe.Lock{})
	c.compare(choices, err)
	c.look(nil)
	return c
}

// bundledComponents compares a bundled httpd and everything that it was built from.
func bundledComponents(tree *httpdReceipt) []Component {
	out := []Component{httpdComponent(tree.Version, append([]string{}, tree.Features...))} // known, even if empty
	for _, part := range tree.Components {
		if part.Name == "httpd" {
			continue
		}
		c := Component{Name: part.Name, Installed: part.Version}
		choices, err := preferring(Wish{Upgrade: true}, part.Name, "", &recipe.Lock{})
		c.compare(judgeLibrary(part.Name, choices, false), err)
		c.look(nil)
		out = append(out, c)
	}
	return out
}

func httpdComponent(version string, features []string) Component {
	c := Component{Name: "httpd", Installed: version}
	choices, err := httpdChoices(Wish{Upgrade: true, With: features}, features, &recipe.Lock{})
	c.compare(choices, err)
	c.look(features)
	return c
}

// externalHTTPD describes the httpd of a distribution or of the user. It may have been
// upgraded since the module was built.
func externalHTTPD(ctx context.Context, s *state, py *detect.Python, at Setting) Component {
	was := s.receipt.HTTPD
	c := Component{Name: "httpd", Installed: was.Version, External: "the distribution"}
	if was.Provenance != string(detect.System) {
		c.External = "whoever installed " + was.Executable
	}
	if found, err := detect.FindHTTPDs(ctx, at.Runner, py, at.question("", was.Executable)); err == nil {
		for _, h := range found {
			if h.Executable == was.Executable && h.Version != "" {
				c.Installed = h.Version
			}
		}
	}
	c.look(nil)
	for i := range c.Advisories {
		n := &c.Advisories[i]
		n.Applies, n.Why = false, c.External+" may have fixed it without a new version number"
	}
	return c
}

// compare sets the version that would be chosen now.
func (c *Component) compare(choices []Choice, err error) {
	if err != nil {
		c.Why = err.Error()
		return
	}
	for _, choice := range choices {
		if choice.Refused != "" {
			continue
		}
		c.Newest = choice.Version
		newer, err := recipe.Satisfies("< "+choice.Version, c.Installed)
		c.Outdated = err != nil || newer // an unreadable version is not one of the catalogue
		return
	}
}

// look sets the advisories and the end of support. Advisories about a feature that is not
// built are listed, with that reason; features is nil if they are unknown.
func (c *Component) look(features []string) {
	for _, a := range recipe.Catalogue().AllAdvisories() {
		if a.Component != c.Name || !a.Affects(c.Installed) || slices.ContainsFunc(c.Advisories, func(n Notice) bool { return n.ID == a.ID && n.Applies }) {
			continue
		}
		n := Notice{Advisory: a, Applies: !a.Missing(features)}
		switch {
		case !n.Applies:
			n.Why = "built without " + a.Feature
		case a.Feature != "" && features == nil:
			n.Why = "its features are unknown"
		}
		c.Advisories = slices.DeleteFunc(c.Advisories, func(o Notice) bool { return o.ID == a.ID })
		c.Advisories = append(c.Advisories, n)
	}
	c.Ended = recipe.Catalogue().Ended(c.Name, c.Installed, time.Now())
}
