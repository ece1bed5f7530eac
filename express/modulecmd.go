package express

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"modwsgi/express/conf"
	"modwsgi/internal/atomicfile"
	"modwsgi/internal/fault"
)

// moduleLocation prints the path of the module.
func moduleLocation(_ context.Context, p *Program, _ *parsed) (int, error) {
	in, err := p.install()
	if err != nil {
		return 1, err
	}
	_, err = fmt.Fprintln(p.Stdout, in.module)
	return 0, err
}

// moduleConfig prints the directives that load the module into any httpd of the
// same kind.
func moduleConfig(_ context.Context, p *Program, _ *parsed) (int, error) {
	in, err := p.install()
	if err != nil {
		return 1, err
	}
	return 0, p.printModule(in, in.module)
}

// installModule copies the module beside httpd's own and prints the directives
// that load it from there.
func installModule(_ context.Context, p *Program, c *parsed) (int, error) {
	in, err := p.install()
	if err != nil {
		return 1, err
	}
	dir := in.receipt.HTTPD.ModulesDir
	if c.server.ModulesDirectory != "" {
		dir = p.abs(c.server.ModulesDirectory)
	}
	const hint = "choose a directory with --modules-directory"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return 1, fault.New(fault.Environment, hint, "%s is not a directory", dir)
	}
	target := filepath.Join(dir, filepath.Base(in.module))
	if reason := conf.Check(target); reason != "" {
		return 1, fault.New(fault.Usage, "", "option --modules-directory: the value %s", reason)
	}
	from, err := os.Open(in.module)
	if err != nil {
		return 1, fault.Wrap(fault.Environment, "", err)
	}
	defer from.Close()
	// Renamed into place: a running httpd goes on with the old file.
	if err := atomicfile.Copy(target, from, 0o755); err != nil {
		return 1, fault.New(fault.Place, hint, "copy the module to %s: %w", dir, err)
	}
	return 0, p.printModule(in, target)
}

func (p *Program) printModule(in *install, module string) error {
	for _, v := range []string{module, in.home} {
		if reason := conf.Check(v); reason != "" {
			return fault.New(fault.Environment, "move it to a path without such characters", "the path %q %s", v, reason)
		}
	}
	for _, d := range loadModule(in, module) {
		// No ${ can be written here, for the variable that it takes is defined
		// in our own files only; httpd leaves ${ alone where nothing closes it
		// and warns where the name is not known.
		if _, err := fmt.Fprintln(p.Stdout, d.Line()); err != nil {
			return err
		}
	}
	return nil
}

// loadModule returns the directives that load the module and name its Python.
func loadModule(in *install, module string) []*conf.Directive {
	var all []*conf.Directive
	slash := func(path string) string {
		if runtime.GOOS == "windows" {
			return filepath.ToSlash(path)
		}
		return path
	}
	if runtime.GOOS != "linux" && in.sharedPython() != "" {
		all = append(all, conf.D("LoadFile", conf.Word(slash(in.sharedPython()))))
	}
	return append(all,
		conf.D("LoadModule", conf.Key("wsgi_module"), conf.Word(slash(module))),
		conf.D("WSGIPythonHome", conf.Word(slash(in.home))))
}
