package prove

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// importProgram imports the package as an application does and reports where it is. Text
// that .pth files print comes before the marker.
const importProgram = `import os, sys
import mod_wsgi
place = os.path.dirname(os.path.abspath(mod_wsgi.__file__))
sys.stdout.flush()
sys.stdout.buffer.write(b"\n<<<modwsgi " + os.fsencode(place) + b" modwsgi>>>\n")
`

// imports starts the interpreter as "python -c 'import mod_wsgi'" does, with its
// site-packages and .pth files, and checks that it finds the installed package. httpd
// loads the module by its path, so its answer alone does not show this. The interpreter
// has the rights of the throwaway server.
func (t *throwaway) imports(ctx context.Context, o Options, s Subject) error {
	if s.Site == "" || s.Python == nil {
		return nil
	}
	c := run.Cmd{Argv: []string{s.Python.Executable, "-B", "-c", importProgram}, Dir: t.dir.Path(), Env: t.environment(), Account: t.account}
	out, err := o.Runner.Output(ctx, c)
	if err != nil && (t.account == nil || !t.account.ReadAll) {
		// A few Pythons find their library only by this variable.
		if path := run.Getenv(o.Env, "LD_LIBRARY_PATH"); path != "" {
			c.Env = append(c.Env, "LD_LIBRARY_PATH="+path)
			if again, errAgain := o.Runner.Output(ctx, c); errAgain == nil {
				out, err = again, nil
			}
		}
	}
	command := run.Quote(s.Python.Executable) + " -c 'import mod_wsgi'"
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		why := err.Error()
		var e *run.Error
		if errors.As(err, &e) && len(e.Tail) > 0 {
			why = strings.TrimSpace(e.Tail[len(e.Tail)-1])
		}
		return fault.New(fault.Verify, "see what it reports: "+command,
			"%s cannot import mod_wsgi, which is installed in %s: %s", s.Python.Executable, s.Site, why)
	}
	_, rest, _ := bytes.Cut(out, []byte("\n<<<modwsgi "))
	found, _, ok := bytes.Cut(rest, []byte(" modwsgi>>>"))
	if !ok {
		return fault.New(fault.Verify, "see what it reports: "+command, "%s did not report where it imports mod_wsgi from", s.Python.Executable)
	}
	if want := filepath.Join(s.Site, "mod_wsgi"); !sameDir(string(found), want) {
		return fault.New(fault.Verify, "remove the other one, or reorder sys.path: "+command,
			"%s imports mod_wsgi from %s, not from %s, where it is installed", s.Python.Executable, found, want)
	}
	return nil
}

func sameDir(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
