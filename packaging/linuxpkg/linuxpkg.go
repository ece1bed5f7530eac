// Package linuxpkg makes deb, rpm and apk packages of a stage, through nfpm. A
// stage with a module for the system's Apache becomes a package of that module, as
// the distribution's Apache loads it; one with an httpd of its own becomes a
// package below /opt with the launcher, the module and units for a service
// manager. Dependencies are computed from the binaries: packages of libraries come
// from dpkg's records, symbol versions from the files. It does not know how a
// stage was built, guesses no package's name, and never bundles a library that the
// distribution has.
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

// Options are what a user may choose.
type Options struct {
	Format     Format
	Name       string   // "" for DefaultName
	Version    string   // "" for upstream's, in the words of the format
	Release    string   // "" is "1"
	Maintainer string   // "Name <address>"; "" for one that nobody reads
	Depends    []string // further dependencies; "SONAME=DEPENDENCY" says which package has a library
	Allow      []string // libraries that every target has
	Host       Host
	Runner     *run.Runner
	Env        []string // of the tools that are run
	// Sign returns an armored detached OpenPGP signature, for the package itself; nil for none. For apk see the
	// documentation: it has signatures of another kind.
	Sign func(data []byte) ([]byte, error)
}

// NoMaintainer is who a package is of where nobody says. The domain is one that
// nobody has (RFC 2606).
const NoMaintainer = "Built by modwsgi <nobody@modwsgi.invalid>"

// earliest is the earliest time of an entry: the tools of Debian take an older
// one for an error.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Check refuses options that make no package, before anything is built. The error
// is of class Usage.
func (o *Options) Check() error {
	if _, ok := rules[o.Format]; !ok {
		return fault.New(fault.Internal, "", "%q is no format of packages", o.Format)
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

// work is one package under way.
type work struct {
	ctx      context.Context
	stage    *packaging.Stage
	options  Options
	dir      string // scratch: "root" stands for /, "meta" has scripts and the like
	receipt  receipt.Receipt
	soname   string // of the libpython that the module asks for, "" for none
	tag      string // "py311"
	time     time.Time
	pkg      pkg
	linkage  *linkage.Result
	parts    []packaging.Component
	texts    map[string][]byte // licences, by component/file
	warnings []string
}

// Write makes the package of a stage, and returns it with what a user should
// know.
func Write(ctx context.Context, d *packaging.Dist, s *packaging.Stage, o Options) (*packaging.Artifact, []string, error) {
	began := time.Now()
	if err := o.Check(); err != nil {
		return nil, nil, err
	}
	if s.Module == nil {
		return nil, nil, fault.New(fault.Usage, "package an environment that has mod_wsgi", "there is no module to package")
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
		return nil, nil, err
	}
	for _, step := range []func() error{w.readReceipt, w.layOut, w.strip, w.inspect, w.identify, w.describe, w.finishFiles} {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if err := step(); err != nil {
			return nil, nil, writing(err)
		}
	}
	a, err := w.write(d, began)
	if err != nil {
		return nil, nil, writing(err)
	}
	return a, w.warnings, owned.RemoveAll(w.dir)
}

// writing says what to do about an error of which nobody else said it: all that
// is left then is the disk with the copies.
func writing(err error) error {
	var known *fault.Error
	var pe *os.PathError
	if errors.As(err, &known) && fault.HintOf(err) != "" || !errors.As(err, &pe) {
		return err
	}
	return fault.New(fault.Environment, "see that the output directory is writable and its file system has room", "write the package: %w", err)
}

// bundled says whether the package brings its own httpd.
func (w *work) bundled() bool { return w.stage.Module.Bundled }

func (w *work) path(names ...string) string {
	return filepath.Join(append([]string{w.dir}, names...)...)
}

// root is where a path of the target lies in the scratch directory.
func (w *work) root(name string) string { return w.path("root", filepath.FromSlash(name)) }

func (w *work) python() receipt.Python { return w.receipt.Python }

// readReceipt reads the record beside the module.
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
		return fault.New(fault.Environment, "package a complete build", "the module is for a bundled httpd, which is not there")
	}
	if w.receipt.Python.BasePrefix == "" {
		return fault.New(fault.Usage, "package what modwsgi built or installed, not what came out of a wheel", "the record of the module does not say which Python it was built for")
	}
	for _, path := range []string{w.receipt.Python.BasePrefix, w.receipt.Python.LibPython} {
		if strings.ContainsFunc(path, unicode.IsControl) {
			return fault.New(fault.Environment, "take a Python in another place", "the path %q holds a control character, which no configuration can carry", path)
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
		return err // it appears in more places
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
		w.warnings = append(w.warnings, "the package names nobody who keeps it: give --maintainer \"Name <address>\"")
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

// DefaultName is the name of a package: it tells the Python, and is none that a
// distribution uses.
func DefaultName(f Format, bundled bool, tag string) string {
	if bundled {
		return "mod-wsgi-express-" + tag
	}
	return map[Format]string{Deb: "libapache2-mod-wsgi-", RPM: "mod_wsgi-", APK: "apache2-mod-wsgi-"}[f] + tag
}

// write lets nfpm make the file, and registers it.
func (w *work) write(d *packaging.Dist, began time.Time) (*packaging.Artifact, error) {
	p, o := &w.pkg, w.options
	name := fileName(o.Format, p.Name, p.Version, p.Release, p.Arch)
	out, err := d.Create(name)
	if err != nil {
		return nil, err
	}
	err = pack(o.Format, p, out)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fault.Wrap(fault.Environment, fault.HintOf(err), fmt.Errorf("write %s: %w", name, err))
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

// record rewrites the receipt for where the files will lie.
func (w *work) record(site, module string) error {
	r := w.receipt
	sum, err := digest.File(w.root(module))
	if err != nil {
		return err
	}
	r.Key, r.Module.SHA256 = "", sum // the key is made of paths of the build machine
	r.Python.Prefix = r.Python.BasePrefix
	r.Python.Soname = w.soname
	if w.findsPython() {
		r.Python.LibPython = ""
	}
	return os.WriteFile(w.root(path.Join(site, "mod_wsgi/server/build.json")), r.Encode(), 0o644)
}

// findsPython says whether the loader finds libpython by itself, because it lies
// where libraries of packages lie.
func (w *work) findsPython() bool {
	return w.soname == "" || slices.Contains([]string{"/usr", ""}, strings.TrimSuffix(w.python().BasePrefix, "/"))
}
