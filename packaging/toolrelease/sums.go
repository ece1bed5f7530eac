package toolrelease

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/packaging/release"
)

// SumsName is the file with the digests of everything in a release.
const SumsName = release.SumsName

// madeLater matches files that we make after the release tool, whose sums of an earlier run
// are outdated.
var madeLater = regexp.MustCompile(`\.whl(\.cdx\.json)?$|\.intoto\.jsonl?$|^bootstrap\.sh$`)

// checkSums compares the files of a release with the digests that the release tool
// recorded. It skips files that are made later.
func checkSums(dir *owned.Dir) error {
	before, err := readSums(dir)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if madeLater.MatchString(name) {
			continue
		}
		f, err := dir.OpenAny(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		sum, err := digest.Of(f)
		_ = f.Close()
		if err != nil {
			return err
		}
		if sum != before[name] {
			return fault.New(fault.Environment, "run make dist again", "%s has changed since the release tool made it", name)
		}
	}
	return nil
}

// maxSums is the maximum size in bytes of a file of sums.
const maxSums = 1 << 20

func readSums(dir *owned.Dir) (map[string]string, error) {
	f, err := dir.OpenAny(SumsName)
	if err != nil {
		return nil, fault.New(fault.Environment, "run make dist", "read sums: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSums))
	if err != nil {
		return nil, fault.New(fault.Environment, "run make dist", "read sums: %w", err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if sum, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			out[name] = sum
		}
	}
	return out, nil
}

// Gzip compresses a file; the header has neither a name nor a time.
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
