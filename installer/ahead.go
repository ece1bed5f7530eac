package installer

import (
	"context"

	"modwsgi/detect"
	"modwsgi/internal/buildcache"
	"modwsgi/internal/objgraph"
	"modwsgi/internal/owned"
	"modwsgi/modulebuild"
)

// The module's objects need nothing of httpd but its headers, which exist before httpd is
// compiled, and its largest source is the largest of all. So it is compiled beside httpd's,
// and only linked afterwards. What was compiled is used if the finished httpd has the same
// headers and flags.

// ahead is a module that was compiled beside httpd.
type ahead struct {
	objects *modulebuild.Objects
	inputs  string // what it was compiled from
}

// compileAhead compiles the module for the httpd whose headers are in tree, unless it is in
// a cache, or its archive has not been fetched.
func (j *job) compileAhead(ctx context.Context, src *sources, made *product, tree string, slots *objgraph.Pool) {
	file := src.files["mod_wsgi"]
	if j.plan.Module.Action != buildModule || file.Path == "" {
		return
	}
	h := detect.DescribeHeaders(tree)
	if h == nil {
		return
	}
	b := j.moduleRequest(h, file)
	b.Archive, b.Slots = file.Path, slots
	inputs, err := moduleInputs(b)
	if err != nil {
		return
	}
	if !j.plan.Wish.Reinstall {
		key := buildcache.KeyOf(inputs)
		j.store.Want(key, inputs, map[string]string{"mod_wsgi": b.SHA256})
		if there, err := j.store.Has(ctx, key); there || err != nil {
			return
		}
	}
	made.ahead = ahead{modulebuild.Compile(ctx, b), inputs}
}

// useAhead makes a build of the module link what was compiled ahead, if that is the same.
func (j *job) useAhead(b *modulebuild.Request, made *product) error {
	if made.ahead.objects != nil && made.ahead.inputs == made.inputs {
		b.Objects = made.ahead.objects
		return nil
	}
	return owned.RemoveAll(b.Work)
}
