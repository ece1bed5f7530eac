package produce

import (
	"context"
	"errors"
	"slices"
	"strings"

	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/debuginfo"
)

// With --debug-symbols, a build has debugging information in its binaries. It is moved out
// of the stage before any format reads that, so that artifacts have the same files as
// otherwise, plus the identifiers. Packages of distributions get a second package, made by
// linuxpkg. Beside every other artifact is an archive.

// separate moves the debugging information out of a tree's stage, which belongs to this
// run.
func (t *Tree) separate(ctx context.Context, at installer.Setting) error {
	triple := ""
	if t.For != nil {
		triple = debuginfo.Triple(t.For.Target().Arch, t.For.Target().GNUTriple())
	}
	tool, err := debuginfo.Tool(at.Env, triple)
	if err != nil {
		return err
	}
	s := t.Stage
	if s.Debug, err = debuginfo.Split(ctx, at.Runner, at.Env, tool, s.Site, s.Site+"-debug"); err != nil {
		return err
	}
	if len(s.Debug) == 0 {
		return fault.New(fault.Environment, "remove -g0 and -s from CFLAGS and LDFLAGS", "the compiler made no debugging information")
	}
	return nil
}

// withPackage are the kinds of artifacts whose debugging information is a package.
var withPackage = []string{"deb", "rpm", "apk"}

// writeDebug writes an archive with the debugging information of each artifact of a job
// that has no package for it.
func (l *line) writeDebug(d *packaging.Dist, trees []*Tree) error {
	for _, a := range d.Added() {
		var all []packaging.Debug
		for _, t := range trees {
			all = append(all, debugOf(a, t.Stage)...)
		}
		if len(all) == 0 || slices.Contains(withPackage, a.Kind) {
			continue
		}
		out, err := d.Create(debugName(a.Name))
		if err != nil {
			return err
		}
		if err := errors.Join(debuginfo.Archive(out, all, l.at), out.Close()); err != nil {
			return err
		}
		debug := packaging.Artifact{
			Name: debugName(a.Name), Kind: "debug", Project: a.Project, Version: a.Version, Platform: a.Platform, Components: a.Components,
			Parameters: map[string]string{"of": a.Name},
		}
		if err := d.Add(&debug); err != nil {
			return err
		}
	}
	return nil
}

// debugOf returns the debugging information of what an artifact contains. The httpd is a
// wheel of its own.
func debugOf(a packaging.Artifact, s *packaging.Stage) []packaging.Debug {
	if a.Kind != "wheel" || s.HTTPD == nil {
		return s.Debug
	}
	return slices.DeleteFunc(slices.Clone(s.Debug), func(d packaging.Debug) bool {
		return strings.HasPrefix(d.Of, s.HTTPD.Dir+"/") != (a.Project == installer.HTTPDDist)
	})
}

// debugName is the name of the archive beside an artifact.
func debugName(artifact string) string {
	for _, suffix := range []string{".tar.gz", ".whl", ".tar", ".zip"} {
		artifact = strings.TrimSuffix(artifact, suffix)
	}
	return artifact + "-debug.tar.gz"
}
