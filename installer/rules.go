package installer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/httpdbuild"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/recipe"
	"modwsgi/internal/toolchain"
)

// The rules decide what must be done, from the present state and the request. They
// examine nothing themselves, so each is a table of cases in rules_test.go. Only
// receipt.Compare decides whether a module still fits its Python and httpd.

// wantsOwn reports whether only a purpose-built httpd meets the wish.
func wantsOwn(w Wish) bool {
	return len(w.With) > 0 || len(w.Without) > 0 || w.HTTPDVersion != "" || w.Libraries == string(httpdbuild.FromSource)
}

// namedBefore returns the httpd that the present module was built for, if it was named
// explicitly then and no httpd is named now: a plain install repeats the last answer.
// Otherwise it returns "".
func namedBefore(w Wish, s *state, candidates []detect.HTTPD) string {
	named := slices.ContainsFunc(candidates, func(h detect.HTTPD) bool { return h.Provenance == detect.Explicit })
	r := s.receipt
	if w.HTTPD != "auto" || r == nil || named || wantsOwn(w) || !ours(s.module) || r.HTTPD.Provenance != string(detect.Explicit) || !filepath.IsAbs(r.HTTPD.Executable) {
		return ""
	}
	return r.HTTPD.Executable
}

// decision is what to do about httpd.
type decision struct {
	action  string
	use     *detect.HTTPD // nil to build one
	reasons []string
	older   string // the present version, if a newer one is the only reason to build
}

// presentHTTPD is what is known of the environment's own httpd.
type presentHTTPD struct {
	record  *httpdReceipt // nil if modwsgi did not build it
	damaged string        // a file that is missing or changed
}

// decideHTTPD decides between the httpd that detect would choose and a new one.
func decideHTTPD(w Wish, chosen *detect.HTTPD, refused []detect.HTTPD, present presentHTTPD, lock *recipe.Lock) (d decision, err error) {
	if chosen != nil && chosen.Provenance == detect.System && w.HTTPD == "auto" && wantsOwn(w) {
		d.reasons = append(d.reasons, "a bundled httpd: --httpd-version, --with, --without or --libraries ask for one built for the purpose")
		chosen = nil
	}
	d.action = BuildHTTPD
	if chosen == nil {
		d.reasons = append(d.reasons, "build httpd: "+noneReason(w.HTTPD, refused))
		return d, nil
	}
	if chosen.Provenance != detect.Bundled {
		d.action, d.use = UseHTTPD, chosen
		return d, checkConstraint("httpd", w.HTTPDVersion, chosen.Version)
	}
	why, older, err := whyHTTPD(w, chosen.Version, present, lock)
	if err != nil {
		return d, err
	}
	if why == "" {
		d.action, d.use = KeepHTTPD, chosen
		return d, nil
	}
	d.reasons, d.older = append(d.reasons, "build httpd: "+why), older
	return d, nil
}

func noneReason(asked string, refused []detect.HTTPD) string {
	switch {
	case asked == "bundled":
		return "the environment has no httpd"
	case len(refused) > 0:
		return "none of those found can be used (" + refused[0].Refused + ")"
	}
	return "neither the environment nor the system has one"
}

// whyHTTPD returns why the environment's own httpd must be replaced, or "" if it can
// stay.
func whyHTTPD(w Wish, version string, present presentHTTPD, lock *recipe.Lock) (why, older string, _ error) {
	switch {
	case w.Reinstall:
		return "--reinstall", "", nil
	case present.damaged != "":
		return "files of the present one are missing or changed (" + present.damaged + ")", "", nil
	case present.record == nil && (len(w.With)+len(w.Without) > 0 || wantsLibraries(w) || w.Hardening == string(toolchain.HardeningNone)):
		return "the build inputs of the present one are not recorded", "", nil
	}
	if w.HTTPDVersion != "" {
		ok, err := recipe.Satisfies(w.HTTPDVersion, version)
		if err != nil || !ok {
			return fmt.Sprintf("httpd %s is installed, %q is wanted", version, w.HTTPDVersion), "", err
		}
	}
	if e, ok := lock.Find("httpd"); ok && w.Locked && e.Version != version {
		return fmt.Sprintf("httpd %s is installed, %s is locked", version, e.Version), "", nil
	}
	if present.record != nil {
		for _, f := range w.With {
			if !slices.Contains(present.record.Features, f) {
				return "the present one lacks " + f, "", nil
			}
		}
		for _, f := range w.Without {
			if slices.Contains(present.record.Features, f) {
				return "the present one has " + f, "", nil
			}
		}
		if why := otherLibraries(w, present.record); why != "" {
			return why, "", nil
		}
		if why := otherHardening(w, present.record.Hardening); why != "" {
			return why, "", nil
		}
	}
	if newest := recipe.Catalogue().Of("httpd"); w.Upgrade && len(newest) > 0 && newest[0].Version != version {
		return fmt.Sprintf("httpd %s is installed, %s is the newest known", version, newest[0].Version), version, nil
	}
	return "", "", nil
}

// wantsLibraries reports whether the origin of the libraries was requested.
func wantsLibraries(w Wish) bool {
	return w.Libraries == string(httpdbuild.FromSource) || w.Libraries == string(httpdbuild.FromHost)
}

// otherLibraries returns why the libraries of the present httpd are not those that were
// requested, or "".
func otherLibraries(w Wish, record *httpdReceipt) string {
	if !wantsLibraries(w) {
		return ""
	}
	for _, f := range record.Features {
		name := httpdbuild.LibraryOf(f)
		built := slices.ContainsFunc(record.Components, func(c componentRecord) bool { return c.Name == name })
		switch {
		case built && w.Libraries == string(httpdbuild.FromHost):
			return "the present one contains its own " + name
		case !built && w.Libraries == string(httpdbuild.FromSource):
			return "the present one uses " + name + " of the host"
		}
	}
	return ""
}

// otherHardening returns why something built with this value of --hardening does not fit
// the wish, or "". Earlier releases did not record it.
func otherHardening(w Wish, was string) string {
	if w.Hardening == "" || was == "" || w.Hardening == was {
		return ""
	}
	return "the present one was built with --hardening " + was
}

func checkConstraint(what, constraint, version string) error {
	if constraint == "" {
		return nil
	}
	ok, err := recipe.Satisfies(constraint, version)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Environment, "omit the version, or let modwsgi build one with --httpd bundled",
			"the chosen %s is %s, but %q is wanted", what, version, constraint)
	}
	return nil
}

// presentModule is what is known of the module in the environment.
type presentModule struct {
	there   bool
	ours    bool // modwsgi installed it, and its record is readable
	receipt *receipt.Receipt
	damaged string        // a file that is missing or changed
	today   receipt.Today // what the module would run with
}

// whyModule returns why the present module must be replaced, or "" if it can stay.
// newHTTPD means that an httpd will be built, choices are the versions that could be
// built, and launcher reports whether the launcher of this release differs from the
// installed one.
func whyModule(w Wish, m presentModule, newHTTPD bool, choices []Choice, lock *recipe.Lock, launcher func() (changed bool, _ error)) (why, older string, _ error) {
	switch {
	case !m.there:
		return "it is not installed", "", nil
	case !m.ours:
		return "the present one was not built by modwsgi", "", nil
	case w.Reinstall:
		return "--reinstall", "", nil
	case m.damaged != "":
		return "files of the present one are missing or changed (" + m.damaged + ")", "", nil
	case newHTTPD:
		return "for the new httpd", m.receipt.Module.Version, nil
	}
	version := m.receipt.Module.Version
	if stale := texts(receipt.Compare(m.receipt, m.today)); len(stale) > 0 {
		return strings.Join(stale, "; "), "", nil
	}
	if why := otherHardening(w, m.receipt.Module.Hardening); why != "" {
		return why, "", nil
	}
	if w.ModWSGIVersion != "" {
		if ok, err := recipe.Satisfies(w.ModWSGIVersion, version); err != nil || !ok {
			return fmt.Sprintf("mod_wsgi %s is installed, %q is wanted", version, w.ModWSGIVersion), "", err
		}
	}
	if e, ok := lock.Find("mod_wsgi"); ok && w.Locked && e.Version != version {
		return fmt.Sprintf("mod_wsgi %s is installed, %s is locked", version, e.Version), "", nil
	}
	if changed, err := launcher(); err != nil || changed {
		return "the launcher of this release differs", "", err
	}
	if w.Upgrade && len(choices) > 0 && choices[0].Version != version {
		return fmt.Sprintf("mod_wsgi %s is installed, %s is the newest known", version, choices[0].Version), version, nil
	}
	return "", "", nil
}

func texts(differences []receipt.Difference) []string {
	var out []string
	for _, d := range differences {
		out = append(out, d.Text)
	}
	return out
}

// nothingNewer reports whether a plan made only for --upgrade has arrived at the
// installed versions. versions are those that were obtained.
func nothingNewer(p *Plan, versions map[string]string) bool {
	if !p.Wish.Upgrade || p.Wish.Reinstall || len(p.Older) != len(p.Reasons) {
		return false
	}
	for component, present := range p.Older {
		if versions[component] != present {
			return false
		}
	}
	return true
}
