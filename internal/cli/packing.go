package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"modwsgi/internal/version"
	"modwsgi/packaging"
	"modwsgi/packaging/release"
)

// packCommands are further commands of the group package.
var packCommands []func(*app) *cobra.Command

func addPackCommands(a *app, group *cobra.Command) {
	for _, more := range packCommands {
		group.AddCommand(more(a))
	}
	a.packMatrix(group)
}

// packing is an output directory with all that its artifacts get at the end.
type packing struct {
	*packaging.Dist
	at      time.Time
	signers []release.Signer
	a       *app
	builder string
}

// openPacking checks the flags that all formats share and opens the output
// directory; Abort must be called.
func (a *app) openPacking(ctx context.Context, o *packOptions) (*packing, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := a.start(); err != nil {
		return nil, err
	}
	p := &packing{a: a, builder: o.builder}
	var err error
	if p.at, err = sourceDate(a.Env); err != nil {
		return nil, err
	}
	if p.signers, err = a.signers(o); err != nil {
		return nil, err
	}
	p.Dist, err = a.openDist(ctx, a.abs(o.out), o.overwrite)
	return p, err
}

// finish adds the descriptions of all artifacts, and lets everything appear.
func (p *packing) finish(ctx context.Context, stages []*packaging.Stage) error {
	return p.a.view.sink().Step("describe and sign", func() error {
		err := release.Finish(ctx, p.Dist, release.Options{
			Time: p.at, Tool: version.Release, Builder: p.builder, Parameters: environment(stages, p.at), Signers: p.signers,
		})
		if err == nil {
			err = p.Commit()
		}
		return err
	})
}
