// Package oci makes container images of stages, and layers for other images. They
// contain a finished httpd, the module, the launcher, the packages of an application's
// environment and the application, on top of a base image or of only the libraries
// that they need. It writes OCI image layouts and pushes to registries.
//
// It knows what an image needs to run, and computes it rather than assuming it: the
// platform comes from the binaries, and a base is inspected for its Python, its C
// library and every required library. Anything that does not fit is refused by name.
// The package does not know how a stage was built, runs nothing that it packs, and
// needs no container engine.
package oci

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"modwsgi/internal/fault"
	"modwsgi/internal/httpc"
	"modwsgi/internal/owned"
	"modwsgi/internal/registry"
	"modwsgi/internal/run"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
)

// Locations in an image.
const (
	Prefix     = "/opt/mod_wsgi" // the environment: programs, site-packages
	PythonHome = "/opt/python"   // the Python of an image that has no base
	AppDir     = "/app"          // the application, and the working directory
	LicenceDir = "/usr/share/licenses/mod_wsgi"
	SBOMFile   = "/usr/share/doc/mod_wsgi/sbom.cdx.json"
)

// Scratch is the empty base.
const Scratch = "scratch"

// Options are the user's choices.
type Options struct {
	Base       string // Scratch, "oci-layout:DIR" (":TAG" or "@DIGEST" may follow), "docker-archive:FILE" (":REFERENCE" may follow), or a reference in a registry
	BasePython string // path of the interpreter in the base; "" to detect it
	App        string // directory of the application; "" for none
	Entry      string // argument of start-server: a script below App, or a module's name; "" looks for a script
	Args       []string
	Port       int    // to listen on and expose
	User       string // numeric, "UID" or "UID:GID"
	HealthPath string // URL path that the health check requests; "" asks only the launcher
	LayerOnly  bool
	Docker     bool // Docker's media types instead of OCI's
	Zstd       bool // layers compressed with zstd instead of gzip
	Labels     map[string]string
	Env        map[string]string // for the application, added to those of the base
	Name       string            // of the artifact; "" to derive one from the contents
	Tag        string            // "REPOSITORY:TAG" of the image; may be ""
	Layout     string            // new directory for an OCI layout; "" for none
	Push       *Target
	Sign       Signer   // for pushed images; nil for none
	Exclude    []string // directories that do not belong to the application, absolute
	Include    []string // what an image leaves out otherwise: IncludePip and others
	CACerts    string   // file with certificates for an image without a base; "" for none

	Host    linkage.Host
	Tool    string
	Builder string
	Time    time.Time
	// Parameters describe the build environment, for the provenance statement.
	Parameters map[string]string
	Caller     []string     // environment of the caller: credentials and proxies of registries
	Runner     *run.Runner  // starts credential helpers
	Pace       httpc.Limits // how slow a registry may be; the zero value sets no limit
	Insecure   bool         // registries without TLS

	tls    *tls.Config // made by Trust
	client *registry.Client
}

// Input is the stage for one CPU, with its environment and Python.
type Input struct {
	Stage  *packaging.Stage
	Env    *Environment
	Python *Interpreter // nil if it is unavailable; an image without a base needs it
	System *System      // nil for this machine
	// For the provenance statement: the user's choices, facts about the build, and what was
	// used to build the stage and is not in it.
	Choices, Facts map[string]string
	Inputs         []packaging.Component

	noPython string // why ReadStage found no Python
}

// System is where to find the libraries of another system than this machine.
type System struct {
	Root   string // directory that is "/" to the libraries that the stage was built with
	Name   string // the distribution there: "debian-bullseye"; "" if unknown
	Python string // such a directory for the Python, which is searched first for an image without a base
	// CPU and Limit are what every binary must be for: "aarch64", "glibc 2.31".
	CPU, Limit string
}

// built is the host with the libraries that a stage was built with.
func (m *maker) built(i *image) linkage.Host {
	if i.in.System == nil {
		return m.o.Host
	}
	return linkage.Host{Root: i.in.System.Root, System: i.in.System.Name}
}

// hosts are the hosts with the libraries for an image without a base.
func (m *maker) hosts(i *image) []linkage.Host {
	if i.in.System == nil {
		return []linkage.Host{m.o.Host}
	}
	return []linkage.Host{{Root: i.in.System.Python, System: i.in.System.Name}, {Root: i.in.System.Root, System: i.in.System.Name}}
}

// Environment is what the application's environment contains.
type Environment struct {
	Prefix string   // of the virtual environment
	Site   []string // its directories of packages
	Bin    string   // its programs; "" for none
}

// Interpreter is a Python installation of the build host.
type Interpreter struct {
	Prefix     string // sys.base_prefix
	Executable string // the program itself
	Version    string
}

// Result is the outcome of Write.
type Result struct {
	Artifact *packaging.Artifact
	Digest   string // of the image or the index; "" for a layer
	Pushed   string // reference by digest; "" if nothing was pushed
	// Signature is the reference of its signature; "" if it was not signed.
	Signature string
	Warnings  []string // warnings for the user
}

// platformOf maps the kernel's names of CPUs to those of images
// (https://github.com/opencontainers/image-spec/blob/main/image-index.md).
var platformOf = map[string]v1.Platform{
	"x86_64":  {OS: "linux", Architecture: "amd64"},
	"aarch64": {OS: "linux", Architecture: "arm64", Variant: "v8"},
	"armv7l":  {OS: "linux", Architecture: "arm", Variant: "v7"},
	"i686":    {OS: "linux", Architecture: "386"},
	"ppc64le": {OS: "linux", Architecture: "ppc64le"},
	"s390x":   {OS: "linux", Architecture: "s390x"},
	"riscv64": {OS: "linux", Architecture: "riscv64"},
}

// Check refuses options that cannot work, before anything is built.
func (o *Options) Check() error {
	bad := func(hint, format string, args ...any) error { return fault.New(fault.Usage, hint, format, args...) }
	if _, _, err := o.ids(); err != nil {
		return err
	}
	switch {
	case o.Port < 1 || o.Port > 65535:
		return bad("pass a number from 1024 to 65535", "invalid --port %d", o.Port)
	case o.Port < 1024:
		return bad("pass 1024 or above, and publish it as another port (-p 80:8000)", "--port %d needs a privilege that the image's user lacks", o.Port)
	case o.HealthPath != "" && !strings.HasPrefix(o.HealthPath, "/") || strings.ContainsFunc(o.HealthPath, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return bad("pass a path, as in /healthz", "--health-path %q is not a URL path", o.HealthPath)
	case o.LayerOnly && o.Push != nil:
		return bad("leave one of them out", "--layer-only makes no image to push")
	case o.LayerOnly && o.Layout != "":
		return bad("leave one of them out", "--layer-only makes no image for --layout")
	case o.LayerOnly && o.Base != "" && o.Base != Scratch:
		return bad("leave one of them out; use --base-python for the path of the Python in the layer's target image", "--layer-only does not accept --base")
	case o.CACerts != "" && (o.LayerOnly || o.Base != Scratch):
		return bad("leave it out: a base has its own", "--ca-certificates is for an image without a base")
	case slices.ContainsFunc(o.Include, func(s string) bool { return !slices.Contains(Includable, s) }):
		return bad("pass some of "+strings.Join(Includable, ", "), "--include %s: unknown part", strings.Join(o.Include, ","))
	case o.Docker && o.Zstd:
		return bad("leave one of them out", "Docker's media types do not support zstd")
	case o.Entry != "" && strings.HasPrefix(o.Entry, "-"):
		return bad("options of start-server follow --", "--entry %q is not an application", o.Entry)
	case moduleAndName.MatchString(o.Entry):
		file, callable, _ := strings.Cut(o.Entry, ":")
		return bad("pass --entry "+file+" -- --callable-object "+callable, "--entry %q names a module and a callable: start-server takes them separately", o.Entry)
	case len(o.Env) > 0 && o.LayerOnly:
		return bad("set it in the Dockerfile", "--layer-only makes no image that could have --env")
	}
	if o.App != "" {
		if info, err := os.Stat(o.App); err != nil || !info.IsDir() {
			return bad("name the directory of the application's files", "--app: directory %s does not exist", o.App)
		}
	}
	for k := range o.Labels {
		if k == "" || strings.ContainsAny(k, " \t\r\n=") {
			return bad("write NAME=VALUE", "--label: invalid name %q", k)
		}
	}
	return o.checkMore()
}

// checkMore is the part of Check about the base and the environment.
func (o *Options) checkMore() error {
	bad := func(hint, format string, args ...any) error { return fault.New(fault.Usage, hint, format, args...) }
	for _, elsewhere := range []string{"oci-archive:", "docker-daemon:", "containers-storage:", "dir:"} {
		if strings.HasPrefix(o.Base, elsewhere) {
			return bad("name a registry, a directory with oci-layout:DIR, or a file of docker save with docker-archive:FILE", "--base %s…: unknown kind of base", elsewhere)
		}
	}
	for k, v := range o.Env {
		if !variable.MatchString(k) || strings.ContainsRune(v, 0) {
			return bad("write NAME=VALUE", "--env: invalid variable name %q", k)
		}
	}
	return nil
}

// moduleAndName matches an application as other servers name it, MODULE:CALLABLE.
var moduleAndName = regexp.MustCompile(`^[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(\))?$`)

// variable is the name of an environment variable (POSIX, "Environment Variables").
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ids matches the numeric user and group of the image's process.
func (o *Options) ids() (uid, gid int, err error) {
	var rest string
	uid, gid = -1, -1
	n, serr := fmt.Sscanf(o.User, "%d:%d%s", &uid, &gid, &rest)
	if n == 1 && fmt.Sprint(uid) == o.User {
		gid = uid
	} else if n != 2 || serr == nil || fmt.Sprintf("%d:%d", uid, gid) != o.User {
		uid = -1
	}
	switch {
	case uid < 0 || gid < 0 || uid > 1<<31-2 || gid > 1<<31-2:
		return 0, 0, fault.New(fault.Usage, "pass numbers, as in 65532:65532: a runtime that must not run root cannot check a name", "--user %q is not UID or UID:GID", o.User)
	case uid == 0:
		return 0, 0, fault.New(fault.Usage, "pass another number, as in 65532:65532", "--user %s would run as root", o.User)
	}
	return uid, gid, nil
}

// newDir makes a subdirectory in the scratch directory.
func (m *maker) newDir(prefix string) (string, error) {
	d, err := owned.Scratch(m.scratch, prefix)
	if err != nil {
		return "", err
	}
	return d.Path(), d.Close()
}

// Write makes the image, or the layer, of one input for each CPU.
func Write(ctx context.Context, d *packaging.Dist, inputs []Input, o Options) (*Result, error) {
	began := time.Now()
	if err := o.Check(); err != nil {
		return nil, err
	}
	o.Host = o.Host.Asking(ctx)
	m := &maker{ctx: ctx, dist: d, o: o, began: began}
	var err error
	if m.scratch, err = d.Scratch(); err != nil {
		return nil, err
	}
	for _, in := range inputs {
		if err := m.add(in); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(m.images, func(a, b *image) int { return strings.Compare(a.platform.String(), b.platform.String()) })
	for i := 1; i < len(m.images); i++ {
		if a := m.images[i].platform.String(); a == m.images[i-1].platform.String() {
			return nil, fault.New(fault.Usage, "pass one per CPU", "two stages are for %s", a)
		}
	}
	if o.LayerOnly {
		return m.layerOnly()
	}
	return m.finish()
}

// maker is one call of Write.
type maker struct {
	ctx      context.Context
	dist     *packaging.Dist
	o        Options
	began    time.Time
	scratch  string
	images   []*image
	warnings []string
	count    int
}

func (m *maker) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(m.warnings, text) {
		m.warnings = append(m.warnings, text)
	}
}

// image is the part for one CPU.
type image struct {
	in         Input
	platform   v1.Platform
	machine    string // as uname -m prints it
	python     pythonPlace
	base       *base
	linkage    *linkage.Result
	layers     []*layer
	merged     []entry // contents of a standalone layer
	components []packaging.Component
	texts      map[string][]byte
	command    []string
	image      v1.Image
	digest     v1.Hash
	bom, from  []byte
}

// pythonPlace is the Python that the environment in the image belongs to.
type pythonPlace struct {
	executable string // "/usr/local/bin/python3.11"
	prefix     string // "/usr/local"
	lib        string // shared library, "" if the module needs none
	system     bool   // the application also uses the packages installed in it
}

// class is the word size of the CPU in bits.
func (i *image) class() int {
	if slices.Contains([]string{"armv7l", "i686"}, i.machine) {
		return 32
	}
	return 64
}

// lib is "python3.11", or "python3.13t".
func (i *image) libName() string {
	py := i.in.Stage.Module.Python
	name := "python" + py.MinorVersion()
	if py.FreeThreaded {
		name += "t"
	}
	return name
}

// site is the directory of packages in the image.
func (i *image) site() string { return path.Join(Prefix, "lib", i.libName(), "site-packages") }

// add makes the layers for one CPU.
func (m *maker) add(in Input) error {
	if in.Stage.Module == nil || in.Stage.HTTPD == nil {
		return fault.New(fault.Usage, "build it for a bundled httpd (leave out --httpd), or install that httpd in the image and modwsgi there",
			"the module is for this system's httpd, which an image does not have")
	}
	if err := m.checkPython(in); err != nil {
		return err
	}
	i := &image{in: in, texts: map[string][]byte{}}
	w, err := m.begin(i)
	if err != nil {
		return err
	}
	p, known := platformOf[i.machine]
	if !known {
		return fault.New(fault.Environment, "build it for a CPU that container runtimes know", "no image platform for the CPU %s", i.machine)
	}
	i.platform = p
	for _, step := range []func() error{
		func() error { return m.openBase(i) },
		func() error { return m.findPython(i) },
		func() error { return m.pythonLayers(i, w) },
		func() error { return m.runtimeLayer(i, w) },
		func() error { return m.appLayer(i) },
	} {
		if err := step(); err != nil {
			return err
		}
		if err := m.ctx.Err(); err != nil {
			return err
		}
	}
	m.images = append(m.images, i)
	return nil
}
