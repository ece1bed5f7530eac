package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
	"modwsgi/packaging/produce"
)

// packMerge is the command that joins output directories.
func (a *app) packMerge() *cobra.Command {
	var o packOptions
	var incomplete bool
	c := &cobra.Command{
		Use: "merge DIR...", Short: "Join the artifacts of several machines or runs",
		Long: "merge takes the output directories of several runs, such as those of modwsgi package --matrix FILE --shard I/N on\n" +
			"several machines, and makes one of them. Each is compared with its SHA256SUMS first. Artifacts, bills of materials and\n" +
			"provenance statements stay as they are; the indexes and the checksums are written for all, and signed.\n" +
			"What one machine would have made with the whole matrix file has the same bytes.\n\n" +
			"Files of the same name with different contents, parts of different releases, parts that were made from different\n" +
			"archives, and parts that are missing are errors, and then nothing is written.\n\n" +
			"Checksums do not prove their origin: if others can change the directories on their way, sign them and use\n" +
			"scripts/verify-release before.",
		Example: "  modwsgi package merge shard-*/ --out dist\n  modwsgi package merge linux windows --out dist --sign-minisign release.key",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Usage, "name the output directories of modwsgi package", "nothing to merge")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			m := &produce.Merge{Settings: a.settings(&o), Incomplete: incomplete}
			for _, dir := range args {
				m.Dirs = append(m.Dirs, a.abs(dir))
			}
			if err := a.begin(&m.Settings); err != nil {
				return err
			}
			r, err := m.Run(c.Context())
			if err != nil {
				return err
			}
			a.view.close()
			a.showMerged(r)
			return nil
		},
	}
	f := c.Flags()
	f.SortFlags = false
	o.outFlags(f)
	f.BoolVar(&incomplete, "incomplete", false, "accept parts that are missing or that could not be made")
	o.signFlags(f)
	_ = f.MarkHidden("builder-id") // nothing is built
	return c
}

func (a *app) showMerged(r *produce.Merged) {
	if a.flags.json {
		writeJSON(a.Stdout, struct {
			Event     string               `json:"event"`
			Directory string               `json:"directory"`
			Artifacts []packaging.Artifact `json:"artifacts"`
			Taken     int                  `json:"taken"`
			Missing   []string             `json:"missing,omitempty"`
		}{"merged", r.Dir, r.Artifacts, r.Taken, r.Missing})
		return
	}
	for _, text := range r.Missing {
		_, _ = fmt.Fprintf(a.Stdout, "  MISSING: %s\n", text)
	}
	_, _ = fmt.Fprintf(a.Stdout, "%d artifacts in %s, %d of them taken in\n", len(r.Artifacts), r.Dir, r.Taken)
}
