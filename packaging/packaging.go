// Package packaging turns a finished build into release artifacts. It is the core that
// all formats share. Each format is a package below it (packaging/wheel and others
// that write installable files).
//
// packaging/produce runs the pipeline:
//
//	open    Open begins a transaction over the output directory
//	stage   a build becomes a Stage: two directories (site, bin) and their description
//	write   formats write their files through a Dist, and add an Artifact for each
//	finish  packaging/release adds SBOM, provenance, index, sums and signatures
//	commit  Dist.Commit: everything appears in the output directory, or nothing does
//
// A format writes only to files that Dist.Create returns, sets every time to
// Stage.Time, sorts what it writes, and produces the same bytes for the same Stage:
//
//	func Write(ctx context.Context, d *packaging.Dist, s *packaging.Stage, o Options) (*packaging.Artifact, []string, error)
//
// Scan refuses trees that must not be packaged, and packaging/linkage finds the
// libraries that binaries need, with their versions.
//
// The package accepts any staged tree. It does not know how one is built, knows no
// installer, and never touches a Python environment.
package packaging

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// Stage is a finished build to package: its files laid out as in a Python environment,
// with their description and their inputs. Formats never change it. A format that has
// to change files (run paths, libraries) copies the tree first (CopyTree).
type Stage struct {
	Site   string    // counterpart of site-packages
	Bin    string    // directory of programs: mod_wsgi-express, mod_wsgi-apxs
	HTTPD  *HTTPD    // nil if the stage has no httpd
	Module *Module   // nil if the stage has no module
	Time   time.Time // of every entry of every artifact; whole seconds, UTC
	Tool   string    // version of the program that built it
	Debug  []Debug   // debugging information that was separated; none without --debug-symbols
}

// Debug is the debugging information of one binary of a stage.
type Debug struct {
	ID   string // build identifier, in hexadecimal digits
	Of   string // the binary, below Stage.Site, with slashes
	File string // path on this machine
	Path string // below the root of a system, with slashes: "usr/lib/debug/.build-id/…"
}

// HTTPD is a relocatable httpd in a stage.
type HTTPD struct {
	Dir        string // below Stage.Site, with slashes: "mod_wsgi_packages/httpd"
	Package    string // the top-level package that contains it, below Stage.Site: "mod_wsgi_packages"
	Version    string
	Features   []string
	Key        string   // hash of all its inputs
	Compiler   string   // for messages
	Libc       string   // for messages
	Flags      []string // of the compiler, for messages
	Components []Component
}

// Module is a mod_wsgi for one Python and one httpd in a stage.
type Module struct {
	Package    string // below Stage.Site: "mod_wsgi"
	File       string // below Stage.Site, with slashes: "mod_wsgi/server/mod_wsgi-py311….so"
	Receipt    string // below Stage.Site, with slashes: "mod_wsgi/server/build.json"
	Version    string
	Key        string // hash of all its inputs
	Python     Python
	HTTPD      string // version of the httpd that it was built for
	Bundled    bool   // that httpd is Stage.HTTPD, or in a separate distribution
	Components []Component
}

// Python is the interpreter that a module is for.
type Python struct {
	Version      string // "3.11.7"
	Tag          string // "cp311"
	ABI          string // "cp311", "cp313t"
	SOABI        string // "cpython-311-x86_64-linux-gnu"
	Platform     string // sysconfig.get_platform(): "linux-x86_64"
	LibPython    string // the library that the module was linked to
	Shared       bool   // LibPython is a shared library, which the target must also have
	FreeThreaded bool
}

// MinorVersion is "3.11" for "3.11.7".
func (p Python) MinorVersion() string {
	parts := strings.SplitN(p.Version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// Kinds of components.
const (
	FromSource  = "source"  // built from an archive; SHA256 is the archive's
	FromHost    = "library" // copied from the build host; SHA256 is that of the file there
	FromModules = "gomod"   // linked into one of our programs; SHA256 is empty, Sum is Go's
	OfPython    = "python"  // the runtime's Python code, which belongs to this project
	BuiltWith   = "build"   // used to build something and not inside: headers, a library that is linked to; SHA256 is that of the archive or the file
)

// Component is a part of an artifact, and its origin.
type Component struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`    // "apr", "libssl3", "golang.org/x/sys"
	Version string   `json:"version"` // as its maker writes it; "" if unknown
	License string   `json:"license"` // SPDX expression; "" if unknown
	SHA256  string   `json:"sha256,omitempty"`
	Sum     string   `json:"sum,omitempty"`     // of a Go module: "h1:…"
	Commit  string   `json:"commit,omitempty"`  // of a Git repository, if it is not from an archive
	Trust   string   `json:"trust,omitempty"`   // source of SHA256: "pinned", "signed", "published"
	File    string   `json:"file,omitempty"`    // the archive's or the library's name
	URL     string   `json:"url,omitempty"`     // where upstream publishes the archive
	PURL    string   `json:"purl,omitempty"`    // package URL (https://github.com/package-url/purl-spec)
	CPEs    []string `json:"cpes,omitempty"`    // names in the National Vulnerability Database, the current one first
	Support string   `json:"support,omitempty"` // last day of upstream's support, "2030-04-08"; "" if unknown
	Texts   []string `json:"-"`                 // files with its licence, absolute
	// Features are the httpd features of an httpd.
	Features []string `json:"features,omitempty"`
}

// Artifact is one file in the output directory.
type Artifact struct {
	Name       string      `json:"name"` // file name, without a directory
	Kind       string      `json:"kind"` // "wheel", "deb", "rpm", "apk", "oci", "zip", …
	Size       int64       `json:"size"` // bytes
	SHA256     string      `json:"sha256"`
	Project    string      `json:"project,omitempty"` // what it contains: "mod_wsgi", "mod_wsgi-httpd"
	Version    string      `json:"version,omitempty"`
	Platform   string      `json:"platform,omitempty"` // in the format's syntax
	Requires   string      `json:"requires_python,omitempty"`
	Libraries  []string    `json:"libraries,omitempty"` // foreign libraries inside
	Target     string      `json:"target,omitempty"`    // the system that it was built for, if that is not the build machine: "linux/arm64/glibc2.28"
	Unproven   string      `json:"unproven,omitempty"`  // why it was not tried with a request; "" if it was
	Sidecars   []string    `json:"sidecars,omitempty"`  // names of the files that describe it: SBOM, provenance, metadata
	Components []Component `json:"-"`
	// Inputs were used to make it and are not inside, for the provenance statement.
	Inputs []Component `json:"-"`
	// Parameters are the user's choices, for the provenance statement.
	Parameters map[string]string `json:"-"`
	// Environment is recorded of its build in addition to what the run recorded.
	Environment map[string]string `json:"-"`
	// Took is the time it took to make. It is shown and never written, because it
	// varies.
	Took time.Duration `json:"-"`
}

// SortComponents sorts by kind, name and version, and drops duplicates.
func SortComponents(all []Component) []Component {
	key := func(c Component) string { return c.Kind + "\x00" + c.Name + "\x00" + c.Version + "\x00" + c.File }
	sorted := slices.Clone(all)
	sort.SliceStable(sorted, func(i, j int) bool { return key(sorted[i]) < key(sorted[j]) })
	return slices.CompactFunc(sorted, func(a, b Component) bool { return key(a) == key(b) })
}
