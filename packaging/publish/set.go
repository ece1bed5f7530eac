package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/packaging"
	"modwsgi/packaging/release"
	"modwsgi/packaging/sign"
)

// Set is the verified content of an output directory of modwsgi package.
type Set struct {
	Dir       string
	Artifacts []packaging.Artifact // those chosen, in the order of the index
	sums      map[string]string    // lower case hex by name
	dir       *owned.Dir
}

// maxSidecar is the maximum size in bytes of a file that describes an artifact.
const maxSidecar = 64 << 20

// Open verifies an output directory: no file may be missing, changed or added, and with
// keys the signatures of SHA256SUMS must be valid. only are patterns for the names of
// artifacts, as in path.Match; without any, all are chosen.
func Open(dir string, keys sign.VerifyKeys, only []string) (*Set, error) {
	notOne := func(what string) error {
		return fault.New(fault.Usage, "name the output directory of modwsgi package", "%s %s", dir, what)
	}
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, notOne("does not exist")
	} else if err == nil && !info.IsDir() {
		return nil, notOne("is not a directory")
	}
	before, err := os.ReadFile(filepath.Join(dir, release.SumsName)) // #nosec G304 -- the user names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notOne("has no " + release.SumsName)
	}
	if err != nil {
		return nil, fault.New(fault.Environment, fault.HintOf(err), "read the checksums: %w", err)
	}
	if err := keys.Verify(filepath.Join(dir, release.SumsName), before); err != nil {
		return nil, err
	}
	done, err := release.ReadFinished(dir)
	if err != nil && fault.ClassOf(err) == fault.Internal {
		err = fault.Wrap(fault.Verify, "make the artifacts again with modwsgi package", err)
	}
	if err != nil {
		return nil, err
	}
	s := &Set{Dir: dir, Artifacts: done.Index.Artifacts, sums: done.Sums}
	after, err := os.ReadFile(filepath.Join(dir, release.SumsName)) // #nosec G304 -- as above
	if err != nil || !bytes.Equal(before, after) {
		return nil, fault.New(fault.Busy, "wait for the other command, then run this one again", "%s changed while it was verified", dir)
	}
	if s.dir, err = owned.OutputDir(dir); err != nil {
		return nil, fault.New(fault.Environment, fault.HintOf(err), "open the artifacts: %w", err)
	}
	return s, s.choose(only)
}

// choose keeps the artifacts that match one of the patterns.
func (s *Set) choose(only []string) error {
	for _, pattern := range only {
		if _, err := path.Match(pattern, ""); err != nil {
			return fault.New(fault.Usage, "write a pattern as a shell does, as in 'mod_wsgi-5*.whl'", "--only %q is not a pattern", pattern)
		}
	}
	if len(only) == 0 {
		return nil
	}
	s.Artifacts = slices.DeleteFunc(s.Artifacts, func(a packaging.Artifact) bool {
		return !slices.ContainsFunc(only, func(pattern string) bool {
			ok, _ := path.Match(pattern, a.Name)
			return ok
		})
	})
	if len(s.Artifacts) == 0 {
		return fault.New(fault.Usage, "modwsgi package verify lists what a directory has", "no artifact in %s matches --only %s", s.Dir, strings.Join(only, " "))
	}
	return nil
}

// Of returns the chosen artifacts of some kinds. Without any it is an error that names
// the option of the destination.
func (s *Set) Of(option string, kinds ...string) ([]packaging.Artifact, error) {
	var out []packaging.Artifact
	for _, a := range s.Artifacts {
		if slices.Contains(kinds, a.Kind) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Usage, "make one with modwsgi package, or leave out "+option, "%s: %s contains no %s to publish", option, s.Dir, strings.Join(kinds, " or "))
	}
	return out, nil
}

// Sidecar returns the contents of a file that describes an artifact.
func (s *Set) Sidecar(name string) ([]byte, error) {
	f, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f.Checked(), maxSidecar+1))
}

// Close closes the directory.
func (s *Set) Close() {
	if s.dir != nil {
		_ = s.dir.Close()
	}
}

// File is a file of a set, open for reading.
type File struct {
	*os.File
	Name string
	Size int64
	Sum  string // SHA-256, lower case hex
}

// Open opens a file that SHA256SUMS lists.
func (s *Set) Open(name string) (*File, error) {
	sum := s.sums[name]
	f, err := s.dir.OpenAny(name)
	if err != nil {
		return nil, fault.New(fault.Environment, fault.HintOf(err), "open %s: %w", filepath.Join(s.Dir, name), err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &File{File: f, Name: name, Size: info.Size(), Sum: sum}, nil
}

// Checked reads the file from its beginning. It returns the last bytes only if the whole
// has the checksum, so that a file that changed since it was verified is never sent
// completely.
func (f *File) Checked() io.Reader {
	return &checked{from: io.NewSectionReader(f, 0, f.Size), left: f.Size, hash: sha256.New(), file: f}
}

type checked struct {
	from io.Reader
	left int64
	hash hash.Hash
	file *File
}

func (c *checked) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.hash.Write(b[:n])
	c.left -= int64(n)
	if err != nil && err != io.EOF {
		return n, err
	}
	if c.left > 0 && err == nil {
		return n, nil
	}
	if got := hex.EncodeToString(c.hash.Sum(nil)); got != c.file.Sum {
		return 0, fault.New(fault.Verify, "do not change the directory during publishing; run the same command again", "%s changed after it was verified", c.file.Name)
	}
	return n, err
}
