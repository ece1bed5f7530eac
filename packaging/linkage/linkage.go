// Package linkage knows what the binaries of a tree require of the system that they
// will run on: which libraries, in which versions, and hence which platforms the tree
// supports. It bundles libraries that some of those systems lack, so that the binaries
// find them, and isolates them from the system libraries that the application may use.
// It does not know what the tree is.
package linkage

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/relocate"
	"modwsgi/packaging"
)

// Options describe the allowed changes to a tree.
type Options struct {
	Bundle bool     // bundle foreign libraries; otherwise they are refused
	Allow  []string // foreign libraries that the target is known to have
	LibDir string   // where libraries are copied to, below the root, with slashes
	Python string   // name of the libpython that the target's Python has; "" if none is needed
	// Unlinked has files that need Python no longer name it: who loads them loads the
	// target's libpython first. That is what PEP 513 demands of wheels, and musl does not
	// find a library by its name that was loaded from a path of its own.
	Unlinked bool
	Machine  string // the required CPU, as uname -m prints it; "" for any single one
	Libc     string // "glibc 2.36", "musl 1.2.4": what it was built with
	// Limit is the oldest C library that the tree must run with: "glibc 2.28". A file that
	// requires more is refused; "" computes what the files require.
	Limit   string
	Targets []string // platform tags of the system with that C library; added to those of the files
	Host    Host
}

// Result describes a tree.
type Result struct {
	Machine  string                // "x86_64"
	Tags     []string              // platform tags of wheels, sorted
	Versions Versions              // requirements on the system's libraries
	System   []string              // libraries of the system that are needed, sorted
	Foreign  []string              // those of Options.Allow that are needed, sorted
	Bundled  []packaging.Component // libraries that were copied in
	Names    map[string]string     // new name of each of them, by the old one
}

const hint = "build it again (modwsgi package does so without --from-env)"

// object is a dynamic ELF file.
type object struct {
	rel   string // with slashes
	facts *elf.Facts
	needs []elf.Need
}

// tree is a tree under inspection.
type tree struct {
	Options
	root    string
	objects []*object
	other   platform // findings in files of other formats
	bundled map[string]*library
	result  *Result
	failed  error // of writing, which does not mean that the tree is unsuitable
}

// library is a bundled library.
type library struct {
	soname, name string // its original name and its new one
	object       *object
}

// Apply inspects the files of a tree and changes it as the options allow. The tree
// must be a copy that may be changed. If the tree cannot be shipped, the error is of
// class Environment and names each file with the reason.
func Apply(scanned *packaging.Tree, o Options) (*Result, error) {
	if o.Host.Root == "" {
		o.Host.Root = "/"
	}
	t := &tree{Options: o, root: scanned.Root, bundled: map[string]*library{}, result: &Result{Machine: o.Machine, Versions: Versions{}, Names: map[string]string{}}}
	if err := t.read(scanned); err != nil {
		return nil, err
	}
	if len(t.objects) == 0 {
		return t.otherPlatform()
	}
	if err := t.resolve(); err != nil {
		return nil, err
	}
	if err := t.rewrite(); err != nil {
		return nil, fault.Wrap(fault.Environment, "leave it out with --bundle none and --allow-foreign, or build without the feature that needs it", err)
	}
	return t.result, t.tags()
}

// problems collects all problems, to report them together.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

func (p problems) err(root, cure string) error {
	if len(p) == 0 {
		return nil
	}
	const most = 10
	text := strings.Join(p[:min(most, len(p))], "; ")
	if n := len(p) - most; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return fault.New(fault.Environment, cure, "%s cannot be packaged: %s", root, text)
}

// read reads the facts of every binary.
func (t *tree) read(scanned *packaging.Tree) error {
	var bad problems
	for _, f := range scanned.Files {
		if f.Link != "" {
			continue
		}
		name := scanned.Source(f)
		if !elf.Is(name) {
			if err := t.other.look(name, f.Path); err != nil {
				bad.add("%s: %v", f.Path, err)
			}
			continue
		}
		o, err := readObject(name, f.Path)
		if err != nil {
			bad.add("%s: %v", f.Path, err)
			continue
		}
		if t.result.Machine == "" {
			t.result.Machine = o.facts.Machine
		}
		if o.facts.Machine != t.result.Machine {
			bad.add("%s is for %s, not for %s", f.Path, o.facts.Machine, t.result.Machine)
			continue
		}
		t.objects = append(t.objects, o)
	}
	return bad.err(t.root, hint)
}

func readObject(name, rel string) (*object, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	o := &object{rel: rel}
	if o.facts, err = f.Facts(); err != nil {
		return nil, err
	}
	o.needs, err = f.VersionNeeds()
	return o, err
}

// system reports whether every Linux system has a library.
func (t *tree) system(name string) bool {
	return slices.Contains(systemLibraries, name) || strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so") ||
		strings.HasPrefix(name, "libc.musl-") || strings.HasPrefix(name, "ld-musl-") || name == "linux-vdso.so.1" ||
		name == muslLibc && strings.HasPrefix(t.Libc, "musl")
}

// resolve finds every required library: in the tree, on every system, with the
// target's Python, or on the host.
func (t *tree) resolve() error {
	var bad problems
	refused := map[string][]string{}
	for _, o := range t.objects {
		t.checkRunPath(o, &bad)
		for _, name := range o.facts.Needed {
			if !t.inTree(o, name) {
				t.need(o, name, refused, &bad)
			}
			if t.failed != nil {
				return t.failed
			}
		}
	}
	for _, name := range slices.Sorted(keys(refused)) {
		bad.add("%s (which %s needs) is missing on some systems", name, strings.Join(few(refused[name]), ", "))
	}
	cure := hint
	if len(refused) > 0 {
		cure = "bundle it with --bundle auto, or pass --allow-foreign " + slices.Sorted(keys(refused))[0] + " if every target has it"
	}
	return bad.err(t.root, cure)
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func few(names []string) []string {
	if len(names) > 3 {
		return append(slices.Clone(names[:3]), "…")
	}
	return names
}

// checkRunPath refuses run paths to directories of the build machine.
func (t *tree) checkRunPath(o *object, bad *problems) {
	for _, element := range o.facts.RunPath {
		dir, ok := t.expand(o, element)
		switch {
		case t.forPython(o):
			// It names the build machine's Python, and will be removed.
		case element == "":
		case !ok:
			bad.add("%s has the absolute run path %s", o.rel, element)
		case dir == ".." || strings.HasPrefix(dir, "../"):
			bad.add("%s has the run path %s, which is outside the tree", o.rel, element)
		}
	}
}

// forPython reports whether a file needs the target's libpython.
func (t *tree) forPython(o *object) bool {
	return t.Python != "" && slices.Contains(o.facts.Needed, t.Python)
}

// expand returns the directory of a run path element below the root.
func (t *tree) expand(o *object, element string) (string, bool) {
	for _, origin := range []string{"$ORIGIN", "${ORIGIN}"} {
		if rest, ok := strings.CutPrefix(element, origin); ok && (rest == "" || rest[0] == '/') {
			return path.Join(path.Dir(o.rel), rest), true
		}
	}
	return "", false
}

// inTree reports whether the loader finds a library in the tree itself.
func (t *tree) inTree(o *object, name string) bool {
	for _, element := range o.facts.RunPath {
		if dir, ok := t.expand(o, element); ok {
			if info, err := os.Stat(filepath.Join(t.root, filepath.FromSlash(dir), name)); err == nil && info.Mode().IsRegular() {
				return true
			}
		}
	}
	return false
}

// need handles a library that is not in the tree.
func (t *tree) need(o *object, name string, refused map[string][]string, bad *problems) {
	r := t.result
	switch {
	case t.system(name):
		r.System = add(r.System, name)
	case name == t.Python:
	case strings.HasPrefix(name, "libpython"):
		bad.add("%s needs %s, which is not this Python's library", o.rel, name)
	case slices.Contains(t.Allow, name):
		r.Foreign = add(r.Foreign, name)
	case !t.Bundle:
		refused[name] = append(refused[name], o.rel)
	case t.bundled[name] != nil:
	default:
		t.take(o, name, refused, bad)
	}
}

func add(all []string, name string) []string {
	if i, found := slices.BinarySearch(all, name); !found {
		all = slices.Insert(all, i, name)
	}
	return all
}

// take copies a library and its own dependencies into the tree.
func (t *tree) take(by *object, name string, refused map[string][]string, bad *problems) {
	host := t.Host.find(name, by.facts.Machine, by.facts.Class)
	if host == "" {
		bad.add("%s needs %s, which is neither in the tree nor on this machine", by.rel, name)
		return
	}
	sum, err := digest.File(host)
	if err != nil {
		bad.add("%s: %v", host, err)
		return
	}
	lib := &library{soname: name, name: tagged(name, sum)}
	rel := path.Join(t.LibDir, lib.name)
	to := filepath.Join(t.root, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.failed = fault.New(fault.Environment, "check that the output directory is writable and its file system has free space", "copy %s: %w", host, err)
		return
	}
	if err := packaging.CopyFile(host, to, 0o755); err != nil {
		var known *fault.Error
		if errors.As(err, &known) {
			t.failed = err // the cause is this machine's disk, not the tree or the library
			return
		}
		bad.add("%s: %v", host, err)
		return
	}
	if lib.object, err = readObject(to, rel); err != nil {
		bad.add("%s: %v", host, err)
		return
	}
	t.bundled[name] = lib
	t.result.Names[name] = lib.name
	t.result.Bundled = append(t.result.Bundled, t.Host.describe(host, name, sum))
	for _, needed := range lib.object.facts.Needed {
		if t.failed != nil {
			return
		}
		t.need(lib.object, needed, refused, bad)
	}
}

// tagged returns the new name of a bundled library. It is unique, as two wheels may
// bundle two states of one library.
func tagged(soname, sum string) string {
	stem, rest, ok := strings.Cut(soname, ".so")
	if !ok {
		return soname + "-" + sum[:8]
	}
	return stem + "-" + sum[:8] + ".so" + rest
}

// symbolPrefix separates the symbols of bundled libraries from those of the system's.
// httpd loads modules so that the whole process sees their symbols, and an
// application's own libssl must not resolve to the bundled one.
const symbolPrefix = "modwsgi_"

// rewrite makes the tree's files load the bundled libraries by their new names, and
// removes the run path to the build machine's Python.
func (t *tree) rewrite() error {
	defined := map[string]string{} // name -> library
	for _, soname := range slices.Sorted(keys(t.bundled)) {
		names, err := t.with(t.bundled[soname].object, (*elf.File).Defined)
		if err != nil {
			return err
		}
		for _, n := range names {
			defined[n] = soname
		}
	}
	all := slices.Clone(t.objects)
	for _, soname := range slices.Sorted(keys(t.bundled)) {
		all = append(all, t.bundled[soname].object)
	}
	for _, o := range all {
		if err := t.rewriteObject(o, defined); err != nil {
			return err
		}
	}
	return nil
}

// with opens an object and passes it to a function.
func (t *tree) with(o *object, ask func(*elf.File) ([]string, error)) ([]string, error) {
	f, err := elf.Open(filepath.Join(t.root, filepath.FromSlash(o.rel)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return ask(f)
}

func (t *tree) rewriteObject(o *object, defined map[string]string) error {
	var own *library
	for _, lib := range t.bundled {
		if lib.object == o {
			own = lib
		}
	}
	e := relocate.Edit{Needed: map[string]string{}, Symbols: map[string]bool{}, Prefix: symbolPrefix}
	for _, name := range o.facts.Needed {
		if lib := t.bundled[name]; lib != nil && !t.inTree(o, name) {
			e.Needed[name] = lib.name
		}
	}
	if t.Unlinked && t.forPython(o) && o.facts.Class == 64 { // others cannot be rewritten
		e.Drop = t.Python
	}
	if own == nil && len(e.Needed) == 0 && e.Drop == "" && !(t.forPython(o) && len(o.facts.RunPath) > 0) {
		return nil
	}
	// What it requires of a bundled library, and symbols of the same name that it
	// defines itself (a copied variable, in a program).
	_, err := t.with(o, func(f *elf.File) ([]string, error) {
		imports, err := f.Imports()
		for _, i := range imports {
			if lib, ok := defined[i.Name]; ok && (i.Library == "" || i.Library == lib) {
				e.Symbols[i.Name] = true
			}
		}
		if err != nil {
			return nil, err
		}
		names, err := f.Defined()
		for _, n := range names {
			if _, ok := defined[n]; ok {
				e.Symbols[n] = true
			}
		}
		return nil, err
	})
	if err != nil {
		return err
	}
	e.RunPath = t.runPath(o, own != nil, len(e.Needed) > 0)
	if own != nil {
		e.Soname = own.name
	}
	return relocate.Rewrite(filepath.Join(t.root, filepath.FromSlash(o.rel)), e)
}

// runPath is the new run path of a file, nil to keep the present one.
func (t *tree) runPath(o *object, copied, needs bool) *string {
	var elements []string
	if !copied {
		for _, e := range o.facts.RunPath {
			if dir, ok := t.expand(o, e); ok && dir != ".." && !strings.HasPrefix(dir, "../") {
				elements = append(elements, e)
			}
		}
	}
	if needs || copied {
		rel, err := filepath.Rel(filepath.FromSlash(path.Dir(o.rel)), filepath.FromSlash(t.LibDir))
		if err == nil {
			element := strings.TrimSuffix("$ORIGIN/"+filepath.ToSlash(rel), "/.")
			found := slices.ContainsFunc(elements, func(e string) bool {
				dir, ok := t.expand(o, e)
				return ok && dir == path.Clean(t.LibDir)
			})
			if !found {
				elements = append(elements, element)
			}
		}
	}
	value := strings.Join(elements, ":")
	if value == strings.Join(o.facts.RunPath, ":") {
		return nil
	}
	return &value
}

// tags computes the platform tags.
func (t *tree) tags() error {
	r := t.result
	musl := false
	var bad problems
	objects := slices.Clone(t.objects)
	for _, lib := range t.bundled {
		objects = append(objects, lib.object)
	}
	for _, o := range objects {
		musl = musl || o.musl()
		t.checkLimit(o, &bad)
		if err := r.Versions.ask(o.needs, t.system); err != nil {
			bad.add("%s %v", o.rel, err)
		}
	}
	if err := bad.err(t.root, cmp.Or(limitHint(t.Limit), hint)); err != nil {
		return err
	}
	sort.SliceStable(r.Bundled, func(i, j int) bool { return r.Bundled[i].File < r.Bundled[j].File })
	var err error
	switch {
	case len(r.Foreign) > 0:
		r.Tags = []string{"linux_" + r.Machine} // for systems like this one, not for an index
	case musl:
		r.Tags, err = musllinux(t.Libc, r.Machine)
	default:
		r.Tags, err = t.manylinux()
	}
	if err != nil {
		return fault.New(fault.Environment, fault.HintOr(err, hint), "%s: compute the platform: %w", t.root, err)
	}
	return t.claim()
}
