package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/recipe"
)

// maxIndex is the maximum size of an answer of an index, in bytes.
const maxIndex = 8 << 20

// versionForm matches a version in a specifier of an index.
var versionForm = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*([.-]?(a|b|c|rc|alpha|beta|dev|post)[.-]?[0-9]*)?$`)

// apacheFolder returns the folder of a component below Apache's dist area, or "" if it is
// not released there.
func apacheFolder(component string) string {
	return map[string]string{"httpd": "httpd", "apr": "apr", "apr-util": "apr"}[component]
}

// Resolve finds an archive that the catalogue lacks through upstream's own index:
// Apache's dist folders, or the Python package index. The hash comes from a signature by
// an embedded release key (recipe.Signed) or else from the index over TLS
// (recipe.Published). The archive has its hash set, so that Fetch then checks it like a
// pinned one. The error is *NotReleased for a version that upstream does not have, and
// another one if upstream does not answer.
func (f *Fetcher) Resolve(ctx context.Context, component, version string) (recipe.Archive, recipe.Trust, error) {
	if err := recipe.Catalogue().CheckVersion(component, version); err != nil {
		return recipe.Archive{}, "", fault.New(fault.Usage, fault.HintOf(err), "look for %s upstream: %w", component, err)
	}
	if f.opts.Offline {
		return recipe.Archive{}, "", fault.New(fault.Source, "run without --offline, or choose a version in the catalogue",
			"look for %s %s: it is not in the catalogue, and upstream is not asked offline", component, version)
	}
	a := recipe.Archive{Component: component, Version: version, Trust: recipe.Published}
	var err error
	switch {
	case component == "mod_wsgi":
		err = f.resolvePyPI(ctx, &a)
	case apacheFolder(component) != "":
		err = f.resolveApache(ctx, &a)
	default:
		err = errors.New("this component has no index")
	}
	if err != nil && ctx.Err() != nil {
		return recipe.Archive{}, "", fmt.Errorf("look for %s %s: %w", component, version, context.Cause(ctx))
	}
	var released *NotReleased
	if errors.As(err, &released) {
		return recipe.Archive{}, "", fault.Wrap(fault.Source, "", err)
	}
	if fault.HintOf(err) != "" {
		return recipe.Archive{}, "", err
	}
	if err == nil {
		if err := recipe.Catalogue().Contradicts(component, version, a.SHA256); err != nil {
			return recipe.Archive{}, "", fault.New(fault.Source, "do not use that archive; choose a version in the catalogue", "look for %s upstream: %w", a, err)
		}
	}
	if err != nil {
		return recipe.Archive{}, "", fault.New(fault.Source, "check the network, or choose a version in the catalogue (modwsgi install --dry-run shows it)",
			"look for %s %s: %w", component, version, err)
	}
	return a, a.Trust, nil
}

// NotReleased is the error for a version that upstream does not have.
type NotReleased struct {
	Component, Version string
	Where              string // the index that was asked, for people
}

func (n *NotReleased) Error() string {
	return fmt.Sprintf("look for %s %s: upstream has no such release (%s)", n.Component, n.Version, n.Where)
}

// Hint names where existing versions are listed.
func (n *NotReleased) Hint() string { return "see " + n.Where + " for the existing versions" }

// resolveApache asks Apache's dist folders, where FILE.sha256 and FILE.asc are beside
// FILE (https://infra.apache.org/release-distribution.html).
func (f *Fetcher) resolveApache(ctx context.Context, a *recipe.Archive) error {
	ext := ".tar.gz"
	if a.Component != "httpd" {
		ext = ".tar.bz2"
	}
	a.File = a.Component + "-" + a.Version + ext
	folder := apacheFolder(a.Component)
	var reasons []error
	absent := 0
	for _, raw := range f.opts.ApacheBases {
		base, err := url.Parse(raw)
		if err != nil {
			return err
		}
		at := base.JoinPath(folder, a.File)
		digest, err := f.getIndex(ctx, base.JoinPath(folder, a.File+".sha256"), 4<<10)
		if err == nil {
			a.SHA256, err = parseDigest(string(digest), a.File)
		}
		a.URLs, a.Signature = []string{at.String()}, at.String()+".asc"
		if err == nil {
			return f.confirm(ctx, a)
		}
		if isNotFound(err) {
			// Old releases have no .sha256, and a signature is worth more anyway.
			if err = f.resolveSigned(ctx, a, at); err == nil {
				return nil
			}
		}
		if isNotFound(err) {
			absent++
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", base.Host, err))
	}
	if absent > 0 && absent == len(f.opts.ApacheBases) {
		return &NotReleased{a.Component, a.Version, strings.Join(f.opts.ApacheBases, ", ")}
	}
	if !f.opts.NoDebian && f.resolveDebian(ctx, a) {
		return nil
	}
	return errors.Join(reasons...)
}

// resolveDebian is used when upstream does not answer. Debian's source package of that
// version carries upstream's archive and its signature, and a signature by an embedded
// key is as good from there.
func (f *Fetcher) resolveDebian(ctx context.Context, a *recipe.Archive) bool {
	index, err := f.sourceIndex(ctx)
	if err != nil {
		return false
	}
	for _, src := range index.named(debianName(*a)) {
		try := *a
		try.SHA256, try.Size, try.Debian = src.SHA256, src.Size, &recipe.Debian{Source: src.Source, File: src.Name}
		file, err := f.Fetch(ctx, try)
		if err == nil && file.Trust == recipe.Signed {
			try.Trust, try.SignedBy = file.Trust, file.Signer
			*a = try
			return true
		}
	}
	return false
}

// debianName returns Debian's name for the upstream archive of an Apache component.
func debianName(a recipe.Archive) string {
	source := a.Component
	if source == "httpd" {
		source = "apache2"
	}
	return source + "_" + a.Version + ".orig" + extension(a.File)
}

// confirm fetches an archive of which only the published digest is known, which also
// checks its signature. Without a signature, the digest has to do.
func (f *Fetcher) confirm(ctx context.Context, a *recipe.Archive) error {
	file, err := f.Fetch(ctx, *a)
	if err != nil {
		return err
	}
	a.Trust, a.SignedBy = file.Trust, file.Signer
	if fi, err := os.Stat(file.Path); err == nil {
		a.Size = fi.Size()
	}
	return nil
}

// resolveSigned downloads an archive without a known hash and uses the hash of the
// download if, and only if, an embedded key signed that.
func (f *Fetcher) resolveSigned(ctx context.Context, a *recipe.Archive, at *url.URL) error {
	beside := *at
	beside.Path += ".asc"
	signature, err := f.getIndex(ctx, &beside, maxSignature)
	if err != nil {
		return err
	}
	p := &progress{sink: f.opts.Events, step: "fetch " + a.String()}
	e, err := f.openDir(ctx, filepath.Join(f.opts.CacheDir, "archives", "unknown", a.File), p)
	if err != nil {
		return err
	}
	defer e.close()
	defer e.drop(partialName, stateName)
	e.drop(partialName, stateName) // without a hash nothing is resumed
	a.SHA256 = ""
	if err := f.opts.Events.Step(p.step, func() error {
		return f.download(ctx, *a, e, at, false, p, turn{time: f.opts.Total, rate: f.opts.MinRate})
	}); err != nil {
		return err
	}
	signer, sum, err := f.checkSignature(*a, e.path(partialName), httpc.Redact(&beside), signature)
	if err != nil {
		return err
	}
	if signer == "" {
		return errors.New("it has neither a digest nor a signature that proves anything (docs/reference/keys.md)")
	}
	a.SHA256, a.SignedBy, a.Trust = sum, signer, recipe.Signed // the hash of exactly what was signed
	return f.adopt(ctx, a, e, signature, p)
}

// adopt moves the signed archive to the entry for its hash.
func (f *Fetcher) adopt(ctx context.Context, a *recipe.Archive, e *entry, signature []byte, p *progress) error {
	info, err := os.Lstat(e.path(partialName))
	if err != nil {
		return err
	}
	a.Size = info.Size()
	home, err := f.openEntry(ctx, *a, p)
	if err != nil {
		return err
	}
	defer home.close()
	if _, err := home.place(e.path(partialName), *a); err != nil {
		return err
	}
	return home.keepSignature(*a, signature)
}

// getIndex is getSmall with retries.
func (f *Fetcher) getIndex(ctx context.Context, u *url.URL, limit int64) ([]byte, error) {
	var data []byte
	err := f.retry().Do(ctx, func() (_ bool, err error) {
		data, err = f.getSmall(ctx, u, false, limit)
		return false, err
	})
	return data, err
}

func isNotFound(err error) bool {
	var status *httpc.StatusError
	return errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusGone)
}

var hexRun = regexp.MustCompile(`(?i)\b[0-9a-f]{64}\b`)

// parseDigest reads a checksum file in one of the forms in use: "HASH *FILE",
// "SHA256 (FILE) = HASH", "FILE: HA SH …" in groups (gpg --print-md).
func parseDigest(text, file string) (string, error) {
	for _, line := range strings.Split(text, "\n") {
		if found := hexRun.FindAllString(line, 2); len(found) == 1 && (strings.Contains(line, file) || strings.TrimSpace(line) == found[0]) {
			return strings.ToLower(found[0]), nil
		}
	}
	if rest, ok := strings.CutPrefix(strings.TrimSpace(text), file+":"); ok {
		joined := strings.ToLower(strings.Join(strings.Fields(rest), ""))
		if recipe.Digest(joined) {
			return joined, nil
		}
	}
	return "", fmt.Errorf("the checksum file has no SHA-256 of %s", file)
}

// resolvePyPI asks the package index's JSON interface
// (https://docs.pypi.org/api/json/).
func (f *Fetcher) resolvePyPI(ctx context.Context, a *recipe.Archive) error {
	base, err := url.Parse(f.opts.PyPIBase)
	if err != nil {
		return err
	}
	at := base.JoinPath("pypi", a.Component, a.Version, "json")
	data, err := f.getIndex(ctx, at, maxIndex)
	if isNotFound(err) {
		return &NotReleased{a.Component, a.Version, httpc.Redact(base.JoinPath("project", a.Component)) + "/#history"}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", at.Host, err)
	}
	var answer struct {
		Info struct {
			Version        string `json:"version"`
			Yanked         bool   `json:"yanked"`
			YankedReason   string `json:"yanked_reason"`
			RequiresPython string `json:"requires_python"`
		} `json:"info"`
		URLs []pypiFile `json:"urls"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("read the answer of %s: %w", at.Host, err)
	}
	// An answer about another version, or about the same one in another spelling, does not
	// count: the archive would get a version that advisories do not know.
	if v := answer.Info.Version; v != "" && v != a.Version {
		return fmt.Errorf("%s answers for version %.40q, not %s", at.Host, answer.Info.Version, a.Version)
	}
	for _, file := range answer.URLs {
		if file.PackageType != "sdist" || !strings.HasSuffix(file.Filename, ".tar.gz") {
			continue
		}
		if err := file.check(); err != nil {
			return fmt.Errorf("read the answer of %s: %w", at.Host, err)
		}
		if name := strings.ReplaceAll(file.Filename, "-", "_"); name != a.Component+"_"+a.Version+".tar.gz" {
			return fmt.Errorf("%s names the file %q for %s", at.Host, file.Filename, a)
		}
		a.File, a.Size, a.SHA256, a.URLs = file.Filename, file.Size, file.Digests.SHA256, []string{file.URL}
		if c := pythonConstraint(answer.Info.RequiresPython); c != "" {
			a.Requires = map[string]string{"python": c}
		}
		if answer.Info.Yanked {
			f.opts.Events.Warn(strings.TrimSuffix(fmt.Sprintf("%s was withdrawn by its authors: %s", a, answer.Info.YankedReason), ": "))
		}
		return nil
	}
	return fmt.Errorf("%s has no source archive of it", at.Host)
}

type pypiFile struct {
	PackageType string `json:"packagetype"`
	Filename    string `json:"filename"`
	Size        int64  `json:"size"`
	URL         string `json:"url"`
	Digests     struct {
		SHA256 string `json:"sha256"`
	} `json:"digests"`
}

func (p pypiFile) check() error {
	if !recipe.FileName(p.Filename) || !recipe.Digest(p.Digests.SHA256) {
		return fmt.Errorf("invalid file name %q or sha256 %q", p.Filename, p.Digests.SHA256)
	}
	if p.Size < 0 || p.Size > MaxUnknownSize {
		return fmt.Errorf("%s has an impossible size of %d bytes", p.Filename, p.Size)
	}
	if u, err := url.Parse(p.URL); err != nil || u.Host == "" {
		return fmt.Errorf("%s has no address", p.Filename)
	}
	return nil
}

// pythonConstraint translates the part of a version specifier (PEP 440) that go-version's
// syntax can express; "" if nothing is left.
func pythonConstraint(specifier string) string {
	var out []string
	for _, clause := range strings.Split(specifier, ",") {
		clause = strings.TrimSpace(clause)
		for _, op := range [][2]string{{">=", ">="}, {"<=", "<="}, {"!=", "!="}, {"~=", "~>"}, {"==", "="}, {">", ">"}, {"<", "<"}} {
			v, ok := strings.CutPrefix(clause, op[0])
			if !ok {
				continue
			}
			if v = strings.TrimSpace(v); versionForm.MatchString(v) {
				out = append(out, op[1]+" "+v)
			}
			break
		}
	}
	return strings.Join(out, ", ")
}
