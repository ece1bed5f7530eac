package produce

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/target"
	"modwsgi/packaging/matrix"
)

// Planned is one cell of a release.
type Planned struct {
	Format   string `json:"format"`
	Python   string `json:"python"`
	Version  string `json:"python_version,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	HTTPD    string `json:"httpd"`
	Platform string `json:"platform"`
	// HTTPDVersion and ModWSGI are the versions that the build begins with.
	HTTPDVersion string `json:"httpd_version,omitempty"`
	ModWSGI      string `json:"mod_wsgi_version,omitempty"`
	// Tag is that of a wheel, with the most demanding platform that it can get: what the
	// files need is known when they are built.
	Tag string `json:"tag,omitempty"`
}

// Plan runs the checks that Run makes before it builds, and lists what Run would make.
// The error reports what would fail; with KeepGoing the rest is listed.
func (o *Release) Plan(ctx context.Context) ([]Planned, error) {
	if err := o.checkWindows(); err != nil {
		return nil, err
	}
	if err := o.checkCross(); err != nil {
		return nil, err
	}
	if err := o.findPythons(ctx); err != nil {
		return nil, err
	}
	if err := o.planBuilds(ctx); err != nil {
		return nil, err
	}
	if err := o.checkCrosses(ctx); err != nil {
		return nil, err
	}
	all := []Planned{}
	for _, c := range o.cells {
		all = append(all, o.planned(c))
	}
	return all, failures(o.failures)
}

// planned describes one cell.
func (o *Release) planned(c matrix.Cell) Planned {
	one := Planned{Format: c.Format, Python: c.Python, HTTPD: c.HTTPD.Name, Platform: c.Platform}
	if py := o.pythons[c.Python]; py != nil && here(c) {
		one.Version, one.Prefix = py.Version, py.Prefix
	}
	versions := o.versions[treeKey(c)]
	one.HTTPDVersion, one.ModWSGI = versions[0], versions[1]
	if c.Format == "wheel" {
		one.Tag = o.wheelTag(c)
	}
	return one
}

// wheelTag is the tag of a cell's wheel, "" if it is unknown.
func (o *Release) wheelTag(c matrix.Cell) string {
	python := "cp" + strings.ReplaceAll(c.Python, ".", "")
	abi, tags := python, []string{"win_amd64"}
	if py := o.pythons[c.Python]; py != nil && here(c) {
		python = fmt.Sprintf("cp%d%d", py.Major, py.Minor)
		abi = python + py.ABIFlags
	}
	python = strings.TrimSuffix(python, "t") // cp313-cp313t
	if !matrix.IsWindows(c.Platform) {
		machine, err := target.Host()
		t := machine
		if err == nil && !here(c) {
			t, err = target.Parse(c.Platform, machine)
		}
		if tags = t.WheelTags(); err != nil || len(tags) == 0 {
			return ""
		}
	}
	return python + "-" + abi + "-" + strings.Join(tags, ".")
}

// planBuilds decides about the versions of each build, and makes the plan of those for
// this machine. It refuses versions with known vulnerabilities and names what a build
// lacks, before anything is compiled. Cells that cannot be built are removed.
func (o *Release) planBuilds(ctx context.Context) error {
	o.versions = map[string][2]string{}
	for _, c := range slices.Clone(o.cells) {
		key := treeKey(c)
		if _, tried := o.versions[key]; tried {
			continue
		}
		b := o.buildOf(c)
		versions, err := o.plan(ctx, c, b)
		if o.versions[key] = versions; err == nil {
			continue
		}
		if err := o.fail(ctx, b.part, err); err != nil {
			return err
		}
		o.cells = slices.DeleteFunc(o.cells, func(other matrix.Cell) bool { return treeKey(other) == key })
	}
	return nil
}

// plan returns the versions of httpd and mod_wsgi that the build of a cell begins with.
func (o *Release) plan(ctx context.Context, c matrix.Cell, b *build) (versions [2]string, err error) {
	if here(c) {
		plan, err := b.request.StagePlan(ctx, b.request.Means)
		if err == nil {
			versions[0], versions[1] = plan.Preferred()
		}
		return versions, err
	}
	wish := b.request.Wish
	wish.LockFile = o.lockFile()
	versions[0], versions[1], err = wish.Foresee(strings.TrimSuffix(c.Python, "t"))
	if matrix.IsWindows(c.Platform) {
		versions[0] = orText(c.HTTPD.Version, "2.4") // that of Apache Lounge or of the SDK; the module fits every 2.4
	}
	return versions, err
}

// flagIn finds flags in a hint.
var flagIn = regexp.MustCompile(`--([a-z][a-z-]*)`)

// places are the keys of a release.toml instead of flags that all formats share.
var places = map[string]string{
	"with": "with in [[httpd]]", "without": "without in [[httpd]]", "httpd-version": "version in [[httpd]]", "libraries": "libraries in [[httpd]]",
	"mod-wsgi-version": "version in [mod_wsgi]", "python": "pythons", "python-sdk": "sdk in [[python]]",
	"sysroot": "sysroot in [[target]]", "sysroot-package": "packages in [[target]]", "httpd-sdk": "httpd_sdk in [windows]",
}

// keysFor adds to a hint that names flags of a single command which keys a release.toml
// has for them. part begins with the name of the format, if it is about one.
func keysFor(hint, part string) string {
	if strings.Contains(hint, "[options.") || strings.Contains(hint, "release.toml") {
		return hint
	}
	name, _, _ := strings.Cut(part, " ")
	var keys []string
	for _, m := range flagIn.FindAllStringSubmatch(hint, -1) {
		key := places[m[1]]
		for _, f := range Formats() {
			if f.Name != name {
				continue
			}
			for _, option := range f.Options {
				if option.Flag() == m[1] && !option.FlagOnly {
					key = option.Name + " in [options." + f.Name + "]"
				}
			}
		}
		if key != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return hint
	}
	return hint + " (in the matrix file: " + strings.Join(keys, ", ") + ")"
}
