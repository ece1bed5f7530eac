package express

import (
	"bytes"
	"context"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/instance"
	"modwsgi/express/option"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// trialFile is a configuration that httpd has not checked yet.
const trialFile = ".httpd.conf.new"

// tryConf has httpd check the configuration under a temporary name.
func (d *deployment) tryConf(ctx context.Context, l *instance.Launch, file *conf.File, text string) error {
	trial := filepath.Join(d.Root, trialFile)
	if err := l.Handle.WriteFile(trialFile, host.TextFile([]byte(text)), 0o600); err != nil {
		return fault.Wrap(fault.Environment, "", err)
	}
	var r run.Runner
	var output bytes.Buffer
	err := r.Run(ctx, run.Cmd{Argv: []string{d.HTTPD, "-t", "-f", trial}, Dir: d.Work, Env: l.Environ(d.Env), Log: &output})
	switch {
	case err != nil && run.Tail(err) == "" && config.HTTPDExecutable.In(d) != "":
		err = fault.New(fault.Usage, "name the httpd that the module was built for, or leave the option out", "option --httpd-executable: %w", err)
	case err != nil:
		err = d.confError(err, trial, text, file)
	case !strings.Contains(output.String(), "Syntax OK"):
		err = fault.New(fault.Environment, "see --httpd-executable", "%s is not an httpd: it does not support the configuration check (-t)", d.HTTPD)
	default:
		return nil
	}
	_ = l.Handle.Remove(trialFile)
	return err
}

// atLine finds the line number in an httpd error.
var atLine = regexp.MustCompile(`line (\d+) of ([^\n]*)`)

// confError turns an httpd error about a line into an error about the option behind
// that line.
func (d *deployment) confError(err error, trial, text string, file *conf.File) error {
	target := filepath.Join(d.Root, instance.ConfFile)
	tail := run.Tail(err)
	if tail == "" {
		return fault.New(fault.Environment, site.InstallHint(d.python.Home), "check the configuration: %w", err)
	}
	what := "httpd refuses the configuration"
	if m := atLine.FindStringSubmatch(tail); m != nil && !strings.HasPrefix(m[2], trial) {
		if option := d.optionOf(m[2]); option != nil {
			what = "httpd refuses a file of option " + option.Flag()
		}
	} else if m != nil {
		n, _ := strconv.Atoi(m[1])
		if options := d.Flags(file.Origins(n)); len(options) > 0 {
			what = "httpd refuses what option " + strings.Join(options, " or ") + " sets"
		}
		if lines := strings.Split(text, "\n"); n > 0 && n <= len(lines) && !strings.Contains(lines[n-1], "SetEnv") {
			tail += "\nthe line is: " + strings.TrimSpace(lines[n-1])
		}
	}
	return fault.New(fault.Environment, "", "%s:%s", what, strings.ReplaceAll(tail, trial, target))
}

// optionOf returns the option that names a configuration file. text is the file's path,
// followed by httpd's text.
func (d *deployment) optionOf(text string) option.Ref {
	if config.RewriteRules.In(d) != "" && strings.HasPrefix(text, d.RewriteRules()) {
		return config.RewriteRules
	}
	if strings.HasPrefix(text, filepath.Join(d.Root, config.HostsFile)) {
		return config.IncludeFile
	}
	for _, name := range config.IncludeFile.In(d) {
		path, _, _ := strings.Cut(d.FromLaunch(name), "*") // also a directory, or a pattern
		if strings.HasPrefix(text, path) {
			return config.IncludeFile
		}
	}
	return nil
}
