package detect

import (
	"context"

	"modwsgi/internal/run"
)

// DescribeTree looks at one self-contained httpd tree, wherever it lies, as
// FindHTTPDs would if it were py's own. Why it cannot be used with
// py is in Refused; the error is the context's.
func DescribeTree(ctx context.Context, r *run.Runner, py *Python, root string) (*HTTPD, error) {
	f := &finder{ctx: ctx, run: r, py: py, disk: ThisDisk()}
	h := fromTree(f.disk, root)
	h.Provenance = Bundled
	if h.Refused == "" {
		h.Refused = f.usable(&h) // a stage belongs to no environment yet
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return &h, nil
}
