package release

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/packaging"
)

// Finished is an output directory of modwsgi package that was verified: nothing in it is
// missing, changed or added, and the index belongs to the checksums.
type Finished struct {
	Dir   string
	Sums  map[string]string // lower case hex by name, with slashes
	Index packaging.Index
}

// ErrNoIndex is a directory without checksums that list an index of artifacts.
var ErrNoIndex = errors.New("no index of artifacts")

// maxDescription is the maximum size in bytes of a file that describes artifacts.
const maxDescription = 64 << 20

// ReadFinished verifies a directory and reads its index. What [CheckDirectory] finds wrong
// has its class. The other errors have none; some wrap ErrNoIndex.
func ReadFinished(dir string) (*Finished, error) {
	if _, err := CheckDirectory(dir); errors.Is(err, fs.ErrNotExist) && fault.ClassOf(err) == fault.Internal {
		return nil, fmt.Errorf("%s has no %s (%w)", dir, SumsName, ErrNoIndex)
	} else if err != nil {
		return nil, err
	}
	f := &Finished{Dir: dir}
	var err error
	if f.Sums, err = ReadSums(dir); err != nil {
		return nil, err
	}
	data, err := f.Read(packaging.IndexName)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, packaging.IndexName)
	if f.Index, err = packaging.ParseIndex(data); err != nil {
		return nil, fmt.Errorf("%s %w (%w)", name, err, ErrNoIndex)
	}
	for _, a := range f.Index.Artifacts {
		if f.Sums[a.Name] != a.SHA256 {
			return nil, fmt.Errorf("%s: its record of %q differs from %s", name, a.Name, SumsName)
		}
		for _, sidecar := range a.Sidecars {
			if f.Sums[sidecar] == "" {
				return nil, fmt.Errorf("%s: %s does not list %q, which describes %s", name, SumsName, sidecar, a.Name)
			}
		}
	}
	return f, nil
}

// Read returns a file that describes artifacts, with the contents that were verified.
func (f *Finished) Read(name string) ([]byte, error) {
	if f.Sums[name] == "" {
		return nil, fmt.Errorf("%s: %s does not list %s (%w)", f.Dir, SumsName, name, ErrNoIndex)
	}
	data, err := digest.ReadFile(filepath.Join(f.Dir, filepath.FromSlash(name)), f.Sums[name], maxDescription)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(f.Dir, name), err)
	}
	return data, nil
}
