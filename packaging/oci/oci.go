// Package oci makes container images of stages, and layers for images that others
// make: a finished httpd, the module, the launcher, the packages of an application's
// environment and the application, on top of a base image or of nothing but the
// libraries that they need. It writes OCI image layouts and pushes to registries.
//
// It knows what an image must hold so that it runs, and computes rather than
// assumes it: the platform comes from the binaries, a base is looked into for its
// Python, its C library and every library that somebody needs, and what does not
// fit is refused by name. It does not know how a stage was built, runs nothing of
// what it packs, and needs no container engine.
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

// Where things are in an image.
const (
	Prefix     = "/opt/mod_wsgi" // the environment: programs, site-packages
	PythonHome = "/opt/python"   // the Python of an image that has no base
	AppDir     = "/app"          // the application, and the working directory
	LicenceDir = "/usr/share/licenses/mod_wsgi"
	SBOMFile   = "/usr/share/doc/mod_wsgi/sbom.cdx.json"
)

// Scratch is the base that holds nothing.
const Scratch = "scratch"

// Options are what a user may choose.
type Options struct {
	Base       string // Scratch, "oci-layout:DIR" (":TAG" or "@DIGEST" may follow), "docker-archive:FILE" (":REFERENCE" may follow), or a reference in a registry
	BasePython string // path of the interpreter in the base; "" looks for it
	App        string // directory with the application; "" for none
	Entry      string // what start-server gets: a script below App, or a module's name; "" looks for a script
	Args       []string
	Port       int    // that is served and exposed
	User       string // numeric, "UID" or "UID:GID"
	HealthPath string // URL path that the health check asks for; "" asks the launcher only
	LayerOnly  bool
	Docker     bool // Docker's media types instead of OCI's
	Zstd       bool // layers compressed with zstd instead of gzip
	Labels     map[string]string
	Env        map[string]string // of the application, beside what the base sets
	Name       string            // of the artifact; "" makes one from what is in it
	Tag        string            // "REPOSITORY:TAG" that the image is known as; may be ""
	Layout     string            // directory that becomes an OCI layout, too; "" for none
	Push       *Target
	Sign       Signer   // of what is pushed; nil for none
	Exclude    []string // directories that are no part of the application, absolute
	CACerts    string   // file with certificates for an image without a base; "" for none

	Host    linkage.Host
	Tool    string
	Builder string
	Time    time.Time
	// Parameters are what the environment of the build was, for the provenance statement.
	Parameters map[string]string
	Caller     []string     // environment of the caller: credentials and proxies of registries
	Runner     *run.Runner  // starts credential helpers
	Pace       httpc.Limits // how slow a registry may be; the zero value sets no limit
	Insecure   bool         // registries without TLS

	tls    *tls.Config // made by Trust
	client *registry.Client
}

// Input is the stage for one CPU and what goes with it.
type Input struct {
	Stage  *packaging.Stage
	Env    *Environment
	Python *Interpreter // nil where it is not at hand; an image without a base needs it
}

// Environment is what an application has installed.
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

// Result is what was made.
type Result struct {
	Artifact *packaging.Artifact
	Digest   string // of the image or the index; "" for a layer
	Pushed   string // reference by digest; "" where nothing was pushed
	// Signature is the reference of what signs it; "" where it was not signed.
	Signature string
	Warnings  []string // what a user should know
}

// platformOf are the names that images have for CPUs
// (https://github.com/opencontainers/image-spec/blob/main/image-index.md), by the
// kernel's.
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
		return bad("give a number from 1024 to 65535", "--port %d is no port", o.Port)
	case o.Port < 1024:
		return bad("give one from 1024 on, and publish it as another (-p 80:8000)", "--port %d needs a privilege that the image's user has not", o.Port)
	case o.HealthPath != "" && !strings.HasPrefix(o.HealthPath, "/") || strings.ContainsFunc(o.HealthPath, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return bad("give a path as in /healthz", "--health-path %q is no path of a URL", o.HealthPath)
	case o.LayerOnly && o.Push != nil:
		return bad("leave one of them out", "--layer-only makes no image that could be pushed")
	case o.LayerOnly && o.Layout != "":
		return bad("leave one of them out", "--layer-only makes no image for --layout")
	case o.LayerOnly && o.Base != "" && o.Base != Scratch:
		return bad("leave one of them out; --base-python says where the Python of the image is that the layer is for", "--layer-only takes no --base")
	case o.CACerts != "" && (o.LayerOnly || o.Base != Scratch):
		return bad("leave it out: a base has its own", "--ca-certificates is for an image without a base")
	case o.Docker && o.Zstd:
		return bad("leave one of them out", "Docker's media types know no zstd")
	case o.Entry != "" && strings.HasPrefix(o.Entry, "-"):
		return bad("options of start-server follow --", "--entry %q is no application", o.Entry)
	case moduleAndName.MatchString(o.Entry):
		file, callable, _ := strings.Cut(o.Entry, ":")
		return bad("give --entry "+file+" -- --callable-object "+callable, "--entry %q names a module and what to call in it: start-server takes them one by one", o.Entry)
	case len(o.Env) > 0 && o.LayerOnly:
		return bad("set it in the Dockerfile", "--layer-only makes no image that --env could be of")
	}
	if o.App != "" {
		if info, err := os.Stat(o.App); err != nil || !info.IsDir() {
			return bad("name the directory with the application's files", "--app: there is no directory %s", o.App)
		}
	}
	for k := range o.Labels {
		if k == "" || strings.ContainsAny(k, " \t\r\n=") {
			return bad("give NAME=VALUE", "--label: %q is no name", k)
		}
	}
	return o.checkMore()
}

// checkMore is the part of Check about the base and the environment.
func (o *Options) checkMore() error {
	bad := func(hint, format string, args ...any) error { return fault.New(fault.Usage, hint, format, args...) }
	for _, elsewhere := range []string{"oci-archive:", "docker-daemon:", "containers-storage:", "dir:"} {
		if strings.HasPrefix(o.Base, elsewhere) {
			return bad("name a registry, a directory with oci-layout:DIR, or a file of docker save with docker-archive:FILE", "--base %s…: bases of that kind are not known", elsewhere)
		}
	}
	for k, v := range o.Env {
		if !variable.MatchString(k) || strings.ContainsRune(v, 0) {
			return bad("give NAME=VALUE", "--env: %q is no name of a variable", k)
		}
	}
	return nil
}

// moduleAndName is what other servers call an application.
var moduleAndName = regexp.MustCompile(`^[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(\))?$`)

// variable is the name of an environment variable (POSIX, "Environment Variables").
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ids are the numeric user and group of the image's process.
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
		return 0, 0, fault.New(fault.Usage, "give numbers, as in 65532:65532: a runtime that must not run root cannot tell by a name", "--user %q is not UID or UID:GID", o.User)
	case uid == 0:
		return 0, 0, fault.New(fault.Usage, "give another number, as in 65532:65532", "--user %s would serve as root", o.User)
	}
	return uid, gid, nil
}

// newDir makes a directory of its own in the scratch directory.
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
			return nil, fault.New(fault.Usage, "give one for each CPU", "two stages are for %s", a)
		}
	}
	if o.LayerOnly {
		return m.layerOnly()
	}
	return m.finish()
}

// maker is one run of Write.
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

// image is the part of one CPU.
type image struct {
	in         Input
	platform   v1.Platform
	machine    string // as uname -m says it
	python     pythonPlace
	base       *base
	linkage    *linkage.Result
	layers     []*layer
	merged     []entry // what a layer on its own holds
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
	lib        string // shared library, "" where the module needs none
	system     bool   // the packages that it has itself are for the application, too
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
			"the module is for the httpd of this system, which an image does not have")
	}
	i := &image{in: in, texts: map[string][]byte{}}
	w, err := m.begin(i)
	if err != nil {
		return err
	}
	p, known := platformOf[i.machine]
	if !known {
		return fault.New(fault.Environment, "build it for a CPU that container runtimes know", "there is no platform of images for the CPU %s", i.machine)
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
