package installer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modwsgi/detect"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/run"
	"modwsgi/internal/version"
	"modwsgi/modulebuild"
)

// The kinds of what is in the cache directory, besides the kinds of builds
// ("httpd", "module").
const (
	KindDownload = "download" // a source archive
	KindLog      = "log"      // the logs of one run
	KindWork     = "work"     // sources and objects that --keep-build or a killed run left
)

// Cached is one thing in the cache directory.
type Cached struct {
	Kind   string    `json:"kind"`
	ID     string    `json:"id"`   // key of a build, SHA-256 of an archive, else the name
	Name   string    `json:"name"` // what it is
	Size   int64     `json:"bytes"`
	Used   time.Time `json:"used"`
	Path   string    `json:"path"`
	Damage string    `json:"damage,omitempty"`        // why it cannot be used
	Other  bool      `json:"other_version,omitempty"` // another version of this program has written it
	// Build has the rest that is known of a build.
	Build *buildcache.Entry `json:"build,omitempty"`
}

// CacheDirectory is where a request keeps what it keeps.
func CacheDirectory(q Request) (string, error) {
	err := q.findCache()
	return q.CacheDir, err
}

// ListCache returns everything in the cache directory, builds first, then
// downloads and the rest, each kind by its last use.
func ListCache(q Request) ([]Cached, error) {
	if err := q.findCache(); err != nil {
		return nil, err
	}
	entries, err := buildcache.Cache{Dir: buildsDir(q.CacheDir)}.List()
	if err != nil {
		return nil, cacheTrouble(err)
	}
	var out []Cached
	for _, e := range entries {
		out = append(out, cachedBuild(e))
	}
	for _, k := range []struct{ kind, dir string }{
		{KindDownload, "downloads/archives/sha256"}, {KindWork, "work"}, {KindLog, "logs"},
	} {
		list, err := cachedDirs(k.kind, filepath.Join(q.CacheDir, filepath.FromSlash(k.dir)))
		if err != nil {
			return nil, cacheTrouble(err)
		}
		out = append(out, list...)
	}
	return out, nil
}

func cachedBuild(e buildcache.Entry) Cached {
	c := Cached{Kind: e.Kind, ID: e.Key, Name: e.Name, Size: e.Size, Used: e.Used, Path: e.Path, Damage: e.Damage, Other: e.Format != 0, Build: &e}
	if c.Kind == "" {
		c.Kind = "build"
	}
	switch {
	case c.Other:
		c.Name = cmp.Or(c.Name, "a build") + " (of another version of modwsgi)"
	case c.Name == "":
		c.Name = "(unreadable)"
	}
	return c
}

func cacheTrouble(err error) error {
	return fault.New(fault.Environment, "look at its permissions, or name another one with --cache-dir", "read the cache: %w", err)
}

// cachedDirs takes each directory below dir as one thing.
func cachedDirs(kind, dir string) ([]Cached, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Cached
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil || !e.IsDir() {
			continue
		}
		c := Cached{Kind: kind, ID: e.Name(), Name: e.Name(), Size: sizeOf(path), Used: info.ModTime(), Path: path}
		if kind == KindDownload {
			c.Name = archiveName(path)
		}
		if c.Size > 0 || kind == KindWork {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b Cached) int { return cmp.Or(b.Used.Compare(a.Used), strings.Compare(a.ID, b.ID)) })
	return out, nil
}

// archiveName is the name of the archive in a directory of the download cache.
func archiveName(dir string) string {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if n := e.Name(); e.Type().IsRegular() && !strings.HasSuffix(n, ".asc") && !strings.HasPrefix(n, "partial") {
			return n
		}
	}
	return "(a part of an archive)"
}

// FindCached returns what an identifier, or the beginning of one with at least
// six characters, means. Errors are of class Usage.
func FindCached(q Request, id string) (*Cached, error) {
	all, err := ListCache(q)
	if err != nil {
		return nil, err
	}
	var found []Cached
	for _, c := range all {
		if c.ID == id || len(id) >= 6 && strings.HasPrefix(c.ID, id) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return nil, fault.New(fault.Usage, "modwsgi cache list shows what there is", "there is nothing in the cache with the identifier %q", id)
	case 1:
		return &found[0], nil
	}
	return nil, fault.New(fault.Usage, "write more of it", "%d things in the cache begin with %q", len(found), id)
}

// Verified is what VerifyCache found.
type Verified struct {
	Good int      // things that are as they were recorded
	Bad  []Cached // damaged ones
	// Other is the number of builds in the format of another version of this
	// program, which this one cannot judge.
	Other int
}

// VerifyCache reads all builds and downloads in full; with drop those that are
// damaged are removed.
func VerifyCache(ctx context.Context, q Request, drop bool) (v Verified, err error) {
	all, err := ListCache(q)
	if err != nil {
		return v, err
	}
	c := buildcache.Cache{Dir: buildsDir(q.cacheDir())}
	for _, item := range all {
		var why error
		switch {
		case item.Other:
			v.Other++
			continue
		case item.Build != nil:
			if why = c.Verify(ctx, item.ID); why == nil {
				why = verifySources(item.Build)
			}
		case item.Kind == KindDownload:
			why = verifyDownload(item)
		default:
			continue
		}
		if ctx.Err() != nil {
			return v, context.Cause(ctx)
		}
		if why == nil {
			v.Good++
			continue
		}
		if !buildcache.IsDamage(why) && !errors.Is(why, errDamaged) {
			return v, cacheTrouble(why)
		}
		item.Damage = why.Error()
		v.Bad = append(v.Bad, item)
		if drop {
			if err := q.removeCached(item); err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

// cacheDir is the cache directory of a request of which it is known.
func (q Request) cacheDir() string {
	_ = q.findCache()
	return q.CacheDir
}

var errDamaged = errors.New("damaged")

// verifySources checks that a build shows what it was built from.
func verifySources(e *buildcache.Entry) error {
	if why := unproven(e.About); why != "" {
		return fmt.Errorf("%w: %s", errDamaged, why)
	}
	return nil
}

func verifyDownload(c Cached) error {
	name := archiveName(c.Path)
	if strings.HasPrefix(name, "(") {
		return nil // a download that goes on later
	}
	sum, err := digest.File(filepath.Join(c.Path, name))
	if err == nil && sum != c.ID {
		err = fmt.Errorf("%w: %s has another SHA-256", errDamaged, name)
	}
	return err
}

// removeCached takes something away. What another process holds stays.
func (q Request) removeCached(c Cached) error {
	var err error
	switch {
	case c.Build != nil:
		err = buildcache.Cache{Dir: buildsDir(q.cacheDir())}.Remove(c.ID)
	default:
		release, ok, lerr := flock.Try(c.Path)
		if !ok {
			if errors.Is(lerr, fs.ErrNotExist) {
				return nil
			}
			return lerr // in use, or not ours
		}
		err = removeTree(c.Path)
		release()
	}
	if err != nil {
		return fault.New(fault.Environment, "look at the permissions of the cache directory", "remove %s from the cache: %w", c.Name, err)
	}
	return nil
}

// CachePolicy says what of the cache is too much.
type CachePolicy struct {
	MaxSize   int64         // bytes in all, what was not used for longest goes first; negative for any
	OlderThan time.Duration // not used for so long; 0 for any
	Kinds     []string      // only these; nil for all
	All       bool          // everything, whatever its age and size
	DryRun    bool          // say only
}

// PruneCache removes what a policy is against and returns it.
func PruneCache(q Request, p CachePolicy) ([]Cached, error) {
	all, err := ListCache(q)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c Cached) bool { return len(p.Kinds) > 0 && !slices.Contains(p.Kinds, c.Kind) })
	slices.SortStableFunc(all, func(a, b Cached) int { return b.Used.Compare(a.Used) })
	entries := make([]buildcache.Entry, len(all))
	for i, c := range all {
		entries[i] = buildcache.Entry{Key: fmt.Sprint(i), Size: c.Size, Used: c.Used}
	}
	var gone []Cached
	if p.All {
		gone, entries = all, nil
	}
	for _, e := range (buildcache.Policy{MaxSize: p.MaxSize, OlderThan: p.OlderThan}).Choose(entries) {
		for i := range all {
			if e.Key == fmt.Sprint(i) {
				gone = append(gone, all[i])
			}
		}
	}
	if p.DryRun {
		return gone, nil
	}
	for i, c := range gone {
		if err := q.removeCached(c); err != nil {
			return gone[:i], err
		}
	}
	return gone, nil
}

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
	line(p.tools.Programs)
	line(p.tools.CC, p.tools.Compiler, p.tools.Target, p.tools.Libc, run.Getenv(p.tools.Env, "SOURCE_DATE_EPOCH"))
	return fmt.Sprintf("modwsgi-%s-cp%d%d%s-%s", platformTag(py), py.Major, py.Minor, py.ABIFlags, hex.EncodeToString(h.Sum(nil))[:20]), nil
}

// brokenEnvironment finds what is installed in an environment whose Python does
// not start any more, by its files; nil where that is none of ours.
func brokenEnvironment(q *Request) *detect.Python {
	var dirs []string
	switch {
	case q.Python != "":
		path := q.abs(q.Python)
		dirs = []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))}
	default:
		dirs = []string{filepath.Join(q.Dir, ".venv")}
	}
	for _, dir := range dirs {
		if !fileExists(filepath.Join(dir, "pyvenv.cfg")) {
			continue
		}
		var sites []string
		for _, pattern := range []string{"lib/python*/site-packages/mod_wsgi*.dist-info", "Lib/site-packages/mod_wsgi*.dist-info"} {
			found, _ := filepath.Glob(filepath.Join(globEscape(dir), filepath.FromSlash(pattern)))
			for _, info := range found {
				if site := filepath.Dir(info); !slices.Contains(sites, site) {
					sites = append(sites, site)
				}
			}
		}
		if len(sites) != 1 {
			return nil
		}
		scripts := filepath.Join(dir, "bin")
		if !fileExists(scripts) {
			scripts = filepath.Join(dir, "Scripts")
		}
		return &detect.Python{Prefix: dir, Platlib: sites[0], Purelib: sites[0], Scripts: scripts, Version: "(does not start)"}
	}
	return nil
}
