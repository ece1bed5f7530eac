// Package toolwheel writes what pip installs of the tools themselves: a wheel of the
// programs for each platform, for "pip install modwsgi", and the source distribution
// of mod_wsgi that names modwsgi.build as its build backend (PEP 517). It takes
// finished programs and verified archives. It builds nothing, and knows the release
// tool only by the names in its archives.
//
// Only modwsgi itself becomes a program of the environment. The others are what modwsgi
// adds to environments, under the same names. They are in libexec/modwsgi,
// where internal/cli looks for them, so that "modwsgi install" into the same
// environment owns every file that it writes.
package toolwheel

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/platform"
	"modwsgi/internal/pydist"
	"modwsgi/internal/scratch"
	"modwsgi/packaging"
	"modwsgi/python"
)

// Name is the project's name on a package index.
const Name = "modwsgi"

// platforms maps Go's names of platforms to wheel tags. The Linux programs are static
// and run with every libc, so they carry the oldest tags that pip 21 knows. The macOS
// version is the oldest that Go 1.26 runs on (https://go.dev/doc/go1.25#darwin).
var platforms = map[string]string{
	"linux/amd64":   "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
	"linux/arm64":   "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
	"darwin/amd64":  "macosx_12_0_x86_64",
	"darwin/arm64":  "macosx_12_0_arm64",
	"windows/amd64": "win_amd64",
	"windows/arm64": "win_arm64",
}

// Options are the parts of a wheel.
type Options struct {
	Platform string            // "linux/amd64"
	Version  string            // of the programs; any spelling that PEP 440 allows
	Programs map[string][]byte // by file name: "modwsgi" or "modwsgi.exe", and the others that are of use on the platform
	Readme   string            // for the package index, Markdown
	Licences map[string][]byte // by file name
	Sbom     []byte            // CycloneDX JSON; nil for none
	Time     time.Time         // of every file
	// Repository is the address of the source repository, "" if it is unknown.
	Repository string
}

// Write writes the wheel into dir and returns its path. The same options produce the
// same bytes. The file appears complete or not at all, and replaces one of that name.
func Write(dir string, o Options) (string, error) {
	d, err := o.dist()
	if err != nil {
		return "", err
	}
	stage, err := scratch.Make("", scratch.Wheel)
	if err != nil {
		return "", fault.New(fault.Environment, fault.HintOf(err), "make a wheel: %w", err)
	}
	defer func() { _ = stage.Discard() }()
	if err := o.stage(stage.Path(), &d); err != nil {
		return "", fmt.Errorf("make a wheel for %s: %w", o.Platform, err)
	}
	return writeWheel(dir, d, o.Time)
}

// writeWheel writes a described wheel into dir, complete or not at all.
func writeWheel(dir string, d pydist.Dist, at time.Time) (string, error) {
	name, err := d.WheelName()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	f, err := atomicfile.Create(path, 0o644)
	if err != nil {
		return "", fault.New(fault.Environment, fault.HintOr(err, "name a writable directory"), "write %s: %w", name, err)
	}
	defer f.Abort()
	if err := d.WriteWheel(f, at); err != nil {
		return "", fault.New(fault.Environment, "check that the file system has free space", "write %s: %w", name, err)
	}
	return path, f.Commit()
}

func (o Options) dist() (pydist.Dist, error) {
	tag, ok := platforms[o.Platform]
	if !ok {
		return pydist.Dist{}, fault.New(fault.Usage, "", "no wheel tag for the platform %q", o.Platform)
	}
	extra := map[string][]byte{}
	for name, data := range o.Licences {
		extra["licenses/"+name] = data
	}
	if o.Sbom != nil {
		extra["sboms/modwsgi.cdx.json"] = o.Sbom // PEP 770
	}
	d := pydist.Dist{
		Name: Name, Version: o.Version, Tag: "py3-none-" + tag, License: "Apache-2.0", RequiresPython: ">=3.8",
		Summary:     "Put Python web applications on Apache httpd: installer, launcher and build backend for mod_wsgi",
		Description: o.Readme, DescriptionType: "text/markdown", Extra: extra, TopLevel: []string{"modwsgi"},
	}
	packaging.DescribeTools(&d, o.Repository)
	return d, nil
}

// stage lays out the wheel's files and lists them in d.
func (o Options) stage(root string, d *pydist.Dist) error {
	data, err := d.DataDir()
	if err != nil {
		return err
	}
	data += "/"
	suffix := ""
	if strings.HasPrefix(o.Platform, "windows/") {
		suffix = ".exe"
	}
	add := func(path string, content []byte, mode fs.FileMode) error {
		file := filepath.Join(root, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		d.Files = append(d.Files, pydist.File{Path: path, Source: file})
		if err := os.WriteFile(file, content, mode); err != nil {
			return err
		}
		return owned.Chmod(file, mode)
	}
	system, _, _ := strings.Cut(o.Platform, "/")
	for _, program := range platform.System(system).Programs() {
		where := "data/libexec/modwsgi/"
		if program == Name {
			where = "scripts/"
		}
		content, there := o.Programs[program+suffix]
		if !there {
			return fault.New(fault.Environment, "", "the program %s is missing", program+suffix)
		}
		if err := add(data+where+program+suffix, content, 0o755); err != nil {
			return err
		}
	}
	err = fs.WalkDir(python.Files, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := python.Files.ReadFile(path)
		if err != nil {
			return err
		}
		return add(path, content, 0o644)
	})
	return err
}
