package installer

import (
	"context"
	"strings"

	"modwsgi/detect"
	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
)

// missing returns one error about everything that a build lacks, so that one command
// installs it. Errors that no package fixes are reported alone, the first one first.
func missing(errs ...error) error {
	var some []error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if len(distro.Fixing(err)) == 0 {
			return err
		}
		some = append(some, err)
	}
	if len(some) < 2 {
		return first(some)
	}
	var lines []string
	for _, err := range some {
		lines = append(lines, err.Error())
	}
	all := distro.Together(distro.Fixing(some...)...)
	hint := all.Command(distro.Family())
	if hint == "" {
		hint = all.Hint("", "", "")
	}
	return distro.Needing(fault.New(fault.Environment, hint,
		"the build needs several missing parts: %s", strings.Join(lines, "; ")), all)
}

func first(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}

// alsoMissing adds to the error about a missing httpd what else the build would lack.
func alsoMissing(ctx context.Context, p *Plan, m Means, err error) error {
	if len(distro.Fixing(err)) == 0 {
		return err
	}
	errs := []error{err}
	also := func(err error) {
		if err != nil && len(distro.Fixing(err)) > 0 {
			errs = append(errs, err)
		}
	}
	also(p.Python.CanBuild())
	_, probe := probeHost(ctx, m.Setting, buildable(p.Python), nil, false)
	also(probe)
	return missing(errs...)
}

// buildable returns the Python if a module can be built for it, else nil: what it lacks
// is then known, and not tried again.
func buildable(py *detect.Python) *detect.Python {
	if py.CanBuild() != nil {
		return nil
	}
	return py
}
