package toolwheel

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/pydist"
	"modwsgi/packaging"
	"modwsgi/packaging/licence"
)

// Sdist is a source distribution of mod_wsgi whose build backend is modwsgi.build.
type Sdist struct {
	Version  string             // of mod_wsgi, with a local label if requested
	Python   string             // supported Pythons, as in ">= 3.8"; "" for ">=3.8"
	Tool     string             // version of modwsgi that builds it
	Lock     []byte             // modwsgi.lock: the archives to build
	Archives map[string]Archive // files to include, by name
	Time     time.Time          // of every entry
	// Components are the archives, and Parameters the user's choices, for Package.
	Components []packaging.Component
	Parameters map[string]string
}

// Archive is a verified source archive.
type Archive struct {
	Path   string
	SHA256 string // compared with what is packed
}

// maxArchive is the maximum size in bytes of an archive to pack.
const maxArchive = 200 << 20

// ModuleName is the distribution's name on a package index.
const ModuleName = "mod_wsgi"

// moduleDist is the description of the distribution, in the sdist and in the wheel
// built from it: pip compares them.
func moduleDist(version, python string) pydist.Dist {
	python = strings.ReplaceAll(python, " ", "")
	if python == "" {
		python = ">=3.8"
	}
	d := pydist.Dist{
		Name: ModuleName, Version: version, License: "Apache-2.0", RequiresPython: python,
		Summary:     "mod_wsgi, built by modwsgi for the Python and the httpd that it is installed for",
		Description: sdistReadme, TopLevel: []string{"mod_wsgi"},
	}
	packaging.DescribeModule(&d, packaging.OnLinux, "")
	return d
}

const sdistReadme = `mod_wsgi and mod_wsgi-express for this Python.

pip builds it with the build backend modwsgi.build: for the system's Apache httpd
if that is installed with its headers, else with a bundled httpd in the wheel. The
build needs a C compiler, and make for a bundled httpd. It tests its result with a
real request. modwsgi.lock lists the source archives with their hashes.

    pip install -v mod_wsgi                               shows each step
    pip install --config-settings httpd=bundled mod_wsgi  decides which httpd
`

// Write packs the source distribution into w. The same content produces the same
// bytes.
func (s Sdist) Write(w io.Writer) error {
	d := moduleDist(s.Version, s.Python)
	info, err := d.WheelMetadata()
	if err != nil {
		return err
	}
	tool, err := pydist.NormalVersion(s.Tool)
	if err != nil {
		return err
	}
	base, err := s.base()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"PKG-INFO": info, "README.txt": []byte(sdistReadme), "LICENSE": licence.Text(), "modwsgi.lock": s.Lock,
		"pyproject.toml": fmt.Appendf(nil, "# Made by modwsgi package sdist.\n[build-system]\nrequires = [\"modwsgi == %s\"]\nbuild-backend = \"modwsgi.build\"\n", tool),
	}
	for name, a := range s.Archives {
		if files["sources/"+name], err = digest.ReadFile(a.Path, a.SHA256, maxArchive); err != nil {
			return fault.New(fault.Source, "keep archives where only you and root can change them", "pack %s: %w", name, err)
		}
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, name := range names {
		h := &tar.Header{Name: base + "/" + name, Mode: 0o644, Size: int64(len(files[name])), ModTime: s.Time, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(t, bytes.NewReader(files[name])); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

// FileName is the name by PEP 625.
func (s Sdist) FileName() (string, error) {
	base, err := s.base()
	return base + ".tar.gz", err
}

func (s Sdist) base() (string, error) {
	info, err := moduleDist(s.Version, s.Python).InfoDir()
	return strings.TrimSuffix(filepath.Base(info), ".dist-info"), err
}
