package pydist

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// RecordEntry is one line of a RECORD file.
type RecordEntry struct {
	Path string // as in RECORD: relative to site-packages, or absolute
	Hash string // algorithm=digest, "sha256=" and unpadded URL-safe base64; "" if absent
	Size int64  // in bytes; -1 if absent
}

// record writes RECORD for the files and those of the dist-info directory, sorted by
// path. Its own line has neither hash nor size, as the specification requires.
func (d Dist) record(infoDir string, info map[string][]byte) ([]byte, error) {
	rows := [][]string{{infoDir + "/RECORD", "", ""}}
	for name, data := range info {
		h, size, err := digest(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		rows = append(rows, []string{infoDir + "/" + name, h, strconv.FormatInt(size, 10)})
	}
	for _, f := range d.Files {
		if err := checkPath(f.Path, infoDir); err != nil {
			return nil, err
		}
		h, size, err := digestFile(f.Source)
		if err != nil {
			return nil, fmt.Errorf("hash %s: %w", f.Path, err)
		}
		rows = append(rows, []string{f.Path, h, strconv.FormatInt(size, 10)})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	for i := 1; i < len(rows); i++ {
		if rows[i][0] == rows[i-1][0] {
			return nil, fmt.Errorf("%s is listed twice", rows[i][0])
		}
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(rows); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// checkPath refuses paths that RECORD would not preserve, and paths in the metadata
// directory.
func checkPath(p, infoDir string) error {
	switch {
	case p == "" || p == "." || !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%q cannot be a path in RECORD", p)
	case path.Clean(p) != p:
		return fmt.Errorf("%q is not a clean path", p)
	case strings.HasPrefix(p, infoDir+"/"):
		return fmt.Errorf("%q is in the metadata directory", p)
	}
	return nil
}

func digest(r io.Reader) (string, int64, error) {
	return digestWith("sha256", sha256.New(), r)
}

func digestWith(algorithm string, h hash.Hash, r io.Reader) (string, int64, error) {
	size, err := io.Copy(h, r)
	return algorithm + "=" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)), size, err
}

func digestFile(name string) (string, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", 0, errors.Join(err, errors.New("not a regular file"))
	}
	return digest(f)
}

// ParseRecord reads a RECORD file as Python's csv module does: quoted paths may contain
// commas, quotes and line ends; rows may lack hash and size.
func ParseRecord(data []byte) ([]RecordEntry, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	r.LazyQuotes = true // a quote inside an unquoted field is literal
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("parse RECORD: %w", err)
	}
	var entries []RecordEntry
	for _, row := range rows {
		e := RecordEntry{Path: row[0], Size: -1}
		if e.Path == "" || strings.ContainsRune(e.Path, 0) {
			return nil, fmt.Errorf("parse RECORD: %q is not a path", e.Path)
		}
		if len(row) > 1 {
			e.Hash = row[1]
		}
		if len(row) > 2 && row[2] != "" {
			if e.Size, err = strconv.ParseInt(row[2], 10, 64); err != nil || e.Size < 0 {
				return nil, fmt.Errorf("parse RECORD: the size of %q is %q", e.Path, row[2])
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Problem is a file that does not match RECORD.
type Problem struct {
	Path string // absolute
	What string // "is missing", "was changed" and the like
}

func (p Problem) String() string { return p.Path + " " + p.What }

// Check compares the installed files with RECORD. Byte-compiled files may be missing:
// Python makes them again. A file that another distribution has replaced, and that
// matches that distribution's RECORD, is not damaged: pip replaces mod_wsgi/__init__.py
// with that of mod_wsgi-telemetry this way.
func (i *Installed) Check() []Problem {
	var problems []Problem
	if i.Broken != nil {
		problems = append(problems, Problem{filepath.Join(i.InfoDir, "RECORD"), "cannot be read: " + i.Broken.Error()})
	}
	for _, e := range i.Files {
		abs := i.Path(e)
		if what := e.check(abs); what != "" && !i.othersFile(abs) {
			problems = append(problems, Problem{abs, what})
		}
	}
	for _, name := range []string{"METADATA", "RECORD"} {
		abs := filepath.Join(i.InfoDir, name)
		listed := slices.ContainsFunc(i.Files, func(e RecordEntry) bool { return i.Path(e) == abs })
		if _, err := os.Stat(abs); err != nil && !listed {
			problems = append(problems, Problem{abs, "is missing"})
		}
	}
	return problems
}

// othersFile reports whether a file is exactly what another distribution of the same
// directory installed there.
func (i *Installed) othersFile(abs string) bool {
	all, _ := All(filepath.Dir(i.InfoDir))
	for _, other := range all {
		for _, e := range other.Files {
			if other.InfoDir != i.InfoDir && e.Hash != "" && other.Path(e) == abs && e.check(abs) == "" {
				return true
			}
		}
	}
	return false
}

func (e RecordEntry) check(abs string) string {
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, os.ErrNotExist) && strings.HasSuffix(abs, ".pyc"):
		return ""
	case errors.Is(err, os.ErrNotExist):
		return "is missing"
	case err != nil:
		return "cannot be read: " + err.Error()
	case !info.Mode().IsRegular():
		return "is not a regular file"
	case e.Size >= 0 && info.Size() != e.Size:
		return "was changed: its size differs from what was installed"
	}
	algorithm, _, _ := strings.Cut(e.Hash, "=")
	var h hash.Hash
	switch algorithm {
	case "":
		return ""
	case "sha256":
		h = sha256.New()
	case "sha384":
		h = sha512.New384()
	case "sha512":
		h = sha512.New()
	default:
		return "has a hash of an unknown kind: " + algorithm
	}
	f, err := os.Open(abs)
	if err != nil {
		return "cannot be read: " + err.Error()
	}
	defer f.Close()
	sum, _, err := digestWith(algorithm, h, f)
	if err != nil {
		return "cannot be read: " + err.Error()
	}
	// Some tools pad the digest.
	if sum != strings.TrimRight(e.Hash, "=") {
		return "was changed: its content differs from what was installed"
	}
	return ""
}
