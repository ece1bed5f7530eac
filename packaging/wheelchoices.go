package packaging

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
)

// WheelChoices are the user's choices for every kind of wheel.
type WheelChoices struct {
	Local string // local version label (PEP 440), "" for none: the version is upstream's
	// Metadata is the version of the core metadata: "2.1" (the default), which all
	// tools read, or "2.4", which has fields for licences (PEP 639).
	Metadata string
	Build    int // build number, 0 for none; orders wheels of the same version
}

const labelHint = "a local label consists of letters and digits separated by dots"

// Check refuses choices that no wheel can have, with an error of class Usage.
func (c WheelChoices) Check() error {
	if c.Metadata != "" && c.Metadata != "2.1" && c.Metadata != "2.4" {
		return fault.New(fault.Usage, "pass 2.1 or 2.4", "invalid --metadata-version %q", c.Metadata)
	}
	if c.Local == "" {
		return nil
	}
	if _, err := pydist.NormalVersion("1+" + c.Local); err != nil {
		return fault.New(fault.Usage, labelHint, "--local-version: %q is not a label", c.Local)
	}
	return nil
}

// Name adds the build number and the local version to a distribution. It returns the
// version in its normal form, and the same for a package URL. The error is of class Usage.
func (c WheelChoices) Name(d *pydist.Dist) (version, inURL string, err error) {
	if c.Build != 0 {
		d.Build = strconv.Itoa(c.Build)
	}
	if c.Local != "" {
		d.Version += "+" + c.Local
	}
	if version, err = pydist.NormalVersion(d.Version); err != nil {
		return "", "", fault.New(fault.Usage, labelHint, "--local-version: %w", err)
	}
	return version, strings.ReplaceAll(version, "+", "%2B"), nil
}

// License puts licences into a distribution: an SPDX expression, and texts by name. How
// the metadata names them depends on its version; where the texts are does not.
func (c WheelChoices) License(d *pydist.Dist, expression string, texts map[string][]byte) {
	d.License, d.Extra = expression, map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		d.Extra["licenses/"+name] = texts[name]
		if c.Metadata == "2.4" {
			d.LicenseFiles = append(d.LicenseFiles, name)
		}
	}
	if c.Metadata == "2.4" {
		d.LicenseExpression, d.License = d.License, ""
	}
}
