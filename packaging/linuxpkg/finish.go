package linuxpkg

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"modwsgi/packaging"
)

//go:embed files
var templates embed.FS

// pkg is the description of the package for nfpm.
type pkg struct {
	Name, Version, Release, Arch   string
	Maintainer, Homepage, License  string
	Summary, Description           string
	Depends, Provides, Conflicts   []string
	Replaces, Recommends, Suggests []string
	Section                        string            // of a deb; "" for httpd
	Fields                         map[string]string // further fields of a deb
	Entries                        []entry
	Scripts                        map[string]string // "preinstall", "postinstall", "preremove", "postremove", "postupgrade" -> file
	Changelog                      string            // file, for rpm
	Sign                           func([]byte) ([]byte, error)
	Time                           time.Time
}

// entry is one file of a package.
type entry struct {
	Path string // absolute, in the target
	From string // the file, or the target of a link
	Kind string // "file", "dir", "config", "doc", "license" or "link"
	Mode fs.FileMode
}

// fill renders an embedded template for this package.
func (w *work) fill(name string) []byte {
	data, err := templates.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	m := w.stage.Module
	return []byte(strings.NewReplacer(
		"@NAME@", w.pkg.Name, "@HOME@", "/"+w.home(), "@TAG@", w.tag, "@PYTHON@", m.Python.MinorVersion(), "@BASE@", w.python().BasePrefix,
		"@MODULE@", "/"+w.modulePath(), "@MODULEFILE@", w.moduleName(), "@OTHERS@", strings.Join(w.others(), " "),
		"@LOADPYTHON@", w.loadPython(), "@PYTHONHOME@", w.pythonHome(), "@VERSION@", m.Version, "@HTTPD@", m.HTTPD, "@UNITS@", w.units(),
	).Replace(string(data)))
}

// others are the modules that must not be loaded together with this one, by the names
// that a2enmod knows: Debian's, and ours for all other Pythons.
func (w *work) others() []string {
	all := []string{"wsgi"}
	for minor := 6; minor <= 20; minor++ {
		for _, tag := range []string{fmt.Sprintf("py3%d", minor), fmt.Sprintf("py3%dt", minor)} {
			if tag != w.tag && (minor >= 13 || !strings.HasSuffix(tag, "t")) {
				all = append(all, "wsgi-"+tag)
			}
		}
	}
	return all
}

// loadPython loads a libpython that the loader does not find by itself.
func (w *work) loadPython() string {
	if w.findsPython() {
		return ""
	}
	return "LoadFile " + quoted(w.python().LibPython) + "\n"
}

// pythonHome tells the module the location of a Python that is not the system's.
func (w *work) pythonHome() string {
	if w.python().BasePrefix == "/usr" {
		return "# WSGIPythonHome /srv/app/venv"
	}
	return "WSGIPythonHome " + quoted(w.python().BasePrefix)
}

// quoted quotes a value for httpd's configuration, in which \ and " are special.
func quoted(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

// units is where systemd looks for the units of packages. On Debian 12 that is below
// /lib, which is a link to /usr/lib on systems where systemd looks in both.
func (w *work) units() string {
	if w.options.Format == Deb {
		return "lib/systemd/system"
	}
	return "usr/lib/systemd/system"
}

// finishFiles writes configuration and scripts, and lists all files.
func (w *work) finishFiles() error {
	lay := w.systemFiles
	if w.bundled() {
		lay = w.ownFiles
	}
	config, plain, scripts := lay()
	for name, file := range config {
		if err := w.put(name, w.fill(file), 0o644); err != nil {
			return err
		}
	}
	for name, file := range plain {
		mode := fs.FileMode(0o644)
		if path.Dir(name) == "etc/init.d" {
			mode = 0o755
			config[name] = file
		}
		if err := w.put(name, w.fill(file), mode); err != nil {
			return err
		}
	}
	w.pkg.Scripts = map[string]string{}
	for name, file := range scripts {
		to := w.path("meta", name)
		if err := os.WriteFile(to, w.fill(file), 0o755); err != nil {
			return err
		}
		if err := os.Chtimes(to, w.time, w.time); err != nil { // nfpm uses it for apk
			return err
		}
		w.pkg.Scripts[name] = to
	}
	w.pkg.Sign = w.options.Sign
	return w.list(config)
}

// systemFiles are the files of a module for the system's Apache, by path.
func (w *work) systemFiles() (config, plain, scripts map[string]string) {
	p, r := &w.pkg, w.receipt.HTTPD
	switch w.options.Format {
	case Deb:
		// apache2-api is the major part of the magic number (https://wiki.debian.org/Apache/PackagingFor24).
		p.Depends = append(p.Depends, fmt.Sprintf("apache2-api-%d", r.MMN))
		p.Provides = []string{"httpd-wsgi3"}
		available := "etc/apache2/mods-available/wsgi-" + w.tag
		return map[string]string{available + ".load": "deb.load", available + ".conf": "system.conf"}, nil,
			map[string]string{"postinstall": "deb-system.postinst", "preremove": "deb-system.prerm", "postremove": "deb-system.postrm"}
	case RPM:
		p.Depends = append(p.Depends, fmt.Sprintf("httpd-mmn = %d%s", r.MMN, rpmISA(w.linkage.Machine)))
		p.Provides = []string{"mod_wsgi = " + p.Version + "-" + p.Release}
		return map[string]string{"etc/httpd/conf.modules.d/10-wsgi-" + w.tag + ".conf": "rpm.conf"}, nil, nil
	default:
		p.Depends = append(p.Depends, "apache2")
		return map[string]string{"etc/apache2/conf.d/wsgi-" + w.tag + ".conf": "apk.conf"}, nil, nil
	}
}

// rpmISA is the suffix of the magic number in Fedora's httpd-mmn: name and bits of the
// CPU, as in rpm's macros __isa_name and __isa_bits.
func rpmISA(machine string) string {
	if isa, ok := map[string]string{
		"x86_64": "x8664", "aarch64": "aarch64", "ppc64le": "ppc64", "s390x": "s39064", "i686": "x8632", "armv7l": "armv732", "riscv64": "riscv64",
	}[machine]; ok {
		return isa
	}
	return machine
}

// Service is the account of the services, and the virtual name of the packages with a
// private httpd: two such packages would both contain the service.
const (
	Account = "modwsgi"
	virtual = "mod-wsgi-express"
)

// accountPrograms make the account in an rpm's script before the installation.
var accountPrograms = []string{"/usr/bin/getent", "/usr/sbin/groupadd", "/usr/sbin/useradd"}

// ownFiles are the files of a package with a private httpd.
func (w *work) ownFiles() (config, plain, scripts map[string]string) {
	p := &w.pkg
	config = map[string]string{"etc/modwsgi/hello.conf": "hello.conf"}
	plain = map[string]string{
		"usr/share/mod_wsgi-express/hello.wsgi":    "hello.wsgi",
		w.units() + "/mod_wsgi-express@.service":   "unit.service",
		"usr/lib/sysusers.d/mod_wsgi-express.conf": "sysusers.conf",
		"usr/lib/tmpfiles.d/mod_wsgi-express.conf": "tmpfiles.conf",
	}
	switch w.options.Format {
	case Deb:
		p.Depends = append(p.Depends, "adduser")
		p.Provides, p.Conflicts, p.Replaces = []string{virtual}, []string{virtual}, []string{virtual}
		return config, plain, map[string]string{
			"postinstall": "deb-own.postinst", "preremove": "deb-own.prerm", "postremove": "deb-own.postrm",
		}
	case RPM:
		p.Depends = append(append(p.Depends, "/bin/sh"), accountPrograms...)
		p.Provides, p.Conflicts = []string{virtual + " = " + p.Version + "-" + p.Release}, []string{virtual}
		return config, plain, map[string]string{
			"preinstall": "rpm-own.pre", "postinstall": "rpm-own.post", "preremove": "rpm-own.preun", "postremove": "rpm-own.postun",
		}
	default:
		// Two packages that provide the same name with a version conflict
		// (apk-package(5)).
		p.Depends = append(p.Depends, "/bin/sh")
		p.Provides = []string{virtual + "=" + p.Version + "-r" + p.Release}
		plain = map[string]string{"usr/share/mod_wsgi-express/hello.wsgi": "hello.wsgi", "etc/init.d/mod_wsgi-express": "apk-own.initd"}
		return config, plain, map[string]string{
			"preinstall": "apk-own.pre-install", "postupgrade": "apk-own.post-upgrade", "preremove": "apk-own.pre-deinstall",
		}
	}
}

// list makes the entries for everything below root, and refuses what distributions do
// not accept.
func (w *work) list(config map[string]string) error {
	if err := w.dependOnPython(); err != nil {
		return err
	}
	tree, err := packaging.Scan(w.path("root"))
	if err != nil {
		return w.withUserPaths(err)
	}
	p := &w.pkg
	dirs := map[string]bool{}
	for _, f := range tree.Files {
		e := entry{Path: "/" + f.Path, From: tree.Source(f), Kind: "file", Mode: f.Mode()}
		switch {
		case config[f.Path] != "":
			e.Kind = "config"
		case isLibrary(f.Path) && w.options.Format == Deb:
			e.Mode = 0o644 // as Debian requires (Policy 8.1); elsewhere it is the opposite
		case (strings.HasPrefix(f.Path, "usr/share/doc/") || strings.HasPrefix(f.Path, "usr/share/man/")) && w.options.Format == RPM:
			e.Kind = "doc" // as rpmbuild marks them
		case strings.HasPrefix(f.Path, "usr/share/licenses/") && w.options.Format == RPM:
			e.Kind = "license"
		}
		if f.Link != "" {
			e.Kind, e.From = "link", f.Link
		}
		p.Entries = append(p.Entries, e)
		for dir := path.Dir(f.Path); packagesOwn(dir, p.Name); dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for dir := range dirs {
		p.Entries = append(p.Entries, entry{Path: "/" + dir, Kind: "dir", Mode: 0o755})
	}
	if w.bundled() {
		p.Entries = append(p.Entries, entry{Path: "/usr/bin/mod_wsgi-express", From: "/" + w.home() + "/bin/mod_wsgi-express", Kind: "link", Mode: 0o777})
	}
	sort.SliceStable(p.Entries, func(i, j int) bool { return p.Entries[i].Path < p.Entries[j].Path })
	for _, all := range []*[]string{&p.Depends, &p.Provides, &p.Conflicts} {
		slices.Sort(*all)
		*all = slices.Compact(*all)
	}
	return nil
}

// dependOnPython adds what the distribution's Python provides in rpm and apk. For deb
// the dependency is the package with the standard library.
func (w *work) dependOnPython() error {
	py := w.stage.Module.Python.MinorVersion()
	switch {
	case w.options.Format == Deb:
		return nil
	case w.python().BasePrefix != "/usr":
		return w.unpackagedPython()
	case w.options.Format == RPM:
		w.pkg.Depends = append(w.pkg.Depends, "python(abi) = "+py)
	default:
		w.pkg.Depends = append(w.pkg.Depends, "python3~"+py)
	}
	return nil
}

// isLibrary distinguishes files that are loaded from files that are executed.
func isLibrary(name string) bool {
	base := path.Base(name)
	return strings.HasSuffix(base, ".so") || strings.Contains(base, ".so.")
}

// packagesOwn reports whether the package owns a directory, which is removed with it.
func packagesOwn(dir, name string) bool {
	dir = filepath.ToSlash(dir)
	for _, own := range []string{"opt/modwsgi", "etc/modwsgi", "usr/share/mod_wsgi-express", "usr/share/doc/" + name, "usr/share/licenses/" + name} {
		if dir == own || strings.HasPrefix(dir, own+"/") {
			return true
		}
	}
	return false
}
