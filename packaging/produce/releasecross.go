package produce

import (
	"context"
	"slices"

	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/target"
	"modwsgi/packaging/matrix"
)

// here reports whether a cell is for this machine.
func here(c matrix.Cell) bool { return c.Platform == host }

// crossPlatforms lists the other Linux systems that cells are for, with all Pythons that
// the file has for them: a sysroot, and what is built with it, must be the same whichever
// part of the release a machine makes.
func (o *Release) crossPlatforms() (names []string, pythons map[string][]string) {
	pythons = map[string][]string{}
	for _, c := range o.cells {
		if !here(c) && !matrix.IsWindows(c.Platform) && !slices.Contains(names, c.Platform) {
			names = append(names, c.Platform)
		}
	}
	for _, c := range o.all {
		if slices.Contains(names, c.Platform) && !slices.Contains(pythons[c.Platform], c.Python) {
			pythons[c.Platform] = append(pythons[c.Platform], c.Python)
		}
	}
	return names, pythons
}

// checkCross checks the cells for other Linux systems before anything is fetched.
func (o *Release) checkCross() error {
	names, pythons := o.crossPlatforms()
	for _, name := range names {
		for _, p := range pythons[name] {
			if !crossPython.MatchString(p) {
				return fault.New(fault.Usage, `name it as in pythons = ["3.12"], or leave it out for that platform with [[exclude]]`,
					"a Python for %s is named by its version, not as %q", name, p)
			}
		}
	}
	_, err := parseTargets(names)
	return err
}

// checkCrosses checks what builds for other Linux systems need of this machine.
func (o *Release) checkCrosses(ctx context.Context) error {
	if err := o.targets(); err != nil {
		return err
	}
	return o.eachCross(ctx, func(s *Settings, _ string, t target.Target) error { return s.crossable(ctx, t) })
}

// targets takes over the settings for other Linux systems from the file.
func (o *Release) targets() error {
	o.Targets = Targets{Sysroots: map[string]string{}, SDKs: map[string]string{}, Programs: map[string]string{}}
	for _, p := range o.m.Python {
		key := p.Version
		if p.Platform != "" {
			name, err := TargetName(p.Platform)
			if err != nil {
				return err
			}
			key = name + ":" + p.Version
		}
		o.Targets.SDKs[key] = o.path(p.SDK)
	}
	return nil
}

// eachCross calls do for each other Linux system. The cells of one that fails are
// removed.
func (o *Release) eachCross(ctx context.Context, do func(s *Settings, name string, t target.Target) error) error {
	machine, err := target.Host()
	if err != nil {
		return err
	}
	names, _ := o.crossPlatforms()
	for _, name := range names {
		t, err := target.Parse(name, machine)
		if err != nil {
			return err
		}
		if err := do(o.settingsFor(name), name, t); err != nil {
			if err := o.fail(ctx, name, err); err != nil {
				return err
			}
			o.cells = slices.DeleteFunc(o.cells, func(c matrix.Cell) bool { return c.Platform == name })
		}
	}
	return nil
}

// makeCrosses makes the sysroots of all other Linux systems, before anything is built.
func (o *Release) makeCrosses(ctx context.Context) error {
	o.crosses = map[string]*installer.Cross{}
	if err := o.checkCrosses(ctx); err != nil {
		return err
	}
	_, pythons := o.crossPlatforms()
	return o.eachCross(ctx, func(s *Settings, name string, t target.Target) error {
		c, err := s.crossFor(ctx, t, pythons[name], o.parts(name))
		if err == nil {
			o.crosses[name] = c
		}
		return err
	})
}

// settingsFor are the settings for a platform of the matrix.
func (o *Release) settingsFor(name string) *Settings {
	s := o.Settings
	for _, one := range o.m.Target {
		if one.Platform == name {
			s.Targets.Sysroots = map[string]string{"": o.path(one.Sysroot)}
			s.Targets.Packages = one.Packages
			s.Targets.Programs = map[string]string{"": o.path(one.Programs)}
		}
	}
	return &s
}

// parts lists what the file makes for a platform.
func (o *Release) parts(platform string) []part {
	var all []part
	for _, c := range o.all {
		if c.Platform == platform && !slices.ContainsFunc(all, func(p part) bool { return p.Name == c.Format }) {
			all = append(all, part{Find(c.Format), o.values[c.Format]})
		}
	}
	return all
}

// twin returns the C library of a cell, if the release has its format for another Linux
// system with the same CPU; otherwise "".
func (o *Release) twin(c matrix.Cell) string {
	machine, _ := target.Host()
	t, err := target.Parse(c.Platform, machine)
	if err != nil || t.OS != target.Linux {
		return ""
	}
	for _, other := range o.all {
		if system, err := target.Parse(other.Platform, machine); err == nil && other.Format == c.Format && system != t && cpuOf(system) == cpuOf(t) {
			return libcOf(t)
		}
	}
	return ""
}
