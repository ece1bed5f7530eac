package toolrelease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/packaging"
)

// dir is the directory of a release, as release.Finish takes it. Files appear as they
// are written: the release tool has no transaction, and a failed release is made
// again.
type dir struct {
	path      string
	files     *owned.Dir
	version   string
	artifacts []packaging.Artifact
	bills     map[string][]byte // bills of materials, by artifact
}

func openDir(path string) (*dir, error) {
	files, err := owned.OutputDir(path)
	if err != nil {
		return nil, fault.New(fault.Environment, fault.HintOr(err, "run make dist"), "finish the release: %w", err)
	}
	return &dir{path: path, files: files, bills: map[string][]byte{}}, nil
}

func (d *dir) close() { _ = d.files.Close() }

// read lists the artifacts and their inputs.
func (d *dir) read(from Source) (err error) {
	if err := checkSums(d.files); err != nil {
		return err
	}
	archives, err := Archives(d.path)
	if err != nil {
		return err
	}
	d.version = Version(archives)
	licences, err := readModules(from.Modules)
	if err != nil {
		return err
	}
	entries, err := d.files.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !artifact.MatchString(e.Name()) {
			continue
		}
		a, binaries, err := origin(filepath.Join(d.path, e.Name()), licences, from)
		if err != nil {
			return fmt.Errorf("describe %s: %w", e.Name(), err)
		}
		if len(binaries) > 0 { // text files have none
			if d.bills[a.Name], err = bill(a.Name, a.SHA256, binaries, licences); err != nil {
				return fmt.Errorf("describe %s: %w", a.Name, err)
			}
		}
		a.Version = d.version
		d.artifacts = append(d.artifacts, a)
	}
	return nil
}

// MaySign implements release.Set: no other user may have written what is signed.
func (d *dir) MaySign() error {
	private, err := owned.OpenDir(d.path)
	if err != nil {
		return fault.New(fault.Environment, fault.HintOr(err, "run make dist"), "sign the release: %w", err)
	}
	return private.Close()
}

func (d *dir) Added() []packaging.Artifact { return slices.Clone(d.artifacts) }

func (d *dir) Artifacts() []packaging.Artifact { return d.Added() }

func (d *dir) Update(a packaging.Artifact) {
	if i := slices.IndexFunc(d.artifacts, func(o packaging.Artifact) bool { return o.Name == a.Name }); i >= 0 {
		d.artifacts[i] = a
	}
}

func (d *dir) Open(name string) (*os.File, error) { return d.files.OpenAny(name) }

func (d *dir) Meta(name string, data []byte) error { return d.files.WriteFile(name, data, 0o644) }

func (d *dir) Drop(name string) error {
	if err := d.files.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
