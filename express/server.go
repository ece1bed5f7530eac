package express

import (
	"modwsgi/express/config"
	"modwsgi/express/site"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// findServer finds the httpd that serves, its programs and files, and its
// multi-processing module.
func (d *deployment) findServer() error {
	if err := d.findHTTPD(); err != nil {
		return err
	}
	if err := config.WantDirectory(config.ModulesDirectory, d.ModulesDir); err != nil {
		return err
	}
	d.Rotatelogs = d.abs(config.RotatelogsExecutable.In(d))
	if d.MIME = d.abs(config.MIMETypes.In(d)); d.MIME == "" {
		d.MIME = site.MIMETypes(d.ModulesDir)
	}
	// Before any of them runs.
	if err := d.trust.Files(append(environmentFiles(d.python), d.reliedFiles()...)); err != nil {
		return err
	}
	if err := d.findMPM(); err != nil {
		return err
	}
	if config.HTTP2.In(d) && d.MPM == "prefork" {
		d.Warn("--http2 has no effect with the prefork MPM, which mod_http2 does not support")
	}
	return nil
}

// findHTTPD finds the httpd and its modules: the httpd that an option or the
// environment names, or else the one that the module was built for.
func (d *deployment) findHTTPD() error {
	recorded := d.python.Receipt.HTTPD
	d.HTTPD, d.ModulesDir = recorded.Executable, config.OrElse(d.abs(config.ModulesDirectory.In(d)), recorded.ModulesDir)
	wanted, by := config.HTTPDExecutable.In(d), "option --httpd-executable"
	if wanted == "" {
		// Upstream's launcher reads HTTPD too; there it overrides the option.
		wanted, by = run.Getenv(d.Env, "HTTPD"), "the environment variable HTTPD"
	}
	if wanted == "" {
		return site.CheckHTTPD(d.HTTPD, d.python.Home)
	}
	found, err := site.LookUpHTTPD(d.Env, d.LaunchDir, wanted)
	if err != nil {
		return fault.New(fault.Usage, "", "%s: %w", by, err)
	}
	d.HTTPD, d.HTTPDBy = found, by
	if config.ModulesDirectory.In(d) == "" {
		d.ModulesDir = config.OrElse(site.ModulesBeside(found), d.ModulesDir)
	}
	return nil
}

// findMPM chooses the first of event, worker and prefork that exists and that the options
// allow.
func (d *deployment) findMPM() error {
	allowed := config.ServerMPM.In(d)
	wanted := []string{"event", "worker", "prefork"}
	switch embedded := config.EmbeddedMode.In(d); {
	case embedded && len(allowed) > 0:
	case config.EnableGDB.In(d) && (embedded || config.DebugMode.In(d)):
		// The worker MPM waits for signals in a way that hides a Ctrl-C from gdb.
		wanted = []string{"prefork", "worker"}
	case embedded || config.DebugMode.In(d):
		wanted = []string{"worker", "prefork"}
	}
	var askErr error
	mpm, err := site.FindMPM(d.ModulesDir, wanted, allowed, func() (inside map[string]bool, err error) {
		inside, askErr = d.BuiltIn()
		return inside, askErr
	})
	if err != nil && askErr == nil && len(allowed) > 0 {
		err = fault.New(fault.Environment, "", "option %s: %w", config.ServerMPM.Flag(), err)
	}
	d.MPM, d.MPMBuiltIn = mpm.Name, mpm.BuiltIn
	return err
}
