package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"modwsgi/detect"
	"modwsgi/installer"
	"modwsgi/internal/catalogue"
	"modwsgi/internal/recipe"
	"modwsgi/internal/run"
)

func (a *app) outdated() *cobra.Command {
	var python, cacheDir string
	var exitCode bool
	c := &cobra.Command{
		Use: "outdated", Args: noArgs, Short: "Compare what is installed with the newest known versions and advisories",
		Long: "outdated lists mod_wsgi, httpd and the libraries that httpd was built with: the installed version, the version that\n" +
			"install --upgrade would choose, known vulnerabilities, and whether upstream still supports the version. It knows\n" +
			"what the catalogue knows, and asks no server (modwsgi catalogue update does).\n" +
			"Exit code: 0, or with --exit-code 9 if anything is outdated, vulnerable or out of support.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			q := a.request()
			py, all, err := installer.Outdated(c.Context(), a.python(python), q.Setting)
			if err != nil {
				return err
			}
			old := a.catalogue.Old(a.Now())
			if old != "" {
				a.view.sink().Warn(old + ": " + catalogue.OldHint)
			}
			a.view.close()
			if a.flags.json {
				r := a.catalogueRecord()
				writeJSON(a.Stdout, map[string]any{
					"event": "result", "python": py, "components": all,
					"catalogue": map[string]any{"date": r.Date, "current": r.Current, "age_days": r.AgeDays, "old": r.Old},
				})
			} else {
				showOutdated(a.Stdout, py, all)
			}
			return judgeOutdated(exitCode, py, all)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&python, "python", "", pythonHelp)
	f.BoolVar(&exitCode, "exit-code", false, "exit with 9 if anything is outdated, vulnerable or out of support")
	f.StringVar(&cacheDir, "cache-dir", "", "cache directory, which may have a newer catalogue (default ~/.cache/modwsgi)")
	return c
}

func judgeOutdated(exitCode bool, py *detect.Python, all []installer.Component) error {
	var outdated, vulnerable, ended int
	for _, c := range all {
		switch {
		case c.Vulnerable():
			vulnerable++
		case c.Ended != "":
			ended++
		case c.Outdated:
			outdated++
		}
	}
	if !exitCode || outdated+vulnerable+ended == 0 {
		return nil
	}
	return outdatedError(outdated, vulnerable, ended, py.Prefix)
}

func showOutdated(w io.Writer, py *detect.Python, all []installer.Component) {
	_, _ = fmt.Fprintf(w, "Python %s in %s\n", py.Version, py.Prefix)
	if len(all) == 0 {
		_, _ = fmt.Fprintln(w, "  neither mod_wsgi nor mod_wsgi-httpd is installed")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	attention := false
	for _, c := range all {
		attention = attention || c.Attention()
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\n", c.Name, c.Installed, verdict(c))
	}
	_ = t.Flush()
	for _, c := range all {
		if c.Why != "" {
			_, _ = fmt.Fprintf(w, "%s: %s\n", c.Name, printable(c.Why))
		}
		if c.Ended != "" {
			_, _ = fmt.Fprintf(w, "%s %s: %s\n", c.Name, c.Installed, recipe.EndedText(c.Ended))
		}
		for _, n := range c.Advisories {
			note := ""
			switch {
			case n.Why == "":
			case c.External != "":
				note = " [" + n.Why + "]"
			case n.Applies:
				note = " [may not apply: " + n.Why + "]"
			default:
				note = " [does not apply: " + n.Why + "]"
			}
			_, _ = fmt.Fprintf(w, "%s %s: %s (%s): %s%s\n", c.Name, c.Installed, n.ID, n.Severity, printable(n.Summary), printable(note))
		}
	}
	if attention {
		_, _ = fmt.Fprintf(w, "Upgrade: modwsgi install --upgrade --python %s\n", run.Quote(py.Prefix))
	}
}

// verdict is the comparison of a component in a few words.
func verdict(c installer.Component) string {
	switch {
	case c.External != "":
		return "maintained by " + printable(c.External)
	case c.Newest == "":
		return "no version can be chosen"
	case c.Outdated:
		return "newest is " + c.Newest
	case c.Newest != c.Installed:
		return "newer than the catalogue's " + c.Newest
	}
	return "up to date"
}
