package express

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/config"
	"modwsgi/express/host"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// server finds the httpd of the instance and its multi-processing module.
func (p *Program) server(ctx context.Context, i *resolved) error {
	h := i.in.Receipt.HTTPD
	i.HTTPD, i.ModulesDir = h.Executable, config.OrElse(p.abs(config.ModulesDirectory.In(i)), h.ModulesDir)
	wanted, by := config.HTTPDExecutable.In(i), "option --httpd-executable"
	if wanted == "" {
		// Upstream's launcher reads it, too; there it beats the option.
		wanted, by = run.Getenv(p.Env, "HTTPD"), "the environment variable HTTPD"
	}
	if wanted != "" {
		found, err := run.LookPath(wanted, append(slices.Clone(p.Env), "PATH="+run.Getenv(p.Env, "PATH")+string(os.PathListSeparator)+"/usr/sbin"))
		if err != nil {
			return fault.New(fault.Usage, "", "%s: %w", by, err)
		}
		i.HTTPD, i.HTTPDBy = p.abs(found), by
		if info, err := os.Stat(i.HTTPD); err != nil || info.IsDir() {
			return fault.New(fault.Usage, "", "%s: there is no program %s", by, i.HTTPD)
		}
		if config.ModulesDirectory.In(i) == "" {
			i.ModulesDir = config.OrElse(site.ModulesBeside(i.HTTPD), i.ModulesDir)
		}
	}
	if info, err := os.Stat(i.HTTPD); err != nil || info.IsDir() {
		return site.NoHTTPD(i.HTTPD, i.in.Home)
	}
	if err := config.WantDirectory(config.ModulesDirectory, i.ModulesDir); err != nil {
		return err
	}
	i.Rotatelogs = p.abs(config.RotatelogsExecutable.In(i))
	if i.Rotatelogs == "" && config.RotateLogs.In(i) {
		i.Rotatelogs = config.OrElse(h.Rotatelogs, filepath.Join(filepath.Dir(i.HTTPD), "rotatelogs"))
		if _, err := os.Stat(i.Rotatelogs); err != nil {
			return fault.New(fault.Environment, "name it with --rotatelogs-executable", "option --rotate-logs: the program %s is not there", i.Rotatelogs)
		}
	}
	i.MIME = p.abs(config.MIMETypes.In(i))
	if i.MIME == "" {
		i.MIME = firstFile("/etc/mime.types", "/etc/apache2/mime.types", "/etc/httpd/conf/mime.types",
			filepath.Join(filepath.Dir(i.ModulesDir), "conf", "mime.types"), "/usr/local/etc/mime.types")
	}
	// Before the first of them is run.
	if err := p.trust().Files(append(environmentFiles(i.in), i.reliedFiles()...)); err != nil {
		return err
	}
	if err := p.chooseMPM(ctx, i); err != nil {
		return err
	}
	if config.HTTP2.In(i) && i.MPM == "prefork" {
		p.warn("--http2 has no effect with the prefork MPM, which mod_http2 does not support")
	}
	return nil
}

func firstFile(names ...string) string {
	for _, n := range names {
		if info, err := os.Stat(n); err == nil && info.Mode().IsRegular() && filepath.IsAbs(n) { // on Windows those of Unix are relative to a drive
			return n
		}
	}
	return ""
}

// chooseMPM takes the first of event, worker and prefork that there is and that
// the options allow.
func (p *Program) chooseMPM(ctx context.Context, i *resolved) error {
	if host.OnlyMPM != "" {
		i.MPM, i.MPMBuiltIn = host.OnlyMPM, true
		return nil
	}
	wanted := []string{"event", "worker", "prefork"}
	if config.DebugMode.In(i) || config.EmbeddedMode.In(i) {
		wanted = []string{"worker", "prefork"}
		if config.EnableGDB.In(i) {
			// The other one waits for signals in a way that hides a Ctrl-C from gdb.
			wanted = []string{"prefork", "worker"}
		}
		if config.EmbeddedMode.In(i) && len(config.ServerMPM.In(i)) > 0 {
			wanted = []string{"event", "worker", "prefork"}
		}
	}
	for _, mpm := range wanted {
		if len(config.ServerMPM.In(i)) > 0 && !slices.Contains(config.ServerMPM.In(i), mpm) {
			continue
		}
		if _, err := os.Stat(i.moduleFile("mpm_" + mpm)); err == nil {
			i.MPM = mpm
			return nil
		}
	}
	// None of them can be loaded, so one may be built in.
	if err := p.askBuiltIn(ctx, i); err != nil {
		return err
	}
	for _, mpm := range []string{"event", "worker", "prefork"} {
		if i.builtIn["mpm_"+mpm] || i.builtIn[mpm] {
			if len(config.ServerMPM.In(i)) > 0 && !slices.Contains(config.ServerMPM.In(i), mpm) {
				return fault.New(fault.Environment, "", "option --server-mpm: this httpd has %s built in and no other", mpm)
			}
			i.MPM, i.MPMBuiltIn = mpm, true
			return nil
		}
	}
	option := ""
	if len(config.ServerMPM.In(i)) > 0 {
		option = "option --server-mpm: "
	}
	return fault.New(fault.Environment, "see --server-mpm and --modules-directory", "%snone of the multi-processing modules %s is in %s", option, strings.Join(wanted, ", "), i.ModulesDir)
}

func (i *resolved) moduleFile(name string) string {
	return filepath.Join(i.ModulesDir, "mod_"+name+".so")
}

// askBuiltIn asks httpd which modules it has inside.
func (p *Program) askBuiltIn(ctx context.Context, i *resolved) (err error) {
	if i.builtIn == nil {
		i.builtIn, err = site.BuiltInModules(ctx, p.Env, i.HTTPD, i.in.Home)
	}
	return err
}
