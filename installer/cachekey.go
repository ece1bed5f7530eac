package installer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"modwsgi/internal/buildcache"
	"modwsgi/internal/run"
	"modwsgi/internal/version"
	"modwsgi/modulebuild"
)

// CacheKey is a short text that changes when what install would build changes:
// the archives, features, compiler, C library, Python's ABI, and this program.
// Nothing is built or fetched, and what is installed in the environment plays no
// part; a Python of the system's package manager is fine.
func CacheKey(ctx context.Context, q Request) (string, error) {
	if q.HTTPD == "" || q.HTTPD == "auto" {
		q.HTTPD = "bundled"
	}
	p, err := stagePlan(ctx, q)
	if err != nil {
		return "", err
	}
	lock, err := p.lockFile()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	line := func(what ...any) { _, _ = fmt.Fprintln(h, what...) }
	line("cache key 1", version.Release, buildcache.Schema)
	choice := func(name string, all []Choice) {
		for _, c := range all {
			if c.Refused == "" {
				line(name, c.Version, c.archive.SHA256, c.Features)
			}
		}
	}
	choice("mod_wsgi", p.Module.Versions)
	if p.HTTPD.Action == BuildHTTPD {
		choice("httpd", p.HTTPD.Versions)
		for _, name := range p.httpdParts() {
			all, err := p.choices(name, "", lock)
			if err != nil {
				return "", err
			}
			choice(name, all)
		}
		line(p.HTTPD.Features, p.host.Linked)
	} else {
		line(p.HTTPD.Use.Version, p.HTTPD.Use.MMN, p.HTTPD.Use.CPPFlags, p.HTTPD.Use.CFlags)
	}
	py := p.Python
	lib, err := libraryIdentity(py.LibPython, py.LibShared)
	if err != nil {
		return "", err
	}
	line(py.Version, py.SOABI, lib, modulebuild.FileName(py.Version, py.ExtSuffix))
	p.rememberHost(ctx)
	line(p.tools.Programs)
	line(p.tools.CC, p.tools.Compiler, p.tools.Target, p.tools.Libc, run.Getenv(p.tools.Env, "SOURCE_DATE_EPOCH"))
	return fmt.Sprintf("modwsgi-%s-cp%d%d%s-%s", platformTag(py), py.Major, py.Minor, py.ABIFlags, hex.EncodeToString(h.Sum(nil))[:20]), nil
}
