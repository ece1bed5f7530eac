package pydist

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/fault"
)

// Installed is a distribution found in a site-packages directory.
type Installed struct {
	Name      string // as in its metadata
	Version   string
	InfoDir   string        // absolute
	Installer string        // "pip", "uv", "modwsgi", ...; "" if unknown
	Files     []RecordEntry // the entries of RECORD; nil if absent
	Broken    error         // why RECORD cannot be read; Find returns it instead
}

// Path returns the path of the file of a RECORD line.
func (i *Installed) Path(e RecordEntry) string {
	p := filepath.FromSlash(e.Path)
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(filepath.Dir(i.InfoDir), p)
}

// Paths returns the absolute paths of everything that belongs to the distribution: the
// files in RECORD, and the metadata directory.
func (i *Installed) Paths() []string {
	paths := []string{i.InfoDir}
	for _, e := range i.Files {
		paths = append(paths, i.Path(e))
	}
	return paths
}

// Find returns the distribution of that name (in any spelling), or nil if absent. A
// legacy installation (egg-info, egg-link, egg), which only the tool that made it can
// remove safely, is an error, and so are two of the same name and one with an unreadable
// RECORD. Problems of other distributions do not matter.
func Find(site, name string) (*Installed, error) {
	entries, err := os.ReadDir(site)
	if errors.Is(err, fs.ErrNotExist) { // /usr/local may be empty, and the first package creates it
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	want := NormalName(name)
	var found *Installed
	for _, e := range entries {
		stem, kind := split(e.Name())
		if kind == "" || kind != ".dist-info" && NormalName(stem) != want {
			continue
		}
		path := filepath.Join(site, e.Name())
		if kind != ".dist-info" {
			return nil, fault.New(fault.Environment, "uninstall it with that environment's own pip (python -m pip uninstall "+name+") and run the command again",
				"%s is installed in a legacy format that cannot be replaced safely (%s)", name, path)
		}
		i := read(path)
		if i == nil || NormalName(i.Name) != want {
			continue
		}
		if found != nil {
			return nil, fault.New(fault.Environment, "uninstall it with that environment's own pip, as often as necessary, and run the command again",
				"%s is installed twice: %s and %s", name, found.InfoDir, path)
		}
		found = i
	}
	if found == nil {
		return nil, nil
	}
	if found.readRecord(); found.Broken != nil {
		return nil, fault.Wrap(fault.Environment,
			"examine "+found.InfoDir+"; if nothing can be saved, remove it and the files of the package, and run the command again", found.Broken)
	}
	return found, nil
}

// All returns every distribution with a dist-info directory, sorted by the names of
// these. It skips what pip left half removed (names with "~").
func All(site string) ([]*Installed, error) {
	entries, err := os.ReadDir(site)
	if err != nil {
		return nil, fmt.Errorf("list distributions: %w", err)
	}
	var all []*Installed
	for _, e := range entries {
		if _, kind := split(e.Name()); kind != ".dist-info" {
			continue
		}
		if i := read(filepath.Join(site, e.Name())); i != nil {
			i.readRecord()
			all = append(all, i)
		}
	}
	return all, nil
}

// split returns the project's name and the kind of metadata of a file name; kind is ""
// for any other file.
func split(base string) (name, kind string) {
	if strings.HasPrefix(base, "~") {
		return "", ""
	}
	for _, kind := range []string{".dist-info", ".egg-info", ".egg-link", ".egg"} {
		if stem, ok := strings.CutSuffix(base, kind); ok {
			name, _, _ := strings.Cut(stem, "-")
			return name, kind
		}
	}
	return "", ""
}

// read reads a dist-info directory without its RECORD; nil for anything but a directory.
// Without readable METADATA it uses the name and version in the directory's name, so that
// a broken install can be replaced.
func read(dir string) *Installed {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	stem := strings.TrimSuffix(filepath.Base(dir), ".dist-info")
	i := &Installed{InfoDir: dir}
	i.Name, i.Version, _ = strings.Cut(stem, "-")
	if metadata, err := os.ReadFile(filepath.Join(dir, "METADATA")); err == nil {
		if name, version := headers(metadata); name != "" {
			i.Name, i.Version = name, version
		}
	}
	if installer, err := os.ReadFile(filepath.Join(dir, "INSTALLER")); err == nil {
		i.Installer = strings.TrimSpace(string(installer))
	}
	return i
}

// readRecord sets Files, or Broken.
func (i *Installed) readRecord() {
	name := filepath.Join(i.InfoDir, "RECORD")
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		i.Files, err = ParseRecord(data)
	}
	if err != nil {
		i.Broken = fmt.Errorf("read %s: %w", name, err)
	}
}

// headers returns Name and Version of core metadata; they end at the first
// empty line.
func headers(metadata []byte) (name, version string) {
	for line := range bytes.Lines(metadata) {
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		key, value, _ := strings.Cut(text, ":")
		switch strings.ToLower(key) {
		case "name":
			name = strings.TrimSpace(value)
		case "version":
			version = strings.TrimSpace(value)
		}
	}
	return name, version
}
