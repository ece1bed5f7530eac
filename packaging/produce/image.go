package produce

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/internal/run"
	"modwsgi/internal/target"
	"modwsgi/internal/version"
	"modwsgi/packaging"
	"modwsgi/packaging/linkage"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/oci"
	"modwsgi/packaging/sign"
)

func imageFormat() Format {
	return Format{
		Name: "oci", Targets: []string{"linux/" + runtime.GOARCH}, From: AllTrees, Options: imageOptions, Command: imageCommand,
		Check: checkImage, Reach: reachImage, Trees: imageTrees, Write: writeImage,
		Foreign: func(target.Target) error { return nil }, Fits: fitsImage, Runs: fromNothing,
		Finished: func(v Values) bool { return len(v.List("stage")) > 0 && v.Text("base") != oci.Scratch },
	}
}

// nobody is the user that images run as.
const nobody = "65532:65532"

var imageOptions = []Option{
	{Name: "app", Kind: matrix.Text, Path: true, Help: "directory of the application, copied to " + oci.AppDir},
	{Name: "entry", Kind: matrix.Text, Help: "what to serve: a script below --app, or the name of a module"},
	{Name: "base", Kind: matrix.Text, Default: oci.Scratch, Help: "base image: a registry reference, oci-layout:DIR[:TAG], docker-archive:FILE, or scratch"},
	{Name: "base_python", Kind: matrix.Text, FlagOnly: true, Help: "path of the Python in the base (default: detected)"},
	{
		Name: "stage", Kind: matrix.Strings, FlagOnly: true, Path: true,
		Help: "package a copy of an environment that modwsgi installed into, such as one for\nanother CPU, instead of building (repeatable; several make an index)",
	},
	{Name: "include", Kind: matrix.Strings, Help: "what an image leaves out otherwise: pip, headers or tests (repeatable, or with commas)"},
	{Name: "no_packages", Kind: matrix.Flag, FlagOnly: true, Help: "leave out the packages of the environment"},
	{Name: "layer_only", Kind: matrix.Flag, FlagOnly: true, Help: "make one layer, for ADD in a Dockerfile, instead of an image"},
	{Name: "push", Kind: matrix.Text, FlagOnly: true, Help: "REGISTRY/REPOSITORY:TAG to push the image to"},
	{Name: "tag", Kind: matrix.Text, FlagOnly: true, Help: "REPOSITORY:TAG of the image once loaded (default: that of --push)"},
	{Name: "layout", Kind: matrix.Text, FlagOnly: true, Path: true, Help: "new directory for an OCI layout of the image and its attachments"},
	{Name: "port", Kind: matrix.Number, Default: 8000, Help: "port to listen on and expose"},
	{Name: "user", Kind: matrix.Text, Default: nobody, Help: "numeric user and group to run as"},
	{Name: "health_path", Kind: matrix.Text, Help: "URL path that the health check requests (default: it asks the launcher whether httpd runs)"},
	{Name: "label", Kind: matrix.Strings, FlagOnly: true, Help: "label NAME=VALUE (repeatable)"},
	{Name: "env", Kind: matrix.Strings, FlagOnly: true, Help: "environment variable NAME=VALUE for the application (repeatable)"},
	{Name: "media_types", Kind: matrix.Text, Default: "oci", Check: oneOf("oci", "docker"), Help: "family of media types: oci or docker"},
	{Name: "compression", Kind: matrix.Text, Default: "gzip", Check: oneOf("gzip", "zstd"), Help: "compression of layers: gzip or zstd"},
	{Name: "ca_certificates", Kind: matrix.Text, FlagOnly: true, Path: true, Help: "file of certificate authorities that an image without a base trusts"},
	{Name: "registry_ca", Kind: matrix.Text, FlagOnly: true, Path: true, Help: "file of the registry's certificate authority"},
	{Name: "insecure_registry", Kind: matrix.Flag, FlagOnly: true, Help: "allow registries without TLS or with an untrusted certificate"},
	// Keys without a flag: options of start-server follow -- on the command line.
	{Name: "args", Kind: matrix.Strings},
	{Name: "packages", Kind: matrix.Flag, Default: true},
}

var imageCommand = Command{
	Use: "oci [flags] [-- OPTIONS OF START-SERVER]", Short: "Make a container image, or a layer for one",
	Arguments: "the application is named with --app, and options of start-server follow --",
	Long: "oci makes a container image of httpd, the module, the launcher, the packages of the Python environment and\n" +
		"an application, without a container engine: on a base image that has the Python (--base), or on nothing, with\n" +
		"the Python and every library of the system that they need (--base scratch). The image runs as a user\n" +
		"without privileges, drains on SIGTERM, and has a health check; its bill of materials and its provenance are\n" +
		"attached. The same inputs produce the same bytes. --target makes it for another CPU, and several make an index.",
	Example: "  modwsgi package oci --python .venv --app src --base python:3.12-slim --push registry.example.org/shop/web:1.0\n" +
		"  modwsgi package oci --python .venv --app . --entry shop.wsgi --base scratch --out dist/shop.tar -- --processes 4\n" +
		"  modwsgi package oci --python .venv --layer-only      # for ADD in a Dockerfile",
	Next: nextForImage,
}

// Names of facts about an image.
const (
	factDigest    = "digest"
	factPushed    = "pushed"
	factSignature = "signature"
	factLayout    = "layout"
)

func nextForImage(r *Result, v Values) []string {
	var lines []string
	if digest := r.Facts[factDigest]; digest != "" {
		lines = append(lines, "digest "+digest)
	}
	if layout := r.Facts[factLayout]; layout != "" {
		lines = append(lines, "layout "+layout)
	}
	pushed := r.Facts[factPushed]
	target := v.Text("push")
	if t, err := oci.NewTarget(target, v.Flag("insecure_registry")); err == nil {
		target = t.String()
	}
	if pushed != "" {
		lines = append(lines, "pushed "+pushed, "  as "+target)
	}
	if signature := r.Facts[factSignature]; signature != "" {
		lines = append(lines, "signed "+signature)
	}
	file := filepath.Join(r.Dir, r.Artifacts[0].Name)
	switch port := v.Number("port"); {
	case v.Flag("layer_only"):
		return append(lines, "Next, in a Dockerfile: ADD "+filepath.Base(file)+" /")
	case pushed != "":
		return append(lines, fmt.Sprintf("Next: docker run --rm -p %d:%d %s", port, port, target))
	}
	return append(lines, fmt.Sprintf("Next: docker load -i %s, or skopeo copy %s docker://REGISTRY/REPOSITORY:TAG", run.Quote(file), run.Quote("oci-archive:"+file)))
}

// image completes the options of one image.
func image(w *Work) (oci.Options, error) {
	v := w.Values
	o := oci.Options{
		Base: orText(v.Text("base"), oci.Scratch), BasePython: v.Text("base_python"), App: v.Text("app"), Entry: v.Text("entry"), Args: v.List("args"),
		Port: v.Number("port"), User: orText(v.Text("user"), nobody), HealthPath: v.Text("health_path"), LayerOnly: v.Flag("layer_only"),
		Docker: v.Text("media_types") == "docker", Zstd: v.Text("compression") == "zstd", Tag: v.Text("tag"), Layout: v.Text("layout"),
		Name: v.Text("file_name"), CACerts: v.Text("ca_certificates"), Insecure: v.Flag("insecure_registry"), Pace: w.Pace, Caller: w.Build.Env, Runner: w.Build.Runner,
		Host: linkage.Host{Root: "/"}, Tool: version.Release, Builder: w.Builder, Time: w.Time, Parameters: environment(w.Trees, w.Time),
		Exclude: []string{w.Out}, Include: commaList(v.List("include")), Labels: map[string]string{}, Env: map[string]string{},
	}
	if o.Layout != "" {
		o.Exclude = append(o.Exclude, o.Layout)
	}
	for _, pairs := range []struct {
		flag string
		into map[string]string
	}{{"label", o.Labels}, {"env", o.Env}} {
		for _, text := range v.List(pairs.flag) {
			name, value, ok := strings.Cut(text, "=")
			if !ok {
				return o, fault.New(fault.Usage, "write NAME=VALUE", "--%s %q has no value", pairs.flag, text)
			}
			pairs.into[name] = value
		}
	}
	for _, kind := range []string{"oci-layout:", "docker-archive:"} {
		if rest, ok := strings.CutPrefix(o.Base, kind); ok {
			o.Base = kind + w.Base(rest)
		}
	}
	if push := v.Text("push"); push != "" {
		target, err := oci.NewTarget(push, o.Insecure)
		if err != nil {
			return o, err
		}
		o.Push, o.Tag = target, orText(o.Tag, target.String())
		for _, s := range w.Signers {
			if key, ok := s.(*sign.ECDSA); ok {
				o.Sign = imageSigner{key}
			}
		}
	}
	return o, o.Trust(v.Text("registry_ca"))
}

// commaList splits the values of a repeatable option at commas.
func commaList(values []string) (out []string) {
	for _, v := range values {
		out = append(out, strings.Split(v, ",")...)
	}
	return out
}

// imageSigner signs images with the key that also signs the checksums.
type imageSigner struct{ *sign.ECDSA }

// SignPayload implements oci.Signer.
func (s imageSigner) SignPayload(payload []byte) (string, error) {
	signature, err := s.Sign("", payload, time.Time{})
	return strings.TrimSpace(string(signature)), err
}

// checkImage refuses options that no image can have. If the output names a file, the
// output directory is that file's.
func checkImage(o *Single) error {
	if len(o.Values.List("stage")) > 0 && (len(o.Pythons) > 0 || len(o.FromEnv) > 0) {
		return fault.New(fault.Usage, "leave one of them out", "--stage packages an existing copy, whereas --python and --from-env build or package on this machine")
	}
	if len(o.Pythons) > 1 || len(o.FromEnv) > 1 {
		return fault.New(fault.Usage, "run it once for each", "an image is for one Python")
	}
	if len(o.Values.List("stage")) > 0 && len(o.targets) > 0 {
		return fault.New(fault.Usage, "leave one of them out", "--stage packages an existing copy, whereas --target is about building")
	}
	for k, t := range o.targets {
		if o.twin(t) {
			return fault.New(fault.Usage, "make an image for one of them, or one after another", "--target %s: an index of images has one for each CPU", o.For[k])
		}
	}
	for _, suffix := range []string{".tar", ".tar.gz", ".tar.zst"} {
		if strings.HasSuffix(o.Out, suffix) {
			o.Values["file_name"], o.Out = filepath.Base(o.Out), filepath.Dir(o.Out)
			break
		}
	}
	options, err := image(&Work{Settings: &o.Settings, Values: o.Values, Base: o.Abs})
	if err != nil {
		return err
	}
	return options.Check()
}

// reachImage checks, before anything is built, that the registry accepts the push.
func reachImage(ctx context.Context, w *Work) error {
	options, err := image(w)
	if err != nil {
		return err
	}
	return options.CheckPush(ctx)
}

// imageTrees reads copies of environments.
func imageTrees(o *Single, at time.Time) ([]*Tree, error) {
	var all []*Tree
	for _, dir := range o.Values.List("stage") {
		in, err := oci.ReadStage(dir, at)
		if err != nil {
			return nil, err
		}
		all = append(all, &Tree{Stage: in.Stage, source: dir, image: in})
	}
	return all, nil
}

func writeImage(ctx context.Context, w *Work) ([]string, error) {
	o, err := image(w)
	if err != nil {
		return nil, err
	}
	if w.Label != "" {
		s := w.Stage()
		o.Name = fmt.Sprintf("mod_wsgi-%s-httpd%s-%s-%s-%s.oci.tar", s.Module.Version, s.HTTPD.Version, w.Label, s.Module.Python.ABI, w.platform())
	} else if w.Twin != "" {
		s := w.Stage()
		o.Name = fmt.Sprintf("mod_wsgi-%s-httpd%s-%s-%s.oci.tar", s.Module.Version, s.HTTPD.Version, s.Module.Python.ABI, w.platform())
	}
	bare := w.Values.Flag("no_packages") || !w.Values.Flag("packages")
	var inputs []oci.Input
	var warnings []string
	for _, t := range w.Trees {
		in := imageInput(t, bare)
		from, err := w.origin(t, true)
		if err != nil {
			return nil, err
		}
		in.Choices, in.Facts, in.Inputs = from.choices, from.facts, from.inputs
		inputs = append(inputs, in)
		if t.For != nil && !bare {
			warnings = append(warnings, "the image for "+t.Target+" has no packages of a Python environment: install them in the base, or into the directory of --app (pip install --target, with --platform and --only-binary), and pass --no-packages")
		}
	}
	r, err := oci.Write(ctx, w.Dist, inputs, o)
	if err != nil {
		return nil, err
	}
	r.Warnings = append(warnings, r.Warnings...)
	w.Fact(factDigest, r.Digest)
	w.Fact(factPushed, r.Pushed)
	w.Fact(factSignature, r.Signature)
	w.Fact(factLayout, o.Layout)
	return r.Warnings, nil
}

// platform is the part of a name about the system that the only tree of a job is for.
func (w *Work) platform() string {
	name := "linux-" + runtime.GOARCH
	if c := w.Tree().For; c != nil {
		name = c.Target().OS + "-" + c.Target().Arch
	}
	if w.Twin != "" {
		name += "-" + w.Twin
	}
	return name
}

// fromNothing reports whether an image has the Python and the libraries in it.
func fromNothing(v Values) bool {
	return orText(v.Text("base"), oci.Scratch) == oci.Scratch && !v.Flag("layer_only")
}

// fitsImage refuses a sysroot without the Pythons that an image without a base consists of.
func fitsImage(_ *Settings, c *installer.Cross, v Values) ([]string, error) {
	if !fromNothing(v) {
		return nil, nil
	}
	for _, p := range c.Sysroot.Pythons {
		if !c.HasPython(p.Wanted) {
			return nil, fault.New(fault.Usage, "name a base with --base that has that Python, or an SDK with the whole Python, for that C library",
				"an image without a base contains Python %s of %s, but %s has no interpreter with its standard library", p.Wanted, c.Target(), p.Source)
		}
	}
	return nil, nil
}

// imageInput selects which parts of a tree and its Python go into an image: with the
// installed packages, unless bare.
func imageInput(t *Tree, bare bool) oci.Input {
	var in oci.Input
	if t.image != nil {
		in = *t.image
	} else {
		in = interpreter(t.Stage, t.Python)
	}
	if t.For != nil {
		in = elsewhere(t)
	}
	if bare {
		in.Env = nil
	}
	return in
}

// elsewhere is the Python of a tree for another system. It has no environment.
func elsewhere(t *Tree) oci.Input {
	system, root := t.For.Target(), t.pythonRoot()
	py := &oci.Interpreter{Prefix: t.Python.BasePrefix, Executable: t.Python.Executable, Version: t.Python.Version}
	if rel, err := filepath.Rel(root, py.Executable); err == nil {
		if real, err := filetree.Resolve(root, rel); err == nil {
			py.Executable = real
		}
	}
	return oci.Input{Stage: t.Stage, Python: py, System: &oci.System{Root: t.For.Sysroot.Dir, Name: t.For.Sysroot.Distribution(), Python: root, CPU: system.Machine(), Limit: limit(system)}}
}

// interpreter is a Python on this machine, and its environment if it is one.
func interpreter(s *packaging.Stage, py *detect.Python) oci.Input {
	in := oci.Input{Stage: s, Python: &oci.Interpreter{Prefix: py.BasePrefix, Executable: py.Executable, Version: py.Version}}
	if real, err := filepath.EvalSymlinks(py.Executable); err == nil {
		in.Python.Executable = real
	}
	if py.Prefix == py.BasePrefix {
		return in
	}
	in.Env = &oci.Environment{Prefix: py.Prefix, Site: []string{py.Purelib}, Bin: py.Scripts}
	if py.Platlib != py.Purelib {
		a, aerr := filepath.EvalSymlinks(py.Purelib)
		b, berr := filepath.EvalSymlinks(py.Platlib)
		if aerr != nil || berr != nil || a != b {
			in.Env.Site = append(in.Env.Site, py.Platlib)
		}
	}
	return in
}
