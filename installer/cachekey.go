package installer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/cachedir"
	"modwsgi/internal/run"
	"modwsgi/internal/version"
	"modwsgi/modulebuild"
)

// CacheKey returns a short text that changes whenever the build of an install would
// change: the archives, features, compiler, C library, Python's ABI, or this program.
// Nothing is built or fetched, and the packages installed in the environment are ignored.
// A Python of the system's package manager is accepted.
//
// plan is a [Wish.StagePlan].
func CacheKey(ctx context.Context, m Means, plan Planner) (string, error) {
	m, err := m.complete(ctx)
	if err != nil {
		return "", err
	}
	p, err := plan(ctx, m)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	line := func(what ...any) { _, _ = fmt.Fprintln(h, what...) }
	line("cache key 2", version.Release, buildcache.Schema)
	choice := func(name string, all []Choice) {
		for _, c := range all {
			if c.Refused == "" {
				line(name, c.Version, c.Archive.SHA256, c.Features)
			}
		}
	}
	choice("mod_wsgi", p.Module.Versions)
	if p.HTTPD.Action == BuildHTTPD {
		choice("httpd", p.HTTPD.Versions)
		for _, name := range slices.Sorted(maps.Keys(p.HTTPD.Parts)) {
			choice(name, p.HTTPD.Parts[name])
		}
		line(p.HTTPD.Features, p.HTTPD.Libraries, p.Host.HTTPD.Linked)
	} else {
		line(p.HTTPD.Use.Version, p.HTTPD.Use.MMN, p.HTTPD.Use.CPPFlags, p.HTTPD.Use.CFlags)
	}
	py := p.Python
	lib, err := libraryIdentity(py.LibPython, py.LibShared)
	if err != nil {
		return "", err
	}
	line(py.Version, py.SOABI, lib, modulebuild.FileName(py.Version, py.ExtSuffix))
	if dir, err := cachedir.Find(m.cache()); err == nil && !p.Recalled {
		memoryFor(p, dir, m.Env).remember(ctx, m.Runner, p.Host)
	}
	tools := p.Host.Tools
	line(tools.Programs, p.Wish.flags(tools))
	line(tools.CC, tools.Compiler, tools.Target, tools.Libc, run.Getenv(tools.Env, "SOURCE_DATE_EPOCH"))
	return fmt.Sprintf("modwsgi-%s-cp%d%d%s-%s", platformTag(py), py.Major, py.Minor, py.ABIFlags, hex.EncodeToString(h.Sum(nil))[:20]), nil
}
