// Package fetch knows how to get a source archive: from a directory that the user names,
// the download cache, a mirror, upstream, or the Debian source package that carries the
// identical file. It checks the archive before anybody reads it, always against its
// SHA-256, and against its OpenPGP signature if one is available. It does not know what
// is in an archive or what it is for.
//
// A hash decides, never a name or a location. An archive that does not verify is removed
// and never resumed. A file with the right name and the wrong contents in a directory of
// the user's is an error, not a reason to look elsewhere.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// MaxUnknownSize is the maximum size of an archive of unknown size, in bytes.
const MaxUnknownSize = 200 << 20

// The providers, in the order in which they are asked.
const (
	SourceDir = "source-dir" // a directory that the user named
	Cache     = "cache"      // the download cache
	URL       = "url"        // a mirror that the user named, or an address of the recipe
	Debian    = "debian"     // a Debian source package on the host's mirror
)

// Options set where a Fetcher looks and how patient it is. CacheDir is required; zero
// durations and counts mean the defaults.
type Options struct {
	Runner     *run.Runner // starts apt; nil for a new one
	Env        []string    // environment with proxies, also for apt
	CacheDir   string      // private to this user; created if missing
	SourceDirs []string    // directories with archives; the first match wins
	Mirrors    []string    // base addresses, tried before the recipe's own; https, or http (the pin decides)
	Offline    bool        // never touch the network
	// Hold is a directory of the run that keeps fetched archives even if the cache is
	// cleared meanwhile; "" for none. It should be on the cache's file system.
	Hold     string
	NoDebian bool // never ask the host's package mirror
	Events   event.Sink

	AllowHTTP     bool          // allow http addresses and redirects on the loopback interface
	Retries       int           // retries per address without progress; default 3, negative for none
	RetryDelay    time.Duration // before the first retry, doubled each time; default 500 ms
	MaxDelay      time.Duration // longest wait before a retry, Retry-After included; default 20 s
	HeaderTimeout time.Duration // until an answer begins; default 20 s
	StallTimeout  time.Duration // without a byte, and over which the rate is measured; default 30 s, less if Total is short
	MinRate       int64         // bytes per second below which the next server is asked; default MODWSGI_DOWNLOAD_MIN_RATE or 8 KiB, negative for no minimum
	Total         time.Duration // for one archive, from all servers; default MODWSGI_DOWNLOAD_TIMEOUT or 30 min
	LockTimeout   time.Duration // for another process that fetches the same archive; default flock.DefaultLimit, negative does not wait

	// The indexes for Resolve; the defaults are upstream's.
	ApacheBases []string // "https://downloads.apache.org", …: BASE/httpd/httpd-V.tar.gz
	PyPIBase    string   // "https://pypi.org": BASE/pypi/mod_wsgi/V/json
	// Keys returns the release keys of a project; nil is the embedded ones.
	Keys func(project string) (openpgp.EntityList, error)
}

// Fetcher gets archives. It is safe for concurrent use, also by several processes with
// the same cache directory.
type Fetcher struct {
	opts    Options
	client  *http.Client
	mirrors []*url.URL
	keys    func(folder string) (openpgp.EntityList, error) // see releaseKeys; read on first use, which takes a moment
	now     func() time.Time
	hosts   hostMemory
	apt     apt
}

// File is a verified archive on this machine.
type File struct {
	Path     string
	Archive  recipe.Archive
	Provider string       // SourceDir, Cache, URL or Debian
	From     string       // source for people, without credentials
	Trust    recipe.Trust // source of its hash, or Signed if that is stronger
	Signer   string       // fingerprint of the key whose signature was checked, or ""
}

// New returns a Fetcher. The error is for invalid options: a source directory that does
// not exist, a mirror that is not an address.
func New(o Options) (*Fetcher, error) {
	if o.CacheDir == "" {
		return nil, errors.New("fetch: no cache directory")
	}
	limits, err := httpc.ReadLimits(o.Env)
	if err != nil {
		return nil, err
	}
	o = withDefaults(o, limits)
	for _, dir := range o.SourceDirs {
		if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
			return nil, fault.New(fault.Usage, "name an existing directory that contains the archives", "use source directory %s: %w", dir, orNotDirectory(err))
		}
	}
	f := &Fetcher{opts: o, keys: releaseKeys, now: time.Now}
	if o.Keys != nil {
		f.keys = o.Keys
	}
	for _, raw := range o.Mirrors {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fault.New(fault.Usage, "a mirror is a base address such as https://mirror.example.org/sources; for a directory use --source-dir",
				"use mirror %q: it is not an http or https address", httpc.RedactText(raw))
		}
		f.mirrors = append(f.mirrors, u)
	}
	f.client, err = newClient(o)
	return f, err
}

func withDefaults(o Options, l httpc.Limits) Options {
	if o.Runner == nil {
		o.Runner = &run.Runner{}
	}
	if o.Retries == 0 {
		o.Retries = 3
	}
	o.RetryDelay = orDuration(o.RetryDelay, 500*time.Millisecond)
	o.MaxDelay = orDuration(o.MaxDelay, 20*time.Second)
	o.HeaderTimeout = orDuration(o.HeaderTimeout, 20*time.Second)
	o.StallTimeout = orDuration(o.StallTimeout, l.Window)
	o.Total = orDuration(o.Total, l.Total)
	if o.MinRate == 0 {
		o.MinRate = l.Rate
	}
	if o.ApacheBases == nil {
		o.ApacheBases = []string{"https://downloads.apache.org", "https://archive.apache.org/dist"}
	}
	if o.PyPIBase == "" {
		o.PyPIBase = "https://pypi.org"
	}
	return o
}

func orDuration(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func orNotDirectory(err error) error {
	if err == nil {
		return errors.New("it is not a directory")
	}
	return err
}

// Fetch returns the archive, verified, from the first provider that has it. The error is
// *Unavailable if none has. Other errors mean that the user has to act (a file with the
// wrong contents in a source directory, a bad signature, a cache directory that is not
// writable) or that ctx ended.
func (f *Fetcher) Fetch(ctx context.Context, a recipe.Archive) (*File, error) {
	if !recipe.FileName(a.File) || !recipe.Digest(a.SHA256) {
		return nil, fmt.Errorf("fetch %s: invalid file name %q or sha256 %q", a, a.File, a.SHA256)
	}
	if a.Trust == "" {
		a.Trust = recipe.Pinned
	}
	var file *File
	step := "fetch " + a.String()
	err := f.opts.Events.Step(step, func() (err error) {
		file, err = f.fetch(ctx, a, &progress{sink: f.opts.Events, step: step})
		if err == nil {
			f.opts.Events.Send(event.Event{Kind: event.Progress, Step: step, Text: file.Provider + ": " + file.From, Bytes: a.Size, Total: a.Size})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if file.Signer != "" && recipe.Signed.Stronger(file.Trust) {
		file.Trust = recipe.Signed
	}
	return file, nil
}

// place moves a verified file, given by its path, to its name in the cache.
func (e *entry) place(verified string, a recipe.Archive) (string, error) {
	if err := e.rename(verified, a.File); err != nil {
		return "", cacheFault(e.dir, err)
	}
	syncDir(e.dir)
	e.drop(stateName, slowName, slowStateName)
	_ = e.root.RemoveAll(aptDir) // of a killed run
	return e.path(a.File), nil
}

// rename moves a file of this or another entry here. Nobody else can exchange a part of
// either path, because of how the directories were opened.
func (e *entry) rename(path, name string) error { return os.Rename(path, e.path(name)) }
