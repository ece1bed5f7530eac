package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/relocate"
	"modwsgi/packaging"
	"modwsgi/packaging/licence"
	"modwsgi/packaging/linkage"
	"modwsgi/packaging/sbom"
)

// work is a copy of a stage that may be changed.
type work struct {
	site     string // counterpart of site-packages
	bin      string
	programs []string
}

// programs are the programs of modwsgi in an environment.
var programs = []string{"mod_wsgi-express", "mod_wsgi-apxs"}

// programs are those in the image: apxs answers questions about headers.
func (o *Options) programs() []string {
	if o.includes(IncludeHeaders) {
		return programs
	}
	return programs[:1]
}

// begin copies the stage, and makes its binaries independent of libraries that some
// systems lack.
func (m *maker) begin(i *image) (*work, error) {
	s := i.in.Stage
	dir, err := m.newDir("stage-")
	if err != nil {
		return nil, err
	}
	w := &work{site: filepath.Join(dir, "site"), bin: filepath.Join(dir, "bin"), programs: m.o.programs()}
	for _, d := range []string{w.site, w.bin} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	for _, pkg := range []string{s.HTTPD.Package, s.Module.Package} {
		tree, err := packaging.Scan(filepath.Join(s.Site, pkg))
		if err != nil {
			return nil, err
		}
		if !m.o.includes(IncludeHeaders) {
			tree.Files = slices.DeleteFunc(tree.Files, func(f packaging.File) bool {
				dir, ok := strings.CutPrefix(path.Join(pkg, f.Path), s.HTTPD.Dir+"/")
				return ok && (strings.HasPrefix(dir, "include/") || strings.HasPrefix(dir, "build/"))
			})
		}
		if err := packaging.CopyTree(tree, filepath.Join(w.site, pkg)); err != nil {
			return nil, err
		}
	}
	soname, err := i.soname()
	if err != nil {
		return nil, err
	}
	tree, err := packaging.Scan(w.site)
	if err != nil {
		return nil, err
	}
	o := linkage.Options{Bundle: true, LibDir: path.Join(s.HTTPD.Dir, "lib"), Python: soname, Libc: s.HTTPD.Libc, Host: m.built(i)}
	if system := i.in.System; system != nil {
		o.Machine, o.Limit = system.CPU, system.Limit
	}
	i.linkage, err = linkage.Apply(tree, o)
	if errors.Is(err, syscall.ENOSPC) {
		return nil, writing("a copy of the stage", syscall.ENOSPC)
	}
	if err != nil {
		return nil, packaging.WithPaths(err, w.site, s.Site)
	}
	i.machine = i.linkage.Machine
	i.components = append(append(append(i.components, s.HTTPD.Components...), s.Module.Components...), i.linkage.Bundled...)
	i.texts["modwsgi/LICENSE"], i.texts["mod_wsgi/LICENSE"] = licence.Text(), licence.Text()
	for _, c := range i.linkage.Bundled {
		if err := m.libraryTexts(i, c); err != nil {
			return nil, err
		}
	}
	for _, name := range m.o.programs() {
		if err := m.program(i, w, name); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// libraryTexts adds the licence texts of a library of the host.
func (m *maker) libraryTexts(i *image, c packaging.Component) error {
	if len(c.Texts) == 0 {
		m.warn("this machine's package manager does not know the licence of %s: its text is not in the image", c.File)
	}
	for _, name := range c.Texts {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		i.texts[c.Name+"/"+filepath.Base(name)] = text
	}
	return nil
}

// program adds one of our programs.
func (m *maker) program(i *image, w *work, name string) error {
	from := filepath.Join(i.in.Stage.Bin, name)
	if _, err := os.Stat(from); err != nil {
		return fault.New(fault.Environment, "package a complete build", "the program %s is missing: %w", name, err)
	}
	facts, err := readELF(from)
	if err != nil {
		return err
	}
	if facts.Machine != i.machine {
		return fault.New(fault.Environment, "use the programs of modwsgi for "+i.machine, "the program %s is for %s, but the rest is for %s", name, facts.Machine, i.machine)
	}
	parts, err := packaging.ProgramComponents(from)
	if err != nil {
		return err
	}
	if err := licence.OfPrograms(name, parts, i.texts); err != nil {
		return err
	}
	i.components = append(i.components, parts...)
	return packaging.CopyFile(from, filepath.Join(w.bin, name), 0o755)
}

// runtimeLayer is the layer with httpd, the module and the launcher, and the layer
// with the environment's packages.
func (m *maker) runtimeLayer(i *image, w *work) error {
	if i.python.lib != "" {
		// The location of libpython is known here, as it is where modwsgi installs.
		dir := path.Dir(i.python.lib)
		module := filepath.Join(w.site, filepath.FromSlash(i.in.Stage.Module.File))
		if err := relocate.Rewrite(module, relocate.Edit{RunPath: &dir}); err != nil {
			return fault.Wrap(fault.Environment, "build it again", err)
		}
	}
	if err := i.receipt(w); err != nil {
		return err
	}
	infos, err := i.infos(w)
	if err != nil {
		return err
	}
	if err := i.treeLicences(w); err != nil {
		return err
	}
	entries, err := i.environment(w)
	if err != nil {
		return err
	}
	entries = append(entries, infos...)
	for _, name := range slices.Sorted(maps.Keys(i.texts)) {
		entries = append(entries, dataEntry(path.Join(LicenceDir, name), i.texts[name], 0o644))
	}
	bom, err := sbom.JSON(sbom.Subject{Name: "mod_wsgi-image", Version: i.in.Stage.Module.Version, Time: m.o.Time, Tool: m.o.Tool}, i.components)
	if err != nil {
		return err
	}
	entries = append(entries, dataEntry(SBOMFile, bom, 0o644))
	return m.put(i, "httpd "+i.in.Stage.HTTPD.Version+", mod_wsgi "+i.in.Stage.Module.Version+" and mod_wsgi-express", entries)
}

// put makes a layer, or keeps its entries for the layer that contains everything.
func (m *maker) put(i *image, about string, entries []entry) error {
	if m.o.LayerOnly {
		i.merged = append(i.merged, entries...)
		return nil
	}
	l, err := m.makeLayer(about, entries, i.base != nil)
	if err != nil {
		return err
	}
	i.layers = append(i.layers, l)
	return nil
}

// environment lists the files of the virtual environment: its skeleton, and ours.
func (i *image) environment(w *work) ([]entry, error) {
	py := i.in.Stage.Module.Python
	system := "false"
	if i.python.system {
		system = "true"
	}
	cfg := "home = " + path.Dir(i.python.executable) + "\ninclude-system-site-packages = " + system + "\nversion = " + py.Version + "\nexecutable = " + i.python.executable + "\n"
	bin := path.Join(Prefix, "bin")
	all := []entry{
		dataEntry(path.Join(Prefix, "pyvenv.cfg"), []byte(cfg), 0o644),
		linkEntry(path.Join(bin, "python"), i.python.executable),
		linkEntry(path.Join(bin, "python3"), "python"), linkEntry(path.Join(bin, i.libName()), "python"),
	}
	for _, name := range w.programs {
		all = append(all, fileEntry(path.Join(bin, name), filepath.Join(w.bin, name), 0o755))
	}
	tree, err := packaging.Scan(w.site)
	if err != nil {
		return nil, err
	}
	for _, f := range tree.Files {
		to := path.Join(i.site(), f.Path)
		if f.Link != "" {
			all = append(all, linkEntry(to, f.Link))
		} else {
			all = append(all, fileEntry(to, tree.Source(f), f.Mode()))
		}
	}
	return all, nil
}

// receipt rewrites the record next to the module for its path in the image.
func (i *image) receipt(w *work) error {
	name := filepath.Join(w.site, filepath.FromSlash(i.in.Stage.Module.Receipt))
	data, err := os.ReadFile(name)
	if err != nil {
		return fault.New(fault.Environment, "package what modwsgi built", "read the record of the module: %w", err)
	}
	var r receipt.Receipt
	if err := json.Unmarshal(data, &r); err != nil {
		return fault.New(fault.Environment, "build it again", "read the record of the module: %w", err)
	}
	if r.Module.SHA256, err = digest.File(filepath.Join(w.site, filepath.FromSlash(i.in.Stage.Module.File))); err != nil {
		return err
	}
	r.Key = "" // it is made from paths of the build machine
	r.Python.Prefix, r.Python.BasePrefix, r.Python.LibPython, r.Python.Soname = Prefix, i.python.prefix, i.python.lib, ""
	return os.WriteFile(name, r.Encode(), 0o644)
}

// infos are the metadata directories of our distributions, whose records match the
// changed files.
func (i *image) infos(w *work) ([]entry, error) {
	var all []entry
	for _, d := range []struct{ glob, pkg, program string }{
		{"mod_wsgi-*.dist-info", i.in.Stage.Module.Package, "mod_wsgi-express"},
		{"mod_wsgi_httpd-*.dist-info", i.in.Stage.HTTPD.Package, "mod_wsgi-apxs"},
	} {
		found, err := fs.Glob(os.DirFS(i.in.Stage.Site), d.glob)
		if err != nil {
			return nil, err
		}
		if len(found) != 1 {
			return nil, fault.New(fault.Environment, "package what modwsgi built", "%s has %d directories %s instead of one", i.in.Stage.Site, len(found), d.glob)
		}
		files := map[string]string{}
		if slices.Contains(w.programs, d.program) {
			files["../../../bin/"+d.program] = filepath.Join(w.bin, d.program)
		}
		for _, root := range []string{filepath.Join(w.site, d.pkg), filepath.Join(i.in.Stage.Site, found[0])} {
			tree, err := packaging.Scan(root)
			if err != nil {
				return nil, err
			}
			for _, f := range tree.Files {
				rel := path.Join(filepath.Base(root), f.Path)
				if files[rel] = tree.Source(f); rel == found[0]+"/RECORD" {
					delete(files, rel)
				} else if filepath.Base(root) == found[0] {
					all = append(all, fileEntry(path.Join(i.site(), rel), tree.Source(f), 0o644))
				}
			}
		}
		record, err := recordOf(files, found[0]+"/RECORD")
		if err != nil {
			return nil, err
		}
		all = append(all, dataEntry(path.Join(i.site(), found[0], "RECORD"), record, 0o644))
	}
	return all, nil
}

// recordOf writes a RECORD
// (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
func recordOf(files map[string]string, own string) ([]byte, error) {
	rows := [][]string{{own, "", ""}}
	for name, source := range files {
		info, err := os.Stat(source)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		rows = append(rows, []string{name, "sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]), strconv.FormatInt(info.Size(), 10)})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	var b bytes.Buffer
	err := csv.NewWriter(&b).WriteAll(rows)
	return b.Bytes(), err
}

// treeLicences adds the licences in the httpd tree.
func (i *image) treeLicences(w *work) error {
	err := licence.OfTree(filepath.Join(w.site, filepath.FromSlash(i.in.Stage.HTTPD.Dir), "licenses"), i.texts)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Environment, "build it again", "the tree lacks the licences of its components: %w", err)
	}
	if err != nil {
		return fmt.Errorf("read the licences of the tree: %w", err)
	}
	return nil
}
