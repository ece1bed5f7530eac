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

// readVariables runs the script of --envvars-script once, as the launcher's user, and
// keeps the variables that it exports for httpd. Its output goes to standard error. It
// can read the variables about the server (MOD_WSGI_...) but cannot change them.
func (d *deployment) readVariables(ctx context.Context) error {
	if config.EnvvarsScript.In(d) == "" {
		return nil
	}
	script := d.FromLaunch(config.EnvvarsScript.In(d))
	info, err := os.Stat(script)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", script)
	}
	if err != nil {
		return fault.New(fault.Usage, "", "option --envvars-script: %w", err)
	}
	shell := config.ShellExecutable.In(d)
	if shell == "" {
		shell = "sh"
	}
	path, err := run.LookPath(shell, d.Env)
	if err != nil {
		return fault.New(fault.Usage, "", "option --shell-executable: %w", err)
	}
	if err := d.trust.Files([]instance.Relied{{By: "option " + config.EnvvarsScript.Flag(), Path: script, Role: instance.Sourced}, {By: "option " + config.ShellExecutable.Flag(), Path: path, Role: instance.Executed}}); err != nil {
		return err
	}
	before := d.launch().Environ(d.Env)
	const program = `{ . "$1"; } 1>&2 && exec "$2" print-environment`
	var r run.Runner
	out, err := r.Output(ctx, run.Cmd{Argv: []string{path, "-c", program, "mod_wsgi-express", script, d.executable}, Dir: d.Work, Env: before})
	if err != nil {
		return fault.New(fault.Usage, "it runs in "+path+" and must succeed", "option --envvars-script: %w%s", err, run.Tail(err))
	}
	for kv := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		name, _, _ := strings.Cut(kv, "=")
		if !slices.Contains(before, kv) && !strings.HasPrefix(name, "MOD_WSGI_") && name != "_" && name != "PWD" && name != "OLDPWD" && name != "SHLVL" {
			d.variables = append(d.variables, kv)
		}
	}
	slices.Sort(d.variables)
	return nil
}
