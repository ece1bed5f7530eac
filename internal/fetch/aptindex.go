package fetch

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"modwsgi/internal/distro"
	"modwsgi/internal/event"
	"modwsgi/internal/httpc"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// maxExtract is the maximum size of that extract in bytes.
const maxExtract = 16 << 20

// indexAge is how long the extract of the mirror's indexes is used.
const indexAge = 24 * time.Hour

// aptHelper is the path of apt's helper, which is not on PATH.
const aptHelper = "/usr/lib/apt/apt-helper"

const indexStep = "read the package mirror's source indexes"

// errNotDebian is why the provider is not used on other systems.
var errNotDebian = errors.New("not a Debian-like host")

// apt is the host's package mirror. It is asked once in the life of a Fetcher.
type apt struct {
	mu    sync.Mutex
	asked bool
	index *sourceIndex
	err   error
}

// sourceIndex is the extract of the Sources files: the upstream archives of the
// source packages that the catalogue names, and their signatures.
type sourceIndex struct {
	Made  time.Time   `json:"made"`
	Files []indexFile `json:"files"`
	conf  string      // apt configuration to download with
}

// indexFile is one file of one source package in one suite.
type indexFile struct {
	Source string `json:"source"` // "apache2"
	Name   string `json:"name"`   // "apache2_2.4.68.orig.tar.gz"
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	URL    string `json:"url"`
	Suite  string `json:"suite"`
}

// find returns the locations of a file with that hash, in the order of the suites.
func (x *sourceIndex) find(hash string) []indexFile {
	var out []indexFile
	seen := map[string]bool{}
	for _, f := range x.Files {
		if f.SHA256 == hash && !seen[f.URL] {
			seen[f.URL] = true
			out = append(out, f)
		}
	}
	return out
}

// named returns the files of that name that have a signature beside them.
func (x *sourceIndex) named(name string) []indexFile {
	var out []indexFile
	for _, f := range x.Files {
		if _, signed := x.beside(f); f.Name == name && signed {
			out = append(out, f)
		}
	}
	return out
}

// beside returns the signature that belongs to a file, in the same directory.
func (x *sourceIndex) beside(f indexFile) (indexFile, bool) {
	i := slices.IndexFunc(x.Files, func(s indexFile) bool { return s.URL == f.URL+".asc" })
	if i < 0 {
		return indexFile{}, false
	}
	return x.Files[i], true
}

// sourceIndex returns the index, from the cache if that is fresh. Parallel callers wait
// for one "apt-get update".
func (f *Fetcher) sourceIndex(ctx context.Context) (*sourceIndex, error) {
	f.apt.mu.Lock()
	defer f.apt.mu.Unlock()
	if f.apt.asked {
		return f.apt.index, f.apt.err
	}
	index, err := f.askMirror(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // another caller may have more time
	}
	f.apt.asked, f.apt.index, f.apt.err = true, index, err
	return index, err
}

// askMirror reads the index, within a quarter of the time for an archive. It is not asked
// again, because other callers would wait as long.
func (f *Fetcher) askMirror(ctx context.Context) (*sourceIndex, error) {
	limit := f.opts.Total / 4
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &httpc.Late{Limit: limit})
	defer cancel()
	return f.readIndex(ctx)
}

func (f *Fetcher) readIndex(ctx context.Context) (*sourceIndex, error) {
	if _, err := run.LookPath("apt-get", f.opts.Env); err != nil {
		return nil, errNotDebian
	}
	if _, err := os.Stat(aptHelper); err != nil {
		return nil, errNotDebian
	}
	dump, err := f.opts.Runner.Output(ctx, run.Cmd{Argv: []string{"apt-config", "dump"}, Env: f.aptEnv("")})
	if err != nil {
		return nil, fmt.Errorf("read apt's configuration: %w", err)
	}
	config := parseAptConfig(string(dump))
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, errNotDebian
	}
	h := hostOf(distro.ParseRelease(string(release)))
	sources := encodeSources(widen(distribution(readAptSources(config), h, f.hostIndexes(ctx)), h))
	if sources == "" {
		return nil, errors.New("apt's source lists do not include the archive of the host's own release")
	}
	// A newer program needs other source packages than the extract has.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s%q", sources, slices.Sorted(maps.Keys(wantedSources()))))
	e, err := f.openDir(ctx, filepath.Join(f.opts.CacheDir, "debian", hex.EncodeToString(sum[:8])), &progress{sink: f.opts.Events, step: indexStep})
	if err != nil {
		return nil, err
	}
	defer e.close()
	work := aptWork{dir: e.root}
	if err := work.write(config, sources); err != nil {
		return nil, cacheFault(e.dir, err)
	}
	if index := work.load(time.Now()); index != nil {
		return index, nil
	}
	var index *sourceIndex
	err = f.opts.Events.Step(indexStep, func() (err error) {
		index, err = f.update(ctx, work)
		return err
	})
	return index, err
}

// hostIndexes lists the indexes that the host's apt has; nil if it does not answer.
func (f *Fetcher) hostIndexes(ctx context.Context) []aptIndex {
	out, err := f.opts.Runner.Output(ctx, run.Cmd{
		Argv: []string{"apt-get", "indextargets", "--format", indexFormat, "Created-By: Packages"}, Env: f.aptEnv(""),
	})
	if err != nil {
		return nil
	}
	return parseIndexes(string(out))
}

// aptWork is the directory in which modwsgi runs apt.
type aptWork struct{ dir *owned.Dir }

func (w aptWork) path(name string) string { return filepath.Join(w.dir.Path(), name) }

// write creates the temporary configuration. It replaces the host's and keeps only its
// network settings: hooks of the host would run on every update and clean up in the
// system's directories.
func (w aptWork) write(config aptConfig, sources string) error {
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "log", "none"} {
		if err := w.dir.Root().MkdirAll(filepath.FromSlash(d), 0o700); err != nil {
			return err
		}
	}
	lines := append(config.acquire(),
		aptSetting("Dir::State", w.path("state")),
		aptSetting("Dir::Cache", w.path("cache")),
		aptSetting("Dir::Log", w.path("log")),
		aptSetting("Dir::Etc::parts", w.path("none")),
		aptSetting("Dir::Etc::main", w.path("none/apt.conf")),
		aptSetting("Dir::Etc::sourcelist", w.path("host.sources")),
		aptSetting("Dir::Etc::sourceparts", w.path("none")),
		aptSetting("Dir::Etc::preferences", w.path("none/preferences")),
		aptSetting("Dir::Etc::preferencesparts", w.path("none")),
		// apt's own user cannot reach a private cache directory.
		aptSetting("APT::Sandbox::User", "root"),
		aptSetting("Acquire::Languages", "none"),
		aptSetting("Acquire::Retries", "1"),
		aptSetting("Acquire::http::Timeout", "20"),
		aptSetting("Acquire::https::Timeout", "20"),
		// gzip is several times faster to read than xz, and the files are kept as
		// downloaded.
		aptSetting("Acquire::CompressionTypes::Order::", "gz"),
		aptSetting("Acquire::IndexTargets::deb-src::Sources::KeepCompressed", "true"),
		aptSetting("Acquire::IndexTargets::deb-src::Sources::KeepCompressedAs", "gz"),
	)
	// The proxy's address may contain a password.
	if err := w.dir.WriteFile("apt.conf", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return w.dir.WriteFile("host.sources", []byte(sources), 0o600)
}

func aptSetting(name, value string) string {
	return fmt.Sprintf(`%s "%s";`, name, strings.ReplaceAll(value, `"`, "%22"))
}

// load returns the extract of an earlier run if it is fresh and complete.
func (w aptWork) load(now time.Time) *sourceIndex {
	data, err := w.dir.ReadFile("index.json", maxExtract)
	if err != nil {
		return nil
	}
	x := &sourceIndex{conf: w.path("apt.conf")}
	if json.Unmarshal(data, x) != nil || len(x.Files) == 0 || now.Sub(x.Made) > indexAge || x.Made.After(now.Add(time.Hour)) {
		return nil
	}
	return x
}

// update runs "apt-get update" and extracts the needed entries. A suite that the mirror
// lacks makes apt fail, but the others are available.
func (f *Fetcher) update(ctx context.Context, w aptWork) (*sourceIndex, error) {
	conf := w.path("apt.conf")
	f.opts.Events.Send(event.Event{Kind: event.Progress, Step: indexStep, Text: "apt-get update"})
	var said bytes.Buffer
	updateErr := f.opts.Runner.Run(ctx, run.Cmd{Argv: []string{"apt-get", "update"}, Env: f.aptEnv(conf), Log: &said})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if reason := aptComplaint(strings.Split(said.String(), "\n")); reason != "" {
		updateErr = errors.New(reason) // if only the network failed, apt exits with 0
	}
	out, err := f.opts.Runner.Output(ctx, run.Cmd{
		Argv: []string{"apt-get", "indextargets", "--format", "$(FILENAME)|$(REPO_URI)|$(RELEASE)", "Created-By: Sources"},
		Env:  f.aptEnv(conf),
	})
	if err != nil {
		return nil, fmt.Errorf("list the mirror's indexes: %w", aptReason(err))
	}
	x := &sourceIndex{Made: time.Now(), conf: conf}
	if err := f.extractAll(ctx, w, x, string(out)); err != nil && updateErr == nil {
		updateErr = err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(x.Files) == 0 && updateErr != nil {
		return nil, fmt.Errorf("read the mirror's indexes: %w", aptReason(updateErr))
	}
	if len(x.Files) == 0 {
		return nil, errors.New("the mirror's indexes have none of the source packages")
	}
	if updateErr != nil {
		x.Made = x.Made.Add(time.Hour - indexAge) // incomplete: ask again soon
	}
	// Some fifty megabytes that are not read again.
	_ = w.dir.RemoveAll("state")
	return x, w.save(x)
}

// save keeps the extract for later runs.
func (w aptWork) save(x *sourceIndex) error {
	data, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if err := w.dir.WriteFile("index.json", data, 0o600); err != nil {
		return cacheFault(w.dir.Path(), err)
	}
	return nil
}

// extractAll reads the indexes that apt lists, one per line. An unreadable one is
// skipped.
func (f *Fetcher) extractAll(ctx context.Context, w aptWork, x *sourceIndex, list string) error {
	wanted := wantedSources()
	var reasons []error
	for _, line := range strings.Split(strings.TrimSpace(list), "\n") {
		fields := strings.Split(line, "|")
		if len(fields) != 3 {
			continue
		}
		files, err := f.extract(ctx, w, fields[0], fields[1], fields[2], wanted)
		if err != nil {
			reasons = append(reasons, err)
		}
		x.Files = append(x.Files, files...)
	}
	return errors.Join(reasons...)
}

// wantedSources returns the source packages that the catalogue names.
func wantedSources() map[string]bool {
	wanted := map[string]bool{}
	set := recipe.Catalogue()
	for _, component := range set.Components() {
		for _, a := range set.Of(component) {
			if a.Debian != nil {
				wanted[a.Debian.Source] = true
			}
		}
	}
	return wanted
}

// extract reads one Sources file through apt's helper, which supports every compression
// that apt may have kept it in.
func (f *Fetcher) extract(ctx context.Context, w aptWork, file, repo, suite string, wanted map[string]bool) ([]indexFile, error) {
	r, pw := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := f.opts.Runner.Run(ctx, run.Cmd{Argv: []string{aptHelper, "cat-file", file}, Env: f.aptEnv(w.path("apt.conf")), Log: pw})
		pw.Close()
		ended <- err
	}()
	files, err := parseSources(r, repo, suite, wanted)
	r.CloseWithError(err)
	if runErr := <-ended; err == nil {
		err = runErr
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	return files, nil
}

// parseSources reads a Sources index (https://wiki.debian.org/DebianRepository/Format)
// and keeps the upstream archives of the wanted packages. Such an index has a million
// lines, so each must be processed quickly.
func parseSources(r io.Reader, repo, suite string, wanted map[string]bool) ([]indexFile, error) {
	var out []indexFile
	var stanza []string
	flush := func() {
		out = append(out, parseStanza(stanza, repo, suite, wanted)...)
		stanza = stanza[:0]
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 256<<10), 4<<20)
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case len(line) == 0:
			flush()
		case line[0] == ' ' && !bytes.Contains(line, []byte(".orig.tar.")):
		case line[0] == ' ', bytes.HasPrefix(line, []byte("Package:")), bytes.HasPrefix(line, []byte("Directory:")),
			bytes.HasPrefix(line, []byte("Checksums-")), bytes.HasPrefix(line, []byte("Files:")):
			stanza = append(stanza, string(line))
		}
	}
	flush()
	return out, lines.Err()
}

func parseStanza(lines []string, repo, suite string, wanted map[string]bool) []indexFile {
	var out []indexFile
	var source, directory, field string
	for _, line := range lines {
		if line[0] == ' ' {
			if f, ok := parseChecksum(line); ok && field == "Checksums-Sha256" {
				out = append(out, f)
			}
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		field, value = name, strings.TrimSpace(value)
		switch name {
		case "Package":
			if source = value; !wanted[source] {
				return nil
			}
		case "Directory":
			directory = strings.Trim(value, "/")
		}
	}
	if source == "" {
		return nil
	}
	for i := range out {
		out[i].Source, out[i].Suite = source, suite
		out[i].URL = strings.TrimSuffix(repo, "/") + "/" + directory + "/" + out[i].Name
	}
	return out
}

func parseChecksum(line string) (indexFile, bool) {
	w := strings.Fields(line)
	if len(w) != 3 || !recipe.FileName(w[2]) || !recipe.Digest(w[0]) {
		return indexFile{}, false
	}
	size, err := strconv.ParseInt(w[1], 10, 64)
	return indexFile{SHA256: w[0], Size: size, Name: w[2]}, err == nil && size > 0
}

// aptEnv returns the caller's environment with apt's messages in English, because they
// are parsed, and with the configuration, "" for the host's own.
func (f *Fetcher) aptEnv(conf string) []string {
	env := append(slices.Clone(f.opts.Env), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	if conf != "" {
		env = append(env, "APT_CONFIG="+conf)
	}
	return env
}

// aptReason shortens apt's output to the reason.
func aptReason(err error) error {
	var tool *run.Error
	if errors.As(err, &tool) {
		if reason := aptComplaint(tool.Tail); reason != "" {
			return errors.New(reason)
		}
	}
	return err
}

// aptComplaint returns the first failure in apt's output, without addresses; "" if
// nothing failed.
func aptComplaint(lines []string) string {
	for _, line := range lines {
		kind, rest, _ := strings.Cut(line, ": ")
		after, failed := strings.CutPrefix(rest, "Failed to fetch ")
		switch {
		case (kind == "E" || kind == "W") && failed:
			_, rest, _ = strings.Cut(after, " ")
		case kind != "E" || rest == "Download Failed":
			continue
		}
		rest, _, _ = strings.Cut(rest, " [IP:")
		return strings.Join(strings.Fields(rest), " ")
	}
	return ""
}
