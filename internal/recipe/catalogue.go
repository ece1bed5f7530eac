package recipe

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/BurntSushi/toml"

	"modwsgi/internal/fault"
)

// The catalogue ages with the program, and a program that does not know about a
// vulnerability installs it. So a newer catalogue can be added to the embedded one
// ([Set.Extend]); where it comes from and why it is believed is package
// internal/catalogue's business.
//
// Added is meant literally: knowledge only grows. A newer catalogue brings versions,
// advisories and ends of support. It cannot change the hash of a version that is known
// already, take a version away, or narrow or withdraw an advisory. Whoever steals every
// key of a catalogue can then still not make a program accept another httpd 2.4.71 than
// its own, or a version that it knows to be vulnerable. The price is that an advisory
// listed by mistake stays until the next release of the program.

//go:embed sources.toml
var sourcesTOML string

//go:embed support.toml
var supportTOML string

//go:embed advisories/*.json
var advisoryFiles embed.FS

// Embedded returns the catalogue in the program. It panics on broken data, which only a
// wrong commit can cause; the tests read it.
var Embedded = sync.OnceValue(func() *Set { return embedded().set })

// EmbeddedDocument returns the catalogue in the program as a document, for publishing.
func EmbeddedDocument() *Document { return embedded().document }

type pair struct {
	document *Document
	set      *Set
}

var embedded = sync.OnceValue(func() pair {
	d, err := ReadDocument(sourcesTOML, supportTOML, advisoryFiles)
	if err != nil {
		panic(err)
	}
	s, err := d.Set()
	if err != nil {
		panic(err)
	}
	return pair{d, s}
})

// current is the catalogue of this run; nil for the embedded one.
var current atomic.Pointer[Set]

// Catalogue returns the catalogue of this run: the embedded one, or what [Adopt] set.
func Catalogue() *Set {
	if s := current.Load(); s != nil {
		return s
	}
	return Embedded()
}

// Adopt makes a set the catalogue of this run. The command line calls it once, before
// anything reads the catalogue.
func Adopt(s *Set) { current.Store(s) }

// Schema is the version of the format of a published catalogue.
const Schema = 1

// Document is a catalogue as it is published: the same facts as in sources.toml,
// support.toml and advisories/, in one JSON file.
type Document struct {
	Schema     int       `json:"schema" toml:"-"`
	Date       time.Time `json:"date" toml:"date"` // when it was established
	Archives   []Archive `json:"archives" toml:"archive"`
	Advisories []OSV     `json:"advisories" toml:"-"`
	Supports   []Support `json:"supports" toml:"support"`
}

// ReadDocument reads a catalogue from the files of this package's directory: the texts of
// sources.toml and support.toml, and the records in advisories/.
func ReadDocument(sources, support string, records fs.FS) (*Document, error) {
	d := &Document{Schema: Schema}
	for name, text := range map[string]string{"sources.toml": sources, "support.toml": support} {
		md, err := toml.Decode(text, d)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if unknown := md.Undecoded(); len(unknown) > 0 {
			return nil, fmt.Errorf("read %s: unknown key %s", name, unknown[0])
		}
	}
	names, err := fs.Glob(records, "advisories/*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := fs.ReadFile(records, name)
		if err != nil {
			return nil, err
		}
		r, err := ParseOSV(data)
		if err == nil && name != "advisories/"+r.ID+".json" {
			err = fmt.Errorf("it is the record %s", r.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		d.Advisories = append(d.Advisories, r)
	}
	return d, nil
}

// ParseDocument reads a published catalogue. Unknown keys are ignored: the schema's
// number changes when one may not be.
func ParseDocument(data []byte) (*Document, error) {
	var d Document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	if d.Schema != Schema {
		return nil, fault.New(fault.Source, "upgrade modwsgi", "read the catalogue: it has schema %d, this program knows %d", d.Schema, Schema)
	}
	if d.Date.IsZero() {
		return nil, errors.New("read the catalogue: it has no date")
	}
	if _, err := d.Set(); err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	return &d, nil
}

// Encode returns the document as a file, the same bytes for the same facts.
func (d *Document) Encode() []byte {
	out := *d
	out.Archives = slices.Clone(d.Archives)
	for i := range out.Archives {
		out.Archives[i].Trust = ""
	}
	data, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		panic(err) // strings, numbers and times always encode
	}
	return append(data, '\n')
}

// Set returns what the document means. Errors name the entry that is wrong.
func (d *Document) Set() (*Set, error) {
	s := &Set{archives: map[string][]Archive{}, supports: d.Supports, date: d.Date}
	for _, a := range d.Archives {
		a.Trust = Pinned
		if err := a.check(); err != nil {
			return nil, fmt.Errorf("archive %s: %w", a, err)
		}
		if slices.ContainsFunc(s.archives[a.Component], func(o Archive) bool { return o.SHA256 == a.SHA256 || o.File == a.File }) {
			return nil, fmt.Errorf("duplicate archive %s", a)
		}
		s.archives[a.Component] = append(s.archives[a.Component], a)
	}
	s.sort()
	for _, r := range d.Advisories {
		all, err := r.advisories()
		if err != nil {
			return nil, err
		}
		s.advisories = append(s.advisories, all...)
	}
	for _, v := range s.supports {
		_, err := constraints(v.Affected)
		_, derr := time.Parse(time.DateOnly, v.Ends)
		if err = errors.Join(err, derr); err != nil || !plainName.MatchString(v.Component) {
			return nil, fmt.Errorf("support of %q: %w", v.Component, errors.Join(errors.New("it is incomplete"), err))
		}
	}
	return s, nil
}

func (s *Set) sort() {
	for _, list := range s.archives {
		sort.SliceStable(list, func(i, j int) bool { return compare(list[j].Version, list[i].Version) < 0 })
	}
}

// Date returns when the newest part of the catalogue was established.
func (s *Set) Date() time.Time { return s.date }

// Extend returns the set with the facts of a newer catalogue added. With onlyWarnings it
// adds advisories and ends of support, but no versions. Components that s does not have
// are left out, because this program could not build them.
//
// The error is of class Source: the newer catalogue contradicts this one.
func (s *Set) Extend(d *Document, onlyWarnings bool) (*Set, error) {
	newer, err := d.Set()
	if err != nil {
		return nil, fault.New(fault.Source, "", "read the catalogue: %w", err)
	}
	out := &Set{
		archives: maps.Clone(s.archives), advisories: slices.Concat(newer.advisories, s.advisories),
		supports: slices.Concat(newer.supports, s.supports), date: s.date,
	}
	for component, all := range newer.archives {
		if len(s.archives[component]) == 0 {
			continue
		}
		added := slices.Clone(s.archives[component])
		for _, a := range all {
			if err := s.admit(a); err != nil {
				return nil, fault.New(fault.Source, "do not use that catalogue, and ask whoever publishes it; "+
					"upstream never publishes other bytes under the name of a release", "the newer catalogue contradicts the present one: %w", err)
			}
			if !slices.ContainsFunc(added, func(o Archive) bool { return o.SHA256 == a.SHA256 }) {
				added = append(added, a)
			}
		}
		out.archives[component] = added
	}
	if onlyWarnings {
		out.archives = s.archives
		return out, nil
	}
	out.sort()
	if newer.date.After(s.date) {
		out.date = newer.date
	}
	return out, nil
}

// admit returns an error for an archive of a newer catalogue that is a known version with
// other contents, known contents under another version, or a file name that is taken.
func (s *Set) admit(a Archive) error {
	if err := s.CheckVersion(a.Component, a.Version); err != nil {
		return err
	}
	if err := s.Contradicts(a.Component, a.Version, a.SHA256); err != nil {
		return err
	}
	for _, o := range s.archives[a.Component] {
		switch {
		case o.SHA256 == a.SHA256 && o.Size > 0 && a.Size > 0 && o.Size != a.Size:
			return fmt.Errorf("%s has %d bytes, not %d", o, o.Size, a.Size)
		case o.SHA256 != a.SHA256 && o.File == a.File:
			return fmt.Errorf("%s is the file of %s", a.File, o)
		}
	}
	return nil
}

// AllAdvisories returns every advisory, in the order of the catalogue: one that s extends
// another set with comes first.
func (s *Set) AllAdvisories() []Advisory { return slices.Clone(s.advisories) }

// Supports returns until when branches are supported.
func (s *Set) Supports() []Support { return slices.Clone(s.supports) }
