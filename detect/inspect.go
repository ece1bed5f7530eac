package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modwsgi/internal/apxs"
	"modwsgi/internal/elf"
	"modwsgi/internal/pe"
	"modwsgi/internal/run"
)

// apxsTimeout is the time limit for one answer of apxs, a Perl program.
var apxsTimeout = 15 * time.Second

// needed are the variables that building a module requires.
var needed = []string{"INCLUDEDIR", "LIBEXECDIR", "SBINDIR", "PROGNAME"}

// askAPXS gets the variables of an apxs: all at once, then missing ones by name. An
// exit code other than 0, no answer, and an answer without the required variables are
// errors. It may return variables along with an error.
func (f *finder) askAPXS(path string) (apxs.Vars, error) {
	out, err := f.queryAPXS(path)
	if errors.Is(err, errHung) {
		return nil, err // it would not answer the other queries either
	}
	vars, parseErr := apxs.Parse(strings.NewReader(out))
	if err != nil || parseErr != nil {
		vars = apxs.Vars{}
	}
	for _, name := range append(slices.Clone(needed), "EXTRA_INCLUDES", "CPPFLAGS", "EXTRA_CPPFLAGS", "CFLAGS", "EXTRA_CFLAGS", "APR_INCLUDEDIR", "APU_INCLUDEDIR", "PREFIX") {
		if _, ok := vars.Lookup(name); ok {
			continue
		}
		value, err := f.queryAPXS(path, name)
		if errors.Is(err, errHung) {
			return vars, err
		}
		value = strings.TrimSpace(value)
		if slices.Contains(needed, name) {
			if err != nil {
				return vars, err
			}
			if value == "" {
				return vars, fmt.Errorf("%s -q %s printed nothing", path, name)
			}
		}
		if err == nil {
			vars[strings.ToLower(name)] = strings.ReplaceAll(value, "$", "$$")
		}
	}
	return vars, nil
}

func (f *finder) queryAPXS(path string, names ...string) (string, error) {
	ctx, cancel := context.WithTimeout(f.ctx, apxsTimeout)
	defer cancel()
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "HOME"} {
		if v := f.req.env(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	account, why := f.disk.accountFor(path)
	out, err := f.run.Output(ctx, run.Cmd{Argv: append([]string{path, "-q"}, names...), Env: env, Account: account})
	if err == nil {
		return string(out), nil
	}
	err = notAsRoot(err, account, why)
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s does not work: %w", path, errHung)
	}
	var e *run.Error
	if errors.As(err, &e) && len(e.Tail) > 0 {
		return string(out), fmt.Errorf("%s does not work: %s", path, strings.TrimSpace(e.Tail[0]))
	}
	return string(out), fmt.Errorf("%s does not work: %w", path, err)
}

// fromTree inspects a self-contained httpd, whatever its build prefix.
func fromTree(d *Disk, root string) HTTPD {
	h := HTTPD{Root: root}
	source := filepath.Join(root, "build", "config_vars.mk")
	vars, err := d.loadVars(source)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			h.Refused = err.Error()
			return h
		}
		vars, source = conventional(d, root), root
	} else {
		vars.Relocate(root)
	}
	h.read(d, vars, source)
	return h
}

// loadVars reads the variables of a config_vars.mk. A missing one is
// fs.ErrNotExist.
func (d *Disk) loadVars(name string) (apxs.Vars, error) {
	f, err := d.open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	vars, err := apxs.Parse(io.NewSectionReader(f, 0, f.size))
	if err == nil && len(vars) == 0 {
		err = errors.New("it has no variables")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return vars, nil
}

// conventional are the variables of a tree without config_vars.mk: the layout "Apache"
// of httpd's config.layout.
func conventional(d *Disk, root string) apxs.Vars {
	vars := apxs.Vars{"progname": "httpd", "EXTRA_CPPFLAGS": "-DLINUX -D_REENTRANT -D_GNU_SOURCE"}
	if d.windows() {
		vars = apxs.Vars{"progname": "httpd.exe", "EXTRA_CPPFLAGS": "-DWIN32 -D_WINDOWS"}
	}
	for name, choices := range map[string][]string{
		"sbindir": {"bin", "sbin"}, "includedir": {"include/apache2", "include/httpd", "include"},
		"libexecdir": {"modules", "libexec", "libexec/apache2", "lib/apache2/modules", "lib64/httpd/modules", "lib/httpd/modules"},
	} {
		for _, c := range choices {
			dir := filepath.Join(root, filepath.FromSlash(c))
			probe := map[string]string{"includedir": "httpd.h", "sbindir": vars["progname"], "libexecdir": "."}[name]
			if d.exists(filepath.Join(dir, probe)) {
				vars[name] = strings.ReplaceAll(dir, "$", "$$")
				break
			}
		}
	}
	return vars
}

// read fills in the candidate from the variables, which name the paths, and from the
// files there, which contain the facts.
func (h *HTTPD) read(d *Disk, vars apxs.Vars, source string) {
	value := func(name string) string { v, _ := vars.Lookup(name); return v }
	include := value("INCLUDEDIR")
	h.ModulesDir = value("LIBEXECDIR")
	if sbin, prog := value("SBINDIR"), value("PROGNAME"); sbin != "" && prog != "" {
		h.Executable = filepath.Join(sbin, prog)
	}
	h.note("modules_dir", source, h.ModulesDir)
	h.readExecutable(d)
	h.readHeaders(d, vars, include)
	h.readMPMs(d)
	for _, name := range []string{"CPPFLAGS", "EXTRA_CPPFLAGS", "NOTEST_CPPFLAGS"} {
		h.CPPFlags = append(h.CPPFlags, vars.Words(name)...)
	}
	for _, name := range []string{"CFLAGS", "EXTRA_CFLAGS", "NOTEST_CFLAGS"} {
		h.CFlags = append(h.CFlags, vars.Words(name)...)
	}
	for _, dir := range unique(filepath.Dir(h.Executable), value("BINDIR"), filepath.Join(h.Root, "bin")) {
		if path := filepath.Join(dir, "rotatelogs"); h.Rotatelogs == "" && d.isProgram(path) {
			h.Rotatelogs = path
		}
	}
}

// readHeaders reads the versions from the headers, and the include directories.
func (h *HTTPD) readHeaders(d *Disk, vars apxs.Vars, include string) {
	if include == "" {
		return
	}
	release, mmn := filepath.Join(include, "ap_release.h"), filepath.Join(include, "ap_mmn.h")
	if !d.isFile(release) || !d.isFile(filepath.Join(include, "httpd.h")) || !d.isFile(mmn) {
		h.note("include_dirs", include, "refused: httpd.h, ap_release.h or ap_mmn.h is missing")
		return
	}
	h.IncludeDirs = []string{include}
	major, minor, patch := d.define(release, "AP_SERVER_MAJORVERSION_NUMBER"), d.define(release, "AP_SERVER_MINORVERSION_NUMBER"), d.define(release, "AP_SERVER_PATCHLEVEL_NUMBER")
	h.Version, h.dated = fmt.Sprintf("%d.%d.%d", major, minor, patch), min(major, minor, patch) >= 0
	h.MMN, h.MMNMinor = d.define(mmn, "MODULE_MAGIC_NUMBER_MAJOR"), d.define(mmn, "MODULE_MAGIC_NUMBER_MINOR")
	h.note("version", release, h.Version)
	h.note("mmn", mmn, fmt.Sprintf("%d:%d", h.MMN, h.MMNMinor))
	dirs := []string{include}
	for _, name := range []string{"APR_INCLUDEDIR", "APU_INCLUDEDIR"} {
		if dir, _ := vars.Lookup(name); dir != "" {
			dirs = append(dirs, dir)
		}
	}
	for _, word := range vars.Words("EXTRA_INCLUDES") {
		if dir, ok := strings.CutPrefix(word, "-I"); ok && d.isAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, parent := range unique(include, filepath.Dir(include)) {
		dirs = append(dirs, filepath.Join(parent, "apr-1"), filepath.Join(parent, "apr-1.0"), parent)
	}
	h.APRVersion = h.readAPR(d, dirs, "apr", "APR")
	h.APUVersion = h.readAPR(d, dirs, "apu", "APU")
}

// readAPR finds a library's headers in the first directory that has them and returns
// their version, "" if none has.
func (h *HTTPD) readAPR(d *Disk, dirs []string, stem, prefix string) string {
	for _, dir := range dirs {
		name := filepath.Join(dir, stem+"_version.h")
		if !d.isFile(name) || !d.isFile(filepath.Join(dir, stem+".h")) {
			continue
		}
		if !slices.Contains(h.IncludeDirs, dir) {
			h.IncludeDirs = append(h.IncludeDirs, dir)
		}
		version := fmt.Sprintf("%d.%d.%d", d.define(name, prefix+"_MAJOR_VERSION"), d.define(name, prefix+"_MINOR_VERSION"), d.define(name, prefix+"_PATCH_VERSION"))
		h.note(stem+"_version", name, version)
		return version
	}
	return ""
}

// readExecutable reads the CPU, the MMN and the version from the program. Every module
// begins with the MMN that it was compiled with (struct module_struct in
// http_config.h), and core_module is exported.
func (h *HTTPD) readExecutable(d *Disk) {
	if start := d.head(h.Executable, 4); pe.Is(start) || isMachO(start) {
		h.readForeign(d)
		return
	}
	f, err := d.elf(h.Executable)
	if errors.Is(err, elf.ErrNotELF) || errors.Is(err, fs.ErrNotExist) {
		return // a script, text, an empty file: usable reports it
	}
	if err != nil {
		h.program.damaged = err.Error()
		h.note("damaged", h.Executable, err.Error())
		return
	}
	defer func() { _ = f.Close() }()
	facts, err := f.Facts()
	if err != nil {
		h.program.damaged = err.Error()
		h.note("damaged", h.Executable, err.Error())
		return
	}
	h.Machine = facts.Machine
	h.findLibDirs(d, facts)
	h.note("machine", h.Executable, facts.Machine)
	if major, minor, err := f.Uint32Pair("core_module"); err == nil {
		h.program.mmn, h.program.mmnMinor = int(major), int(minor)
		h.note("binary_mmn", h.Executable, fmt.Sprintf("%d:%d", major, minor))
	}
	if data, err := f.ReadOnlyData(); err == nil {
		if all := elf.VersionsIn(data, "Apache/", "2."); len(all) > 0 {
			h.program.version = all[0]
			h.note("binary_version", h.Executable, all[0])
		}
	}
	if h.program.mmn == 0 && h.program.version == "" {
		h.program.other = true
		h.note("not_httpd", h.Executable, "neither core_module nor the name Apache")
	}
	for _, mpm := range []string{"event", "worker", "prefork"} {
		if f.Exports("mpm_" + mpm + "_module") {
			h.MPMs = append(h.MPMs, mpm)
		}
	}
}

// readForeign is readExecutable for Windows and macOS. Windows has one MPM, which is
// built in; the version is in the resources of libhttpd.dll.
func (h *HTTPD) readForeign(d *Disk) {
	machines := d.machines(h.Executable)
	if len(machines) == 0 {
		return
	}
	h.Machine = machines[0]
	h.note("machine", h.Executable, strings.Join(machines, ", "))
	if filepath.Ext(h.Executable) != ".exe" {
		return
	}
	h.MPMs = []string{"winnt"}
	library := filepath.Join(filepath.Dir(h.Executable), "libhttpd.dll")
	if facts, err := d.pe(library); err == nil && facts.Version[0] != 0 {
		h.program.version = fmt.Sprintf("%d.%d.%d", facts.Version[0], facts.Version[1], facts.Version[2])
		h.note("binary_version", library, h.program.version)
	}
}

// findLibDirs lists the directories, except the system's, of libraries that the
// program needs: those on its run path, and the lib directory next to it.
func (h *HTTPD) findLibDirs(d *Disk, facts *elf.Facts) {
	bin := filepath.Dir(d.resolved(h.Executable))
	dirs := expandOrigin(facts.RunPath, bin)
	dirs = append(dirs, filepath.Join(filepath.Dir(bin), "lib"))
	for _, dir := range unique(dirs...) {
		if !d.isAbs(dir) || isSystemLib(dir) {
			continue
		}
		if slices.ContainsFunc(facts.Needed, func(n string) bool { return filepath.Base(n) == n && d.isFile(filepath.Join(dir, n)) }) {
			h.LibDirs = append(h.LibDirs, dir)
		}
	}
}

// isSystemLib reports whether the dynamic loader searches a directory by default.
func isSystemLib(dir string) bool {
	for _, d := range []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"} {
		if dir == d || filepath.Dir(dir) == d && strings.Contains(filepath.Base(dir), "-linux-") {
			return true
		}
	}
	return false
}

// readMPMs adds the loadable multi-processing modules.
func (h *HTTPD) readMPMs(d *Disk) {
	for _, mpm := range []string{"event", "worker", "prefork"} {
		if h.ModulesDir != "" && !slices.Contains(h.MPMs, mpm) && d.isFile(filepath.Join(h.ModulesDir, "mod_mpm_"+mpm+".so")) {
			h.MPMs = append(h.MPMs, mpm)
		}
	}
}

func (h *HTTPD) note(fact, source, value string) {
	h.Evidence = append(h.Evidence, Evidence{fact, source, value})
}

type finder struct {
	ctx   context.Context
	run   *run.Runner
	disk  *Disk
	py    *Python
	req   Request
	found []HTTPD
}

func foreign(prefix string) string {
	return "it belongs to another Python environment, " + prefix
}

func prefixOf(vars apxs.Vars) string {
	for _, name := range []string{"prefix", "exec_prefix"} {
		if v, _ := vars.Lookup(name); v != "" {
			return v
		}
	}
	return ""
}
