package cli

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"modwsgi/installer"
	"modwsgi/internal/event"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/run"
	"modwsgi/internal/version"
	"modwsgi/packaging"
	"modwsgi/packaging/licence"
	"modwsgi/packaging/linkage"
	"modwsgi/packaging/release"
	"modwsgi/packaging/sign"
	"modwsgi/packaging/wheel"
)

// pack is the command group for release artifacts.
func (a *app) pack() *cobra.Command {
	c := &cobra.Command{
		Use: "package", Short: "Make release artifacts: wheels, images, packages for Linux and Windows",
		Long: "package builds httpd and mod_wsgi outside of every environment (or takes what is installed in one) and\n" +
			"turns them into files for others to install: wheels for pip, a source distribution, a container image, deb, rpm\n" +
			"and apk packages, and a zip and a wheel for Apache on Windows. With them come checksums, a bill of materials\n" +
			"and a statement of where they are from; wheels and source distributions also get a package index. Each\n" +
			"command makes one format; --matrix makes all that a file describes. The same inputs give the same bytes;\n" +
			"SOURCE_DATE_EPOCH sets their date.",
		Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.packWheel(), a.packSdist(), a.packLocal(), a.packWindows(), a.packVerify())
	c.AddCommand(a.packLinux()...)
	addPackCommands(a, c) // image, and the flags of a matrix
	return c
}

// packOptions are the flags that all formats share.
type packOptions struct {
	request    installer.Request
	pythons    []string
	fromEnv    []string
	out        string
	overwrite  bool
	bundle     string
	allow      []string
	openpgp    string
	minisign   string
	ecdsa      string
	passphrase string
	builder    string
}

func (o *packOptions) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringArrayVar(&o.pythons, "python", nil, pythonHelp+"; repeatable, all for one httpd")
	f.StringArrayVar(&o.fromEnv, "from-env", nil, "package what modwsgi installed in this environment, instead of building (repeatable)")
	o.outFlags(f)
	f.StringVar(&o.bundle, "bundle", "auto", "libraries that not every system has: auto takes them along, none refuses them")
	f.StringSliceVar(&o.allow, "allow-foreign", nil, "library that every target has, as in libssl.so.3; not taken along (repeatable)")
	o.signFlags(f)
	q := &o.request
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of httpd, as in 2.4.71 or \"~> 2.4.68\"")
	f.StringVar(&q.ModWSGIVersion, "mod-wsgi-version", "", "version or constraint of mod_wsgi, as in 5.0.2 or \"~> 5.0\"")
	f.StringSliceVar(&q.With, "with", nil, "features that httpd must have, as in tls,http2")
	f.StringSliceVar(&q.Without, "without", nil, "features that it must not have")
	sourceFlags(f, q)
	f.BoolVar(&q.Locked, "locked", false, "take exactly what the lock file says, or fail")
	f.StringVar(&q.LockFile, "lock-file", "", "where versions and hashes are recorded (default modwsgi.lock)")
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "build what a known advisory warns of")
	jobsFlag(f, &q.Jobs)
	f.StringVar(&q.CacheDir, "cache-dir", "", "downloads, builds and logs (default ~/.cache/modwsgi)")
	sharedFlags(f, q)
}

// outFlags are about where the artifacts go.
func (o *packOptions) outFlags(f *pflag.FlagSet) {
	f.StringVar(&o.out, "out", "dist", "directory for the artifacts; those of earlier runs stay in it")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace artifacts of the same name that have another content")
}

// signFlags are about what is said of the artifacts.
func (o *packOptions) signFlags(f *pflag.FlagSet) {
	f.StringVar(&o.openpgp, "sign-openpgp", "", "file with an OpenPGP private key to sign the checksums with")
	f.StringVar(&o.minisign, "sign-minisign", "", "file with a minisign private key to sign the checksums with")
	f.StringVar(&o.ecdsa, "sign-ecdsa", "", "file with a P-256 private key in PEM to sign the checksums with, as cosign does")
	f.StringVar(&o.passphrase, "sign-passphrase-file", "", "file whose first line is the passphrase of the key")
	f.StringVar(&o.builder, "builder-id", "", "URI of who builds, for the provenance statement")
}

// sourceFlags are about where archives come from.
func sourceFlags(f *pflag.FlagSet, q *installer.Request) {
	f.StringArrayVar(&q.SourceDirs, "source-dir", nil, "directory with source archives, asked first (repeatable)")
	f.StringArrayVar(&q.Mirrors, "mirror", nil, "base address with source archives, asked before upstream (repeatable)")
	f.BoolVar(&q.Offline, "offline", false, "never use the network")
}

// check refuses flags that contradict each other before anything is built.
func (o *packOptions) check() error {
	if o.bundle != "auto" && o.bundle != "none" {
		return fault.New(fault.Usage, "give auto or none", "--bundle %q is not known", o.bundle)
	}
	if len(o.pythons) > 0 && len(o.fromEnv) > 0 {
		return fault.New(fault.Usage, "give one of them", "--python builds, and --from-env takes what is built")
	}
	if q := o.request; len(o.fromEnv) > 0 {
		for _, f := range []struct {
			flag  string
			given bool
		}{
			{"--httpd-version", q.HTTPDVersion != ""},
			{"--mod-wsgi-version", q.ModWSGIVersion != ""},
			{"--with", len(q.With) > 0},
			{"--without", len(q.Without) > 0},
			{"--locked", q.Locked},
			{"--cache", q.Cache != ""},
		} {
			if f.given {
				return fault.New(fault.Usage, "leave one of them out", "%s is about building, and --from-env takes what is built", f.flag)
			}
		}
	}
	if strings.TrimSpace(o.out) == "" {
		return fault.New(fault.Usage, "name a directory", "--out is empty")
	}
	return nil
}

func (a *app) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(a.Dir, path)
}

// signers reads the keys, before anything is built.
func (a *app) signers(o *packOptions) ([]release.Signer, error) {
	path := func(name string) string {
		if name == "" {
			return ""
		}
		return a.abs(name)
	}
	return sign.Keys{OpenPGP: path(o.openpgp), Minisign: path(o.minisign), ECDSA: path(o.ecdsa), PassphraseFile: path(o.passphrase)}.Signers(a.Now)
}

// sourceDate is the time of everything in an artifact
// (https://reproducible-builds.org/specs/source-date-epoch/); without one it is
// the first that archives know.
func sourceDate(env []string) (time.Time, error) {
	text := run.Getenv(env, "SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxUint32 {
		return time.Time{}, fault.New(fault.Usage, "set it to seconds since 1970, as in SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)", "SOURCE_DATE_EPOCH is %q", text)
	}
	return time.Unix(n, 0).UTC(), nil
}

// format writes artifacts of some stages, and returns what a user should know.
type format func(context.Context, *packaging.Dist, []*packaging.Stage) ([]string, error)

// makePackages builds, or takes what is built, lets a format write, and adds what
// all artifacts get.
func (a *app) makePackages(ctx context.Context, o *packOptions, write format) error {
	began := time.Now()
	if err := o.check(); err != nil {
		return err
	}
	if err := a.start(); err != nil {
		return err
	}
	at, err := sourceDate(a.Env)
	if err != nil {
		return err
	}
	signers, err := a.signers(o)
	if err != nil {
		return err
	}
	d, err := a.openDist(ctx, a.abs(o.out), o.overwrite)
	if err != nil {
		return err
	}
	defer d.Abort()
	builds, err := a.builds(ctx, o)
	for _, b := range builds {
		defer b.Close()
	}
	if err != nil {
		return err
	}
	var stages []*packaging.Stage
	for _, b := range builds {
		stages = append(stages, stageOf(b, at))
	}
	err = a.writePackages(ctx, d, stages, write, release.Options{
		Time: at, Tool: version.Release, Builder: o.builder, Parameters: environment(stages, at), Signers: signers,
	})
	if err != nil {
		return err
	}
	a.view.close()
	return a.showArtifacts(d, time.Since(began))
}

// writePackages lets a format write, describes the result and makes it appear.
func (a *app) writePackages(ctx context.Context, d *packaging.Dist, stages []*packaging.Stage, write format, o release.Options) error {
	events := a.view.sink()
	err := events.Step("package", func() error {
		warnings, err := write(ctx, d, stages)
		for _, w := range warnings {
			events.Warn(w)
		}
		return err
	})
	if err != nil {
		return err
	}
	return events.Step("describe and sign", func() error {
		if err := release.Finish(ctx, d, o); err != nil {
			return err
		}
		return d.Commit()
	})
}

// builds makes the stages.
func (a *app) builds(ctx context.Context, o *packOptions) ([]*installer.Staged, error) {
	q, base := o.request, a.request()
	q.Dir, q.Env, q.ToolsDir, q.Runner, q.Events = base.Dir, base.Env, base.ToolsDir, base.Runner, base.Events
	q.LockTimeout = base.LockTimeout
	q.With, q.Without = splitList(q.With), splitList(q.Without)
	if len(o.fromEnv) == 0 {
		pythons := o.pythons
		if len(pythons) == 0 {
			pythons = []string{""}
		}
		return installer.StageAll(ctx, q, pythons)
	}
	var all []*installer.Staged
	for _, env := range o.fromEnv {
		q.Python = env
		s, err := installer.StageInstalled(ctx, q)
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

// stageOf tells packaging what installer has made.
func stageOf(b *installer.Staged, at time.Time) *packaging.Stage {
	py, r := b.Python, b.Receipt
	tag := fmt.Sprintf("cp%d%d", py.Major, py.Minor)
	s := &packaging.Stage{Site: b.Site, Bin: b.Bin, Time: at, Tool: version.Release}
	s.Module = &packaging.Module{
		Package: "mod_wsgi", File: "mod_wsgi/server/" + r.Module.File, Receipt: receipt.Path, Version: r.Module.Version, Key: r.Key,
		HTTPD: r.HTTPD.Version, Bundled: r.HTTPD.Provenance == "bundled", Components: sourceComponents(b.Module),
		Python: packaging.Python{
			Version: py.Version, Tag: tag, ABI: tag + py.ABIFlags, SOABI: py.SOABI, Platform: py.Platform, LibPython: py.LibPython,
			Shared: py.LibShared, FreeThreaded: py.FreeThreaded,
		},
	}
	if h := b.HTTPD; h != nil {
		s.HTTPD = &packaging.HTTPD{
			Dir: "mod_wsgi_packages/httpd", Package: "mod_wsgi_packages", Version: h.Version, Features: h.Features, Key: h.Key,
			Compiler: h.Compiler, Libc: h.Libc, Components: sourceComponents(h.Sources),
		}
	}
	return s
}

// sourceComponents tells packaging what archives something was made of.
func sourceComponents(sources []installer.Source) []packaging.Component {
	var all []packaging.Component
	for _, s := range sources {
		c := packaging.SourceComponent(s.Component, s.Version, licence.OfSource(s.Component), s.SHA256)
		c.Trust, c.URL, c.File = s.Trust, s.URL, s.File
		all = append(all, c)
	}
	return all
}

// environment is what of the build environment goes into the provenance.
func environment(stages []*packaging.Stage, at time.Time) map[string]string {
	all := map[string]string{"source_date_epoch": strconv.FormatInt(at.Unix(), 10)}
	for _, s := range stages {
		if s.HTTPD != nil {
			all["compiler"], all["libc"] = s.HTTPD.Compiler, s.HTTPD.Libc
		}
	}
	return all
}

func (a *app) packWheel() *cobra.Command {
	var o packOptions
	var w wheel.Options
	c := &cobra.Command{
		Use: "wheel", Args: noArgs,
		Short: "Make wheels of httpd and mod_wsgi that pip installs without a compiler",
		Long: "wheel makes two kinds of wheels: mod_wsgi_httpd, which is httpd for any Python 3, and mod_wsgi for each\n" +
			"Python that is named. What they need of a system is read from the binaries and becomes their platform tag;\n" +
			"libraries that not every such system has are taken along. A directory of them is also a package index.",
		Example: "  modwsgi package wheel --python .venv\n" +
			"  modwsgi package wheel --python python3.11 --python python3.12 --with http2 --sign-minisign release.key\n" +
			"  pip install --no-index --find-links dist mod_wsgi",
		RunE: func(c *cobra.Command, _ []string) error {
			w.Bundle, w.Allow = o.bundle == "auto", splitList(o.allow)
			if w.Metadata != "2.1" && w.Metadata != "2.4" {
				return fault.New(fault.Usage, "give 2.1 or 2.4", "--metadata-version %q is not known", w.Metadata)
			}
			if w.Build < 0 {
				return fault.New(fault.Usage, "give a number from 1", "--build-number %d makes no sense", w.Build)
			}
			return a.makePackages(c.Context(), &o, func(ctx context.Context, d *packaging.Dist, stages []*packaging.Stage) ([]string, error) {
				return writeWheels(ctx, d, stages, w, a.view.sink())
			})
		},
	}
	o.flags(c.Flags())
	c.Flags().StringVar(&w.Metadata, "metadata-version", "2.1", "core metadata: 2.1, which all tools read, or 2.4 with fields for licences (PEP 639)")
	c.Flags().StringVar(&w.Local, "local-version", "", "label that goes behind upstream's version, as in 5.0.2+LABEL")
	c.Flags().IntVar(&w.Build, "build-number", 0, "which of several wheels of one version is the newest")
	return c
}

// wheelMaker is wheel.HTTPD or wheel.Module.
type wheelMaker func(context.Context, *packaging.Dist, *packaging.Stage, wheel.Options) (*packaging.Artifact, []string, error)

// wheelJob is one wheel of a stage.
type wheelJob struct {
	make  wheelMaker
	stage *packaging.Stage
}

// wheelJobs are one wheel of the httpd, and one of each module.
func wheelJobs(stages []*packaging.Stage, events event.Sink) ([]wheelJob, error) {
	var jobs []wheelJob
	seen, httpds := map[string]bool{}, map[string]string{}
	for _, s := range stages {
		if s.HTTPD != nil {
			if key, there := httpds[s.HTTPD.Version]; there && key != s.HTTPD.Key {
				return nil, fault.New(fault.Usage, "package them into two directories",
					"the environments have two builds of httpd %s, of which one wheel can be made", s.HTTPD.Version)
			} else if !there {
				httpds[s.HTTPD.Version] = s.HTTPD.Key
				jobs = append(jobs, wheelJob{wheel.HTTPD, s})
			}
		}
		if id := s.Module.Python.ABI; seen[id] {
			events.Note("there is more than one Python for " + id + ": the first one's module is taken, which serves all of them")
			continue
		}
		seen[s.Module.Python.ABI] = true
		jobs = append(jobs, wheelJob{wheel.Module, s})
	}
	return jobs, nil
}

// writeWheels makes the wheels side by side.
func writeWheels(ctx context.Context, d *packaging.Dist, stages []*packaging.Stage, o wheel.Options, events event.Sink) ([]string, error) {
	o.Host = linkage.Host{Root: "/"}
	jobs, err := wheelJobs(stages, events)
	if err != nil {
		return nil, err
	}
	warnings := make([][]string, len(jobs))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(min(8, runtime.NumCPU()))
	for k, j := range jobs {
		group.Go(func() (err error) {
			_, warnings[k], err = j.make(gctx, d, j.stage, o)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(warnings...)
	slices.Sort(all)
	return slices.Compact(all), nil
}

// showArtifacts is the summary.
func (a *app) showArtifacts(d *packaging.Dist, took time.Duration) error {
	added := d.Added()
	slices.SortFunc(added, func(x, y packaging.Artifact) int { return strings.Compare(x.Name, y.Name) })
	if a.flags.json {
		writeJSON(a.Stdout, struct {
			Event     string               `json:"event"`
			Directory string               `json:"directory"`
			Artifacts []packaging.Artifact `json:"artifacts"`
			Elapsed   time.Duration        `json:"elapsed_ns"`
		}{"result", d.Dir(), added, took})
		return nil
	}
	_, _ = fmt.Fprintf(a.Stdout, "\nIn %s, made in %s:\n", d.Dir(), seconds(took))
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, art := range added {
		_, _ = fmt.Fprintf(t, "  %s\t%.1f MB\t%s\n", art.Name, float64(art.Size)/1e6, seconds(art.Took))
	}
	_ = t.Flush()
	for _, art := range added {
		if len(art.Libraries) > 0 {
			_, _ = fmt.Fprintf(a.Stdout, "%s brings along %s\n", art.Project, strings.Join(art.Libraries, ", "))
		}
	}
	if slices.ContainsFunc(added, func(art packaging.Artifact) bool { return art.Kind == "wheel" }) {
		_, _ = fmt.Fprintf(a.Stdout, "Next: pip install --no-index --find-links %s mod_wsgi\n", run.Quote(d.Dir()))
	}
	return nil
}
