package site

import (
	"context"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// BuiltInModules asks httpd for its built-in modules (httpd -l); home is the
// environment, for the hint.
func BuiltInModules(ctx context.Context, env []string, httpd, home string) (map[string]bool, error) {
	var r run.Runner
	out, err := r.Output(ctx, run.Cmd{Argv: []string{httpd, "-l"}, Env: env})
	if err != nil {
		return nil, fault.New(fault.Environment, InstallHint(home), "ask %s for its modules: %w%s", httpd, err, run.Tail(err))
	}
	builtIn := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		name := strings.TrimSuffix(strings.TrimSpace(line), ".c")
		builtIn[strings.TrimPrefix(name, "mod_")] = true
	}
	return builtIn, nil
}
