package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"modwsgi/detect"
	"modwsgi/internal/distro"
	"modwsgi/internal/fault"
)

// detectFlags are the flags of modwsgi detect.
type detectFlags struct {
	python, httpd, root, system string
	explain                     bool
}

func (a *app) detect() *cobra.Command {
	var f detectFlags
	c := &cobra.Command{
		Use: "detect", Args: noArgs, Short: "Show which Python and which httpd would be used, and why",
		Long: "detect looks for Python environments and httpds, without changing anything. --explain shows every candidate in\n" +
			"order, with reasons and evidence; --json prints the same for programs (docs/reference/json.md has the schema).\n" +
			"--root inspects another system, mounted or unpacked at a directory, without running any of its programs.",
		Example: "  modwsgi detect --python .venv --explain\n" +
			"  modwsgi detect --root /mnt/image --json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.start(); err != nil {
				return err
			}
			if f.root == "" && c.Flags().Changed("root-system") {
				return fault.New(fault.Usage, "name that system's directory with --root", "--root-system has no effect without --root")
			}
			e, err := a.explain(c.Context(), f)
			a.view.close()
			if e == nil {
				return err
			}
			if a.flags.json {
				writeJSON(a.Stdout, map[string]any{"event": "result", "detect": e})
				return err
			}
			showExplanation(a.Stdout, e, f)
			return err
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.python, "python", "", pythonHelp)
	flags.StringVar(&f.httpd, "httpd", "auto", "auto, bundled, system, or a path to apxs, httpd or an httpd tree")
	flags.StringVar(&f.root, "root", "", "directory that holds another system's file system")
	flags.StringVar(&f.system, "root-system", "linux", "that system's kind: linux, darwin or windows")
	flags.BoolVar(&f.explain, "explain", false, "show every candidate with reasons and evidence")
	return c
}

func (a *app) explain(ctx context.Context, f detectFlags) (*detect.Explanation, error) {
	req := detect.Request{Python: f.python, HTTPD: f.httpd, Env: a.Env, Dir: a.Dir}
	if f.root == "" {
		return detect.Explain(ctx, a.runner(), req)
	}
	switch f.system {
	case "linux", "darwin", "windows":
	default:
		return nil, fault.New(fault.Usage, "use linux, darwin or windows", "unknown --root-system %q", f.system)
	}
	dir := f.root
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(a.Dir, dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.Usage, "name the directory where the other system's / is mounted or unpacked", "open --root: %w", err)
	}
	defer func() { _ = root.Close() }()
	return detect.ExplainRoot(root.FS(), dir, f.system, req)
}

// showExplanation prints a table of Pythons and a table of httpds; with detail also
// the reasons and the evidence.
func showExplanation(w io.Writer, e *detect.Explanation, f detectFlags) {
	detail := f.explain
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\tPYTHON\tKIND\tPREFIX\tFOUND BY")
	for _, c := range e.Pythons {
		version, kind, where := "-", "-", c.Path
		if c.Python != nil {
			version, kind, where = c.Python.Version+c.Python.ABIFlags, c.Python.Kind, c.Python.Prefix
		}
		row(t, c.Verdict, version, kind, where, c.Source)
	}
	_ = t.Flush()
	for _, c := range e.Pythons {
		if detail || c.Verdict == detect.Chosen && !c.Builds || c.Verdict == detect.Rejected && c.Source == "--python" {
			reason(w, c.Path, c.Verdict, c.Reason, c.Cure)
		}
		if detail && c.Python != nil {
			evidence(w, c.Python.Evidence)
		}
	}
	_, _ = fmt.Fprintln(w)
	_, _ = fmt.Fprintln(t, "\tHTTPD\tMMN\tAPR\tMPMS\tCPU\tPROGRAM\tFOUND BY")
	for _, c := range e.HTTPDs {
		h := c.HTTPD
		mmn := ""
		if h.MMN > 0 {
			mmn = fmt.Sprintf("%d:%d", h.MMN, h.MMNMinor)
		}
		row(t, c.Verdict, h.Version, mmn, h.APRVersion, strings.Join(h.MPMs, ","), h.Machine, programOf(h), string(h.Provenance))
	}
	_ = t.Flush()
	if len(e.HTTPDs) == 0 {
		advice := "modwsgi install builds one into the environment"
		if c := distro.HTTPDHeaders.Command(distro.Family()); f.httpd == "system" && f.root == "" && c != "" {
			advice = c + ", or let modwsgi install build one with --httpd bundled"
		}
		_, _ = fmt.Fprintln(w, "  none: "+advice)
	}
	for _, c := range e.HTTPDs {
		if detail || c.Verdict == detect.Rejected {
			reason(w, programOf(c.HTTPD), c.Verdict, c.Reason, "")
		}
		if detail {
			evidence(w, c.HTTPD.Evidence)
		}
	}
}

func row(w io.Writer, v detect.Verdict, cells ...string) {
	mark := map[detect.Verdict]string{detect.Chosen: "*", detect.Rejected: "x"}[v]
	for i := range cells {
		if cells[i] = printable(strings.Map(oneLine, cells[i])); cells[i] == "" {
			cells[i] = "-"
		}
	}
	_, _ = fmt.Fprintf(w, "%s\t%s\n", mark, strings.Join(cells, "\t"))
}

// oneLine keeps a path with a line break or a tab from breaking the table.
func oneLine(r rune) rune {
	if r == '\n' || r == '\t' {
		return ' '
	}
	return r
}

func reason(w io.Writer, what string, v detect.Verdict, why, fix string) {
	_, _ = fmt.Fprintf(w, "%s: %s: %s\n", printable(what), v, printable(why))
	if fix != "" {
		_, _ = fmt.Fprintf(w, "  fix: %s\n", printable(fix))
	}
}

func evidence(w io.Writer, all []detect.Evidence) {
	for _, e := range all {
		_, _ = fmt.Fprintf(w, "    %-18s %s: %s\n", e.Fact, printable(e.Source), printable(e.Value))
	}
}

func programOf(h *detect.HTTPD) string {
	for _, s := range []string{h.Executable, h.APXS, h.Root} {
		if s != "" {
			return s
		}
	}
	return ""
}
