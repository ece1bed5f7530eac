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
func (p *Program) server(ctx context.Context, i *instance) error {
	h := i.in.Receipt.HTTPD
	i.httpd, i.modulesDir = h.Executable, orElse(p.abs(config.ModulesDirectory.In(i)), h.ModulesDir)
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
		i.httpd, i.httpdBy = p.abs(found), by
		if info, err := os.Stat(i.httpd); err != nil || info.IsDir() {
			return fault.New(fault.Usage, "", "%s: there is no program %s", by, i.httpd)
		}
		if config.ModulesDirectory.In(i) == "" {
			i.modulesDir = orElse(site.ModulesBeside(i.httpd), i.modulesDir)
		}
	}
	if info, err := os.Stat(i.httpd); err != nil || info.IsDir() {
		return site.NoHTTPD(i.httpd, i.in.Home)
	}
	if err := wantDirectory(config.ModulesDirectory, i.modulesDir); err != nil {
		return err
	}
	i.rotatelogs = p.abs(config.RotatelogsExecutable.In(i))
	if i.rotatelogs == "" && config.RotateLogs.In(i) {
		i.rotatelogs = orElse(h.Rotatelogs, filepath.Join(filepath.Dir(i.httpd), "rotatelogs"))
		if _, err := os.Stat(i.rotatelogs); err != nil {
			return fault.New(fault.Environment, "name it with --rotatelogs-executable", "option --rotate-logs: the program %s is not there", i.rotatelogs)
		}
	}
	i.mime = p.abs(config.MIMETypes.In(i))
	if i.mime == "" {
		i.mime = firstFile("/etc/mime.types", "/etc/apache2/mime.types", "/etc/httpd/conf/mime.types",
			filepath.Join(filepath.Dir(i.modulesDir), "conf", "mime.types"), "/usr/local/etc/mime.types")
	}
	// Before the first of them is run.
	if err := p.trustFiles(append(environmentFiles(i.in), i.reliedFiles()...)); err != nil {
		return err
	}
	if err := p.chooseMPM(ctx, i); err != nil {
		return err
	}
	if config.HTTP2.In(i) && i.mpm == "prefork" {
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
func (p *Program) chooseMPM(ctx context.Context, i *instance) error {
	if host.OnlyMPM != "" {
		i.mpm, i.mpmBuiltIn = host.OnlyMPM, true
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
			i.mpm = mpm
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
			i.mpm, i.mpmBuiltIn = mpm, true
			return nil
		}
	}
	option := ""
	if len(config.ServerMPM.In(i)) > 0 {
		option = "option --server-mpm: "
	}
	return fault.New(fault.Environment, "see --server-mpm and --modules-directory", "%snone of the multi-processing modules %s is in %s", option, strings.Join(wanted, ", "), i.modulesDir)
}

func (i *instance) moduleFile(name string) string {
	return filepath.Join(i.modulesDir, "mod_"+name+".so")
}

// askBuiltIn asks httpd which modules it has inside.
func (p *Program) askBuiltIn(ctx context.Context, i *instance) (err error) {
	if i.builtIn == nil {
		i.builtIn, err = site.BuiltInModules(ctx, p.Env, i.httpd, i.in.Home)
	}
	return err
}
