// Package winzip turns a stage into what users of Windows install: a zip to unpack
// over an Apache24 directory, and a wheel for pip. Both contain the module for one
// Python and Apache 2.4, the launcher, licences and a bill of materials. It does not
// know how a stage was built, and does not sign (packaging/authenticode has already
// signed the stage's files).
package winzip

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/pe"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
	"modwsgi/packaging"
	"modwsgi/packaging/licence"
	"modwsgi/packaging/sbom"
)

const (
	express  = "mod_wsgi-express.exe"
	platform = "win_amd64"
	// label names the httpd that a module is for in the name of the zip. Community wheels
	// have it as a local version, which no public package index accepts.
	label = "ap24"
)

// work is one artifact in progress.
type work struct {
	stage      *packaging.Stage
	components []packaging.Component
	texts      map[string][]byte // licences, by their names below licenses/
	receipt    receipt.Receipt
}

// begin checks the stage and collects what both formats describe.
func begin(ctx context.Context, s *packaging.Stage) (*work, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.Module == nil {
		return nil, fault.New(fault.Usage, "build one with modwsgi module build", "no module to package")
	}
	w := &work{stage: s, components: slices.Clone(s.Module.Components), texts: map[string][]byte{
		"modwsgi/LICENSE": licence.Text(), "mod_wsgi/LICENSE": licence.Text(),
	}}
	for _, path := range []string{w.module(), w.launcher()} {
		if err := CheckMachine(path); err != nil {
			return nil, err
		}
	}
	if err := w.readReceipt(); err != nil {
		return nil, err
	}
	return w, w.licences()
}

func (w *work) module() string {
	return filepath.Join(w.stage.Site, filepath.FromSlash(w.stage.Module.File))
}
func (w *work) launcher() string { return filepath.Join(w.stage.Bin, express) }

// CheckMachine refuses a file that is not for Windows x64, with an error of class
// Environment.
func CheckMachine(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.New(fault.Environment, "build it again", "read %s: %w", filepath.Base(path), err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	facts, err := pe.Read(f, info.Size())
	if err != nil {
		return fault.New(fault.Environment, "use the file for Windows x64", "%s is not a Windows program or library: %w", path, err)
	}
	if facts.Machine != "AMD64" {
		return fault.New(fault.Environment, "use the file for Windows x64", "%s is for %s, not for AMD64 (x64)", path, facts.Machine)
	}
	return nil
}

// readReceipt reads the record next to the module and updates the module's digest,
// which a signature changes.
func (w *work) readReceipt() error {
	data, err := os.ReadFile(filepath.Join(w.stage.Site, filepath.FromSlash(w.stage.Module.Receipt)))
	if err != nil {
		return fault.New(fault.Environment, "package what modwsgi built", "read the record of the module: %w", err)
	}
	if err := json.Unmarshal(data, &w.receipt); err != nil {
		return fault.New(fault.Environment, "build it again", "read the record of the module: %w", err)
	}
	w.receipt.Module.SHA256, err = digest.File(w.module())
	return err
}

// licences collects the components of the launcher and the module, and their licence
// texts.
func (w *work) licences() error {
	parts, err := packaging.ProgramComponents(w.launcher())
	if err != nil {
		return err
	}
	if err := licence.OfPrograms(express, parts, w.texts); err != nil {
		return err
	}
	w.components = append(w.components, parts...)
	for _, c := range w.stage.Module.Components {
		for _, name := range c.Texts {
			text, err := os.ReadFile(name)
			if err != nil {
				return fmt.Errorf("read the licence of %s: %w", c.Name, err)
			}
			w.texts[c.Name+"/"+filepath.Base(filepath.Dir(name))+"-"+filepath.Base(name)] = text
		}
	}
	return nil
}

// expression is the SPDX expression for all of it.
func (w *work) expression() string {
	seen := map[string]bool{licence.Ours: true}
	for _, c := range w.components {
		for part := range strings.SplitSeq(c.License, " AND ") {
			if part != "" {
				seen[part] = true
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), " AND ")
}

func (w *work) version() string { return w.stage.Module.Version }

func (w *work) bom(purl string) ([]byte, error) {
	py := w.stage.Module.Python
	return sbom.JSON(sbom.Subject{
		Name: "mod_wsgi", Version: w.version(), PURL: purl, License: w.expression(), Time: w.stage.Time, Tool: w.stage.Tool,
		Properties: [][2]string{{"platform", platform}, {"python", py.MinorVersion()}, {"httpd-headers", w.stage.Module.HTTPD}},
	}, w.components)
}

// ZipName is the name of the zip for a version of mod_wsgi and a Python's tag.
func ZipName(version, tag string) string {
	return "mod_wsgi-" + version + "-" + label + "-win-amd64-" + tag + ".zip"
}

// Zip writes the zip: the directory Apache24 with the module and a configuration to
// include, the launcher next to it, and texts for people.
func Zip(ctx context.Context, d *packaging.Dist, s *packaging.Stage) (*packaging.Artifact, error) {
	began := time.Now()
	w, err := begin(ctx, s)
	if err != nil {
		return nil, err
	}
	bom, err := w.bom("pkg:generic/mod_wsgi@" + w.version())
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"Apache24/conf/extra/httpd-wsgi.conf": []byte(w.configuration()), "README.txt": []byte(w.readme()), "LICENSE.txt": licence.Text(),
		"mod_wsgi.cdx.json": bom, "mod_wsgi-express.json": w.receipt.Encode(),
	}
	for name, text := range w.texts {
		files["licenses/"+name] = text
	}
	for name, text := range files {
		files[name] = crlf(text)
	}
	for path, from := range map[string]string{"Apache24/modules/mod_wsgi.so": w.module(), express: w.launcher()} {
		if files[path], err = os.ReadFile(from); err != nil {
			return nil, err
		}
	}
	files["SHA256SUMS"] = crlf(sums(files)) // of the converted files; sha256sum accepts these line ends

	a := w.artifact(ZipName(w.version(), s.Module.Python.Tag), "zip")
	if err := writeZip(d, a.Name, files, s.Time); err != nil {
		return nil, err
	}
	a.Took = time.Since(began)
	return a, d.Add(a)
}

func (w *work) artifact(name, kind string) *packaging.Artifact {
	return &packaging.Artifact{
		Name: name, Kind: kind, Project: "mod_wsgi", Version: w.version(), Platform: platform,
		Components: w.components, Parameters: map[string]string{"python": w.stage.Module.Python.MinorVersion(), "platform": platform},
	}
}

func sums(files map[string][]byte) []byte {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[name])
		fmt.Fprintf(&out, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	return []byte(out.String())
}

// crlf converts line ends to those of Windows. In a wheel they stay as they are, since
// pip reads its metadata and Python accepts both.
func crlf(text []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// writeZip writes sorted entries with the same time. The format's earliest year is
// 1980.
func writeZip(d *packaging.Dist, name string, files map[string][]byte, at time.Time) (err error) {
	out, err := d.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	if at = at.UTC(); at.Year() < 1980 {
		at = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	z := zip.NewWriter(out)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		h := &zip.FileHeader{Name: path, Method: zip.Deflate, Modified: at}
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(path, ".exe") || strings.HasSuffix(path, ".so") {
			mode = 0o755
		}
		h.SetMode(mode)
		entry, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := io.Copy(entry, bytes.NewReader(files[path])); err != nil {
			return err
		}
	}
	return z.Close()
}

// Wheel writes the wheel: the module where community wheels had it, the launcher among
// the programs, and the runtime's Python code.
func Wheel(ctx context.Context, d *packaging.Dist, s *packaging.Stage, o packaging.WheelChoices) (*packaging.Artifact, error) {
	began := time.Now()
	if err := o.Check(); err != nil {
		return nil, err
	}
	w, err := begin(ctx, s)
	if err != nil {
		return nil, err
	}
	dist, err := w.describe(o)
	if err != nil {
		return nil, err
	}
	scratch, err := d.Scratch()
	if err != nil {
		return nil, err
	}
	defer func() { _ = owned.RemoveAll(scratch) }()
	if err := w.files(dist, scratch); err != nil {
		return nil, err
	}
	name, err := dist.WheelName()
	if err != nil {
		return nil, err
	}
	out, err := d.Create(name)
	if err != nil {
		return nil, err
	}
	err = dist.WriteWheel(out, s.Time)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	a := w.artifact(name, "wheel")
	a.Version, a.Platform, a.Requires, a.Sidecars, a.Took = dist.Version, dist.Tag, dist.RequiresPython, []string{name + ".metadata"}, time.Since(began)
	if err := d.Add(a); err != nil {
		return nil, err
	}
	metadata, err := dist.WheelMetadata()
	if err != nil {
		return nil, err
	}
	return a, d.Meta(name+".metadata", metadata)
}

// describe returns the wheel without its files.
func (w *work) describe(o packaging.WheelChoices) (*pydist.Dist, error) {
	py := w.stage.Module.Python
	dist := &pydist.Dist{
		Name: "mod_wsgi", Version: w.version(),
		Summary:        "mod_wsgi for Python " + py.MinorVersion() + " and Apache 2.4 on Windows, built by modwsgi",
		RequiresPython: "==" + py.MinorVersion() + ".*", TopLevel: []string{w.stage.Module.Package}, Tag: py.Tag + "-" + py.ABI + "-" + platform,
		Description: "mod_wsgi " + w.version() + " for Python " + py.MinorVersion() + " and your Apache 2.4 from Apache Lounge, XAMPP or another maker.\n" +
			"\"mod_wsgi-express module-config\" prints the lines for httpd.conf.\n" +
			packaging.Packaged + "The bill of materials is in sboms/, all licences are in licenses/.\n",
	}
	_, inURL, err := o.Name(dist)
	if err != nil {
		return nil, err
	}
	o.License(dist, w.expression(), w.texts)
	packaging.DescribeModule(dist, packaging.OnWindows, py.MinorVersion())
	dist.Extra["sboms/modwsgi.cdx.json"], err = w.bom("pkg:pypi/mod-wsgi@" + inURL)
	return dist, err
}

// files lists the wheel's files; scratch gets the record and links the program,
// which pydist takes for executable by its mode.
func (w *work) files(dist *pydist.Dist, scratch string) error {
	data, err := dist.DataDir()
	if err != nil {
		return err
	}
	tree, err := packaging.Scan(filepath.Join(w.stage.Site, w.stage.Module.Package))
	if err != nil {
		return err
	}
	record := filepath.Join(scratch, "build.json")
	if err := os.WriteFile(record, w.receipt.Encode(), 0o644); err != nil {
		return err
	}
	for _, f := range tree.Files {
		if f.Link != "" {
			return fault.New(fault.Environment, "replace it with a file", "%s is a symbolic link, which a wheel cannot contain", tree.Source(f))
		}
		path, source := w.stage.Module.Package+"/"+f.Path, tree.Source(f)
		if path == w.stage.Module.Receipt {
			source = record
		}
		dist.Files = append(dist.Files, pydist.File{Path: path, Source: source})
	}
	program := filepath.Join(scratch, express)
	if err := packaging.CopyFile(w.launcher(), program, 0o755); err != nil {
		return err
	}
	dist.Files = append(dist.Files, pydist.File{Path: data + "/scripts/" + express, Source: program})
	return nil
}
