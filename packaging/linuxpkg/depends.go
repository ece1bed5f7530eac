package linuxpkg

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/target"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
)

// requirement is what the files of a tree require of one library that is not among them.
type requirement struct {
	by       string // the first file that needs it
	machine  string
	class    int
	versions []string // symbol versions, sorted
	imports  []elf.Import
	found    place // the library on the host
}

// libraries collects what a tree requires of the system. Package linkage has checked
// that the tree can be packaged at all.
func libraries(tree *packaging.Tree, r *linkage.Result, python string) (map[string]*requirement, error) {
	outside := slices.Concat(r.System, r.Foreign)
	if python != "" {
		outside = append(outside, python)
	}
	all := map[string]*requirement{}
	for _, file := range tree.Files {
		name := tree.Source(file)
		if file.Link != "" || !elf.Is(name) {
			continue
		}
		if err := ask(all, name, file.Path, outside); err != nil {
			return nil, fmt.Errorf("read what %s needs: %w", file.Path, err)
		}
	}
	return all, nil
}

func ask(all map[string]*requirement, name, rel string, outside []string) error {
	f, err := elf.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	facts, err := f.Facts()
	if err != nil {
		return err
	}
	needs, err := f.VersionNeeds()
	if err != nil {
		return err
	}
	imports, err := f.Imports()
	if err != nil {
		return err
	}
	for _, soname := range facts.Needed {
		if !slices.Contains(outside, soname) {
			continue
		}
		a := all[soname]
		if a == nil {
			a = &requirement{by: rel, machine: facts.Machine, class: facts.Class}
			all[soname] = a
		}
		a.imports = append(a.imports, imports...)
		for _, n := range needs {
			if n.Library == soname {
				a.versions = append(a.versions, n.Versions...)
			}
		}
		slices.Sort(a.versions)
		a.versions = slices.Compact(a.versions)
	}
	return nil
}

// relation matches a dependency that a user passes, by format: Debian Policy 7.1,
// RPM's manual on dependencies, apk-world(5).
var relation = map[Format]*regexp.Regexp{
	Deb: regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?( \((<<|<=|=|>=|>>) [A-Za-z0-9.+~:-]+\))?( \| [a-z0-9][a-z0-9+.-]+( \((<<|<=|=|>=|>>) [A-Za-z0-9.+~:-]+\))?)*$`),
	RPM: regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9._+/()-]*( (<|<=|=|>=|>) [A-Za-z0-9._+~^:-]+)?$`),
	APK: regexp.MustCompile(`^!?[A-Za-z0-9][A-Za-z0-9.+_:-]*([<>=~]+[0-9][A-Za-z0-9._-]*)?$`),
}

// given sorts the values of --depends into those for a library and all others.
func (o *Options) given() (bySoname map[string]string, more []string, err error) {
	bySoname = map[string]string{}
	for _, text := range o.Depends {
		soname, dep, mapped := strings.Cut(text, "=")
		if mapped = mapped && strings.Contains(soname, ".so") && !strings.ContainsAny(soname, " <>(:"); !mapped {
			soname, dep = "", text
		}
		if !relation[o.Format].MatchString(dep) {
			example := map[Format]string{Deb: "libfoo1 (>= 1.2)", RPM: "libfoo >= 1.2", APK: "libfoo>=1.2"}[o.Format]
			return nil, nil, fault.New(fault.Usage, "write it as in --depends \""+example+"\", or --depends \"libfoo.so.1="+example+"\" for the package with a library",
				"--depends %q is not a valid dependency of a %s package", text, o.Format)
		}
		if mapped {
			bySoname[soname] = dep
		} else {
			more = append(more, dep)
		}
	}
	return bySoname, more, nil
}

// depend computes the dependencies on libraries, and adds the user's.
func (w *work) depend(all map[string]*requirement) ([]string, error) {
	bySoname, more, err := w.options.given()
	if err != nil {
		return nil, err
	}
	for soname := range bySoname {
		if all[soname] == nil {
			w.warnings = append(w.warnings, "--depends "+soname+"=…: nothing in the package needs that library")
		}
	}
	var deps []string
	rest := map[string]*requirement{}
	for soname, a := range all {
		if dep, ok := bySoname[soname]; ok {
			deps = append(deps, dep)
		} else if !slices.Contains(w.options.Allow, soname) {
			rest[soname] = a
		}
	}
	if err := w.find(rest); err != nil {
		return nil, err
	}
	var computed []string
	switch w.options.Format {
	case Deb:
		computed, err = w.debDepends(rest)
	case RPM:
		computed = rpmDepends(rest)
	case APK:
		computed = apkDepends(rest, w.linkage.Machine)
	}
	if err != nil {
		return nil, err
	}
	deps = slices.Concat(deps, computed, more)
	slices.Sort(deps)
	return slices.Compact(deps), nil
}

// find looks for the libraries on the host, which the tree was built with: a library
// that is missing there is unknown everywhere.
func (w *work) find(all map[string]*requirement) error {
	var missing []string
	for _, soname := range slices.Sorted(maps.Keys(all)) {
		a := all[soname]
		a.found = w.options.Host.find(soname, a.machine, a.class)
		if soname == w.soname && a.found.path == "" {
			a.found = w.libPython()
		}
		if a.found.path == "" {
			missing = append(missing, fmt.Sprintf("%s (which %s needs)", soname, a.by))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	soname, _, _ := strings.Cut(missing[0], " ")
	install, here := "install the package that contains it", "on this machine"
	if w.options.For != nil {
		install, here = "add the package that contains it with --sysroot-package", "in the sysroot"
	}
	return fault.New(fault.Environment, install+", or name that package with --depends "+soname+"=PACKAGE",
		"the package cannot be made: %s: neither in the tree nor %s", strings.Join(missing, ", "), here)
}

// debDepends looks up the packages of the libraries in dpkg's records.
func (w *work) debDepends(all map[string]*requirement) ([]string, error) {
	stdlib := place{w.options.Host.pythonRoot(), stdlibFile(w.python().BasePrefix, w.stage.Module.Python)}
	files := []place{stdlib}
	for _, a := range all {
		files = append(files, a.found)
	}
	hosts, err := recordsOf(files)
	if err != nil {
		return nil, err
	}
	least, extra := map[string]string{}, []string(nil)
	var unknown []string
	for _, soname := range slices.Sorted(maps.Keys(all)) {
		a := all[soname]
		needs, more, err := hosts[a.found.root].library(soname, a.found.path, a.imports, a.versions)
		if err != nil {
			return nil, fmt.Errorf("read the records of dpkg about %s: %w", soname, err)
		}
		if len(needs) == 0 && more == "" {
			unknown = append(unknown, fmt.Sprintf("%s (%s, which %s needs)", soname, a.found.path, a.by))
		}
		for _, n := range needs {
			if old, ok := least[n.pkg]; !ok || compareDebian(n.version, old) > 0 {
				least[n.pkg] = n.version
			}
		}
		if more != "" {
			extra = append(extra, more)
		}
	}
	if len(unknown) > 0 {
		if _, err := os.Stat(filepath.Join(w.options.Host.Root, "var/lib/dpkg/status")); err != nil {
			return nil, w.noRecords(slices.Sorted(maps.Keys(all)))
		}
		soname, _, _ := strings.Cut(unknown[0], " ")
		return nil, fault.New(fault.Environment, "name its package, as in --depends "+soname+"=PACKAGE, or pass --allow-foreign "+soname+" if every target has it",
			"no known Debian package contains %s", strings.Join(unknown, ", "))
	}
	if pkg := hosts[stdlib.root].owner[stdlib.path]; pkg != "" {
		if _, ok := least[nameOf(pkg)]; !ok {
			least[nameOf(pkg)] = ""
		}
	} else if err := w.unpackagedPython(); err != nil {
		return nil, err
	}
	for pkg, version := range least {
		if version != "" {
			pkg += " (>= " + version + ")"
		}
		extra = append(extra, pkg)
	}
	return extra, nil
}

// noRecords is the error for a host without dpkg's records.
func (w *work) noRecords(libraries []string) error {
	if w.options.For != nil {
		return NoRecords(w.options.Host.Root)
	}
	return fault.New(fault.Environment, "make deb packages on the Debian, Ubuntu or derivative that they are for, or name that system with --target; modwsgi package rpm and apk need no records, and a wheel bundles its libraries",
		"this machine has no dpkg records, which would name the Debian packages of the required libraries: %s", strings.Join(libraries, ", "))
}

// NoRecords is the error for a sysroot without dpkg's records.
func NoRecords(root string) error {
	return fault.New(fault.Environment, "name the directory of a whole Debian, Ubuntu or derivative (with var/lib/dpkg), or leave the sysroot out: modwsgi then makes one from Debian's packages",
		"the sysroot %s has no dpkg records, which would name the Debian packages of the required libraries", root)
}

// rpmDepends are the dependencies that rpm's generator would write (elfdeps), which
// rpm matches with what packages provide.
func rpmDepends(all map[string]*requirement) []string {
	deps := []string{"rtld(GNU_HASH)"}
	for soname, a := range all {
		mark, none := "", ""
		if a.class == 64 {
			mark, none = "(64bit)", "()(64bit)"
		}
		if strings.HasPrefix(soname, "ld-linux") || strings.HasPrefix(soname, "ld64.so") {
			continue // every system with the C library has it
		}
		deps = append(deps, soname+none)
		for _, v := range a.versions {
			deps = append(deps, soname+"("+v+")"+mark)
		}
	}
	return deps
}

// apkDepends are the dependencies that abuild would write. Alpine's musl has another name, and
// its loader also finds itself by that of other distributions.
func apkDepends(all map[string]*requirement, machine string) []string {
	var deps []string
	for soname := range all {
		if soname == "libc.so" {
			soname = target.MuslNameOf(machine)
		}
		deps = append(deps, "so:"+soname)
	}
	return deps
}
