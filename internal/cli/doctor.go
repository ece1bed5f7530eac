package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"modwsgi/doctor"
	"modwsgi/installer"
	"modwsgi/internal/fault"
)

// doctorFlags are the flags of modwsgi doctor.
type doctorFlags struct {
	python, httpd, user, app, host string
	port                           int
	fix, strict                    bool
}

func (a *app) doctor() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use: "doctor", Args: noArgs, Short: "Check an environment and this host, and suggest fixes",
		Long: "doctor checks the Python, the httpd, the installed module, the compiler, the file systems, the account and\n" +
			"the port, and prints each finding with its evidence and the fix for this system. It changes nothing, except that\n" +
			"--fix rebuilds a module that no longer fits its Python or httpd.\n" +
			"Exit code: 0 if nothing is worse than a warning, 8 if only the port is in use, else 3 (docs/reference/doctor.md).",
		Example: "  modwsgi doctor --python .venv --user www-data --app hello.wsgi --port 80\n" +
			"  modwsgi doctor --fix",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			if f.port < 0 || f.port > 65535 {
				return fault.New(fault.Usage, "pass a port from 1 to 65535", "invalid --port %d", f.port)
			}
			project, err := a.project(c)
			if err != nil {
				return err
			}
			project.note(a.view.sink())
			report, err := a.examine(c.Context(), f)
			a.view.close()
			if report == nil {
				return project.explain(err)
			}
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "doctor": report})
			} else {
				showFindings(a.Stdout, report, a.flags.verbose)
			}
			if err != nil {
				return err
			}
			return report.Err(f.strict)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.python, "python", "", pythonHelp)
	flags.StringVar(&f.httpd, "httpd", "auto", "auto, bundled, system, or a path to apxs, httpd or an httpd tree")
	flags.StringVar(&f.user, "user", "", "account that will run the server")
	flags.StringVar(&f.app, "app", "", "application file, which that account must be able to read")
	flags.StringVar(&f.host, "host", "", "address that the server will listen on (default all)")
	flags.IntVar(&f.port, "port", 0, "port that the server will listen on (default: not checked)")
	flags.BoolVar(&f.fix, "fix", false, "rebuild a module that no longer fits")
	configFlag(flags)
	flags.BoolVar(&f.strict, "strict", false, "treat warnings as errors")
	return c
}

func (a *app) examine(ctx context.Context, f doctorFlags) (*doctor.Report, error) {
	f.python = a.python(f.python)
	q := doctor.Request{
		Python: f.python, HTTPD: f.httpd, Env: a.Env, Dir: a.Dir, Runner: a.runner(),
		User: f.user, App: f.app, Host: f.host, Port: f.port, System: a.System,
		Catalogue: a.catalogue, Now: a.Now(),
	}
	report, err := doctor.Examine(ctx, q)
	if err != nil || !f.fix {
		return report, err
	}
	return doctor.Fix(ctx, report, q, func(ctx context.Context, before *doctor.Report) error {
		install := a.request()
		install.Python, install.HTTPD = f.python, f.httpd
		if before.Receipt != nil {
			install.ModWSGIVersion = before.Receipt.Module.Version
		}
		done, err := installer.Install(ctx, install.Means, install.Plan)
		if err == nil && done.Nothing { // the plan compares less than doctor does
			install.Reinstall = true
			_, err = installer.Install(ctx, install.Means, install.Plan)
		}
		return err
	})
}

// showFindings prints the findings, with the worst last, where it is noticed.
func showFindings(w io.Writer, r *doctor.Report, detail bool) {
	for _, severity := range []doctor.Severity{doctor.OK, doctor.Note, doctor.Warning, doctor.Problem} {
		for _, f := range r.Findings {
			if f.Severity != severity {
				continue
			}
			_, _ = fmt.Fprintf(w, "%-8s %-12s %s\n", f.Severity, f.Check, printable(strings.Map(oneLine, f.Summary)))
			if detail || severity == doctor.Warning || severity == doctor.Problem {
				evidence(w, f.Evidence)
			}
			if f.Cure != "" {
				_, _ = fmt.Fprintf(w, "%-21s fix: %s\n", "", printable(f.Cure))
			}
		}
	}
	if r.Install != "" {
		_, _ = fmt.Fprintf(w, "All missing packages: %s\n", printable(r.Install))
	}
}
