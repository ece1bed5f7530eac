package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"modwsgi/installer"
	"modwsgi/packaging/produce"
)

// showFile tells of the one file that a command has made.
func (a *app) showFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if a.flags.json {
		writeJSON(a.Stdout, map[string]any{"event": "result", "file": path, "size": info.Size()})
		return nil
	}
	_, err = fmt.Fprintf(a.Stdout, "%s, %.1f MB\n", path, float64(info.Size())/1e6)
	return err
}

// packLocal is what the build backend modwsgi.build runs: a wheel of mod_wsgi for
// one Python on this machine, from an unpacked source distribution.
func (a *app) packLocal() *cobra.Command {
	var q installer.Request
	var sdist, out string
	c := &cobra.Command{
		Use: "local-wheel", Args: noArgs, Hidden: true,
		Short: "Build what pip asks the build backend modwsgi.build for",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			base := a.request()
			q.Dir, q.Env, q.ToolsDir, q.Runner, q.Events = base.Dir, base.Env, base.ToolsDir, base.Runner, base.Events
			q.LockTimeout = base.LockTimeout
			q.With, q.Without = splitList(q.With), splitList(q.Without)
			path, err := produce.Local(c.Context(), q, a.abs(sdist), a.abs(out))
			if err != nil {
				return err
			}
			a.view.close()
			return a.showFile(path)
		},
	}
	f := c.Flags()
	f.StringVar(&q.Python, "python", "", "the interpreter that runs pip")
	f.StringVar(&sdist, "sdist", ".", "the unpacked source distribution")
	f.StringVar(&out, "out", ".", "directory for the wheel")
	f.StringVar(&q.HTTPD, "httpd", "auto", "auto, bundled, system, or the path of an apxs, an httpd or its tree")
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of a bundled httpd")
	f.StringSliceVar(&q.With, "with", nil, "features that a bundled httpd must have")
	f.StringSliceVar(&q.Without, "without", nil, "features that it must not have")
	sourceFlags(f, &q)
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "build what a known advisory warns of")
	jobsFlag(f, &q.Jobs)
	f.StringVar(&q.CacheDir, "cache-dir", "", "downloads, builds and logs")
	sharedFlags(f, &q)
	return c
}
