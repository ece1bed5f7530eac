// Package linuxpkg makes deb, rpm and apk packages of a stage, through nfpm. A stage
// with a module for the system's Apache becomes a package of that module, which the
// distribution's Apache loads. A stage with a bundled httpd becomes a package below
// /opt with the launcher, the module and units for a service manager. Dependencies are
// computed from the binaries: packages of libraries come from dpkg's records, symbol
// versions from the files. For another system, the libraries and the records are those in a
// sysroot. The package does not know how a stage was built. It guesses
// no package name and never bundles a library that the distribution has.
package linuxpkg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
)

// Format is a kind of package.
type Format string

// The formats.
const (
	Deb Format = "deb"
	RPM Format = "rpm"
	APK Format = "apk"
)

// Options are the user's choices.
type Options struct {
	Format     Format
	Name       string   // "" for DefaultName
	Version    string   // "" for upstream's, in the format's syntax
	Release    string   // "" is "1"
	Maintainer string   // "Name <address>"; "" for an address that nobody reads
	Depends    []string // additional dependencies; "SONAME=DEPENDENCY" names the package of a library
	Allow      []string // libraries that every target has
	Host       Host
	For        *Target // nil for this machine
	Runner     *run.Runner
	Env        []string // environment of the tools
	// Sign returns an armored detached OpenPGP signature for the package itself; nil
	// for none. apk has signatures of another kind, see the documentation.
	Sign func(data []byte) ([]byte, error)
}

// NoMaintainer is the default maintainer. Nobody can own its domain (RFC 2606).
const NoMaintainer = "Built by modwsgi <nobody@modwsgi.invalid>"

// earliest is the earliest timestamp of an entry. Debian's tools treat an older one as
// an error.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Check refuses options that no package can have, before anything is built. Its errors
// are of class Usage.
func (o *Options) Check() error {
	if _, ok := rules[o.Format]; !ok {
		return fault.New(fault.Internal, "", "unknown package format %q", o.Format)
	}
	if o.Release == "" {
		o.Release = "1"
	}
	if o.Maintainer == "" {
		o.Maintainer = NoMaintainer
	}
	if o.Name != "" {
		if err := checkName(o.Format, o.Name); err != nil {
			return err
		}
	}
	if o.Version != "" {
		if err := checkVersion(o.Format, o.Version); err != nil {
			return err
		}
	}
	if err := checkRelease(o.Format, o.Release); err != nil {
		return err
	}
	if err := checkMaintainer(o.Maintainer); err != nil {
		return err
	}
	_, _, err := o.given()
	return err
}

// work is one package in progress.
type work struct {
	ctx      context.Context
	stage    *packaging.Stage
	options  Options
	dir      string // scratch: "root" stands for /, "meta" contains scripts and the like
	receipt  receipt.Receipt
	soname   string // of the libpython that the module requires, "" for none
	tag      string // "py311"
	time     time.Time
	pkg      pkg
	linkage  *linkage.Result
	parts    []packaging.Component
	texts    map[string][]byte // licence texts, by component/file
	warnings []string
}

// Write makes the package of a stage, and returns it with warnings for the user.
func Write(ctx context.Context, d *packaging.Dist, s *packaging.Stage, o Options) (*packaging.Artifact, []string, error) {
	began := time.Now()
	w, err := prepare(ctx, d, s, o)
	if err != nil {
		return nil, nil, err
	}
	a, err := w.write(d, began)
	if err == nil && len(s.Debug) > 0 {
		err = w.writeDebug(d, a)
	}
	if err != nil {
		return nil, nil, writing(err)
	}
	return a, w.warnings, owned.RemoveAll(w.dir)
}

// prepare lays out everything that is in the package, and describes it.
func prepare(ctx context.Context, d *packaging.Dist, s *packaging.Stage, o Options) (*work, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if s.Module == nil {
		return nil, fault.New(fault.Usage, "package an environment that has mod_wsgi", "no module to package")
	}
	if o.Host.Root == "" {
		o.Host.Root = "/"
	}
	w := &work{ctx: ctx, stage: s, options: o, time: s.Time, texts: map[string][]byte{}}
	if w.time.Before(earliest) {
		w.time = earliest
	}
	w.tag = "py" + strings.TrimPrefix(s.Module.Python.ABI, "cp")
	var err error
	if w.dir, err = d.Scratch(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{w.readReceipt, w.layOut, w.strip, w.inspect, w.identify, w.describe, w.finishFiles} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step(); err != nil {
			return nil, writing(err)
		}
	}
	return w, nil
}

// writing adds a hint to an error that has none yet. Only the disk with the copies can
// be the cause.
func writing(err error) error {
	var known *fault.Error
	var pe *os.PathError
	if errors.As(err, &known) && fault.HintOf(err) != "" || !errors.As(err, &pe) {
		return err
	}
	return fault.New(fault.Environment, "check that the output directory is writable and its file system has free space", "write the package: %w", err)
}

// bundled reports whether the package contains a private httpd.
func (w *work) bundled() bool { return w.stage.Module.Bundled }

func (w *work) path(names ...string) string {
	return filepath.Join(append([]string{w.dir}, names...)...)
}

// root converts a path of the target to its path in the scratch directory.
func (w *work) root(name string) string { return w.path("root", filepath.FromSlash(name)) }

func (w *work) python() receipt.Python { return w.receipt.Python }

// readReceipt reads the record next to the module.
func (w *work) readReceipt() error {
	m := w.stage.Module
	data, err := os.ReadFile(filepath.Join(w.stage.Site, filepath.FromSlash(m.Receipt)))
	if err != nil {
		return fault.New(fault.Environment, "package what modwsgi built", "read the record of the module: %w", err)
	}
	if err := json.Unmarshal(data, &w.receipt); err != nil {
		return fault.New(fault.Environment, "build it again", "read the record of the module: %w", err)
	}
	if w.bundled() && w.stage.HTTPD == nil {
		return fault.New(fault.Environment, "package a complete build", "the module is for a bundled httpd, which is missing")
	}
	for _, path := range []*string{&w.receipt.Python.Prefix, &w.receipt.Python.BasePrefix, &w.receipt.Python.LibPython} {
		if *path, err = w.asOnTarget(*path); err != nil {
			return err
		}
	}
	if w.receipt.Python.BasePrefix == "" {
		return fault.New(fault.Usage, "package what modwsgi built or installed, not the contents of a wheel", "the record of the module does not name its Python")
	}
	for _, path := range []string{w.receipt.Python.BasePrefix, w.receipt.Python.LibPython} {
		if strings.ContainsFunc(path, unicode.IsControl) {
			return fault.New(fault.Environment, "use a Python at another path", "the path %q contains a control character, which no configuration can express", path)
		}
	}
	w.soname, err = w.askSoname()
	return err
}

// identify names the package and its version.
func (w *work) identify() error {
	o, p, m := &w.options, &w.pkg, w.stage.Module
	p.Name = o.Name
	if p.Name == "" {
		p.Name = DefaultName(o.Format, w.bundled(), w.tag)
	}
	if err := checkName(o.Format, p.Name); err != nil {
		return err
	}
	p.Version = o.Version
	if _, err := mapVersion(RPM, m.Version); err != nil {
		return err // it is used in several places
	}
	if p.Version == "" {
		v, err := mapVersion(o.Format, m.Version)
		if err != nil {
			return err
		}
		if w.bundled() {
			v = withHTTPD(o.Format, v, m.HTTPD)
		}
		p.Version = v
	}
	if err := checkVersion(o.Format, p.Version); err != nil {
		return err
	}
	p.Release, p.Maintainer = o.Release, o.Maintainer
	p.Arch = archOf(o.Format, w.linkage.Machine)
	if o.Maintainer == NoMaintainer {
		w.warnings = append(w.warnings, "the package has no maintainer: pass --maintainer \"Name <address>\"")
	}
	return nil
}

// checkMachine refuses binaries for another CPU than the Python's.
func (w *work) checkMachine() error {
	_, machine, ok := strings.Cut(w.stage.Module.Python.Platform, "-")
	if ok && machine != w.linkage.Machine && !strings.Contains(machine, "-") {
		return fault.New(fault.Environment, "build it again for one CPU", "the binaries are for %s, and the Python is for %s", w.linkage.Machine, machine)
	}
	return nil
}

// DefaultName is the default name of a package. It includes the Python version and is
// not used by any distribution.
func DefaultName(f Format, bundled bool, tag string) string {
	if bundled {
		return "mod-wsgi-express-" + tag
	}
	return map[Format]string{Deb: "libapache2-mod-wsgi-", RPM: "mod_wsgi-", APK: "apache2-mod-wsgi-"}[f] + tag
}

// write lets nfpm make the file, and registers it.
func (w *work) write(d *packaging.Dist, began time.Time) (*packaging.Artifact, error) {
	p, o := &w.pkg, w.options
	name, err := create(d, o.Format, p)
	if err != nil {
		return nil, err
	}
	release := "-"
	if o.Format == APK {
		release = "-r"
	}
	a := &packaging.Artifact{
		Name: name, Kind: string(o.Format), Project: p.Name, Version: p.Version + release + p.Release, Platform: p.Arch, Components: w.parts,
		Took: time.Since(began), Parameters: map[string]string{
			"name": p.Name, "release": p.Release, "maintainer": p.Maintainer, "depends": strings.Join(o.Depends, ","),
			"allow_foreign": strings.Join(o.Allow, ","), "signed": fmt.Sprint(o.Sign != nil),
		},
	}
	return a, d.Add(a)
}

// create writes the file of a package, and returns its name.
func create(d *packaging.Dist, f Format, p *pkg) (string, error) {
	name := fileName(f, p.Name, p.Version, p.Release, p.Arch)
	out, err := d.Create(name)
	if err != nil {
		return "", err
	}
	if err := errors.Join(pack(f, p, out), out.Close()); err != nil {
		return "", fault.Wrap(fault.Environment, fault.HintOf(err), fmt.Errorf("write %s: %w", name, err))
	}
	return name, nil
}

// record rewrites the receipt for the final paths of the files.
func (w *work) record(site, module string) error {
	r := w.receipt
	sum, err := digest.File(w.root(module))
	if err != nil {
		return err
	}
	r.Key, r.Module.SHA256 = "", sum // the key is made from paths of the build machine
	r.Python.Prefix = r.Python.BasePrefix
	r.Python.Soname = w.soname
	if w.findsPython() {
		r.Python.LibPython = ""
	}
	return os.WriteFile(w.root(path.Join(site, "mod_wsgi/server/build.json")), r.Encode(), 0o644)
}

// findsPython reports whether the loader finds libpython by itself, because it is
// where packages install libraries.
func (w *work) findsPython() bool {
	return w.soname == "" || slices.Contains([]string{"/usr", ""}, strings.TrimSuffix(w.python().BasePrefix, "/"))
}
