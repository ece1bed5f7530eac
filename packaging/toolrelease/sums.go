package toolrelease

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/packaging/release"
)

// SumsName is the file with the digests of everything in a release.
const SumsName = release.SumsName

// released says which files of the release tool's directory are a release; the
// others are its notes.
var released = regexp.MustCompile(`\.(tar\.gz|zip|deb|rpm|whl|cdx\.json|intoto\.json)$|^bootstrap\.sh$`)

// ours is what we make after the release tool: an earlier run's sum of it is old.
var ours = regexp.MustCompile(`\.whl(\.cdx\.json)?$|\.intoto\.json$|^bootstrap\.sh$`)

// Sums writes dist/SHA256SUMS anew: the release tool's has neither the wheels nor
// the bootstrap script. A digest that it already lists must still be true.
func Sums(dist string) error {
	dir, err := owned.OutputDir(dist)
	if err != nil {
		return fault.New(fault.Environment, fault.HintOr(err, "make dist makes it"), "sum up the release: %w", err)
	}
	defer func() { _ = dir.Close() }()
	entries, err := dir.Entries() // sorted by name
	if err != nil {
		return err
	}
	before, err := readSums(dir)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, e := range entries {
		if !e.Type().IsRegular() || !released.MatchString(e.Name()) {
			continue
		}
		f, err := dir.OpenAny(e.Name())
		if err != nil {
			return err
		}
		sum, err := digest.Of(f)
		_ = f.Close()
		if err != nil {
			return err
		}
		if old, there := before[e.Name()]; there && old != sum && !ours.MatchString(e.Name()) {
			return fault.New(fault.Environment, "run make dist again", "%s is not as the release tool made it", e.Name())
		}
		fmt.Fprintf(&text, "%s  %s\n", sum, e.Name())
	}
	return dir.WriteFile(SumsName, []byte(text.String()), 0o644)
}

// maxSums is the size in bytes of the largest file of sums that is read.
const maxSums = 1 << 20

func readSums(dir *owned.Dir) (map[string]string, error) {
	f, err := dir.OpenAny(SumsName)
	if err != nil {
		return nil, fault.New(fault.Environment, "make dist makes it", "read sums: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSums))
	if err != nil {
		return nil, fault.New(fault.Environment, "make dist makes it", "read sums: %w", err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if sum, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			out[name] = sum
		}
	}
	return out, nil
}

// Gzip packs a file; the header has neither a name nor a time.
func Gzip(file, target string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return atomicfile.Write(target, b.Bytes(), 0o644)
}

// BesideProgram is the list of modules in the directory of a program.
func BesideProgram(exe string) string { return filepath.Join(filepath.Dir(exe), ModulesName) }
