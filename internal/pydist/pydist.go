// Package pydist knows how an installed Python distribution is described on disk: names,
// versions, core metadata, WHEEL, RECORD and entry points, by the PyPA specifications
// (https://packaging.python.org/en/latest/specifications/). It writes such a description
// for staged files, and reads those of installed ones, whichever tool installed them. It
// moves and removes nothing (installer/place) and never asks an interpreter.
package pydist

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/owned"
	"modwsgi/internal/version"
)

// Dist is a distribution to be installed.
type Dist struct {
	Name     string // in its usual spelling: "mod_wsgi-httpd"
	Version  string // PEP 440; written in its normal form
	Summary  string
	HomePage string
	Author   string      // of the software, as its upstream names them
	URLs     [][2]string // label and address; known labels are in the specification (well-known-project-urls)
	Keywords []string
	// Classifiers are from the list that package indexes accept
	// (https://pypi.org/classifiers/).
	Classifiers []string
	License     string
	// LicenseExpression is an SPDX expression (PEP 639) and replaces License. LicenseFiles
	// are those of Extra below "licenses/", without that prefix.
	LicenseExpression string
	LicenseFiles      []string
	RequiresPython    string   // version specifiers, for example ">=3.8"
	Requires          []string // dependency specifiers, one per requirement
	Description       string   // text of any length
	DescriptionType   string   // media type of Description, "" for text/plain
	Tag               string   // wheel tag, compressed sets allowed: "py3-none-linux_x86_64"
	Pure              bool     // independent of the machine
	Installer         string   // content of INSTALLER: "modwsgi"
	Files             []File   // all files except those of the dist-info directory
	// Extra are further files of the dist-info directory by their path in it (with
	// slashes): "direct_url.json", "licenses/LICENSE".
	Extra       map[string][]byte
	EntryPoints map[string]map[string]string // group -> name -> object reference
	TopLevel    []string                     // importable top-level names
	Requested   bool                         // requested by the user, not a dependency
	Build       string                       // build tag of a wheel: "", or a number
}

// File is one installed file.
type File struct {
	// Path is the path in RECORD: relative to site-packages, with slashes, and with ".."
	// for programs ("../../../bin/mod_wsgi-express").
	Path string
	// Source is the staged file with the contents.
	Source string
}

// InfoDir returns the name of the distribution's metadata directory, for
// example "mod_wsgi_httpd-2.4.68.dist-info".
func (d Dist) InfoDir() (string, error) {
	if !validName.MatchString(d.Name) {
		return "", fmt.Errorf("describe distribution: %q is not a valid name", d.Name)
	}
	v, err := NormalVersion(d.Version)
	if err != nil {
		return "", fmt.Errorf("describe %s: %w", d.Name, err)
	}
	return strings.ReplaceAll(NormalName(d.Name), "-", "_") + "-" + v + ".dist-info", nil
}

// WriteInfo writes the distribution's dist-info directory below stageSite, which must
// exist, and returns its path. The directory must not exist. After an error nothing of it
// is left.
func (d Dist) WriteInfo(stageSite string) (dir string, err error) {
	name, err := d.InfoDir()
	if err != nil {
		return "", err
	}
	files, err := d.infoFiles()
	if err != nil {
		return "", fmt.Errorf("describe %s: %w", d.Name, err)
	}
	record, err := d.record(name, files)
	if err != nil {
		return "", fmt.Errorf("describe %s: %w", d.Name, err)
	}
	files["RECORD"] = record
	dir = filepath.Join(stageSite, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("describe %s: %w", d.Name, err)
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			_ = owned.RemoveAll(dir)
			return "", fmt.Errorf("describe %s: %w", d.Name, err)
		}
	}
	return dir, nil
}

// infoFiles returns the files of the dist-info directory except RECORD.
func (d Dist) infoFiles() (map[string][]byte, error) {
	metadata, err := d.metadata()
	if err != nil {
		return nil, err
	}
	wheel, err := d.wheel()
	if err != nil {
		return nil, err
	}
	points, err := d.entryPoints()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"METADATA": metadata, "WHEEL": wheel}
	if d.Installer != "" {
		files["INSTALLER"] = []byte(d.Installer + "\n")
	}
	if d.Requested {
		files["REQUESTED"] = nil
	}
	if len(d.TopLevel) > 0 {
		files["top_level.txt"] = []byte(strings.Join(slices.Sorted(slices.Values(d.TopLevel)), "\n") + "\n")
	}
	if len(points) > 0 {
		files["entry_points.txt"] = points
	}
	for name, data := range d.Extra {
		if _, there := files[name]; there || name == "RECORD" {
			return nil, fmt.Errorf("the extra file %s has the name of a generated one", name)
		}
		if !filepath.IsLocal(filepath.FromSlash(name)) || name == "." {
			return nil, fmt.Errorf("the extra file %q is not a path in the directory", name)
		}
		files[name] = data
	}
	return files, nil
}

// metadata writes core metadata 2.1, which every pip since 2018 reads, or 2.4 if there is
// a licence expression.
func (d Dist) metadata() ([]byte, error) {
	normal, err := NormalVersion(d.Version)
	if err != nil {
		return nil, err
	}
	format := "2.1"
	if d.LicenseExpression != "" {
		format = "2.4"
	}
	lines := [][2]string{
		{"Metadata-Version", format},
		{"Name", d.Name},
		{"Version", normal},
		{"Summary", d.Summary},
		{"Home-page", d.HomePage},
	}
	for _, u := range d.URLs {
		if strings.Contains(u[0], ",") {
			return nil, fmt.Errorf("the label %q of an address contains a comma", u[0])
		}
		lines = append(lines, [2]string{"Project-URL", u[0] + ", " + u[1]})
	}
	lines = append(lines, [][2]string{
		{"Author", d.Author},
		{"Keywords", strings.Join(d.Keywords, ",")},
		{"License", d.License},
		{"License-Expression", d.LicenseExpression},
	}...)
	for _, f := range d.LicenseFiles {
		lines = append(lines, [2]string{"License-File", f})
	}
	for _, c := range d.Classifiers {
		lines = append(lines, [2]string{"Classifier", c})
	}
	lines = append(lines, [2]string{"Requires-Python", d.RequiresPython})
	for _, r := range d.Requires {
		lines = append(lines, [2]string{"Requires-Dist", r})
	}
	if d.Description != "" {
		lines = append(lines, [2]string{"Description-Content-Type", cmp.Or(d.DescriptionType, "text/plain")})
	}
	var b strings.Builder
	for _, line := range lines {
		if strings.ContainsFunc(line[1], func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("the value of %s, %q, is not a single line", line[0], line[1])
		}
		if line[1] != "" {
			b.WriteString(line[0] + ": " + line[1] + "\n")
		}
	}
	if d.Description != "" {
		b.WriteString("\n" + strings.TrimRight(d.Description, "\n") + "\n")
	}
	return []byte(b.String()), nil
}

func (d Dist) wheel() ([]byte, error) {
	tags, err := ExpandTag(d.Tag)
	if err != nil {
		return nil, err
	}
	pure := "false"
	if d.Pure {
		pure = "true"
	}
	text := "Wheel-Version: 1.0\nGenerator: modwsgi " + version.Release + "\nRoot-Is-Purelib: " + pure + "\n"
	if d.Build != "" {
		text += "Build: " + d.Build + "\n"
	}
	for _, tag := range tags {
		text += "Tag: " + tag + "\n"
	}
	return []byte(text), nil
}

func (d Dist) entryPoints() ([]byte, error) {
	var b strings.Builder
	for _, group := range sortedKeys(d.EntryPoints) {
		b.WriteString("[" + group + "]\n")
		for _, name := range sortedKeys(d.EntryPoints[group]) {
			reference := d.EntryPoints[group][name]
			if strings.ContainsAny(group+name+reference, "\r\n]") || strings.ContainsAny(name, "=[") || name == "" || reference == "" {
				return nil, fmt.Errorf("entry point %q = %q of %q cannot be written", name, reference, group)
			}
			b.WriteString(name + " = " + reference + "\n")
		}
		b.WriteString("\n")
	}
	return []byte(b.String()), nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}

// ExpandTag returns the simple wheel tags of a compressed one ("py2.py3-none-any" is
// two), sorted.
func ExpandTag(tag string) ([]string, error) {
	parts := strings.Split(tag, "-")
	if len(parts) != 3 || strings.ContainsFunc(tag, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("%q is not a wheel tag", tag)
	}
	var tags []string
	for python := range strings.SplitSeq(parts[0], ".") {
		for abi := range strings.SplitSeq(parts[1], ".") {
			for platform := range strings.SplitSeq(parts[2], ".") {
				if python == "" || abi == "" || platform == "" {
					return nil, fmt.Errorf("%q is not a wheel tag", tag)
				}
				tags = append(tags, python+"-"+abi+"-"+platform)
			}
		}
	}
	slices.Sort(tags)
	return tags, nil
}
