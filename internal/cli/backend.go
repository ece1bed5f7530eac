package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"modwsgi/installer"
	"modwsgi/packaging/produce"
)

// showFile reports the one file that a command has made.
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

// packLocal is the command behind the build backend modwsgi.build. It makes a wheel of
// mod_wsgi for one Python on this machine, from an unpacked source distribution.
func (a *app) packLocal() *cobra.Command {
	var q installer.Request
	var sdist, out string
	c := &cobra.Command{
		Use: "local-wheel", Args: noArgs, Hidden: true,
		Short: "Build a wheel for pip (used by the build backend modwsgi.build)",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			base := a.request()
			q.Dir, q.Env, q.ToolsDir, q.Runner, q.Events = base.Dir, base.Env, base.ToolsDir, base.Runner, base.Events
			q.LockTimeout, q.System = base.LockTimeout, base.System
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
	f.StringVar(&q.Python, "python", "", "interpreter that runs pip")
	f.StringVar(&sdist, "sdist", ".", "unpacked source distribution")
	f.StringVar(&out, "out", ".", "directory for the wheel")
	f.StringVar(&q.HTTPD, "httpd", "auto", "auto, bundled, system, or a path to apxs, httpd or an httpd tree")
	f.StringVar(&q.HTTPDVersion, "httpd-version", "", "version or constraint of a bundled httpd")
	f.StringSliceVar(&q.With, "with", nil, "features to include in a bundled httpd")
	f.StringSliceVar(&q.Without, "without", nil, "features to leave out")
	librariesFlag(f, &q.Libraries)
	hardeningFlag(f, &q.Hardening)
	sourceFlags(f, &q)
	f.BoolVar(&q.AllowVulnerable, "allow-vulnerable", false, "build versions with known vulnerabilities")
	jobsFlag(f, &q.Jobs)
	f.StringVar(&q.CacheDir, "cache-dir", "", "directory for downloads, builds and logs")
	sharedFlags(f, &q)
	return c
}
