package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"modwsgi/detect"
	"modwsgi/internal/fault"
	"modwsgi/internal/version"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/oci"
	"modwsgi/packaging/sign"
)

func init() {
	packCommands = append(packCommands, (*app).packOCI)
	moreFormats = append(moreFormats, matrixImage)
}

// ociFlags are those of modwsgi package oci.
type ociFlags struct {
	o      oci.Options
	push   string
	labels []string
	env    []string
	stages []string
	noEnv  bool
	ca     string
	docker string
	zstd   string
}

func (a *app) packOCI() *cobra.Command {
	var o packOptions
	var f ociFlags
	c := &cobra.Command{
		Use: "oci [flags] [-- OPTIONS OF START-SERVER]", Short: "Make a container image, or a layer for one",
		Args: func(c *cobra.Command, args []string) error {
			if n := c.ArgsLenAtDash(); len(args) > 0 && n != 0 {
				return fault.New(fault.Usage, "the application is named with --app, and options of start-server follow --", "unexpected argument %q", args[0])
			}
			return nil
		},
		Long: "oci makes a container image of httpd, the module, the launcher, the packages of the Python environment and\n" +
			"an application, without a container engine: on a base image that has the Python (--base), or on nothing, with\n" +
			"the Python and every library of this machine that they need (--base scratch). The image serves as a user\n" +
			"without privileges, drains on SIGTERM, and has a health check, its bill of materials and its provenance\n" +
			"attached. The same inputs give the same bytes.",
		Example: "  modwsgi package oci --python .venv --app src --base python:3.12-slim --push registry.example.org/shop/web:1.0\n" +
			"  modwsgi package oci --python .venv --app . --entry shop.wsgi --base scratch --out dist/shop.tar -- --processes 4\n" +
			"  modwsgi package oci --python .venv --layer-only      # for ADD in a Dockerfile",
		RunE: func(c *cobra.Command, args []string) error {
			f.o.Args = args
			return a.makeImage(c.Context(), &o, &f)
		},
	}
	o.flags(c.Flags())
	for _, hidden := range []string{"bundle", "allow-foreign"} {
		_ = c.Flags().MarkHidden(hidden)
	}
	f.flags(c)
	return c
}

func (f *ociFlags) flags(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.o.App, "app", "", "directory with the application; it becomes "+oci.AppDir)
	s.StringVar(&f.o.Entry, "entry", "", "what serves: a script below --app, or the name of a module")
	s.StringVar(&f.o.Base, "base", oci.Scratch, "an image in a registry, oci-layout:DIR[:TAG], docker-archive:FILE, or scratch")
	s.StringVar(&f.o.BasePython, "base-python", "", "path of the Python in the base (looked for)")
	s.StringArrayVar(&f.stages, "stage", nil, "copy of an environment with what modwsgi installed, for instance one of\nanother CPU, instead of building (repeatable; several make an index)")
	s.BoolVar(&f.noEnv, "no-packages", false, "leave the packages of the environment out")
	s.BoolVar(&f.o.LayerOnly, "layer-only", false, "make one layer, for ADD in a Dockerfile, instead of an image")
	s.StringVar(&f.push, "push", "", "REGISTRY/REPOSITORY:TAG to push the image to")
	s.StringVar(&f.o.Tag, "tag", "", "REPOSITORY:TAG that the image is called when it is loaded (default that of --push)")
	s.StringVar(&f.o.Layout, "layout", "", "new directory that becomes an OCI layout with the image and what is attached to it")
	s.IntVar(&f.o.Port, "port", 8000, "port that is served and exposed")
	s.StringVar(&f.o.User, "user", "65532:65532", "numeric user and group that serve")
	s.StringVar(&f.o.HealthPath, "health-path", "", "URL path that the health check asks for (default: it asks the launcher whether httpd runs)")
	s.StringArrayVar(&f.labels, "label", nil, "NAME=VALUE (repeatable)")
	s.StringArrayVar(&f.env, "env", nil, "NAME=VALUE that the application finds in its environment (repeatable)")
	s.StringVar(&f.docker, "media-types", "oci", "oci or docker")
	s.StringVar(&f.zstd, "compression", "gzip", "of layers: gzip or zstd")
	s.StringVar(&f.o.CACerts, "ca-certificates", "", "file with the certificate authorities that an image without a base trusts")
	s.StringVar(&f.ca, "registry-ca", "", "file with the certificate authority of the registry")
	s.BoolVar(&f.o.Insecure, "insecure-registry", false, "talk to registries without TLS, or with a certificate that cannot be checked")
}

// complete checks the flags and fills in what follows from others.
func (f *ociFlags) complete(a *app, o *packOptions) error {
	for _, c := range []struct {
		flag, value, no, yes string
		is                   *bool
	}{{"media-types", f.docker, "oci", "docker", &f.o.Docker}, {"compression", f.zstd, "gzip", "zstd", &f.o.Zstd}} {
		if c.value != c.no && c.value != c.yes {
			return fault.New(fault.Usage, "give "+c.no+" or "+c.yes, "--%s %q is not known", c.flag, c.value)
		}
		*c.is = c.value == c.yes
	}
	f.o.Labels = map[string]string{}
	for _, l := range f.labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok {
			return fault.New(fault.Usage, "give NAME=VALUE", "--label %q has no value", l)
		}
		f.o.Labels[k] = v
	}
	f.o.Env = map[string]string{}
	for _, e := range f.env {
		k, v, ok := strings.Cut(e, "=")
		if !ok {
			return fault.New(fault.Usage, "give NAME=VALUE", "--env %q has no value", e)
		}
		f.o.Env[k] = v
	}
	if len(f.stages) > 0 && (len(o.pythons) > 0 || len(o.fromEnv) > 0) {
		return fault.New(fault.Usage, "give one of them", "--stage takes what is built, and --python and --from-env say what to build or take here")
	}
	if len(o.pythons) > 1 || len(o.fromEnv) > 1 {
		return fault.New(fault.Usage, "run it once for each", "an image is for one Python")
	}
	if strings.HasSuffix(o.out, ".tar") || strings.HasSuffix(o.out, ".tar.gz") || strings.HasSuffix(o.out, ".tar.zst") {
		f.o.Name, o.out = filepath.Base(o.out), filepath.Dir(o.out)
	}
	for _, p := range []*string{&f.o.App, &f.o.Layout, &f.o.CACerts, &f.ca} {
		if *p != "" {
			*p = a.abs(*p)
		}
	}
	for _, kind := range []string{"oci-layout:", "docker-archive:"} {
		if rest, ok := strings.CutPrefix(f.o.Base, kind); ok {
			f.o.Base = kind + a.abs(rest)
		}
	}
	f.o.Exclude = []string{a.abs(o.out), f.o.Layout}
	f.o.Host, f.o.Tool, f.o.Builder = linkage.Host{Root: "/"}, version.Release, o.builder
	f.o.Pace, f.o.Caller, f.o.Runner = a.pace(), a.Env, a.runner()
	if f.push != "" {
		target, err := oci.NewTarget(f.push, f.o.Insecure)
		if err != nil {
			return err
		}
		f.o.Push = target
		if f.o.Tag == "" {
			f.o.Tag = target.String()
		}
	}
	if err := f.o.Trust(f.ca); err != nil {
		return err
	}
	if err := f.o.Check(); err != nil || f.push == "" {
		return err
	}
	all, err := a.signers(o)
	for _, s := range all {
		if key, ok := s.(*sign.ECDSA); ok {
			f.o.Sign = imageSigner{key}
		}
	}
	return err
}

// imageSigner signs images with the key that the checksums are signed with.
type imageSigner struct{ *sign.ECDSA }

// SignPayload implements oci.Signer.
func (s imageSigner) SignPayload(payload []byte) (string, error) {
	signature, err := s.Sign("", payload, time.Time{})
	return strings.TrimSpace(string(signature)), err
}

// makeImage is modwsgi package oci.
func (a *app) makeImage(ctx context.Context, o *packOptions, f *ociFlags) error {
	began := time.Now()
	if err := f.complete(a, o); err != nil {
		return err
	}
	p, err := a.openPacking(ctx, o)
	if err != nil {
		return err
	}
	defer p.Abort()
	if err := f.o.CheckPush(ctx); err != nil {
		return err
	}
	inputs, done, err := a.imageInputs(ctx, o, f, p.at)
	defer done()
	if err != nil {
		return err
	}
	var stages []*packaging.Stage
	for _, in := range inputs {
		stages = append(stages, in.Stage)
	}
	f.o.Time, f.o.Parameters = p.at, environment(stages, p.at)
	var r *oci.Result
	err = a.view.sink().Step("package", func() error {
		r, err = oci.Write(ctx, p.Dist, inputs, f.o)
		return err
	})
	if err != nil {
		return err
	}
	for _, w := range r.Warnings {
		a.view.sink().Warn(w)
	}
	if err := p.finish(ctx, stages); err != nil {
		return err
	}
	a.view.close()
	return a.showImage(p.Dist, r, f, time.Since(began))
}

// imageInputs builds, or takes what is built; done removes it.
func (a *app) imageInputs(ctx context.Context, o *packOptions, f *ociFlags, at time.Time) ([]oci.Input, func(), error) {
	var inputs []oci.Input
	for _, dir := range f.stages {
		in, err := oci.ReadStage(a.abs(dir), at)
		if err != nil {
			return nil, func() {}, err
		}
		if f.noEnv {
			in.Env = nil
		}
		inputs = append(inputs, *in)
	}
	if len(inputs) > 0 {
		return inputs, func() {}, nil
	}
	builds, err := a.builds(ctx, o)
	done := func() {
		for _, b := range builds {
			b.Close()
		}
	}
	if err != nil {
		return nil, done, err
	}
	for _, b := range builds {
		inputs = append(inputs, imageInput(stageOf(b, at), b.Python, f.noEnv))
	}
	return inputs, done, nil
}

// imageInput says what of a Python on this machine goes into an image.
func imageInput(s *packaging.Stage, py *detect.Python, noEnv bool) oci.Input {
	in := oci.Input{Stage: s, Python: &oci.Interpreter{Prefix: py.BasePrefix, Executable: py.Executable, Version: py.Version}}
	if real, err := filepath.EvalSymlinks(py.Executable); err == nil {
		in.Python.Executable = real
	}
	if !noEnv && py.Prefix != py.BasePrefix {
		in.Env = &oci.Environment{Prefix: py.Prefix, Site: []string{py.Purelib}, Bin: py.Scripts}
		if py.Platlib != py.Purelib {
			a, aerr := filepath.EvalSymlinks(py.Purelib)
			b, berr := filepath.EvalSymlinks(py.Platlib)
			if aerr != nil || berr != nil || a != b {
				in.Env.Site = append(in.Env.Site, py.Platlib)
			}
		}
	}
	return in
}

// showImage is the summary.
func (a *app) showImage(d *packaging.Dist, r *oci.Result, f *ociFlags, took time.Duration) error {
	if a.flags.json {
		writeJSON(a.Stdout, struct {
			Event     string               `json:"event"`
			Directory string               `json:"directory"`
			Artifacts []packaging.Artifact `json:"artifacts"`
			Digest    string               `json:"digest,omitempty"`
			Pushed    string               `json:"pushed,omitempty"`
			Signature string               `json:"signature,omitempty"`
			Layout    string               `json:"layout,omitempty"`
			Elapsed   time.Duration        `json:"elapsed_ns"`
		}{"result", d.Dir(), d.Added(), r.Digest, r.Pushed, r.Signature, f.o.Layout, took})
		return nil
	}
	w := a.Stdout
	_, _ = fmt.Fprintf(w, "\nIn %s, made in %s:\n", d.Dir(), seconds(took))
	_, _ = fmt.Fprintf(w, "  %s  %.1f MB  %s\n", r.Artifact.Name, float64(r.Artifact.Size)/1e6, r.Artifact.Platform)
	if r.Digest != "" {
		_, _ = fmt.Fprintf(w, "digest %s\n", r.Digest)
	}
	if f.o.Layout != "" {
		_, _ = fmt.Fprintf(w, "layout %s\n", f.o.Layout)
	}
	if r.Pushed != "" {
		_, _ = fmt.Fprintf(w, "pushed %s\n  as %s\n", r.Pushed, f.o.Push)
	}
	if r.Signature != "" {
		_, _ = fmt.Fprintf(w, "signed %s\n", r.Signature)
	}
	file := filepath.Join(d.Dir(), r.Artifact.Name)
	switch {
	case f.o.LayerOnly:
		_, _ = fmt.Fprintf(w, "Next, in a Dockerfile: ADD %s /\n", filepath.Base(file))
	case r.Pushed != "":
		_, _ = fmt.Fprintf(w, "Next: docker run --rm -p %d:%d %s\n", f.o.Port, f.o.Port, f.o.Push)
	default:
		_, _ = fmt.Fprintf(w, "Next: docker load -i %s, or skopeo copy oci-archive:%s docker://REGISTRY/REPOSITORY:TAG\n", file, file)
	}
	return nil
}

// matrixImage is the format of images for a release.toml.
func matrixImage() matrixFormat {
	return matrixFormat{
		Format: matrix.Format{
			Name: "oci", Platforms: []string{"linux/" + runtime.GOARCH},
			Options: map[string]matrix.Kind{
				"base": matrix.Text, "app": matrix.Text, "entry": matrix.Text, "args": matrix.Strings, "port": matrix.Number, "user": matrix.Text,
				"health_path": matrix.Text, "media_types": matrix.Text, "compression": matrix.Text, "packages": matrix.Flag,
			},
			Check: map[string]func(any) error{
				"port": between(1024, 65535), "media_types": oneOf("oci", "docker"), "compression": oneOf("gzip", "zstd"),
			},
		},
		write: func(ctx context.Context, r *matrixRun, c matrix.Cell, d *packaging.Dist, s *matrixStage) ([]string, error) {
			o := oci.Options{
				Pace: r.a.pace(), Caller: r.a.Env, Runner: r.a.runner(),
				Base: orText(r.text(c, "base"), oci.Scratch), App: r.path(r.text(c, "app")), Entry: r.text(c, "entry"), Args: r.list(c, "args"),
				Port: r.number(c, "port", 8000), User: orText(r.text(c, "user"), "65532:65532"), HealthPath: r.text(c, "health_path"),
				Docker: r.text(c, "media_types") == "docker", Zstd: r.text(c, "compression") == "zstd", Exclude: []string{r.p.Dir()},
				Host: linkage.Host{Root: "/"}, Tool: version.Release, Builder: r.o.builder, Time: r.p.at, Parameters: environment([]*packaging.Stage{s.stage}, r.p.at),
			}
			if rest, ok := strings.CutPrefix(o.Base, "oci-layout:"); ok {
				o.Base = "oci-layout:" + r.path(rest)
			}
			if r.m.Several() {
				o.Name = fmt.Sprintf("mod_wsgi-%s-httpd%s-%s-%s-linux-%s.oci.tar", s.stage.Module.Version, s.stage.HTTPD.Version, c.HTTPD.Name, s.stage.Module.Python.ABI, runtime.GOARCH)
			}
			packages, given := r.m.Options["oci"]["packages"].(bool)
			result, err := oci.Write(ctx, d, []oci.Input{imageInput(s.stage, s.build.Python, given && !packages)}, o)
			if err != nil {
				return nil, err
			}
			return result.Warnings, nil
		},
	}
}

// path is a path in the file, which starts from where the file lies.
func (r *matrixRun) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(r.dir, name)
}

func orText(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
