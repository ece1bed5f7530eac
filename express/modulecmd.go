package express

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/internal/atomicfile"
	"modwsgi/internal/fault"
)

// moduleLocation prints the path of the module.
func moduleLocation(_ context.Context, p *Program, c *parsed) (int, error) {
	in, err := p.install()
	if err != nil {
		return 1, err
	}
	if optAsJSON.In(c.server) {
		return 0, p.printJSON(in, in.module)
	}
	_, err = fmt.Fprintln(p.Stdout, in.module)
	return 0, err
}

// moduleConfig prints the directives that load the module into any httpd of the
// same kind.
func moduleConfig(_ context.Context, p *Program, c *parsed) (int, error) {
	in, err := p.install()
	if err != nil {
		return 1, err
	}
	if err := in.fits(); err != nil {
		return 1, err
	}
	if optAsJSON.In(c.server) {
		return 0, p.printJSON(in, in.module)
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
	if err := in.fits(); err != nil {
		return 1, err
	}
	dir := in.receipt.HTTPD.ModulesDir
	if optTarget.In(c.server) != "" {
		dir = modulesOf(p.abs(optTarget.In(c.server)))
	}
	const hint = "choose a directory with --modules-directory"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return 1, fault.New(fault.Environment, hint, "%s is not a directory", dir)
	}
	target := filepath.Join(dir, filepath.Base(in.module))
	for _, v := range []string{target, in.home, in.sharedPython()} { // before anything is copied
		if err := printable(v); err != nil {
			return 1, err
		}
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
	if optAsJSON.In(c.server) {
		return 0, p.printJSON(in, target)
	}
	return 0, p.printModule(in, target)
}

// printJSON prints what printModule does, for programs: one object on a line.
func (p *Program) printJSON(in *install, module string) error {
	r := in.receipt
	m := map[string]any{
		"module": module, "python_home": in.home, "module_version": r.Module.Version, "python_version": r.Python.Version,
		"httpd": r.HTTPD.Executable, "modules_directory": r.HTTPD.ModulesDir,
	}
	var lines []string
	for _, d := range loadModule(in, module) {
		lines = append(lines, d.Line())
	}
	m["directives"] = lines
	return json.NewEncoder(p.Stdout).Encode(m)
}

func (p *Program) printModule(in *install, module string) error {
	for _, v := range []string{module, in.home, in.sharedPython()} {
		if err := printable(v); err != nil {
			return err
		}
	}
	for _, d := range loadModule(in, module) {
		if _, err := fmt.Fprintln(p.Stdout, d.Line()); err != nil {
			return err
		}
	}
	return nil
}

// printable reports a path that another server's httpd.conf cannot carry. In our
// own a variable carries a ${.
func printable(path string) error {
	reason := conf.Check(path)
	if reason == "" && strings.Contains(path, "${") {
		reason = "holds ${, which httpd takes for a variable"
	}
	if reason == "" {
		return nil
	}
	return fault.New(fault.Environment, "move it to a path without such characters", "the path %q %s", path, reason)
}

// loadModule returns the directives that load the module and name its Python. The
// shared libpython is loaded by its path first: the module asks for it by name, and
// for a name the loader would look into LD_LIBRARY_PATH before the place that the
// module gives, and run another Python of that minor version without a word. A
// module from a wheel gives no place at all.
func loadModule(in *install, module string) []*conf.Directive {
	var all []*conf.Directive
	if lib := in.sharedPython(); lib != "" {
		all = append(all, conf.D("LoadFile", conf.Word(filepath.ToSlash(lib))))
	}
	return append(all,
		conf.D("LoadModule", conf.Key("wsgi_module"), conf.Word(filepath.ToSlash(module))),
		conf.D("WSGIPythonHome", conf.Word(filepath.ToSlash(in.home))))
}
