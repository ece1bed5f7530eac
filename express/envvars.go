package express

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/instance"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// envVars runs the script of --envvars-script once, as ourselves, and keeps the
// variables that it exports for httpd. What it prints goes to standard error.
// Variables that tell about the server (MOD_WSGI_...) it can read, not change.
func (p *Program) envVars(ctx context.Context, i *resolved) error {
	if config.EnvvarsScript.In(i) == "" {
		return nil
	}
	script := i.FromLaunch(config.EnvvarsScript.In(i))
	info, err := os.Stat(script)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", script)
	}
	if err != nil {
		return fault.New(fault.Usage, "", "option --envvars-script: %w", err)
	}
	shell := config.ShellExecutable.In(i)
	if shell == "" {
		shell = "sh"
	}
	path, err := run.LookPath(shell, p.Env)
	if err != nil {
		return fault.New(fault.Usage, "", "option --shell-executable: %w", err)
	}
	if err := p.trust().Files([]instance.Relied{{By: "option " + config.EnvvarsScript.Flag(), Path: script, Role: instance.Sourced}, {By: "option " + config.ShellExecutable.Flag(), Path: path, Role: instance.Executed}}); err != nil {
		return err
	}
	before := i.launch().Environ(p.Env)
	const program = `{ . "$1"; } 1>&2 && exec "$2" print-environment`
	var r run.Runner
	out, err := r.Output(ctx, run.Cmd{Argv: []string{path, "-c", program, "mod_wsgi-express", script, p.Executable}, Dir: i.Work, Env: before})
	if err != nil {
		return fault.New(fault.Usage, "it runs in "+path+" and must end well", "option --envvars-script: %w%s", err, run.Tail(err))
	}
	for kv := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		name, _, _ := strings.Cut(kv, "=")
		if !slices.Contains(before, kv) && !strings.HasPrefix(name, "MOD_WSGI_") && name != "_" && name != "PWD" && name != "OLDPWD" && name != "SHLVL" {
			i.variables = append(i.variables, kv)
		}
	}
	slices.Sort(i.variables)
	return nil
}
