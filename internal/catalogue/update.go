package catalogue

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"modwsgi/internal/fault"
	"modwsgi/internal/flock"
	"modwsgi/internal/httpc"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// The repository that a build of the program uses by default, set by the linker: its
// address, and its root.json in base64. Both are empty in this project's own builds,
// because nobody runs such a repository yet.
var (
	DefaultURL  string
	DefaultRoot string
)

// clockSkew is how far ahead of this machine's clock a catalogue may be dated.
const clockSkew = 24 * time.Hour

// Request is an update.
type Request struct {
	Options
	From   string            // address or directory; "" for the variable's, the last one, or the built-in one
	Root   string            // file with the root to trust first; "" for the built-in one
	Dir    string            // working directory
	Limits httpc.Limits      // of a server; zero for those of the environment
	Wait   time.Duration     // for another update
	Note   func(text string) // for the waiting user
}

// Result is what an update did.
type Result struct {
	Path       string    `json:"path"`
	Repository string    `json:"repository"`
	Changed    bool      `json:"changed"`
	Root       int64     `json:"root_version"`
	Version    int64     `json:"version"`
	Date       time.Time `json:"date"`
	Expires    time.Time `json:"expires"`
	Anchored   bool      `json:"first_use"` // the root was trusted for the first time
}

const (
	fromHint = "name one with --from or " + URLVariable + ": an https address or a directory; docs/concepts/catalogue.md explains how to host one"
	rootHint = "get root.json from whoever runs the repository, by a way that you trust, and pass it with --root the first time"
)

// Update asks a repository for the newest catalogue, verifies it, and keeps it for later
// runs. If anything is wrong, the present catalogue stays. Errors are of class Source for
// the repository, Usage for a missing one, and Environment for this machine.
func Update(ctx context.Context, r Request) (*Result, error) {
	if r.Now == nil {
		r.Now = time.Now
	}
	dir, err := r.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	lock, err := flock.Wait(ctx, flock.Options{In: dir.Root(), Dir: dir.Path(), Limit: r.Wait, Waiting: r.Note, Busy: "updates the catalogue"})
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Release() }()
	sweep(dir)
	path := filepath.Join(dir.Path(), fileName)
	st, err := readState(dir)
	first := st == nil && errors.Is(err, fs.ErrNotExist)
	if st == nil && !first {
		return nil, fault.New(fault.Environment, fault.HintOr(err, removeHint(path)), "read %s: %w", path, err)
	}
	if first {
		st = &state{}
	}
	from, err := r.repository(st)
	if err != nil {
		return nil, err
	}
	if err := r.anchor(st); err != nil {
		return nil, err
	}
	src, err := newSource(ctx, from, r.Dir, r.Env, r.Limits)
	if err != nil {
		return nil, err
	}
	res := &Result{Path: path, Repository: src.String(), Anchored: first}
	err = r.refresh(src, dir, st, res)
	if err != nil && first {
		return nil, err // the root has not proved useful
	}
	if werr := st.write(dir); werr != nil {
		return nil, errors.Join(err, fault.New(fault.Environment, "", "keep the catalogue: %w", werr))
	}
	if err != nil {
		return nil, err
	}
	return res, nil
}

// tempPrefix begins the names of the library's private directories.
const tempPrefix = ".update-"

// sweep removes what killed updates left. The caller has the lock.
func sweep(dir *owned.Dir) {
	entries, err := dir.Entries()
	if err != nil {
		return // reported by what follows
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			_ = dir.RemoveAll(e.Name())
		}
	}
}

// open opens the directory to keep the catalogue in.
func (r Request) open() (*owned.Dir, error) {
	private := r.dirs()
	if !r.System {
		if len(private) == 0 || r.Private == "" && run.Getenv(r.Env, DirVariable) == "" {
			return nil, fault.New(fault.Environment, "set HOME or "+DirVariable+" to an absolute path, or give --system as root", "no directory to keep the catalogue in")
		}
		dir, err := owned.MakeDir(private[0])
		if err != nil {
			return nil, fault.New(fault.Environment, fault.HintOr(err, "name another directory in "+DirVariable), "keep the catalogue: %w", err)
		}
		return dir, nil
	}
	if systemDir == "" {
		return nil, fault.New(fault.Usage, "omit --system", "this system has no directory for every user")
	}
	dir, err := openShared(systemDir)
	if err != nil {
		return nil, fault.New(fault.Environment, fault.HintOr(err, "run it as root, or omit --system"), "keep the catalogue for every user: %w", err)
	}
	return dir, nil
}

// openShared opens a directory that everybody may read, creating its last two parts.
func openShared(path string) (*owned.Dir, error) {
	dir, err := owned.OpenDir(filepath.Dir(filepath.Dir(path)))
	for _, name := range []string{filepath.Base(filepath.Dir(path)), filepath.Base(path)} {
		if err != nil {
			return nil, err
		}
		var sub *owned.Dir
		sub, err = dir.MakeSub(name, 0o755)
		_ = dir.Close()
		dir = sub
	}
	return dir, err
}

// repository decides which one is asked.
func (r Request) repository(st *state) (string, error) {
	for _, from := range []string{r.From, run.Getenv(r.Env, URLVariable), st.Repository, DefaultURL} {
		if strings.TrimSpace(from) != "" {
			return from, nil
		}
	}
	return "", fault.New(fault.Usage, fromHint, "no catalogue repository is configured, and this build of modwsgi has none built in")
}

// anchor sets the root to trust on first use, and refuses another one afterwards.
func (r Request) anchor(st *state) error {
	var root []byte
	var err error
	where := "--root " + r.Root
	switch {
	case r.Root != "":
		name := r.Root
		if !filepath.IsAbs(name) && !owned.Descriptor(name) {
			name = filepath.Join(r.Dir, name)
		}
		if root, err = owned.ReadFile(name, maxRoot); err != nil {
			return fault.New(fault.Usage, fault.HintOr(err, rootHint), "read the root of trust: %w", err)
		}
	case st.Root == "" && DefaultRoot != "":
		where = "the root of trust in the program"
		if root, err = base64.StdEncoding.DecodeString(DefaultRoot); err != nil {
			return fault.New(fault.Internal, "", "read %s: %w", where, err)
		}
	case st.Root == "":
		return fault.New(fault.Usage, rootHint, "no root of trust is known for the repository, and none is accepted from the repository itself")
	default:
		return nil
	}
	if _, err := trustedmetadata.New(root); err != nil {
		return fault.New(fault.Usage, rootHint, "read the root of trust (%s): %w", where, explain(err))
	}
	if st.Root == "" {
		st.Anchor, st.Root = string(root), string(root)
		return nil
	}
	if text := string(root); text != st.Anchor && text != st.Root {
		return fault.New(fault.Usage, "omit --root; to trust another repository instead, remove the file with the present catalogue first (modwsgi catalogue show names it)",
			"%s is not the root of trust of the catalogue on this machine", where)
	}
	return nil
}

// maxRoot is the largest accepted root in bytes, as in the library.
const maxRoot = 512_000

// refresh runs the library's client in a private directory, and takes over what it has
// verified into st, also after an error. Only a complete and consistent catalogue becomes
// the one that is used.
func (r Request) refresh(src *source, dir *owned.Dir, st *state, res *Result) error {
	tmp, err := dir.Temp(tempPrefix)
	if err != nil {
		return fault.New(fault.Environment, "", "update the catalogue: %w", err)
	}
	defer func() { _ = tmp.Discard() }()
	for name, text := range map[string]string{metadata.TIMESTAMP: st.Timestamp, metadata.SNAPSHOT: st.Snapshot, metadata.TARGETS: st.Targets} {
		if text == "" {
			continue
		}
		if err := tmp.WriteFile(name+".json", []byte(text), 0o600); err != nil {
			return fault.New(fault.Environment, "", "update the catalogue: %w", err)
		}
	}
	found, err := r.ask(src, tmp.Path(), st)
	for name, to := range map[string]*string{metadata.ROOT: &st.Root, metadata.TIMESTAMP: &st.Timestamp, metadata.SNAPSHOT: &st.Snapshot, metadata.TARGETS: &st.Targets} {
		if data, rerr := tmp.ReadFile(name+".json", maxState); rerr == nil {
			*to = string(data)
		}
	}
	if err != nil {
		if src.ctx.Err() != nil {
			return fmt.Errorf("update the catalogue: %w", context.Cause(src.ctx))
		}
		return fault.New(fault.Source, hint(err), "update the catalogue from %s: %w", src, explain(err))
	}
	return r.accept(st, found, src, res)
}

// ask runs the library's client. It returns the catalogue that the repository has now.
func (r Request) ask(src *source, dir string, st *state) ([]byte, error) {
	cfg, err := config.New(base, []byte(st.Root))
	if err != nil {
		return nil, err
	}
	cfg.Fetcher, cfg.RemoteTargetsURL = src, base+"/targets"
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = dir, dir
	cfg.MaxDelegations = 0 // the catalogue is in the top-level list
	client, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	client.UnsafeSetRefTime(r.Now().UTC())
	if err := client.Refresh(); err != nil {
		return nil, err
	}
	file, err := client.GetTargetInfo(Target)
	if err != nil {
		return nil, err
	}
	if st.Catalogue != nil && proves(file, []byte(st.Catalogue.Content)) == nil {
		return []byte(st.Catalogue.Content), nil
	}
	if file.Length > maxCatalogue {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", Target, file.Length, maxCatalogue)
	}
	_, content, err := client.DownloadTarget(file, filepath.Join(dir, Target), "")
	return content, err
}

// accept makes a verified catalogue the one that later runs use, unless its contents are
// older than the present one's or contradict what the program knows.
func (r Request) accept(st *state, content []byte, src *source, res *Result) error {
	next := *st
	next.Catalogue = &published{Timestamp: st.Timestamp, Snapshot: st.Snapshot, Targets: st.Targets, Content: string(content)}
	found, err := next.verify()
	if err == nil && found.document.Date.After(r.Now().Add(clockSkew)) {
		err = fault.New(fault.Source, "check the clock of this machine, or ask whoever runs the repository", "the catalogue is dated %s, in the future", found.document.Date.UTC().Format(time.DateTime))
	}
	if err == nil {
		_, err = recipe.Embedded().Extend(found.document, false)
	}
	if present, perr := st.verify(); err == nil && perr == nil && found.document.Date.Before(present.document.Date) {
		err = fault.New(fault.Source, "ask whoever runs the repository", "the catalogue is of %s, older than the present one of %s",
			found.document.Date.UTC().Format(time.DateTime), present.document.Date.UTC().Format(time.DateTime))
	}
	if err != nil {
		return fault.New(fault.Source, fault.HintOr(err, "ask whoever runs the repository"), "update the catalogue from %s: %w", src, explain(err))
	}
	root, err := trustedmetadata.New([]byte(st.Root))
	if err != nil {
		return err
	}
	res.Changed = st.Catalogue == nil || st.Catalogue.Content != string(content)
	res.Root, res.Version, res.Date, res.Expires = root.Root.Signed.Version, found.version, found.document.Date, found.expires
	st.Catalogue, st.Repository, st.Checked = next.Catalogue, src.String(), r.Now().UTC().Truncate(time.Second)
	return nil
}
