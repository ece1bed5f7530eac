package dnfrepo

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/pgp"
	"modwsgi/packaging/publish/repodir"
)

// Limits in bytes.
const (
	maxRepomd = 16 << 20
	maxIndex  = 1 << 30
)

const repomdName = "repodata/repomd.xml"

// known is a package of the repository.
type known struct {
	id, kind  string // the package's hash and its type
	href      string
	elsewhere bool // the location is relative to another address
	entries   map[string]string
}

// state is the repository as a reader sees it.
type state struct {
	packages []*known
	byKey    map[string]*known
	kept     []string // elements of repomd.xml about other data
	unsigned bool     // there is a repomd.xml without a signature
}

// repomd is the part of repomd.xml that is needed to read the indexes.
type repomd struct {
	Data []struct {
		Type     string `xml:"type,attr"`
		Checksum struct {
			Type string `xml:"type,attr"`
			Sum  string `xml:",chardata"`
		} `xml:"checksum"`
		Location struct {
			Href string `xml:"href,attr"`
		} `xml:"location"`
	} `xml:"data"`
}

// derived are data that are made from the indexes and would be out of date: databases, and
// the form that is downloaded in parts. dnf does not need them.
var derived = regexp.MustCompile(`^(primary|filelists|other|filelists-ext)(_db|_zck)?$`)

// readState reads the repository. One that does not exist is empty.
func (r *Repository) readState() (*state, error) {
	s := &state{byKey: map[string]*known{}}
	data, err := r.ReadFile(repomdName, maxRepomd)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if s.unsigned, err = r.checkKey(data); err != nil {
		return nil, err
	}
	var md repomd
	if err := xml.Unmarshal(data, &md); err != nil {
		return nil, r.damaged(repomdName, err)
	}
	_, elements, err := split(data, "data")
	if err != nil || len(elements) != len(md.Data) {
		return nil, r.damaged(repomdName, errors.Join(errors.New("unexpected structure"), err))
	}
	at := map[string]int{}
	for i, d := range md.Data {
		if slices.Contains(indexNames, d.Type) {
			at[d.Type] = i
		} else if !derived.MatchString(d.Type) {
			s.kept = append(s.kept, elements[i])
		}
	}
	byID := map[string]*known{}
	for _, name := range indexNames {
		i, ok := at[name]
		if !ok {
			return nil, r.damaged(repomdName, fmt.Errorf("it names no %s", name))
		}
		d := md.Data[i]
		if err := r.readIndex(s, byID, name, d.Location.Href, d.Checksum.Type, strings.TrimSpace(d.Checksum.Sum)); err != nil {
			return nil, r.damaged(d.Location.Href, err)
		}
	}
	return s, nil
}

// checkKey refuses a repository that another key signed, and reports whether it is
// unsigned. A signature that does not match is accepted: only this user can write to the
// directory, and a run may have ended between the two files.
func (r *Repository) checkKey(data []byte) (unsigned bool, err error) {
	armored, err := r.ReadFile(repomdName+".asc", maxRepomd)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if r.o.Signer == nil {
		return false, fault.New(fault.Usage, "pass its key with --sign-openpgp", "the repository %s is signed, and would no longer be", r.o.Dir.Path)
	}
	if err := r.o.Signer.VerifyDetached(data, armored); errors.Is(err, pgp.ErrStranger) {
		return false, fault.New(fault.Usage, "sign with the key of the repository; to replace it, remove "+r.Path(repomdName+".asc")+" and give everyone the new key",
			"the repository %s is signed by another key than %s: dnf would reject it after the change", r.o.Dir.Path, r.o.Signer.Fingerprint())
	}
	return false, nil
}

func (r *Repository) damaged(name string, err error) error {
	if fault.ClassOf(err) != fault.Internal {
		return err
	}
	return fault.New(fault.Verify, "make the indexes again with createrepo_c, or make a new repository with another "+Option, "%s is damaged: %w", r.Path(name), err)
}

// readIndex reads one index, and adds its elements to the packages.
func (r *Repository) readIndex(s *state, byID map[string]*known, name, href, kind, sum string) error {
	data, err := readAll(r.Tree, href)
	if err != nil {
		return err
	}
	if kind == "sha256" && digest.Bytes(data) != sum {
		return errors.New("its contents are not those that repomd.xml names")
	}
	if data, err = expand(data, href); err != nil {
		return err
	}
	root, elements, err := split(data, "package")
	if err != nil {
		return err
	}
	if name == "primary" && !strings.Contains(root, `xmlns:rpm="http://linux.duke.edu/metadata/rpm"`) {
		return errors.New("its names have an unknown prefix")
	}
	for _, text := range elements {
		if name == "primary" {
			k, key, err := readPrimary(text)
			if err != nil {
				return err
			}
			s.packages, s.byKey[key], byID[k.id] = append(s.packages, k), k, k
			continue
		}
		var e struct {
			ID string `xml:"pkgid,attr"`
		}
		if err := xml.Unmarshal([]byte(text), &e); err != nil {
			return err
		}
		if k := byID[e.ID]; k != nil {
			k.entries[name] = text
		}
	}
	return nil
}

func readPrimary(text string) (*known, string, error) {
	var e struct {
		Name    string `xml:"name"`
		Arch    string `xml:"arch"`
		Version struct {
			Epoch   string `xml:"epoch,attr"`
			Version string `xml:"ver,attr"`
			Release string `xml:"rel,attr"`
		} `xml:"version"`
		Checksum struct {
			Type string `xml:"type,attr"`
			Sum  string `xml:",chardata"`
		} `xml:"checksum"`
		Location struct {
			Href string `xml:"href,attr"`
			Base string `xml:"base,attr"`
		} `xml:"location"`
	}
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict = false // the prefix rpm is declared outside
	if err := d.Decode(&e); err != nil {
		return nil, "", err
	}
	k := &known{
		id: strings.TrimSpace(e.Checksum.Sum), kind: e.Checksum.Type, href: e.Location.Href, elsewhere: e.Location.Base != "",
		entries: map[string]string{"primary": text},
	}
	return k, nevra(e.Name, e.Version.Epoch, e.Version.Version, e.Version.Release, e.Arch), nil
}

// split returns the start of the root element of a document, and the text of each child of
// that name as it is.
func split(data []byte, name string) (root string, elements []string, err error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	depth, begin := 0, int64(0)
	for {
		before := d.InputOffset()
		token, err := d.RawToken()
		if err == io.EOF {
			return root, elements, nil
		}
		if err != nil {
			return "", nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				root = string(data[before:d.InputOffset()])
			}
			if depth == 1 && t.Name.Local == name {
				begin = before
			}
			depth++
		case xml.EndElement:
			depth--
			if depth == 1 && t.Name.Local == name {
				elements = append(elements, string(data[begin:d.InputOffset()]))
			}
		}
	}
}

func readAll(t *repodir.Tree, href string) ([]byte, error) {
	data, err := t.ReadFile(path.Clean(href), maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it is missing")
	}
	return data, err
}

// expand decompresses an index by its name.
func expand(data []byte, href string) ([]byte, error) {
	return repodir.Expand(data, strings.TrimSuffix(path.Ext(href), ".xml"), maxIndex)
}

var oldForm = regexp.MustCompile(`^[0-9a-f]{64}-(primary|filelists|other)\.xml\.(gz|xz|zst)$`)
