package installer

import (
	"context"

	"modwsgi/detect"
)

// environment finds a Python for commands that only read or remove.
func environment(ctx context.Context, python string, at Setting) (*detect.Python, error) {
	at, err := at.complete()
	if err != nil {
		return nil, err
	}
	return detect.FindPython(ctx, at.Runner, at.question(python, "auto"))
}

// lastingEnvironment is environment for a Python that may no longer start, because its
// base was removed or replaced.
func lastingEnvironment(ctx context.Context, python string, at Setting) (*detect.Python, error) {
	py, err := environment(ctx, python, at)
	if err == nil || ctx.Err() != nil {
		return py, err
	}
	if broken := brokenEnvironment(python, at.Dir); broken != nil {
		at.Events.Warn("its Python does not start, so only its files are examined: " + err.Error())
		return broken, nil
	}
	return nil, err
}

// List returns which of modwsgi's distributions an environment contains, whichever tool
// installed them. python is an interpreter, an environment or a program in it; ""
// searches for one.
func List(ctx context.Context, python string, at Setting) (*detect.Python, []Installed, error) {
	py, err := lastingEnvironment(ctx, python, at)
	if err != nil {
		return nil, nil, err
	}
	list, err := listSite(py.Platlib)
	if err != nil {
		return nil, nil, err
	}
	return py, append(list, listFormer(findFormer(py, at.Events), py)...), nil
}
