package toolwheel

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/pydist"
	"modwsgi/packaging"
)

// Package writes the source distribution as an artifact.
func (s Sdist) Package(d *packaging.Dist) error {
	began := time.Now()
	name, err := s.FileName()
	if err != nil {
		return fault.New(fault.Usage, "a local label consists of letters and digits separated by dots", "--local-version: %w", err)
	}
	out, err := d.Create(name)
	if err != nil {
		return err
	}
	err = s.Write(out)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return d.Add(&packaging.Artifact{
		Name: name, Kind: "sdist", Project: ModuleName, Version: s.Version, Requires: moduleDist(s.Version, s.Python).RequiresPython,
		Components: s.Components, Parameters: s.Parameters, Took: time.Since(began),
	})
}

// Wheel is a finished wheel of the tools, as Write makes it.
type Wheel struct {
	Path     string
	version  string
	requires string
	metadata []byte            // its METADATA
	licences map[string]string // SPDX expressions by package URL, from its bill of materials
}

// Find opens wheels of the tools by path; for a directory, all those in it. Each must
// have that version (class Usage), because a source distribution requires an exact
// version of its build backend.
func Find(paths []string, version string) ([]Wheel, error) {
	var all []Wheel
	for _, p := range paths {
		files := []string{p}
		info, err := os.Stat(p)
		if err != nil {
			return nil, fault.New(fault.Usage, "name a wheel of modwsgi, or a directory with such wheels", "--tools: %w", err)
		}
		if info.IsDir() {
			if files, err = toolWheels(p); err != nil {
				return nil, err
			}
		}
		for _, file := range files {
			w, err := open(file, version)
			if err != nil {
				return nil, fault.New(fault.Usage, "name wheels of modwsgi "+version+"; make dist builds them", "--tools: %s: %w", file, err)
			}
			if !slices.ContainsFunc(all, func(o Wheel) bool { return filepath.Base(o.Path) == filepath.Base(file) }) {
				all = append(all, w)
			}
		}
	}
	return all, nil
}

// toolWheels lists the wheels in a directory, at least one.
func toolWheels(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.New(fault.Usage, "name a readable directory", "--tools: %w", err)
	}
	var files []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Name+"-") && strings.HasSuffix(e.Name(), ".whl") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fault.New(fault.Usage, "run make dist", "--tools: no wheel of modwsgi in %s", dir)
	}
	return files, nil
}

// open reads a wheel's description of itself.
func open(file, version string) (Wheel, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return Wheel{}, err
	}
	defer func() { _ = z.Close() }()
	w := Wheel{Path: file, licences: map[string]string{}}
	for _, f := range z.File {
		if strings.Contains(f.Name, ".dist-info/sboms/") && strings.HasSuffix(f.Name, ".cdx.json") {
			if err := w.readLicences(f); err != nil {
				return Wheel{}, fmt.Errorf("read %s: %w", f.Name, err)
			}
		}
		if dir, name := path.Split(f.Name); name == "METADATA" && strings.HasSuffix(dir, ".dist-info/") && strings.Count(dir, "/") == 1 {
			if w.metadata, err = content(f); err != nil {
				return Wheel{}, err
			}
		}
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(w.metadata)) {
		if strings.TrimSpace(line) == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	w.version, w.requires = fields["Version"], fields["Requires-Python"]
	wanted, err := pydist.NormalVersion(version)
	if err != nil {
		return Wheel{}, err
	}
	if pydist.NormalName(fields["Name"]) != Name {
		return Wheel{}, errors.New("it is not a wheel of modwsgi")
	}
	if got, err := pydist.NormalVersion(w.version); err != nil || got != wanted {
		return Wheel{}, fmt.Errorf("it is of modwsgi %s, but the source distribution requires %s", w.version, wanted)
	}
	return w, nil
}

// readLicences reads a bill of materials (https://cyclonedx.org/docs/1.6/json/).
func (w *Wheel) readLicences(f *zip.File) error {
	data, err := content(f)
	if err != nil {
		return err
	}
	var bom struct {
		Components []struct {
			PURL     string `json:"purl"`
			Licenses []struct {
				Expression string `json:"expression"`
				License    struct {
					ID string `json:"id"`
				} `json:"license"`
			} `json:"licenses"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &bom); err != nil {
		return err
	}
	for _, c := range bom.Components {
		for _, l := range c.Licenses {
			if spdx := l.Expression + l.License.ID; spdx != "" {
				w.licences[c.PURL] = spdx
			}
		}
	}
	return nil
}

const maxMember = 256 << 20 // bytes; the programs have about 10 MB

func content(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxMember))
	return data, errors.Join(err, r.Close())
}

// Package adds the wheel as an artifact.
func (w Wheel) Package(d *packaging.Dist) error {
	began := time.Now()
	name := filepath.Base(w.Path)
	parts, err := w.components(d)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", name, err)
	}
	sum, err := digest.File(w.Path)
	if err != nil {
		return err
	}
	in, err := os.Open(w.Path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := d.Put(name, in); err != nil {
		return err
	}
	_, tag, _ := strings.Cut(strings.TrimSuffix(name, ".whl"), "-")
	_, tag, _ = strings.Cut(tag, "-")
	err = d.Add(&packaging.Artifact{
		Name: name, Kind: "wheel", Project: Name, Version: w.version, Platform: tag, Requires: w.requires, Sidecars: []string{name + ".metadata"},
		Components: parts, Parameters: map[string]string{"taken_along_sha256": sum}, Took: time.Since(began),
	})
	if err != nil {
		return err
	}
	return d.Meta(name+".metadata", w.metadata)
}

// components are the components of the programs inside.
func (w Wheel) components(d *packaging.Dist) ([]packaging.Component, error) {
	dir, err := d.Scratch()
	if err != nil {
		return nil, err
	}
	z, err := zip.OpenReader(w.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = z.Close() }()
	var all []packaging.Component
	for _, f := range z.File {
		if !strings.Contains(f.Name, ".data/") || f.FileInfo().IsDir() {
			continue
		}
		data, err := content(f)
		if err != nil {
			return nil, err
		}
		program := filepath.Join(dir, filepath.Base(f.Name))
		if err := os.WriteFile(program, data, 0o600); err != nil {
			return nil, err
		}
		parts, err := packaging.ProgramComponents(program)
		if err != nil {
			return nil, err
		}
		for k := range parts {
			parts[k].License = w.licences[parts[k].PURL]
		}
		all = append(all, parts...)
	}
	return packaging.SortComponents(all), owned.RemoveAll(dir)
}
