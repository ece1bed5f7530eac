package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/httpdbuild"
	"modwsgi/installer"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
	"modwsgi/internal/version"
)

// errorRecord is the last line of --json after a failure.
type errorRecord struct {
	Event    string   `json:"event"` // "error"
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
	ExitCode int      `json:"exit_code"`
	Log      string   `json:"log,omitempty"`
	Tail     []string `json:"tail,omitempty"`
}

func writeJSON(w io.Writer, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		data = []byte(`{"event":"error","message":"encode result"}`)
	}
	_, _ = w.Write(append(data, '\n'))
}

// request returns a request with the settings that all commands share.
func (a *app) request() installer.Request {
	return installer.Request{Means: installer.Means{
		Setting:  installer.Setting{Dir: a.Dir, Env: a.Env, LockTimeout: a.flags.locks, Runner: a.runner(), Events: a.view.sink(), System: a.System},
		ToolsDir: a.toolsDir(),
	}}
}

const pythonHelp = "interpreter, environment directory, or any program in its bin directory\n(default: an activated environment, else .venv)"

func (a *app) install() *cobra.Command {
	var q installer.Request
	var dryRun bool
	var timings string
	c := &cobra.Command{
		Use: "install", Args: noArgs,
		Short: "Install httpd and mod_wsgi into a Python environment",
		Long: "install finds the Python and an httpd (or builds one into the environment), builds mod_wsgi for exactly\n" +
			"that pair, installs both as normal distributions, and proves with a real request that they work.\n" +
			"If it fails, the environment stays as it was. A second install reports if there is nothing to do. It keeps an\n" +
			"httpd that you chose by path until you pass another --httpd. A project can keep these options in the table\n" +
			"[tool.modwsgi] of pyproject.toml; see docs/guides/project-settings.md.\n\n" + featureHelp(),
		Example: "  modwsgi install --python .venv\n" +
			"  modwsgi install --python /srv/app/bin/pip --httpd bundled --with http2\n" +
			"  modwsgi install --mod-wsgi-version \"~> 5.0\" --source-dir ./sources --offline",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			base := a.request()
			q.Dir, q.Env, q.ToolsDir, q.Runner, q.Events = base.Dir, base.Env, base.ToolsDir, base.Runner, base.Events
			q.LockTimeout, q.System = base.LockTimeout, base.System
			project, err := a.project(c)
			if err != nil {
				return err
			}
			q.Python = a.python(q.Python)
			q.With, q.Without = splitList(q.With), splitList(q.Without)
			if dryRun {
				plan, err := installer.MakePlan(c.Context(), q)
				if err != nil {
					return project.explain(err)
				}
				a.view.close()
				return a.showPlan(plan, project)
			}
			show, err := a.timings(timings, &q)
			if err != nil {
				return err
			}
			project.note(q.Events)
			report, err := installer.Install(c.Context(), q.Means, q.Plan)
			show(report, err)
			if err != nil {
				return project.explain(err)
			}
			a.view.close()
			return a.showReport(report, project)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&q.Python, "python", "", pythonHelp)
	f.StringVar(&q.HTTPD, "httpd", "auto", "auto, bundled, system, or a path to apxs, httpd or an httpd tree")
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of a bundled httpd, as in 2.4.71 or \"~> 2.4.68\"")
	f.StringVar(&q.ModWSGIVersion, "mod-wsgi-version", "", "version or constraint of mod_wsgi, as in 5.0.2 or \"~> 5.0\"")
	f.StringSliceVar(&q.With, "with", nil, "features to include in a bundled httpd, as in tls,http2")
	f.StringSliceVar(&q.Without, "without", nil, "features to leave out")
	librariesFlag(f, &q.Libraries)
	hardeningFlag(f, &q.Hardening)
	f.BoolVar(&q.Upgrade, "upgrade", false, "look for newer versions even if the installed ones satisfy the request")
	f.BoolVar(&q.Reinstall, "reinstall", false, "build the module and install everything again")
	f.StringArrayVar(&q.SourceDirs, "source-dir", nil, "directory with source archives, tried first (repeatable)")
	f.StringArrayVar(&q.Mirrors, "mirror", nil, "base URL with source archives, tried before upstream (repeatable)")
	f.BoolVar(&q.Offline, "offline", false, "never use the network")
	f.BoolVar(&q.Locked, "locked", false, "use exactly what the lock file records, or fail")
	f.StringVar(&q.LockFile, "lock-file", "", "file that records versions and hashes (default modwsgi.lock)")
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "build versions with known vulnerabilities")
	f.BoolVar(&q.BreakSystemPackages, "break-system-packages", false, "install into a Python that the system's package manager owns (PEP 668)")
	jobsFlag(f, &q.Jobs)
	f.StringVar(&q.CacheDir, "cache-dir", "", "directory for downloads, builds and logs (default ~/.cache/modwsgi)")
	f.BoolVar(&q.KeepBuild, "keep-build", false, "keep sources and object files in the cache directory")
	f.StringVar(&q.BuildDriver, "build-driver", "", "how to compile httpd: native (fast) or make (httpd's own build)")
	f.StringVar(&timings, "timings", "", "write a timing report to this file: an HTML page, or a trace if the name ends in .json")
	sharedFlags(f, &q)
	configFlag(f)
	f.BoolVar(&dryRun, "dry-run", false, "print the plan and change nothing")
	return c
}

// librariesFlag adds the flag about where the libraries of features come from.
func librariesFlag(f *pflag.FlagSet, value *string) {
	f.StringVar(value, "libraries", "auto", "libraries of these features: host, bundled (built from source), or auto (the host's if there)")
}

// hardeningFlag adds the flag about protections against exploitation.
func hardeningFlag(f *pflag.FlagSet, value *string) {
	f.StringVar(value, "hardening", "auto", "compiler flags against exploitation: auto (all that the compiler has), or none")
}

func featureHelp() string {
	var b strings.Builder
	b.WriteString("Features of a bundled httpd (--with, --without). Libraries that the host lacks are built from source (--libraries):\n")
	for _, f := range httpdbuild.Features() {
		note := ""
		if f.Default {
			note = "; by default"
		}
		fmt.Fprintf(&b, "  %-8s %s%s\n", f.Name, f.About, note)
	}
	return strings.TrimRight(b.String(), "\n")
}

// splitList trims blanks around the names.
func splitList(in []string) []string {
	var out []string
	for _, s := range in {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (a *app) showPlan(p *installer.Plan, project *projectSettings) error {
	if a.flags.json {
		writeJSON(a.Stdout, struct {
			Event    string           `json:"event"`
			Plan     *installer.Plan  `json:"plan"`
			Settings *projectSettings `json:"settings,omitempty"`
		}{"plan", p, project})
		return nil
	}
	w := a.Stdout
	project.show(w)
	_, _ = fmt.Fprintf(w, "Python %s in %s\n", p.Python.Version, p.Python.Prefix)
	if p.Nothing {
		_, _ = fmt.Fprintln(w, "nothing to do")
		return nil
	}
	for _, reason := range p.Reasons {
		_, _ = fmt.Fprintf(w, "- %s\n", reason)
	}
	if p.HTTPD.Use != nil {
		_, _ = fmt.Fprintf(w, "httpd: %s %s at %s\n", p.HTTPD.Action, p.HTTPD.Use.Version, p.HTTPD.Use.Executable)
	}
	for _, warning := range p.Warnings {
		_, _ = fmt.Fprintf(w, "warning: %s\n", warning)
	}
	choices := func(name string, all []installer.Choice) {
		for i, c := range all {
			line := "else"
			if i == 0 {
				line = "build"
			}
			_, _ = fmt.Fprintf(w, "%s: %s %s", name, line, c.Version)
			if len(c.Features) > 0 {
				_, _ = fmt.Fprintf(w, " with %s", strings.Join(c.Features, ", "))
			}
			if c.Unpinned {
				_, _ = fmt.Fprint(w, " (its hash will be fetched from upstream)")
			}
			if c.Refused != "" {
				_, _ = fmt.Fprintf(w, ": refused, %s", c.Refused)
			}
			_, _ = fmt.Fprintln(w)
			for _, advisory := range c.Advisories {
				_, _ = fmt.Fprintf(w, "  %s\n", advisory)
			}
		}
	}
	choices("httpd", p.HTTPD.Versions)
	for _, name := range p.HTTPD.Libraries {
		choices(name, p.HTTPD.Parts[name])
	}
	for _, note := range p.HTTPD.Notes {
		_, _ = fmt.Fprintf(w, "note: %s\n", note)
	}
	for _, c := range p.Module.Refused {
		_, _ = fmt.Fprintf(w, "mod_wsgi: not %s, because %s\n", c.Version, c.Refused)
	}
	choices("mod_wsgi", p.Module.Versions)
	_, _ = fmt.Fprintf(w, "into %s and %s\n", p.Site, p.Python.Scripts)
	return nil
}

func (a *app) showReport(r *installer.Report, project *projectSettings) error {
	if a.flags.json {
		writeJSON(a.Stdout, struct {
			Event    string            `json:"event"`
			Report   *installer.Report `json:"report"`
			Settings *projectSettings  `json:"settings,omitempty"`
		}{"result", r, project})
		return nil
	}
	w := a.Stdout
	for _, name := range r.Removed {
		_, _ = fmt.Fprintf(w, "Removed %s.\n", name)
	}
	if r.Nothing || r.Proof == nil && r.Untried == "" {
		_, _ = fmt.Fprintf(w, "Nothing to do: %s already has the requested versions (%s).\n", r.Python.Prefix, seconds(r.Elapsed))
		showInstalled(w, r.Installed)
		project.show(w)
		return nil
	}
	_, _ = fmt.Fprintf(w, "\nInstalled into %s in %s:\n", r.Python.Prefix, seconds(r.Elapsed))
	showInstalled(w, r.Installed)
	if len(r.Sources) > 0 {
		_, _ = fmt.Fprintln(w, "from")
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, s := range r.Sources {
			trust := s.Trust
			if trust == string(recipe.FromLock) {
				trust += ", by the lock file alone"
			}
			if s.Signer != "" {
				trust += ", signature by " + s.Signer[max(0, len(s.Signer)-16):]
			}
			from := s.From
			switch s.Provider {
			case "cache":
				from = "the download cache"
			case installer.Recalled:
				from = "not needed: built before"
			}
			_, _ = fmt.Fprintf(t, "  %s %s\t%s\t%s\n", s.Component, s.Version, trust, from)
		}
		_ = t.Flush()
	}
	project.show(w)
	showInstead(w, r.Instead)
	if r.Cached {
		_, _ = fmt.Fprintln(w, "httpd came from the build cache")
	}
	if line := stepLine(r); line != "" {
		_, _ = fmt.Fprintln(w, "steps: "+line)
	}
	if r.Lock != "" {
		_, _ = fmt.Fprintf(w, "lock file: %s\n", printable(r.Lock))
	}
	if r.Proof != nil {
		_, _ = fmt.Fprintf(w, "Verified: %s answered a request with Python %s and mod_wsgi %s in %s.\n",
			r.Proof.Server, r.Proof.PythonVersion, r.Proof.ModuleVersion, seconds(r.Proof.Elapsed))
	}
	if r.Untried != "" {
		_, _ = fmt.Fprintf(w, "Not verified: %s.\n", printable(r.Untried))
	}
	user := ""
	if r.User != "" {
		user = " --user " + run.Quote(r.User)
	}
	_, _ = fmt.Fprintf(w, "Next: %s start-server YOUR_APP.wsgi --port 8080%s\n", run.Quote(r.Launcher), user)
	return nil
}

// showInstead repeats at the end what may have scrolled away: which version was used
// instead of the preferred one, and why.
func showInstead(w io.Writer, all []installer.Substitute) {
	for _, s := range all {
		_, _ = fmt.Fprintf(w, "note: %s %s instead of %s: %s\n", s.Component, s.Used, s.Wanted, printable(s.Why))
	}
}

// stepLine lists how long each step took. Steps too short to matter are only counted.
func stepLine(r *installer.Report) string {
	var parts []string
	short := 0
	for _, t := range r.Timings {
		if t.Elapsed < 50*time.Millisecond {
			short++
			continue
		}
		parts = append(parts, t.Step+" "+seconds(t.Elapsed))
	}
	if short > 0 {
		parts = append(parts, fmt.Sprintf("%d more under 0.1 s", short))
	}
	return strings.Join(parts, ", ")
}

func showInstalled(w io.Writer, all []installer.Installed) {
	for _, d := range all {
		_, _ = fmt.Fprintf(w, "  %s %s", d.Name, d.Version)
		if d.HTTPD != "" {
			_, _ = fmt.Fprintf(w, " for httpd %s at %s", d.HTTPD, d.Server)
		}
		if len(d.Features) > 0 {
			_, _ = fmt.Fprintf(w, " with %s", strings.Join(d.Features, ", "))
		}
		if d.By != "modwsgi" {
			_, _ = fmt.Fprintf(w, " (installed by %s)", d.By)
		}
		_, _ = fmt.Fprintln(w)
		for i, problem := range d.Problems {
			if i == 5 {
				_, _ = fmt.Fprintf(w, "    … and %d more\n", len(d.Problems)-i)
				break
			}
			_, _ = fmt.Fprintf(w, "    %s\n", printable(problem))
		}
	}
}

// seconds shows a duration to a tenth of a second.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func (a *app) uninstall() *cobra.Command {
	var python string
	c := &cobra.Command{
		Use: "uninstall", Args: noArgs, Short: "Remove what install added, and nothing else",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			q := a.request()
			q.Python = a.python(python)
			names, err := installer.Uninstall(c.Context(), q.Python, q.Setting)
			if err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "removed": append([]string{}, names...)})
				return nil
			}
			if len(names) == 0 {
				_, _ = fmt.Fprintln(a.Stdout, "Nothing to remove.")
				return nil
			}
			_, _ = fmt.Fprintf(a.Stdout, "Removed %s.\n", strings.Join(names, " and "))
			return nil
		},
	}
	c.Flags().StringVar(&python, "python", "", pythonHelp)
	return c
}

func (a *app) list() *cobra.Command {
	var python string
	c := &cobra.Command{
		Use: "list", Args: noArgs, Short: "List what is installed in an environment and whether it is intact",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			q := a.request()
			q.Python = a.python(python)
			py, all, err := installer.List(c.Context(), q.Python, q.Setting)
			if err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "python": py, "installed": append([]installer.Installed{}, all...)})
				return nil
			}
			_, _ = fmt.Fprintf(a.Stdout, "Python %s in %s\n", py.Version, py.Prefix)
			if len(all) == 0 {
				_, _ = fmt.Fprintln(a.Stdout, "  neither mod_wsgi nor mod_wsgi-httpd is installed")
			}
			showInstalled(a.Stdout, all)
			return nil
		},
	}
	c.Flags().StringVar(&python, "python", "", pythonHelp)
	return c
}

func (a *app) verify() *cobra.Command {
	var python string
	c := &cobra.Command{
		Use: "verify", Args: noArgs, Short: "Prove with a real request that an installed mod_wsgi works",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			q := a.request()
			q.Python = a.python(python)
			proof, err := installer.Verify(c.Context(), q.Python, q.Setting)
			if err != nil {
				return err
			}
			a.view.close()
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "proof": proof})
				return nil
			}
			_, _ = fmt.Fprintf(a.Stdout, "Verified: %s answered a request with Python %s (%s) and mod_wsgi %s in %s.\n",
				proof.Server, proof.PythonVersion, proof.Prefix, proof.ModuleVersion, seconds(proof.Elapsed))
			return nil
		},
	}
	c.Flags().StringVar(&python, "python", "", pythonHelp)
	return c
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Args: noArgs, Short: "Show the version and the versions that it can build",
		RunE: func(*cobra.Command, []string) error {
			a.useCatalogue()
			known := map[string][]string{}
			for _, name := range []string{"httpd", "mod_wsgi"} {
				for _, archive := range recipe.Catalogue().Of(name) {
					known[name] = append(known[name], archive.Version)
				}
			}
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "version": version.Release, "catalogue": known})
				return nil
			}
			_, err := fmt.Fprintf(a.Stdout, "modwsgi %s\nhttpd: %s\nmod_wsgi: %s\n", version.String(),
				strings.Join(known["httpd"], ", "), strings.Join(known["mod_wsgi"], ", "))
			return err
		},
	}
}

// checkProgress refuses an unknown progress display.
func checkProgress(name string) error {
	switch name {
	case "auto", "terminal", "plain", "github":
		return nil
	}
	return fault.New(fault.Usage, "use auto, terminal, plain or github", "unknown --progress %q", name)
}
