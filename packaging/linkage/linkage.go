// Package linkage knows what the binaries of a tree need of the system that they
// will run on: which libraries and in which versions, hence for which platforms
// the tree is. It copies libraries that not every such system has into the tree,
// so that they are found there, and keeps them apart from those of the system
// which the application may use. It does not know what the tree is.
package linkage

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/relocate"
	"modwsgi/packaging"
)

// Options say what may be done about a tree.
type Options struct {
	Bundle  bool     // copy foreign libraries in; without it they are refused
	Allow   []string // foreign libraries that the target is known to have
	LibDir  string   // where libraries are copied to, below the root, with slashes
	Python  string   // name of the libpython that the target's Python has; "" where none is needed
	Machine string   // the CPU that it must be for, as uname -m says it; "" for any, but one
	Libc    string   // "glibc 2.36", "musl 1.2.4": what was built with
	Host    Host
}

// Result is what is known of a tree.
type Result struct {
	Machine  string                // "x86_64"
	Tags     []string              // platform tags of wheels, sorted
	Versions Versions              // what is asked of the system's libraries
	System   []string              // libraries of the system that are needed, sorted
	Foreign  []string              // those of Options.Allow that are needed, sorted
	Bundled  []packaging.Component // libraries that were copied in
	Names    map[string]string     // new name of each of them, by the old one
}

const hint = "build it again (modwsgi package builds what it packages when it is not told --from-env)"

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
	other   platform // what the files of other formats say
	bundled map[string]*library
	result  *Result
	failed  error // of writing, which says nothing about the tree
}

// library is one that is copied in.
type library struct {
	soname, name string // as it is asked for, and its new name
	object       *object
}

// Apply inspects the files of a tree and changes it as the options say; the tree
// must be a copy that may be changed. What cannot be shipped is an error of class
// Environment that names each file and the reason.
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

// problems collects what is wrong, to tell all of it at once.
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

// read takes the facts of every binary.
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

// system says whether every Linux system has a library.
func (t *tree) system(name string) bool {
	return slices.Contains(systemLibraries, name) || strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so") ||
		strings.HasPrefix(name, "libc.musl-") || strings.HasPrefix(name, "ld-musl-") || name == "linux-vdso.so.1"
}

// resolve finds every needed library: in the tree, on every system, with the
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
		bad.add("%s (which %s needs) is not on every system", name, strings.Join(few(refused[name]), ", "))
	}
	cure := hint
	if len(refused) > 0 {
		cure = "take it along with --bundle auto, or give --allow-foreign " + slices.Sorted(keys(refused))[0] + " where every target has it"
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

// checkRunPath refuses directories of the build machine.
func (t *tree) checkRunPath(o *object, bad *problems) {
	for _, element := range o.facts.RunPath {
		dir, ok := t.expand(o, element)
		switch {
		case t.forPython(o):
			// It says where the build machine's Python is, and goes away.
		case element == "":
		case !ok:
			bad.add("%s has the absolute run path %s", o.rel, element)
		case dir == ".." || strings.HasPrefix(dir, "../"):
			bad.add("%s has the run path %s, which leads out of the tree", o.rel, element)
		}
	}
}

// forPython says whether a file needs the target's libpython.
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

// inTree says whether the loader finds a library in the tree itself.
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

// need decides about a library that is not in the tree.
func (t *tree) need(o *object, name string, refused map[string][]string, bad *problems) {
	r := t.result
	switch {
	case t.system(name):
		r.System = add(r.System, name)
	case name == t.Python:
	case strings.HasPrefix(name, "libpython"):
		bad.add("%s needs %s, which is not the library of this Python", o.rel, name)
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

// take copies a library and what it needs itself into the tree.
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
		t.failed = fault.New(fault.Environment, "see that the output directory is writable and its file system has room", "copy %s: %w", host, err)
		return
	}
	if err := packaging.CopyFile(host, to, 0o755); err != nil {
		var known *fault.Error
		if errors.As(err, &known) {
			t.failed = err // this machine's disk, and neither the tree nor the library
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

// tagged is the name of a copied library: two wheels may carry two states of one.
func tagged(soname, sum string) string {
	stem, rest, ok := strings.Cut(soname, ".so")
	if !ok {
		return soname + "-" + sum[:8]
	}
	return stem + "-" + sum[:8] + ".so" + rest
}

// symbolPrefix keeps the names of copied libraries apart from those of the
// system's: httpd loads its modules so that everything in the process sees what
// they bring, and an application's own libssl must not be answered by ours.
const symbolPrefix = "modwsgi_"

// rewrite makes the tree's files ask for the copied libraries by their new names,
// and takes away the run path to the build machine's Python.
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

// with opens an object for a question.
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
	if own == nil && len(e.Needed) == 0 && !(t.forPython(o) && len(o.facts.RunPath) > 0) {
		return nil
	}
	// What it asks of a copied library, and what it defines of the same name (a
	// copy of a variable, in a program).
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

// runPath is the new run path of a file, nil where the present one does.
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
		musl = musl || strings.Contains(o.facts.Interp, "ld-musl-") ||
			slices.ContainsFunc(o.facts.Needed, func(n string) bool { return strings.HasPrefix(n, "libc.musl-") })
		if err := r.Versions.ask(o.needs, t.system); err != nil {
			bad.add("%s %v", o.rel, err)
		}
	}
	if err := bad.err(t.root, hint); err != nil {
		return err
	}
	slices.SortFunc(r.Bundled, func(a, b packaging.Component) int { return strings.Compare(a.File, b.File) })
	var err error
	switch {
	case len(r.Foreign) > 0:
		r.Tags = []string{"linux_" + r.Machine} // for systems like this one, and for no index
	case musl:
		r.Tags, err = musllinux(t.Libc, r.Machine)
	default:
		r.Tags, err = r.Versions.manylinux(r.Machine)
	}
	if err != nil {
		return fault.New(fault.Environment, hint, "%s: compute the platform: %w", t.root, err)
	}
	return nil
}
