package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/detect"
	"modwsgi/internal/digest"
	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
)

// modwsgi returns a command for this environment.
func (e *exam) modwsgi(words string) string {
	return "modwsgi " + words + " --python " + run.Quote(e.py.Prefix)
}

func (e *exam) rebuildFix() string {
	return e.modwsgi("doctor --fix") + " (or " + e.modwsgi("install --reinstall") + ")"
}

// installed reads the receipt.
func (e *exam) installed(context.Context) {
	if e.py == nil {
		return
	}
	err := errNone
	for _, site := range []string{e.py.Platlib, e.py.Purelib} {
		r, readErr := receipt.Read(site)
		if readErr == nil {
			e.receipt, e.site, err = r, site, nil
			break
		}
		if !errors.Is(readErr, fs.ErrNotExist) {
			err = readErr
			break
		}
	}
	switch {
	case err == nil:
		e.find(OK, "", "mod_wsgi %s is installed, built for Python %s and httpd %s", e.receipt.Module.Version, e.receipt.Python.Version, e.receipt.HTTPD.Version).
			because("receipt", filepath.Join(e.site, filepath.FromSlash(receipt.Path)), "present")
		e.earlier(Warning)
	case errors.Is(err, errNone) && e.earlier(Problem):
	case errors.Is(err, errNone):
		e.find(Note, e.modwsgi("install"), "no mod_wsgi installed by modwsgi was found in %s", e.py.Prefix)
	default:
		f := e.find(Problem, fault.HintOf(err), "%s", err)
		f.Fixable = true
	}
}

// earlier looks for an installation for another Python that this environment had
// before it was created again.
func (e *exam) earlier(s Severity) (found bool) {
	for _, site := range e.py.EarlierSites() {
		r, err := receipt.Read(site)
		if err != nil {
			continue
		}
		f := e.find(s, e.modwsgi("doctor --fix")+" (or "+e.modwsgi("install")+")", "mod_wsgi %s is for Python %s, which this environment had before; its Python is now %s",
			r.Module.Version, detect.VersionOfSite(site), e.py.Version).
			because("receipt", filepath.Join(site, filepath.FromSlash(receipt.Path)), r.Python.SOABI).because("python", e.py.Executable, e.py.SOABI)
		f.Fixable, found = true, true
		if e.report.Receipt == nil {
			e.report.Receipt = r
		}
	}
	return found
}

func (e *exam) modulePath() string {
	return filepath.Join(e.site, "mod_wsgi", "server", e.receipt.Module.File)
}

// rebuild adds a finding that building the module again fixes.
func (e *exam) rebuild(format string, args ...any) *Finding {
	f := e.find(Problem, e.rebuildFix(), format, args...)
	f.Fixable = true
	return f
}

// stale compares the Python and httpd that the module was built for with the present
// ones.
func (e *exam) stale(context.Context) {
	if e.receipt == nil {
		return
	}
	record := filepath.Join(e.site, filepath.FromSlash(receipt.Path))
	today, server := receipt.Look(e.receipt, e.py.Recorded()), e.sameHTTPD()
	if server != nil {
		today.HTTPD = server.Recorded()
	}
	differences := receipt.Compare(e.receipt, today)
	for _, d := range differences {
		f := e.rebuild("%s", d.Text).because(string(d.Fact), record, d.Was)
		if d.Now != "" {
			f.because(string(d.Fact), "today", d.Now)
		}
	}
	if len(differences) == 0 {
		e.find(OK, "", "the module fits this Python and this httpd")
	}
	e.changed(record, server)
}

// changed reports harmless differences since the build.
func (e *exam) changed(record string, server *detect.HTTPD) {
	if was, now := e.receipt.Python.Version, e.py.Version; was != now && minor(was) == minor(now) {
		e.find(Note, "", "Python was %s when the module was built and is now %s", was, now)
	}
	was := e.receipt.HTTPD
	switch {
	case server == nil && isFile(was.Executable):
		e.find(Note, "", "the httpd that the module was built for is no longer found").because("httpd", record, was.Executable)
	case server != nil && server.Version != "" && server.Version != was.Version:
		e.find(Note, "", "httpd was %s when the module was built and is now %s", was.Version, server.Version)
	}
}

// sameHTTPD returns the present facts of the httpd in the receipt, nil if it is not
// found.
func (e *exam) sameHTTPD() *detect.HTTPD {
	for i := range e.cands {
		if sameFile(e.cands[i].Executable, e.receipt.HTTPD.Executable) {
			return &e.cands[i]
		}
	}
	return nil
}

func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// module inspects the module's own file: its hash, its CPU, the MMN inside.
func (e *exam) module(context.Context) {
	if e.receipt == nil {
		return
	}
	path := e.modulePath()
	sum, err := hash(path)
	if err != nil {
		e.rebuild("cannot read the module: %v", err).because("module", path, "unreadable")
		return
	}
	if sum != e.receipt.Module.SHA256 {
		e.rebuild("the module is not the file that was installed").because("sha256", path, sum).because("sha256", "receipt", e.receipt.Module.SHA256)
		return
	}
	f, err := elf.Open(path)
	if err != nil {
		return // of another format
	}
	defer func() { _ = f.Close() }()
	facts, err := f.Facts()
	if err != nil {
		e.rebuild("the module is damaged: %v", err)
		return
	}
	if e.py.Machine != "" && facts.Machine != e.py.Machine {
		e.rebuild("the module is for %s, but the Python is for %s", facts.Machine, e.py.Machine).because("machine", path, facts.Machine)
		return
	}
	if bad := e.moduleMMN(f, path); !bad {
		e.find(OK, "", "the module is intact").because("sha256", path, sum)
	}
}

// moduleMMN compares the MMN in the module with that in the program. Every module
// begins with both numbers (struct module_struct in http_config.h).
func (e *exam) moduleMMN(f *elf.File, path string) (bad bool) {
	major, least, err := f.Uint32Pair("wsgi_module")
	if err != nil {
		return false
	}
	server, err := elf.Open(e.receipt.HTTPD.Executable)
	if err != nil {
		return false
	}
	defer func() { _ = server.Close() }()
	want, have, err := server.Uint32Pair("core_module")
	if err != nil || want == major && least <= have {
		return false
	}
	e.rebuild("the module was compiled for MMN %d:%d, but httpd has %d:%d", major, least, want, have).
		because("mmn", path, fmt.Sprintf("%d:%d", major, least)).because("mmn", e.receipt.HTTPD.Executable, fmt.Sprintf("%d:%d", want, have))
	return true
}

// libc compares the C library of Python, httpd and the module. Programs for glibc and
// for musl name different loaders.
func (e *exam) libc(context.Context) {
	if e.py == nil {
		return
	}
	var server string
	switch {
	case e.receipt != nil:
		server = e.receipt.HTTPD.Executable
	case e.httpd != nil:
		server = e.httpd.Executable
	default:
		return
	}
	python, httpd := loader(e.py.Executable), loader(server)
	if python == "" || httpd == "" {
		return
	}
	if libcOf(python) != libcOf(httpd) {
		e.find(Problem, "use a Python and an httpd made for the same C library ("+e.modwsgi("install --httpd bundled")+")",
			"Python is made for %s, but httpd for %s", libcOf(python), libcOf(httpd)).
			because("loader", e.py.Executable, python).because("loader", server, httpd)
		return
	}
	if !exists(httpd) {
		e.find(Problem, "install the C library that it was made for, or build httpd here: "+e.modwsgi("install --httpd bundled --reinstall"),
			"httpd needs the loader %s, which does not exist", httpd).because("loader", server, httpd)
		return
	}
	if e.needsNewerLibc(httpd, server) {
		return
	}
	e.find(OK, "", "Python and httpd use the same C library (%s)", libcOf(python)).because("loader", e.py.Executable, python)
}

// needsNewerLibc looks for binaries built on a newer system than this one, which shows
// in the symbol versions that they require.
func (e *exam) needsNewerLibc(loader, server string) (bad bool) {
	library, have := glibcBeside(loader)
	if have == "" {
		return false
	}
	binaries := []string{server}
	if e.receipt != nil {
		binaries = append(binaries, e.modulePath())
	}
	for _, path := range binaries {
		facts, err := elf.Read(path)
		if err != nil || facts.GLIBC == "" || elf.CompareVersions(facts.GLIBC, have) <= 0 {
			continue
		}
		bad = true
		e.find(Problem, "build it on this system: "+e.modwsgi("install --reinstall"), "%s needs glibc %s, but this system has %s", filepath.Base(path), facts.GLIBC, have).
			because("glibc", path, facts.GLIBC).because("glibc", library, have)
	}
	return bad
}

// glibcBeside returns the C library next to a loader and its version, from the
// sentence that it prints when run; "" for another library.
func glibcBeside(loader string) (library, version string) {
	if real, err := filepath.EvalSymlinks(loader); err == nil {
		loader = real
	}
	library = filepath.Join(filepath.Dir(loader), "libc.so.6")
	f, err := elf.Open(library)
	if err != nil {
		return "", ""
	}
	defer func() { _ = f.Close() }()
	data, err := f.ReadOnlyData()
	if err != nil {
		return "", ""
	}
	_, after, _ := bytes.Cut(data, []byte("GNU C Library "))
	_, after, _ = bytes.Cut(after, []byte(" version "))
	version = string(after[:len(after)-len(bytes.TrimLeft(after, "0123456789."))])
	return library, strings.Trim(version, ".")
}

func loader(program string) string {
	facts, err := elf.Read(program)
	if err != nil {
		return ""
	}
	return facts.Interp
}

func libcOf(loader string) string {
	if strings.HasPrefix(filepath.Base(loader), "ld-musl-") {
		return "musl"
	}
	return "glibc"
}

// mpm looks for the multi-processing modules that the httpd had.
func (e *exam) mpm(context.Context) {
	if e.receipt == nil {
		return
	}
	was := e.receipt.HTTPD
	var left []string
	builtIn := false
	if f, err := elf.Open(was.Executable); err == nil {
		for _, mpm := range []string{"event", "worker", "prefork"} {
			builtIn = builtIn || f.Exports("mpm_"+mpm+"_module")
		}
		_ = f.Close()
	}
	for _, mpm := range was.MPMs {
		if isFile(filepath.Join(was.ModulesDir, "mod_mpm_"+mpm+".so")) {
			left = append(left, mpm)
		}
	}
	switch {
	case len(left) == 0 && !builtIn:
		e.find(Problem, e.httpdFix(), "httpd has no multi-processing module left").because("modules", was.ModulesDir, "no mod_mpm_*.so")
	case len(left) < len(was.MPMs) && !builtIn:
		e.find(Warning, e.httpdFix(), "httpd had the multi-processing modules %s, but only %s are left", strings.Join(was.MPMs, ", "), strings.Join(left, ", "))
	default:
		e.find(OK, "", "multi-processing modules: %s", strings.Join(was.MPMs, ", "))
	}
}

func (e *exam) httpdFix() string {
	if e.receipt.HTTPD.Provenance == string(detect.Bundled) {
		return e.modwsgi("install --reinstall")
	}
	return "install the distribution's httpd again (its modules are part of it)"
}

// libraries looks for two copies of a library in one process: one that Python's
// extension modules need and one that httpd or its modules need.
func (e *exam) libraries(context.Context) {
	if e.receipt == nil {
		return
	}
	dynload := filetree.Glob(e.py.BasePrefix, "lib*/python"+minor(e.py.Version)+"*/lib-dynload/*.so")
	python := needs(slices.DeleteFunc(dynload, func(p string) bool {
		b := filepath.Base(p)
		return !strings.HasPrefix(b, "_ssl.") && !strings.HasPrefix(b, "_hashlib.") && !strings.HasPrefix(b, "pyexpat.")
	}))
	own := []string{e.receipt.HTTPD.Executable}
	for _, m := range []string{"mod_ssl.so", "mod_dav.so", "mod_session_crypto.so"} {
		own = append(own, filepath.Join(e.receipt.HTTPD.ModulesDir, m))
	}
	if h := e.sameHTTPD(); h != nil {
		for _, dir := range h.LibDirs {
			own = append(own, filepath.Join(dir, "libaprutil-1.so.0")) // which needs expat
		}
	}
	server := needs(own)
	different := false
	for _, stem := range []string{"libssl.so", "libcrypto.so", "libexpat.so"} {
		p, s := python[stem], server[stem]
		if p.name == "" || s.name == "" || p.name == s.name {
			continue
		}
		different = true
		e.find(Warning, "build both against the same copy: "+e.modwsgi("install --httpd bundled")+", with a Python that uses the system's "+strings.TrimSuffix(stem, ".so"),
			"Python uses %s and httpd %s, in one process", p.name, s.name).
			because("needed", p.by, p.name).because("needed", s.by, s.name)
	}
	if !different {
		e.find(OK, "", "Python and httpd do not need different versions of libssl, libcrypto or libexpat")
	}
}

type need struct{ name, by string }

// needs lists the libraries that files require, by the name before the version.
func needs(paths []string) map[string]need {
	out := map[string]need{}
	for _, path := range paths {
		facts, err := elf.Read(path)
		if err != nil {
			continue
		}
		for _, n := range facts.Needed {
			if stem, _, ok := strings.Cut(n, ".so"); ok {
				out[stem+".so"] = need{n, path}
			}
		}
	}
	return out
}

func hash(path string) (string, error) {
	if !isFile(path) {
		return "", fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return digest.File(path)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func sameFile(a, b string) bool {
	ia, erra := os.Stat(a)
	ib, errb := os.Stat(b)
	return erra == nil && errb == nil && os.SameFile(ia, ib)
}
