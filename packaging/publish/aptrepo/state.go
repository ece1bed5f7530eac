package aptrepo

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/pgp"
	"modwsgi/packaging/publish/repodir"
)

// Limits in bytes.
const (
	maxRelease  = 16 << 20
	maxPackages = 1 << 30
)

// keyName is the public key at the top of the repository, for people who set up apt.
const keyName = "key.asc"

// state is a suite as a reader sees it.
type state struct {
	suite    *suite
	unsigned bool                // there is a Release file, but no InRelease
	indexes  map[string][]stanza // by "COMPONENT/binary-ARCH"; only those of the component
}

var indexForm = regexp.MustCompile(`^([^/]+)/binary-([^/]+)/Packages(\.gz|\.xz|\.zst)?$`)

// readState reads the suite. A suite that does not exist is empty.
func (r *Repository) readState() (*state, error) {
	text, signed, err := r.readRelease()
	if err != nil {
		return nil, err
	}
	s := &state{indexes: map[string][]stanza{}, unsigned: text != nil && !signed}
	if text == nil {
		s.suite = &suite{fields: map[string]string{}, names: map[string]string{}, files: map[string]file{}}
		s.suite.set("Suite", r.o.Suite)
		s.suite.set("Codename", r.o.Suite)
		return s, nil
	}
	if s.suite, err = readSuite(string(text)); err != nil {
		return nil, r.damaged(r.dist("Release"), err)
	}
	for _, name := range slices.Sorted(maps.Keys(s.suite.files)) {
		m := indexForm.FindStringSubmatch(name)
		if m == nil || m[1] != r.o.Component {
			continue
		}
		dir := path.Dir(name)
		if _, done := s.indexes[dir]; done {
			continue
		}
		if s.indexes[dir], err = r.readIndex(s.suite, dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// readRelease returns the text of the suite's Release file, nil without one, and
// whether it is that of InRelease. Without InRelease, a first run may have ended before it.
// A file that another key signed is refused: apt would reject the repository after the
// change.
func (r *Repository) readRelease() (text []byte, signed bool, err error) {
	name := r.dist("InRelease")
	data, err := r.ReadFile(name, maxRelease)
	if errors.Is(err, fs.ErrNotExist) {
		text, err := r.readDetached()
		return text, false, err
	}
	if err != nil {
		return nil, false, err
	}
	if r.o.Signer == nil {
		return nil, false, r.wasSigned()
	}
	text, err = r.o.Signer.VerifyClear(data)
	if errors.Is(err, pgp.ErrStranger) {
		return nil, false, r.otherKey(name)
	}
	if err != nil {
		return nil, false, r.damaged(name, err)
	}
	return text, true, nil
}

// readDetached returns the text of the Release file of a suite without InRelease. Its
// signature may be one of a run that ended, and then need not match.
func (r *Repository) readDetached() ([]byte, error) {
	text, err := r.ReadFile(r.dist("Release"), maxRelease)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	name := r.dist("Release.gpg")
	signature, err := r.ReadFile(name, maxRelease)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return text, nil
	case err != nil:
		return nil, err
	case r.o.Signer == nil:
		return nil, r.wasSigned()
	case errors.Is(r.o.Signer.VerifyDetached(text, signature), pgp.ErrStranger):
		return nil, r.otherKey(name)
	}
	return text, nil
}

func (r *Repository) wasSigned() error {
	return fault.New(fault.Usage, "pass its key with --sign-openpgp", "the suite %s in %s is signed, and would no longer be", r.o.Suite, r.o.Dir.Path)
}

func (r *Repository) otherKey(name string) error {
	return fault.New(fault.Usage, "sign with the key of the repository; to replace it, remove "+r.Path(name)+" and give everyone the new key",
		"the suite %s in %s is signed by another key than %s: apt would reject it after the change", r.o.Suite, r.o.Dir.Path, r.o.Signer.Fingerprint())
}

func (r *Repository) damaged(name string, err error) error {
	return fault.New(fault.Verify, "restore the repository from a copy, or make a new one with another "+Option, "%s is damaged: %w", r.Path(name), err)
}

// readIndex reads the list of packages in a directory, in the first form whose contents
// are those that the Release file names, under their hash or under their name.
func (r *Repository) readIndex(s *suite, dir string) ([]stanza, error) {
	var problem error
	for _, suffix := range []string{"", ".xz", ".gz", ".zst"} {
		entry, ok := s.files[dir+"/Packages"+suffix]
		if !ok {
			continue
		}
		for _, name := range []string{path.Join(dir, "by-hash/SHA256", entry.sum), dir + "/Packages" + suffix} {
			data, err := r.ReadFile(r.dist(name), maxPackages)
			if err == nil && digest.Bytes(data) != entry.sum {
				err = errors.New("its contents are not those that the Release file names")
			}
			if err != nil {
				problem = err
				continue
			}
			if data, err = repodir.Expand(data, suffix, maxPackages); err != nil {
				return nil, r.damaged(r.dist(name), err)
			}
			all, err := parse(string(data))
			if err != nil {
				return nil, r.damaged(r.dist(name), err)
			}
			return all, nil
		}
	}
	return nil, r.damaged(r.dist(dir+"/Packages"), problem)
}

// find returns the stanza of the package with the same name, version and architecture.
func (s *state) find(wanted stanza) (stanza, bool) {
	for _, all := range s.indexes {
		for _, known := range all {
			if known.key() == wanted.key() {
				return known, true
			}
		}
	}
	return stanza{}, false
}

// missing reports whether an index that should list the package does not.
func (s *state) missing(p stanza) bool {
	for dir, all := range s.indexes {
		arch := strings.TrimPrefix(path.Base(dir), "binary-")
		if p.get("Architecture") != "all" && p.get("Architecture") != arch {
			continue
		}
		if !slices.ContainsFunc(all, func(o stanza) bool { return o.key() == p.key() }) {
			return true
		}
	}
	return false
}

// arches are the architectures of a component's indexes.
func (s *state) arches(component string) (out []string) {
	for dir := range s.indexes {
		if path.Dir(dir) == component {
			out = append(out, strings.TrimPrefix(path.Base(dir), "binary-"))
		}
	}
	return out
}

// merge adds packages to the indexes, and returns those that change. A new architecture
// also gets the packages for all architectures.
func (r *Repository) merge(added []stanza) map[string][]stanza {
	var forAll []stanza
	for _, all := range r.now.indexes {
		for _, s := range all {
			if s.get("Architecture") == "all" && !slices.ContainsFunc(forAll, func(o stanza) bool { return o.key() == s.key() }) {
				forAll = append(forAll, s)
			}
		}
	}
	for _, d := range added { // so that packages for all architectures see the new ones
		if arch := d.get("Architecture"); arch != "all" {
			if dir := r.o.Component + "/binary-" + arch; r.now.indexes[dir] == nil {
				r.now.indexes[dir] = slices.Clone(forAll)
			}
		}
	}
	changed := map[string][]stanza{}
	for _, d := range added {
		for _, arch := range r.arches(d) {
			dir := r.o.Component + "/binary-" + arch
			r.now.indexes[dir] = append(slices.DeleteFunc(r.now.indexes[dir], func(o stanza) bool { return o.key() == d.key() }), d)
		}
	}
	for _, d := range added {
		for _, arch := range r.arches(d) {
			dir := r.o.Component + "/binary-" + arch
			changed[dir] = r.now.indexes[dir]
		}
	}
	return changed
}

// switchTo writes the indexes with the added packages, and makes them the repository. It
// returns the name of the file whose appearance did that.
func (r *Repository) switchTo(added []stanza) (string, error) {
	s := r.now.suite
	canonical := map[string][]byte{}
	for dir, all := range r.merge(added) {
		for name := range s.files { // also the forms that are not written
			if path.Dir(name) == dir && strings.HasPrefix(path.Base(name), "Packages") {
				delete(s.files, name)
			}
		}
		forms, err := compressed(packages(all))
		if err != nil {
			return "", err
		}
		for suffix, data := range forms {
			name := dir + "/Packages" + suffix
			s.files[name] = file{digest.Bytes(data), int64(len(data))}
			canonical[name] = data
		}
		s.include("Architectures", strings.TrimPrefix(path.Base(dir), "binary-"))
	}
	s.include("Components", r.o.Component)
	s.set("Acquire-By-Hash", "yes")
	for name, value := range map[string]string{"Origin": r.o.Origin, "Label": r.o.Label} {
		if value != "" {
			s.set(name, value)
		}
	}
	s.renew(r.o.Now(), r.o.Valid)
	for _, name := range slices.Sorted(maps.Keys(canonical)) {
		at := path.Join(path.Dir(name), "by-hash/SHA256", s.files[name].sum)
		if err := r.PutData(r.dist(at), canonical[name]); err != nil {
			return "", err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(canonical)) {
		if err := r.PutData(r.dist(name), canonical[name]); err != nil {
			return "", err
		}
	}
	last, err := r.signRelease(s.text())
	if err != nil {
		return "", err
	}
	return last, r.clean(slices.Sorted(maps.Keys(canonical)))
}

// signRelease writes the Release file. For apt, InRelease is the repository; the two
// others are for other tools.
func (r *Repository) signRelease(text []byte) (string, error) {
	if r.o.Signer == nil {
		return r.dist("Release"), r.PutData(r.dist("Release"), text)
	}
	clear, err := r.o.Signer.ClearSign(text)
	if err != nil {
		return "", err
	}
	detached, err := r.o.Signer.Sign("Release", text, r.o.Now())
	if err != nil {
		return "", err
	}
	public, err := r.o.Signer.Public()
	if err != nil {
		return "", err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{keyName, public}, {r.dist("Release"), text}, {r.dist("Release.gpg"), detached}, {r.dist("InRelease"), clear}} {
		if err := r.PutData(f.name, f.data); err != nil {
			return "", err
		}
	}
	return r.dist("InRelease"), nil
}

var hashForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// clean removes indexes that no reader needs any more, and the leftovers of killed runs.
func (r *Repository) clean(names []string) error {
	current := map[string]bool{}
	for _, f := range r.now.suite.files {
		current[f.sum] = true
	}
	for _, name := range names {
		dir := r.dist(path.Dir(name))
		if err := r.SweepOld(dir+"/by-hash/SHA256", hashForm, current, r.o.Now()); err != nil {
			return err
		}
		if err := r.Sweep(dir, nil); err != nil {
			return err
		}
	}
	return r.Sweep(path.Join("dists", r.o.Suite), nil)
}

// compressed returns the forms of an index by their suffixes.
func compressed(data []byte) (map[string][]byte, error) {
	out := map[string][]byte{"": data}
	for suffix, open := range map[string]func(io.Writer) (io.WriteCloser, error){
		".gz": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, gzip.BestCompression) },
		".xz": func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
	} {
		var b bytes.Buffer
		w, err := open(&b)
		if err == nil {
			_, err = w.Write(data)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("compress an index: %w", err)
		}
		out[suffix] = b.Bytes()
	}
	return out, nil
}
