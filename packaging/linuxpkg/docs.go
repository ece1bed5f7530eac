package linuxpkg

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/run"
	"modwsgi/packaging"
	"modwsgi/packaging/licence"
	"modwsgi/packaging/sbom"
)

// holders are the copyright holders of what is built from archives; the licence texts
// and the sources name more of them.
var holders = map[string]string{
	"httpd": "The Apache Software Foundation", "apr": "The Apache Software Foundation", "apr-util": "The Apache Software Foundation",
	"mod_wsgi": "2007-2024 Graham Dumpleton", "pcre2": "University of Cambridge, Zoltan Herczeg and the PCRE2 contributors",
	"expat": "Expat maintainers, Thai Open Source Software Center Ltd and Clark Cooper", "openssl": "The OpenSSL Project Authors",
	"nghttp2": "nghttp2 contributors", "brotli": "The Brotli Authors", "zlib": "Jean-loup Gailly and Mark Adler",
	"libxml2": "Daniel Veillard and the libxml2 contributors", "libxcrypt": "Thorsten Kukuk, Björn Esser, Zack Weinberg and others",
}

// describe fills in the texts: licences, summary, documentation.
func (w *work) describe() error {
	m := w.stage.Module
	w.parts = append(w.parts, m.Components...)
	if w.bundled() {
		w.parts = append(w.parts, w.stage.HTTPD.Components...)
	}
	if err := w.licences(); err != nil {
		return err
	}
	w.parts = packaging.SortComponents(w.parts)
	p, py := &w.pkg, m.Python.MinorVersion()
	p.Homepage, p.Time = "https://www.modwsgi.org/", w.time
	all := []string{licence.Ours}
	for _, c := range w.parts {
		if c.License != "" && !slices.Contains(all, c.License) {
			all = append(all, c.License)
		}
	}
	slices.Sort(all)
	p.License = strings.Join(all, " AND ")
	if w.bundled() {
		p.Summary = "Apache httpd and mod_wsgi for Python " + py + ", ready to serve"
		p.Description = "mod_wsgi-express serves WSGI applications with Python " + py + " and a private\n" +
			"Apache httpd (" + m.HTTPD + ", with mod_wsgi " + m.Version + "). It is in /opt/modwsgi\n" +
			"and does not touch the system's Apache. Each application is an instance of\n" +
			"a service and runs as an unprivileged user."
	} else {
		p.Summary = "Python " + py + " WSGI module for the system's Apache"
		p.Description = "mod_wsgi " + m.Version + " lets the system's Apache serve WSGI applications with\n" +
			"Python " + py + ". Modules for several Pythons can be installed side by side, but\n" +
			"only one of them is loaded."
	}
	return w.documents()
}

// licences finds the licence text of every part.
func (w *work) licences() error {
	w.texts["modwsgi/LICENSE"] = licence.Text()
	if err := licence.OfPrograms("the programs", w.parts, w.texts); err != nil {
		return err
	}
	w.texts["mod_wsgi/LICENSE"] = licence.Text()
	if !w.bundled() {
		return nil
	}
	if err := licence.OfTree(w.root(path.Join(w.site(), w.stage.HTTPD.Dir, "licenses")), w.texts); err != nil {
		return w.withUserPaths(fault.New(fault.Environment, "build it again", "the tree lacks the licences of its components: %w", err))
	}
	return nil
}

// documents writes the documentation of the package.
func (w *work) documents() error {
	p := &w.pkg
	doc := "usr/share/doc/" + p.Name
	version := p.Version + "-" + p.Release
	if w.options.Format == APK {
		version = p.Version + "-r" + p.Release
	}
	bom, err := sbom.JSON(sbom.Subject{
		Name: p.Name, Version: version, PURL: sbom.PackageURL(string(w.options.Format), p.Name, version, p.Arch), License: p.License, Time: w.time, Tool: w.stage.Tool,
	}, w.parts)
	if err != nil {
		return err
	}
	files := map[string][]byte{doc + "/sbom.cdx.json": bom}
	switch w.options.Format {
	case Deb:
		files[doc+"/copyright"] = w.copyright()
		files[doc+"/changelog.Debian.gz"] = zipped(w.changelog())
		files["usr/share/lintian/overrides/"+p.Name] = w.overrides()
	default:
		for name, text := range w.texts {
			files["usr/share/licenses/"+p.Name+"/"+strings.ReplaceAll(name, "/", "-")] = text
		}
	}
	if w.options.Format == RPM {
		p.Changelog = w.path("meta", "changelog.yaml")
		if err := os.WriteFile(p.Changelog, w.rpmChangelog(), 0o644); err != nil {
			return err
		}
	}
	if w.bundled() {
		man, err := w.manual()
		if err != nil {
			return err
		}
		files["usr/share/man/man1/mod_wsgi-express.1.gz"] = zipped(man)
		files[doc+"/README"] = w.fill("README")
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.put(name, files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// put writes a file of the package.
func (w *work) put(name string, data []byte, mode fs.FileMode) error {
	to := w.root(name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to, data, mode); err != nil {
		return err
	}
	return owned.Chmod(to, mode)
}

// zipped is gzip without a time and a name, as Debian wants documents.
func zipped(data []byte) []byte {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(data)
	}
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		panic(err) // the level is valid, and writing to memory cannot fail
	}
	return b.Bytes()
}

// manual runs the launcher for its manual page, so that the page matches the program
// in the package. For another CPU it runs this machine's.
func (w *work) manual() ([]byte, error) {
	program := w.root(w.home() + "/bin/mod_wsgi-express")
	if t := w.options.For; t != nil && t.Launcher != "" {
		program = t.Launcher
	}
	text, err := w.runner().Output(w.ctx, run.Cmd{Argv: []string{program, "man"}, Dir: w.dir, Env: w.options.Env})
	if err != nil {
		return nil, fault.New(fault.Environment, "package on a machine that can run the programs", "get the manual of %s: %w", filepath.Join(w.stage.Bin, "mod_wsgi-express"), err)
	}
	return text, nil
}

// changelog has the only entry that we know of (Debian Policy 4.4).
func (w *work) changelog() []byte {
	p, m := &w.pkg, w.stage.Module
	what := "mod_wsgi " + m.Version + " for Python " + m.Python.MinorVersion()
	if w.bundled() {
		what += ", httpd " + m.HTTPD
	}
	return fmt.Appendf(nil, "%s (%s-%s) unstable; urgency=medium\n\n  * %s,\n    built by modwsgi %s.\n\n -- %s  %s\n",
		p.Name, p.Version, p.Release, what, w.stage.Tool, p.Maintainer, w.time.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}

// rpmChangelog is that entry in nfpm's format.
func (w *work) rpmChangelog() []byte {
	p, m := &w.pkg, w.stage.Module
	return fmt.Appendf(nil, "- semver: %q\n  date: %s\n  packager: %q\n  changes:\n    - note: %q\n",
		p.Version+"-"+p.Release, w.time.Format("2006-01-02T15:04:05Z"), p.Maintainer, "mod_wsgi "+m.Version+", built by modwsgi "+w.stage.Tool)
}

// copyright is the machine-readable file of Debian (DEP 5) with all texts.
func (w *work) copyright() []byte {
	var b strings.Builder
	b.WriteString("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: mod_wsgi\n" +
		"Source: https://www.modwsgi.org/\nComment: sbom.cdx.json next to this file lists every part with its version and origin.\n\n" +
		"Files: *\nCopyright: 2026 the modwsgi authors\nLicense: Apache-2.0\n")
	stanzas := map[string]string{}
	for _, c := range w.parts {
		name, holder, where := c.Name, holders[c.Name], "*/"+c.Name+"*"
		if c.Kind == packaging.FromModules {
			name, holder, where = "go/"+c.Name, "The Go Authors", "*/bin/mod_wsgi-express"
		}
		if holder == "" {
			holder = "the authors of " + c.Name
		}
		stanzas[name] = fmt.Sprintf("\nFiles: %s\nCopyright: %s\nLicense: %s\nComment: %s %s\n", where, holder, label(name, c.License), c.Name, c.Version)
	}
	for _, name := range slices.Sorted(maps.Keys(stanzas)) {
		b.WriteString(stanzas[name])
	}
	b.WriteString("\nLicense: Apache-2.0\n On Debian systems, the text of the Apache License, version 2.0, is in\n /usr/share/common-licenses/Apache-2.0.\n")
	done := map[string]bool{"Apache-2.0": true}
	for _, name := range slices.Sorted(maps.Keys(stanzas)) {
		l := label(name, w.licenceOf(name))
		if done[l] {
			continue
		}
		done[l] = true
		fmt.Fprintf(&b, "\nLicense: %s\n%s", l, folded(w.textOf(name)))
	}
	b.WriteString(w.notices())
	return []byte(b.String())
}

// label is the short name of a licence. A licence whose text names its holders gets
// one label per part.
func label(part, spdx string) string {
	switch spdx {
	case "":
		return "other-" + strings.ReplaceAll(part, "/", "-")
	case licence.Ours:
		return spdx
	}
	if strings.HasPrefix(part, "go/") {
		return spdx + "-go"
	}
	return spdx + "-" + part
}

func (w *work) licenceOf(part string) string {
	for _, c := range w.parts {
		if c.Name == part || "go/"+c.Name == part {
			return c.License
		}
	}
	return ""
}

// textOf joins the texts of a part.
func (w *work) textOf(part string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(w.texts)) {
		if strings.HasPrefix(name, part+"/") && !strings.HasSuffix(name, "NOTICE") {
			all = append(all, string(w.texts[name]))
		}
	}
	if len(all) == 0 {
		return "See the sources of " + part + "."
	}
	return strings.Join(all, "\n")
}

// notices are the notices that the Apache licence requires to be passed on (section
// 4d).
func (w *work) notices() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.texts)) {
		if strings.HasSuffix(name, "/NOTICE") {
			part := strings.TrimSuffix(name, "/NOTICE")
			fmt.Fprintf(&b, "\nFiles: */%s/NOTICE\nCopyright: %s\nLicense: Apache-2.0\nComment:\n%s", part, holders[part], folded(string(w.texts[name])))
		}
	}
	return b.String()
}

// folded writes a text as a continued field (Debian Policy 5.1).
func folded(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimRight(strings.ReplaceAll(line, "\f", ""), " \t\r\n")
		if line == "" {
			line = "."
		}
		b.WriteString(" " + line + "\n")
	}
	return b.String()
}
