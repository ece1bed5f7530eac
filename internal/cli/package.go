package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/matrix"
	"modwsgi/packaging/produce"
	"modwsgi/packaging/sign"
)

// pack is the command group for release artifacts.
func (a *app) pack() *cobra.Command {
	c := &cobra.Command{
		Use: "package", Short: "Build release artifacts: wheels, images, packages for Linux and Windows",
		Long: "package builds httpd and mod_wsgi outside any environment (or takes those installed in one) and\n" +
			"turns them into files that others can install: wheels for pip, a source distribution, a container image, deb, rpm\n" +
			"and apk packages, and a zip and a wheel for Apache on Windows. It adds checksums, a bill of materials\n" +
			"and a provenance statement; wheels and source distributions also get a package index. Each\n" +
			"command makes one format; --matrix makes a whole release from a file. The same inputs produce the same bytes;\n" +
			"SOURCE_DATE_EPOCH sets their date.",
		Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	for _, f := range produce.Formats() {
		if f.Command.Use != "" {
			c.AddCommand(a.packFormat(f))
		}
	}
	c.AddCommand(a.packLocal(), a.packWindows(), a.packMerge(), a.packVerify(), a.packPublish())
	a.packMatrix(c)
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
	target     targetFlags
}

func (o *packOptions) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringArrayVar(&o.pythons, "python", nil, pythonHelp+"; repeatable, all for the same httpd")
	f.StringArrayVar(&o.fromEnv, "from-env", nil, "package what modwsgi installed in this environment, instead of building (repeatable)")
	o.target.add(f, true)
	o.outFlags(f)
	f.StringVar(&o.bundle, "bundle", "auto", "libraries that some systems lack: auto bundles them, none refuses them")
	f.StringSliceVar(&o.allow, "allow-foreign", nil, "library that every target has, as in libssl.so.3; never bundled (repeatable)")
	o.signFlags(f)
	q := &o.request
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of httpd, as in 2.4.71 or \"~> 2.4.68\"")
	f.StringVar(&q.ModWSGIVersion, "mod-wsgi-version", "", "version or constraint of mod_wsgi, as in 5.0.2 or \"~> 5.0\"")
	f.StringSliceVar(&q.With, "with", nil, "features to include in httpd, as in tls,http2")
	f.StringSliceVar(&q.Without, "without", nil, "features to leave out")
	librariesFlag(f, &q.Libraries)
	hardeningFlag(f, &q.Hardening)
	f.BoolVar(&q.DebugSymbols, "debug-symbols", false, "also package debugging information: as NAME-dbgsym, -debuginfo or -dbg, or as an archive beside the artifact")
	sourceFlags(f, q)
	f.BoolVar(&q.Locked, "locked", false, "use exactly what the lock file records, or fail")
	f.StringVar(&q.LockFile, "lock-file", "", "file that records versions and hashes (default modwsgi.lock)")
	f.BoolVar(&q.Upgrade, "upgrade", false, "look for newer versions even if the lock file has others")
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "build and package versions with known vulnerabilities")
	jobsFlag(f, &q.Jobs)
	f.StringVar(&q.CacheDir, "cache-dir", "", "directory for downloads, builds and logs (default ~/.cache/modwsgi)")
	sharedFlags(f, q)
}

// outFlags adds the flags about the output directory.
func (o *packOptions) outFlags(f *pflag.FlagSet) {
	f.StringVar(&o.out, "out", "dist", "output directory; it keeps the artifacts of earlier runs")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace existing artifacts whose contents differ")
}

// signFlags adds the flags about signatures and provenance.
func (o *packOptions) signFlags(f *pflag.FlagSet) {
	f.StringVar(&o.openpgp, "sign-openpgp", "", "file with an OpenPGP private key to sign the checksums with")
	f.StringVar(&o.minisign, "sign-minisign", "", "file with a minisign private key to sign the checksums with")
	f.StringVar(&o.ecdsa, "sign-ecdsa", "", "file with a P-256 private key in PEM to sign the checksums and the provenance statements with, as cosign does")
	f.StringVar(&o.passphrase, "sign-passphrase-file", "", "file whose first line is the passphrase of the key")
	f.StringVar(&o.builder, "builder-id", "", "URI of the builder, for the provenance statement")
}

// archiveFlags adds the flags about which source archives to collect.
func (o *packOptions) archiveFlags(f *pflag.FlagSet) {
	q := &o.request
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of httpd, as in 2.4.71 or \"~> 2.4.68\"")
	f.StringVar(&q.ModWSGIVersion, "mod-wsgi-version", "", "version or constraint of mod_wsgi, as in 5.0.2 or \"~> 5.0\"")
	f.StringVar(&q.Libraries, "libraries", "auto", "bundled adds the archives of the libraries of httpd's features")
	f.StringSliceVar(&q.With, "with", nil, "features whose libraries are added besides those of the default ones")
	sourceFlags(f, q)
	f.BoolVar(&q.Locked, "locked", false, "use exactly what the lock file records, or fail")
	f.StringVar(&q.LockFile, "lock-file", "", "file with the versions to prefer (default modwsgi.lock)")
	f.BoolVar(&q.Upgrade, "upgrade", false, "look for newer versions even if the lock file has others")
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "accept versions with known vulnerabilities")
	f.StringVar(&q.CacheDir, "cache-dir", "", "directory for downloads (default ~/.cache/modwsgi)")
}

// sourceFlags adds the flags about where archives come from.
func sourceFlags(f *pflag.FlagSet, q *installer.Request) {
	f.StringArrayVar(&q.SourceDirs, "source-dir", nil, "directory with source archives, tried first (repeatable)")
	f.StringArrayVar(&q.Mirrors, "mirror", nil, "base URL with source archives, tried before upstream (repeatable)")
	f.BoolVar(&q.Offline, "offline", false, "never use the network")
}

// check refuses flags that contradict each other before anything is built.
func (o *packOptions) check() error {
	if o.bundle != "auto" && o.bundle != "none" {
		return fault.New(fault.Usage, "use auto or none", "unknown --bundle %q", o.bundle)
	}
	if len(o.pythons) > 0 && len(o.fromEnv) > 0 {
		return fault.New(fault.Usage, "leave one of them out", "--python builds, whereas --from-env packages an existing build")
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
			{"--libraries", q.Libraries != "" && q.Libraries != "auto"},
			{"--hardening", q.Hardening != "" && q.Hardening != "auto"},
			{"--debug-symbols", q.DebugSymbols},
			{"--locked", q.Locked},
			{"--upgrade", q.Upgrade},
			{"--cache", q.Cache != ""},
		} {
			if f.given {
				return fault.New(fault.Usage, "leave one of them out", "%s is about building, whereas --from-env packages an existing build", f.flag)
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

// keys are the private key files that the flags name.
func (a *app) keys(o *packOptions) sign.Keys {
	return sign.Keys{OpenPGP: a.absOr(o.openpgp), Minisign: a.absOr(o.minisign), ECDSA: a.absOr(o.ecdsa), PassphraseFile: a.absOr(o.passphrase)}
}

// settings are the settings that every front end of packaging/produce takes.
func (a *app) settings(o *packOptions) produce.Settings {
	q := o.request
	q.Dir, q.Env, q.ToolsDir, q.LockTimeout, q.System = a.Dir, a.Env, a.toolsDir(), a.flags.locks, a.System
	q.With, q.Without = splitList(q.With), splitList(q.Without)
	return produce.Settings{
		Out: a.abs(o.out), Overwrite: o.overwrite, Keys: a.keys(o), Builder: o.builder, Build: q, LockLimit: a.lockLimit(), Pace: a.pace(),
		Now: a.Now, Abs: a.abs,
	}
}

// begin opens the view and connects the run to it.
func (a *app) begin(s *produce.Settings) error {
	if err := a.start(); err != nil {
		return err
	}
	s.Build.Runner, s.Build.Events = a.runner(), a.view.sink()
	return nil
}

// packFormat is the command of one format.
func (a *app) packFormat(f produce.Format) *cobra.Command {
	var o packOptions
	c := &cobra.Command{Use: f.Command.Use, Args: formatArgs(f.Command.Arguments), Short: f.Command.Short, Long: f.Command.Long, Example: f.Command.Example}
	var given func() produce.Values
	if f.From == produce.NoTree {
		o.bundle = "auto" // a source distribution has nothing to bundle
		c.Flags().SortFlags = false
		o.outFlags(c.Flags())
		given = optionFlags(c.Flags(), f)
		o.signFlags(c.Flags())
		o.archiveFlags(c.Flags())
	} else {
		o.flags(c.Flags())
		for _, name := range []string{"bundle", "allow-foreign"} {
			if !slices.ContainsFunc(f.Options, func(option produce.Option) bool { return option.Flag() == name }) {
				_ = c.Flags().MarkHidden(name)
			}
		}
		given = optionFlags(c.Flags(), f)
		if f.Foreign == nil { // they are refused with a reason
			for _, name := range targetNames {
				_ = c.Flags().MarkHidden(name)
			}
		}
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if f.Command.NoBundle != nil && c.Flags().Changed("bundle") {
			return f.Command.NoBundle()
		}
		v := given()
		v["bundle"], v["allow_foreign"], v["args"] = o.bundle, splitList(o.allow), args
		run := &produce.Single{Settings: a.settings(&o), Format: f, Values: v, Pythons: o.pythons, FromEnv: o.fromEnv, For: o.target.targets}
		targets, err := o.target.complete(a, o.pythons)
		if err != nil {
			return err
		}
		run.Targets = targets
		if err := run.Check(); err != nil {
			return err
		}
		if err := o.check(); err != nil {
			return err
		}
		if err := a.begin(&run.Settings); err != nil {
			return err
		}
		r, err := run.Run(c.Context())
		if err != nil {
			return err
		}
		a.view.close()
		return a.showMade(r, f, f.Command.Next(r, run.Values))
	}
	return c
}

// showUnproven lists why artifacts were not tried.
func showUnproven(w io.Writer, all []packaging.Artifact) {
	var seen []string
	for _, art := range all {
		if line := art.Target + ": " + art.Unproven; art.Unproven != "" && !slices.Contains(seen, line) {
			seen = append(seen, line)
			_, _ = fmt.Fprintln(w, "unproven, "+line)
		}
	}
}

// formatArgs accepts positional arguments only after "--", described by a hint; with
// "" it accepts none.
func formatArgs(hint string) cobra.PositionalArgs {
	if hint == "" {
		return noArgs
	}
	return func(c *cobra.Command, args []string) error {
		if n := c.ArgsLenAtDash(); len(args) > 0 && n != 0 {
			return fault.New(fault.Usage, hint, "unexpected argument %q", args[0])
		}
		return nil
	}
}

// optionFlags adds a flag for each option of a format that has a help text, and
// returns a function that reads their values.
func optionFlags(flags *pflag.FlagSet, f produce.Format) func() produce.Values {
	read := map[string]func() any{}
	for _, o := range f.Options {
		if o.Help == "" {
			continue
		}
		switch o.Kind {
		case matrix.Text:
			text, _ := o.Default.(string)
			p := flags.String(o.Flag(), text, o.Help)
			read[o.Name] = func() any { return *p }
		case matrix.Number:
			number, _ := o.Default.(int)
			p := flags.Int(o.Flag(), number, o.Help)
			read[o.Name] = func() any { return *p }
		case matrix.Flag:
			on, _ := o.Default.(bool)
			p := flags.Bool(o.Flag(), on, o.Help)
			read[o.Name] = func() any { return *p }
		case matrix.Strings:
			p := flags.StringArray(o.Flag(), nil, o.Help)
			read[o.Name] = func() any { return *p }
		}
	}
	return func() produce.Values {
		v := produce.Values{}
		for name, value := range read {
			v[name] = value()
		}
		return v
	}
}

// showMade prints the summary of one format.
func (a *app) showMade(r *produce.Result, f produce.Format, next []string) error {
	var added []packaging.Artifact
	for _, m := range r.Artifacts {
		added = append(added, m.Artifact)
	}
	sort.SliceStable(added, func(i, j int) bool { return added[i].Name < added[j].Name })
	if a.flags.json {
		result := map[string]any{"event": "result", "directory": r.Dir, "artifacts": added, "elapsed_ns": r.Elapsed}
		for name, fact := range r.Facts {
			result[name] = fact
		}
		writeJSON(a.Stdout, result)
		return nil
	}
	_, _ = fmt.Fprintf(a.Stdout, "\nIn %s, made in %s:\n", r.Dir, seconds(r.Elapsed))
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, art := range added {
		last := seconds(art.Took)
		if f.From == produce.AllTrees { // the elapsed time above is its time
			last = art.Platform
		}
		if art.Unproven != "" {
			last += "\tunproven"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%.1f MB\t%s\n", art.Name, float64(art.Size)/1e6, last)
	}
	_ = t.Flush()
	showUnproven(a.Stdout, added)
	for _, line := range next {
		_, _ = fmt.Fprintln(a.Stdout, line)
	}
	return nil
}
