// Package catalogue keeps the catalogue of versions and advisories current (package
// recipe says what one is). It fetches newer ones from a repository of The Update
// Framework (https://theupdateframework.io), keeps them on this machine, and decides
// which one a run uses. It knows who signed a catalogue, how old it is and when it
// expires. It does not know what is in it, and it never asks a server unless Update is
// called.
//
// # Whom is believed
//
// The embedded catalogue always counts, and a newer one can only add to it
// (recipe.Set.Extend). A newer one counts if the repository's keys signed it, which are
// listed in the root of trust: one built into the program, or the file that the user gave
// with the first update. A root is never accepted because a server offers it, except as
// the successor of a trusted one, signed by the keys of both.
//
// # What is kept
//
// One file, [fileName], in a directory that nobody else may write to. It has the newest
// verified metadata of each role, which a repository must not go behind (rollback), and
// the complete set of the last successful update. The file is replaced as a whole, so no
// crash leaves parts of two updates. Everything in it is verified again in each run,
// starting at the newest root: a catalogue whose signer has been revoked since does not
// count any longer, whatever else failed.
//
// The metadata of an update that fails half-way is kept, too: a root that revokes a key
// must not be forgotten because the rest of the answer was blocked.
//
// # When it expires
//
// An update demands that root, timestamp, snapshot and targets are valid now. That is the
// protection against a server that shows an old state for ever (freeze). Afterwards the
// catalogue is usable until its own signature (targets) or the root expires, so that a
// machine without a network is not worse off a week later. An expired one is still
// believed where it warns: its advisories count, its versions do not. Forgetting an
// advisory because nobody has confirmed it lately would turn the protection into a hole.
package catalogue

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

// The variables that configure the catalogue.
const (
	DirVariable = "MODWSGI_CATALOGUE_DIR" // the only directory to use
	URLVariable = "MODWSGI_CATALOGUE_URL" // the repository
)

// systemDir is where root keeps a catalogue for every user of the machine. Tests replace
// it. Windows has none, because its access control lists are not read.
var systemDir = map[bool]string{true: "/var/lib/modwsgi/catalogue"}[runtime.GOOS != "windows"]

// MaxAge is the age from which a catalogue is reported as old.
const MaxAge = 30 * 24 * time.Hour

// Options name where catalogues are kept.
type Options struct {
	Env     []string // the caller's environment
	Private string   // this user's directory, in the cache directory, or ""
	System  bool     // an update is for every user
	Now     func() time.Time
}

// dirs returns the directories that may have a catalogue.
func (o Options) dirs() []string {
	if dir := run.Getenv(o.Env, DirVariable); filepath.IsAbs(dir) {
		return []string{dir}
	}
	var out []string
	if o.Private != "" {
		out = append(out, o.Private)
	}
	if systemDir != "" {
		out = append(out, systemDir)
	}
	return out
}

// The states of a catalogue on this machine.
const (
	Used    = "used"
	Older   = "older"   // than the embedded one: ignored
	Expired = "expired" // its advisories count, its versions do not
	Refused = "refused" // damaged, not signed, or writable for others: ignored
)

// Local is a catalogue on this machine.
type Local struct {
	Path       string    `json:"path"`
	State      string    `json:"state"`
	Problem    string    `json:"problem,omitempty"` // why it is not used
	Hint       string    `json:"hint,omitempty"`
	Repository string    `json:"repository,omitempty"` // where it is from
	Version    int64     `json:"version,omitempty"`    // in that repository
	Date       time.Time `json:"date,omitzero"`        // when it was established
	Expires    time.Time `json:"expires,omitzero"`
	Checked    time.Time `json:"checked,omitzero"`  // the last successful update
	Signers    []string  `json:"signers,omitempty"` // identifiers of the keys

	document *recipe.Document
}

// Status is the catalogue of this run.
type Status struct {
	Date     time.Time   `json:"date"`     // when its newest part was established
	Embedded time.Time   `json:"embedded"` // when the one in the program was
	Local    []Local     `json:"local"`
	Set      *recipe.Set `json:"-"`
}

// Current returns when the catalogue was last known to be the newest: when it was
// established, or when the repository last confirmed it.
func (s *Status) Current(now time.Time) time.Time {
	latest := s.Date
	for _, l := range s.Local {
		if l.State == Used && l.Checked.After(latest) && !l.Checked.After(now) {
			latest = l.Checked
		}
	}
	return latest
}

// Old returns a sentence for users if the catalogue is older than MaxAge, otherwise "".
func (s *Status) Old(now time.Time) string {
	days := int(now.Sub(s.Current(now)) / (24 * time.Hour))
	if days <= int(MaxAge/(24*time.Hour)) {
		return ""
	}
	return fmt.Sprintf("the catalogue is %d days old, so newer versions and vulnerabilities are unknown", days)
}

// OldHint is what to do about an old catalogue.
const OldHint = "run modwsgi catalogue update, or upgrade modwsgi"

// Warnings returns a line for each catalogue on this machine that should be used, but is
// not.
func (s *Status) Warnings() []string {
	var out []string
	for _, l := range s.Local {
		if l.Problem != "" {
			out = append(out, l.Problem+" ("+l.Hint+")")
		}
	}
	return out
}

// Load returns the catalogue that this run uses: the embedded one, with what the valid
// catalogues on this machine add to it. One that cannot be used is described in the
// result and otherwise ignored.
func Load(o Options) *Status {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Status{Set: recipe.Embedded(), Embedded: recipe.Embedded().Date(), Local: []Local{}}
	for _, dir := range o.dirs() {
		if l, ok := look(dir, o.Now()); ok {
			s.Local = append(s.Local, l)
		}
	}
	slices.SortStableFunc(s.Local, func(a, b Local) int { return a.Date.Compare(b.Date) })
	for i := range s.Local {
		l := &s.Local[i]
		switch {
		case l.document == nil:
			continue
		case l.Date.Before(s.Embedded):
			l.State = Older
			continue
		}
		set, err := s.Set.Extend(l.document, l.State == Expired)
		if err != nil {
			l.refuse(err, fault.HintOf(err))
			continue
		}
		s.Set = set
	}
	s.Date = s.Set.Date()
	return s
}

func (l *Local) refuse(err error, hint string) {
	l.State, l.Problem, l.Hint, l.document = Refused, "the catalogue in "+l.Path+" is ignored: "+err.Error(), hint, nil
}

const again = "run modwsgi catalogue update"

// look reads the catalogue in a directory, and reports whether there is one. Its document
// is nil if it is not usable.
func look(path string, now time.Time) (l Local, ok bool) {
	l.Path = filepath.Join(path, fileName)
	dir, err := owned.OpenDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, false
	}
	if err != nil {
		l.refuse(err, fault.HintOr(err, "make it readable, or name another directory in "+DirVariable))
		return l, true
	}
	defer func() { _ = dir.Close() }()
	st, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return l, false
	}
	if err != nil {
		l.refuse(err, fault.HintOr(err, removeHint(l.Path)))
		return l, true
	}
	l.Repository, l.Checked = st.Repository, st.Checked
	set, err := st.verify()
	if err != nil {
		l.refuse(explain(err), again)
		return l, true
	}
	l.document, l.Version, l.Date, l.Expires, l.Signers = set.document, set.version, set.document.Date, set.expires, set.signers
	if l.State = Used; now.After(l.Expires) {
		l.State, l.Hint = Expired, again
		l.Problem = fmt.Sprintf("the catalogue in %s expired on %s: its advisories count, but its versions are not used", l.Path, l.Expires.UTC().Format(time.DateOnly))
	}
	return l, true
}

// removeHint is what to do about a damaged file. Removing it also removes what protects
// against a rollback, so it is the user's decision.
func removeHint(path string) string {
	return "remove " + run.Quote(path) + " and run modwsgi catalogue update again, with --root if the repository is not built in"
}
