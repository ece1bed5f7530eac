package release

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/packaging"
	"modwsgi/packaging/sign"
)

// maxSums is the maximum size in bytes of a list of checksums.
const maxSums = 16 << 20

// changed is the hint for anything that differs from what was published.
const changed = "do not use it; get it again from where it was published"

// ReadSums returns the entries of a directory's SHA256SUMS: lowercase hex by name,
// with slashes. The error wraps fs.ErrNotExist if the file does not exist.
func ReadSums(dir string) (map[string]string, error) {
	name := filepath.Join(dir, SumsName)
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSums {
		return nil, fault.New(fault.Verify, changed, "%s is not a list of checksums", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	sums, err := packaging.ParseSums(data)
	if err != nil {
		return nil, fault.New(fault.Verify, changed, "%s: %w", dir, err)
	}
	return sums, nil
}

// CheckDirectory compares a directory of artifacts with its SHA256SUMS and returns the
// listed names, sorted. The error, of class Verify, names files that are missing, were
// changed or were added. It does not check the signature of SHA256SUMS:
// scripts/verify-release does that with a key.
func CheckDirectory(dir string) ([]string, error) {
	sums, err := ReadSums(dir)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		if what := compare(filepath.Join(dir, filepath.FromSlash(name)), sums[name]); what != "" {
			wrong = append(wrong, name+" "+what)
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(dir, path)
		if err != nil || rerr != nil {
			return errors.Join(err, rerr)
		}
		rel = filepath.ToSlash(rel)
		switch _, listed := sums[rel]; {
		case d.IsDir(), listed:
		case rel == SumsName, slices.Contains(sign.Suffixes, strings.TrimPrefix(rel, SumsName)):
		default:
			wrong = append(wrong, rel+" is not listed")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", dir, err)
	}
	return slices.Sorted(maps.Keys(sums)), notAsPublished(dir, wrong)
}

// CheckListed compares one file with the SHA256SUMS next to it; listed is false if
// that does not exist or does not contain the file.
func CheckListed(path string) (listed bool, err error) {
	sums, err := ReadSums(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	want := sums[filepath.Base(path)]
	if want == "" {
		return false, nil
	}
	if what := compare(path, want); what != "" {
		return true, notAsPublished(filepath.Dir(path), []string{filepath.Base(path) + " " + what})
	}
	return true, nil
}

// compare describes how a file differs, "" if it does not.
func compare(path, want string) string {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is missing"
	case err != nil:
		return "cannot be read"
	case !info.Mode().IsRegular():
		return "is not a regular file"
	}
	got, err := digest.File(path)
	if err != nil {
		return "cannot be read"
	}
	if got != want {
		return "was changed"
	}
	return ""
}

func notAsPublished(where string, wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	return fault.New(fault.Verify, changed, "%s differs from what was published: %s", where, packaging.Some(wrong, 8))
}

// CheckInside compares the contents of a zip with the SHA256SUMS in it, or of a wheel
// with its RECORD, and returns how many files those list; 0 without such a list. It
// unpacks nothing.
func CheckInside(path string) (int, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return 0, fault.New(fault.Verify, changed, "read %s: %w", filepath.Base(path), err)
	}
	defer func() { _ = z.Close() }()
	members := map[string]*zip.File{}
	var list *zip.File
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if members[f.Name] != nil {
			return 0, notAsPublished(filepath.Base(path), []string{f.Name + " is a duplicate"})
		}
		members[f.Name] = f
		if f.Name == SumsName || strings.HasSuffix(f.Name, ".dist-info/RECORD") && strings.Count(f.Name, "/") == 1 {
			list = f
		}
	}
	if list == nil {
		return 0, nil
	}
	wanted, err := listed(list)
	if err != nil {
		return 0, fault.New(fault.Verify, changed, "read %s in %s: %w", list.Name, filepath.Base(path), err)
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if f := members[name]; f == nil {
			wrong = append(wrong, name+" is missing")
		} else if got, err := sumOf(f); err != nil || got != wanted[name] {
			wrong = append(wrong, name+" was changed")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if wanted[name] == "" && name != list.Name {
			wrong = append(wrong, name+" is not listed")
		}
	}
	return len(wanted), notAsPublished(filepath.Base(path), wrong)
}

// listed reads the list in an archive: lowercase hex by name.
func listed(f *zip.File) (map[string]string, error) {
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	data, err := io.ReadAll(io.LimitReader(in, maxSums))
	if err != nil {
		return nil, err
	}
	if f.Name == SumsName {
		return packaging.ParseSums(data)
	}
	entries, err := pydist.ParseRecord(data)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, e := range entries {
		if e.Path == f.Name { // a list does not contain its own hash
			continue
		}
		sum, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimPrefix(e.Hash, "sha256="), "="))
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("%q has no SHA-256", e.Path)
		}
		out[e.Path] = hex.EncodeToString(sum)
	}
	return out, nil
}

func sumOf(f *zip.File) (string, error) {
	in, err := f.Open()
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	return digest.Of(in)
}
