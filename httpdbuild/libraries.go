package httpdbuild

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
	"modwsgi/internal/steps"
)

// Libraries decides where the libraries of features come from.
type Libraries string

// The values of --libraries.
const (
	// Auto links a library of the host if the compiler and the linker find it, and builds
	// it from source otherwise.
	Auto Libraries = "auto"
	// FromHost links libraries of the host only. A default feature whose library is
	// missing is left out, and a requested one is refused.
	FromHost Libraries = "host"
	// FromSource builds every library from its source archive.
	FromSource Libraries = "bundled"
)

// ParseLibraries parses the value of --libraries; "" is Auto. Its errors are of class
// Usage.
func ParseLibraries(name string) (Libraries, error) {
	switch l := Libraries(name); l {
	case "":
		return Auto, nil
	case Auto, FromHost, FromSource:
		return l, nil
	}
	return "", fault.New(fault.Usage, "use auto, host or bundled", "unknown value %q of --libraries", name)
}

// replacement is a component that replaces a library of the host.
type replacement struct {
	component string
	feature   string   // the feature that links it; "" if every build does
	option    string   // the option of httpd's configure that names its directory
	archives  []string // static libraries, which modules then contain
	shared    []string // shared libraries in the tree, without ".so" and what follows
}

// variant is the part of a shared library's name, and of its symbol versions, that
// keeps it apart from the host's: the Python of a request loads into the same process,
// and may bring the host's library of the same name (docs/decisions/0009).
const variant = "-modwsgi"

// libraries is the table of libraries that can be built from source.
var libraries = []replacement{
	{component: "openssl", feature: "tls", option: "--with-ssl=", shared: []string{"libcrypto" + variant, "libssl" + variant}},
	{component: "nghttp2", feature: "http2", option: "--with-nghttp2=", archives: []string{"libnghttp2.a"}},
	{component: "zlib", feature: "deflate", option: "--with-z=", archives: []string{"libz.a"}},
	{component: "brotli", feature: "brotli", option: "--with-brotli=", archives: []string{"libbrotlienc.a", "libbrotlicommon.a"}},
	{component: "libxml2", feature: "xml", option: "--with-libxml2=", archives: []string{"libxml2.a"}},
	{component: crypt, shared: []string{"libcrypt" + variant}},
	{component: "expat", archives: []string{"libexpat.a"}},
}

// crypt is the component that replaces the host's library crypt.
const crypt = "libxcrypt"

// Sources returns the names of the components that only some builds need: those that
// replace a library of the host.
func Sources() []string {
	var names []string
	for _, l := range libraries {
		names = append(names, l.component)
	}
	return names
}

// LibraryOf returns the component that replaces the library of a feature.
func LibraryOf(feature string) string {
	for _, l := range libraries {
		if l.feature == feature && feature != "" {
			return l.component
		}
	}
	return ""
}

// FeatureOf returns the feature that needs a component; "" if every build does.
func FeatureOf(component string) string {
	for _, l := range libraries {
		if l.component == component {
			return l.feature
		}
	}
	return ""
}

// Replaced describes the host's library that a component replaces, and the packages
// that contain its headers; nil for Expat, which few hosts have headers of.
func Replaced(component string) (about string, packages distro.Packages) {
	if component == crypt {
		return "the library crypt", distro.Crypt
	}
	if f, ok := feature(FeatureOf(component)); ok {
		return component + ", for " + f.About + ",", f.Package
	}
	return component, nil
}

// Wanted reports whether a feature is to be built on a host that can build all of them.
func Wanted(name string, with, without []string) bool {
	f, ok := feature(name)
	return ok && !slices.Contains(without, name) && (f.Default || slices.Contains(with, name))
}

// Selection is what a build consists of.
type Selection struct {
	Features []string // sorted
	// Libraries are the components that replace libraries of the host, sorted.
	Libraries []string
	// Notes explain to users what they may not expect: a default feature that is left
	// out, a library that takes long to build.
	Notes []string
}

// Select decides which features to build on a host, and which of their libraries to
// build from source. Requested features must be possible. Its errors are of class
// Environment, or Usage for an unknown name.
func (h *Host) Select(with, without []string, from Libraries) (*Selection, error) {
	if err := CheckNames(with, without); err != nil {
		return nil, err
	}
	if from == FromSource && !h.fromSource() {
		return nil, fault.New(fault.Environment, "use --libraries auto or host", "libraries can be built from source only for Linux, not for %s", h.Target)
	}
	s := &Selection{}
	var lacking []Feature
	for _, f := range features {
		asked := slices.Contains(with, f.Name)
		switch {
		case slices.Contains(without, f.Name) || !asked && !f.Default:
		case from != FromSource && h.Has[f.Name]:
			s.Features = append(s.Features, f.Name)
		case from != FromHost && h.fromSource():
			s.Features = append(s.Features, f.Name)
			s.Libraries = append(s.Libraries, LibraryOf(f.Name))
		case asked:
			lacking = append(lacking, f)
		default:
			s.Notes = append(s.Notes, h.Install("httpd is built without "+f.Name+": the compiler does not find "+strings.Join(f.Headers, ", ")+";", f.Package, ""))
		}
	}
	if err := cannotBuild(h.Toolchain, lacking, "the compiler does not find %[2]s or the linker does not find %[3]s"); err != nil {
		return nil, err
	}
	if !h.Expat || from == FromSource {
		s.Libraries = append(s.Libraries, "expat")
	}
	if h.buildsCrypt(from) {
		s.Libraries = append(s.Libraries, crypt)
	}
	slices.Sort(s.Features)
	slices.Sort(s.Libraries)
	return s, h.checkPerl(s, slices.Contains(with, "tls"))
}

// fromSource reports whether libraries of features can be built for the compiler's
// target: what they are linked with is specific to ELF and the C libraries of Linux.
func (h *Host) fromSource() bool { return strings.Contains(h.Target, "linux") }

// buildsCrypt reports whether the library crypt is built from source. C libraries
// other than glibc contain it.
func (h *Host) buildsCrypt(from Libraries) bool {
	missing := slices.ContainsFunc(h.Missing, func(m Missing) bool { return m.What == cryptNeed })
	return h.fromSource() && (from == Auto && missing || from == FromSource && (missing || strings.HasPrefix(h.Libc, "glibc")))
}

// LackCrypt makes a library crypt that was found count as missing.
func (h *Host) LackCrypt() {
	if !slices.ContainsFunc(h.Missing, func(m Missing) bool { return m.What == cryptNeed }) {
		h.Missing = append(h.Missing, Missing{cryptNeed, false, distro.Crypt})
	}
}

// checkPerl refuses to build OpenSSL on a host without Perl, before anything is
// fetched: OpenSSL's Configure is a Perl program, and half of its headers are generated
// by others. It also notes how long this library takes.
func (h *Host) checkPerl(s *Selection, asked bool) error {
	if !slices.Contains(s.Libraries, "openssl") {
		return nil
	}
	f, _ := feature("tls")
	if h.Perl == "" {
		more := "or leave out TLS with --without tls"
		if asked {
			more = "or leave out --with tls"
		}
		return h.Needing(fault.New(fault.Environment,
			h.Install("to link the OpenSSL of "+h.system()+",", f.Package, "")+"; "+h.InstallHere("to build it from source,", distro.Perl, more),
			"TLS needs OpenSSL: %s has no headers of it, and building it from source needs Perl 5.10, which was not found", h.system()), f.Package)
	}
	s.Notes = append(s.Notes, h.Install("OpenSSL is built from source, which takes several times as long as the rest of the build; to link that of "+h.system()+" instead,", f.Package, ""))
	return nil
}

// system names what has the libraries that httpd is linked with.
func (h *Host) system() string {
	if h.Root != "" {
		return "the sysroot"
	}
	return "this host"
}

// replaced reports whether a component of the build replaces the library of a feature,
// or "expat".
func (q *Request) replaced(feature string) bool {
	name := LibraryOf(feature)
	if feature == "expat" {
		name = feature
	}
	return name != "" && q.component(name) != nil
}

// bundled lists the rows of the table that are in this build.
func (b *builder) bundled() []replacement {
	var all []replacement
	for _, l := range libraries {
		if b.component(l.component) != nil {
			all = append(all, l)
		}
	}
	return all
}

// stepsOf are the steps that make a library. The last one leaves headers and libraries
// in deps.
func (b *builder) stepsOf(l replacement) []steps.Step {
	compile := map[string]func(context.Context, *steps.Log) error{
		"openssl": b.compileOpenSSL, "nghttp2": b.static(nghttp2), "zlib": b.static(zlib), "brotli": b.static(brotliCommon, brotliEncoder), "libxml2": b.static(libxml2),
		crypt: b.compileLibxcrypt, "expat": b.compileExpat,
	}[l.component]
	step := steps.Step{Name: compileStep(l), Needs: []string{"unpack " + l.component}, Run: compile}
	if l.component != "openssl" {
		return []steps.Step{step}
	}
	step.Needs = []string{"configure openssl"}
	return []steps.Step{{Name: "configure openssl", Needs: []string{"unpack openssl"}, Run: b.configureOpenSSL}, step}
}

// compileStep is the step after which the library can be linked.
func compileStep(l replacement) string { return "compile " + l.component }

// librarySteps make the libraries. Whatever links one of them waits for it.
func (b *builder) librarySteps(all []steps.Step) []steps.Step {
	for _, l := range b.bundled() {
		switch l.component {
		case "expat":
			waits(all, "configure apr-util", compileStep(l))
		case crypt:
			waits(all, "configure apr", compileStep(l))
			waits(all, askStep, compileStep(l))
		default:
			waits(all, "configure httpd", compileStep(l))
		}
	}
	for _, l := range b.bundled() {
		all = append(all, b.stepsOf(l)...)
	}
	return all
}

// httpdLibraries are the arguments that make httpd's configure find the libraries of
// this build, and keep static ones out of the modules' interfaces.
func (b *builder) httpdLibraries() (args, linker []string) {
	var hidden []string
	for _, l := range b.bundled() {
		if l.option != "" {
			args = append(args, l.option+b.deps())
		}
		if l.feature != "" {
			hidden = append(hidden, l.archives...)
		}
	}
	return args, hide(hidden)
}

// hide are the linker's options that keep static libraries out of an interface.
func hide(archives []string) []string {
	if len(archives) == 0 {
		return nil
	}
	return []string{"-Wl,--exclude-libs," + strings.Join(archives, ":")}
}

// cryptFlags are the arguments that make the configure scripts of APR and APR-util find
// the library crypt of this build.
func (b *builder) cryptFlags() (flags []string, linker []string) {
	if b.component(crypt) == nil {
		return nil, nil
	}
	return []string{"CPPFLAGS=-I" + b.deps() + "/include"}, []string{"-L" + b.deps() + "/lib"}
}

// pkgConfig writes a description for pkg-config, which some configure scripts prefer to
// a directory: without it they would take the host's.
func (b *builder) pkgConfig(name, version, libs string) error {
	return writeFile(b.deps()+"/lib/pkgconfig/"+name+".pc", fmt.Appendf(nil,
		"Name: %s\nDescription: built for httpd\nVersion: %s\nLibs: -L%s/lib %s\nCflags: -I%s/include\n", name, version, b.deps(), libs, b.deps()), 0o644)
}
