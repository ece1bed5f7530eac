package detect

import (
	"context"

	"modwsgi/internal/run"
)

// DescribeHeaders describes what modules are compiled with in a tree whose programs need not
// exist yet; nil if headers are missing.
func DescribeHeaders(root string) *HTTPD {
	h := fromTree(ThisDisk(), root)
	if len(h.IncludeDirs) == 0 || h.APRVersion == "" || h.APUVersion == "" {
		return nil
	}
	return &h
}

// DescribeTree inspects one self-contained httpd tree, at any path, as FindHTTPDs
// would if it were py's own. Refused is the reason why it cannot be used with py. The
// error is the context's.
func DescribeTree(ctx context.Context, r *run.Runner, py *Python, root string) (*HTTPD, error) {
	f := &finder{ctx: ctx, run: r, py: py, disk: ThisDisk()}
	h := fromTree(f.disk, root)
	h.Provenance = Bundled
	if h.Refused == "" {
		h.Refused = f.usable(&h) // a stage does not belong to an environment yet
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return &h, nil
}
