package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// DebianArchive is where Debian's archive is when neither the user nor apt names a mirror.
const DebianArchive = "https://deb.debian.org/debian"

// Mirror is a mirror of Debian's archive.
type Mirror struct {
	Base string // address above "dists" and "pool"
	// Keys are files of keys, or keys themselves, that the host's apt accepts for it.
	Keys []string
	// AnyAge means that the host's apt does not check how old its indexes are.
	AnyAge bool
}

// HostMirrors returns the mirrors of Debian's archive that the host's apt uses, or Debian's
// own address on a host without any. Proxies are those of the environment, not apt's.
func (f *Fetcher) HostMirrors(ctx context.Context) []Mirror {
	if out := debianMirrors(f.hostSources(ctx)); len(out) > 0 {
		return out
	}
	return []Mirror{{Base: DebianArchive}}
}

// debianMirrors returns the mirrors in entries of apt, those that this program can reach.
func debianMirrors(sources []aptSource) []Mirror {
	var out []Mirror
	for _, s := range sources {
		keys := strings.Fields(s.options["Signed-By"])
		if strings.Contains(s.options["Signed-By"], "BEGIN PGP") {
			keys = []string{s.options["Signed-By"]}
		}
		for _, base := range s.uris {
			u, err := url.Parse(base)
			if err != nil || u.Scheme != "https" && u.Scheme != "http" || slices.ContainsFunc(out, func(m Mirror) bool { return m.Base == base }) {
				continue
			}
			out = append(out, Mirror{Base: base, Keys: keys, AnyAge: refused(s.options["Check-Valid-Until"])})
		}
	}
	return out
}

// refused reports whether a value of apt's means no.
func refused(value string) bool {
	return slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(value))
}

// hostSources returns the entries of the host's own Debian release, without its updates,
// which are elsewhere.
func (f *Fetcher) hostSources(ctx context.Context) []aptSource {
	if _, err := run.LookPath("apt-config", f.opts.Env); err != nil {
		return nil
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil
	}
	dump, err := f.opts.Runner.Output(ctx, run.Cmd{Argv: []string{"apt-config", "dump"}, Env: f.aptEnv("")})
	h := hostOf(distro.ParseRelease(string(release)))
	if err != nil || h.id != "debian" {
		return nil
	}
	config := parseAptConfig(string(dump))
	check := config.values["Acquire::Check-Valid-Until"]
	var out []aptSource
	for _, s := range distribution(readAptSources(config), h, f.hostIndexes(ctx)) {
		if !slices.ContainsFunc(s.suites, func(suite string) bool { _, pocket := splitPocket(suite); return pocket == "" }) {
			continue
		}
		if s.options["Check-Valid-Until"] == "" {
			s.options["Check-Valid-Until"] = check
		}
		out = append(out, s)
	}
	return out
}

// maxText is the maximum size of a signed text in bytes; the InRelease of Debian's
// unstable has two hundred thousand.
const maxText = 4 << 20

// Text returns a text that its own signature vouches for, such as the InRelease file of a
// Debian suite. It is asked for at most once a day: check is applied to the copy in the
// cache as well, and one that fails is not kept. It works offline with any copy. With fresh,
// it is asked for regardless of a copy, for example because files that the copy names no
// longer exist.
func (f *Fetcher) Text(ctx context.Context, address string, fresh bool, check func([]byte) error) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("invalid address: %q", httpc.RedactText(address))
	}
	sum := sha256.Sum256([]byte(address))
	step := "read " + httpc.Redact(u)
	e, err := f.openDir(ctx, filepath.Join(f.opts.CacheDir, "debian", "text-"+hex.EncodeToString(sum[:8])), &progress{sink: f.opts.Events, step: step})
	if err != nil {
		return nil, err
	}
	defer e.close()
	const name = "text"
	if info, err := e.root.Lstat(name); err == nil && (f.opts.Offline || !fresh && time.Since(info.ModTime()) < indexAge) {
		if data, err := e.root.ReadFile(name, maxText); err == nil && check(data) == nil {
			return data, nil
		}
	}
	if f.opts.Offline {
		return nil, fault.Wrap(fault.Source, "run once without --offline: the cache then has it", errOffline)
	}
	var data []byte
	if err := f.retry().Do(ctx, func() (_ bool, err error) {
		data, err = f.getSmall(ctx, u, true, maxText)
		return false, err
	}); err != nil {
		return nil, err
	}
	if err := check(data); err != nil {
		return nil, err
	}
	if err := e.root.WriteFile(name, data, 0o600); err != nil {
		return nil, cacheFault(e.dir, err)
	}
	return data, nil
}

// Document returns a document of an upstream project, such as an index, of at most limit
// bytes. Only TLS vouches for it.
func (f *Fetcher) Document(ctx context.Context, address string, limit int64) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("invalid address: %q", httpc.RedactText(address))
	}
	return f.getIndex(ctx, u, limit)
}

// SourceFile is an upstream archive of a source package in a suite.
type SourceFile = indexFile

// ParseSources reads a Sources index of a suite on a mirror, and returns the upstream
// archives of the wanted source packages.
func ParseSources(r io.Reader, mirror, suite string, wanted map[string]bool) ([]SourceFile, error) {
	return parseSources(r, mirror, suite, wanted)
}

// IsNotFound reports whether a server answered that it does not have something.
func IsNotFound(err error) bool { return isNotFound(err) }

// FetchIndexed is Fetch for a file whose hash a signed index vouches for: its addresses
// may be http, and source packages are not searched.
func (f *Fetcher) FetchIndexed(ctx context.Context, a recipe.Archive) (*File, error) {
	if !recipe.FileName(a.File) || !recipe.Digest(a.SHA256) {
		return nil, fault.Wrap(fault.Source, "", errors.New("invalid file name or sha256 of "+a.String()))
	}
	p := &progress{sink: f.opts.Events, step: "fetch " + a.String()}
	var file *File
	err := f.opts.Events.Step(p.step, func() (err error) {
		file, err = f.search(ctx, &search{archive: a, progress: p, missing: &Unavailable{Archive: a, Offline: f.opts.Offline}, indexed: true})
		return err
	})
	return file, err
}
