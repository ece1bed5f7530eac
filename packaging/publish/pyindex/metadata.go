package pyindex

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// maxMetadata is the maximum size in bytes of a distribution's metadata.
const maxMetadata = 8 << 20

// metadata is the content of METADATA or PKG-INFO
// (https://packaging.python.org/en/latest/specifications/core-metadata/).
type metadata struct {
	fields map[string][]string // by lower case name
	body   string
}

func (m *metadata) get(name string) string {
	if all := m.fields[strings.ToLower(name)]; len(all) > 0 {
		return all[0]
	}
	return ""
}

// wheelMetadata reads the metadata of a wheel.
func wheelMetadata(r io.ReaderAt, size int64) (*metadata, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, err
	}
	for _, f := range z.File {
		dir, name := path.Split(f.Name)
		if name != "METADATA" || !strings.HasSuffix(dir, ".dist-info/") || strings.Count(dir, "/") != 1 {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		defer func() { _ = in.Close() }()
		return readMetadata(in)
	}
	return nil, errors.New("it has no METADATA")
}

// sdistMetadata reads that of a source distribution.
func sdistMetadata(r io.Reader) (*metadata, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	t := tar.NewReader(z)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil, errors.New("it has no PKG-INFO")
		}
		if err != nil {
			return nil, err
		}
		if dir, name := path.Split(path.Clean(h.Name)); name == "PKG-INFO" && strings.Count(dir, "/") == 1 {
			return readMetadata(t)
		}
	}
}

func readMetadata(r io.Reader) (*metadata, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxMetadata))
	if err != nil {
		return nil, err
	}
	m := &metadata{fields: map[string][]string{}}
	head, body, _ := strings.Cut(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n\n")
	m.body = body
	last := ""
	for line := range strings.SplitSeq(head, "\n") {
		if line == "" {
			continue
		}
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			all := m.fields[last]
			if len(all) == 0 {
				return nil, fmt.Errorf("its metadata begins with %.60q", line)
			}
			// Writers mark continued lines with eight blanks, or a bar.
			line = strings.TrimPrefix(strings.TrimPrefix(line, "        "), "       |")
			all[len(all)-1] += "\n" + line
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("its metadata contains %.60q", line)
		}
		last = strings.ToLower(name)
		m.fields[last] = append(m.fields[last], strings.TrimSpace(value))
	}
	if m.get("Name") == "" || m.get("Version") == "" {
		return nil, errors.New("its metadata lacks a name or a version")
	}
	return m, nil
}

// formFields are the fields of the upload form for those of the metadata, in the order in
// which they are sent. The names are those that warehouse, the software of PyPI, knows
// (https://docs.pypi.org/api/upload/) and twine sends.
var formFields = []struct{ form, field string }{
	{"metadata_version", "Metadata-Version"},
	{"name", "Name"},
	{"version", "Version"},
	{"summary", "Summary"},
	{"home_page", "Home-page"},
	{"download_url", "Download-URL"},
	{"author", "Author"},
	{"author_email", "Author-email"},
	{"maintainer", "Maintainer"},
	{"maintainer_email", "Maintainer-email"},
	{"license", "License"},
	{"license_expression", "License-Expression"},
	{"license_file", "License-File"},
	{"keywords", "Keywords"},
	{"platform", "Platform"},
	{"supported_platform", "Supported-Platform"},
	{"classifiers", "Classifier"},
	{"requires", "Requires"},
	{"provides", "Provides"},
	{"obsoletes", "Obsoletes"},
	{"requires_dist", "Requires-Dist"},
	{"provides_dist", "Provides-Dist"},
	{"obsoletes_dist", "Obsoletes-Dist"},
	{"requires_external", "Requires-External"},
	{"requires_python", "Requires-Python"},
	{"project_urls", "Project-URL"},
	{"provides_extra", "Provides-Extra"},
	{"description_content_type", "Description-Content-Type"},
	{"dynamic", "Dynamic"},
}

// form returns the fields of the upload form: names and values.
func (m *metadata) form() [][2]string {
	var out [][2]string
	for _, f := range formFields {
		for _, value := range m.fields[strings.ToLower(f.field)] {
			if value != "" {
				out = append(out, [2]string{f.form, value})
			}
		}
	}
	description := m.body
	if description == "" {
		description = m.get("Description")
	}
	if description != "" {
		out = append(out, [2]string{"description", description})
	}
	return out
}
