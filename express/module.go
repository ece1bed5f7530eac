package express

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/express/conf"
	"modwsgi/express/site"
	"modwsgi/internal/atomicfile"
	"modwsgi/internal/fault"
)

// moduleLocation prints the path of the module.
func moduleLocation(_ context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	in, err := inv.python()
	if err != nil {
		return 1, err
	}
	if optAsJSON.In(s) {
		return 0, printJSON(c.Stdout, in, in.Module)
	}
	_, err = fmt.Fprintln(c.Stdout, in.Module)
	return 0, err
}

// moduleConfig prints the directives that load the module into any httpd of the
// same kind.
func moduleConfig(_ context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	in, err := inv.python()
	if err != nil {
		return 1, err
	}
	if err := in.Fits(); err != nil {
		return 1, err
	}
	if optAsJSON.In(s) {
		return 0, printJSON(c.Stdout, in, in.Module)
	}
	return 0, printModule(c.Stdout, in, in.Module)
}

// installModule copies the module into httpd's modules directory and prints the
// directives that load it from there.
func installModule(_ context.Context, c *Console, inv *Invocation, s *Server) (int, error) {
	in, err := inv.python()
	if err != nil {
		return 1, err
	}
	if err := in.Fits(); err != nil {
		return 1, err
	}
	dir := in.Receipt.HTTPD.ModulesDir
	if optTarget.In(s) != "" {
		dir = site.ModulesOf(inv.abs(optTarget.In(s)))
	}
	const hint = "choose a directory with --modules-directory"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return 1, fault.New(fault.Environment, hint, "%s is not a directory", dir)
	}
	target := filepath.Join(dir, filepath.Base(in.Module))
	for _, v := range []string{target, in.Home, in.SharedPython()} { // before anything is copied
		if err := printable(v); err != nil {
			return 1, err
		}
	}
	from, err := os.Open(in.Module)
	if err != nil {
		return 1, fault.Wrap(fault.Environment, "", err)
	}
	defer from.Close()
	// Renamed into place, so a running httpd keeps the old file.
	if err := atomicfile.Copy(target, from, 0o755); err != nil {
		return 1, fault.New(fault.Place, hint, "copy the module to %s: %w", dir, err)
	}
	if optAsJSON.In(s) {
		return 0, printJSON(c.Stdout, in, target)
	}
	return 0, printModule(c.Stdout, in, target)
}

// printJSON prints the same as printModule, as one JSON object on a line.
func printJSON(w io.Writer, in *site.Environment, module string) error {
	r := in.Receipt
	m := map[string]any{
		"module": module, "python_home": in.Home, "module_version": r.Module.Version, "python_version": r.Python.Version,
		"httpd": r.HTTPD.Executable, "modules_directory": r.HTTPD.ModulesDir,
	}
	var lines []string
	for _, d := range site.LoadModule(in, module) {
		lines = append(lines, d.Line())
	}
	m["directives"] = lines
	return json.NewEncoder(w).Encode(m)
}

func printModule(w io.Writer, in *site.Environment, module string) error {
	for _, v := range []string{module, in.Home, in.SharedPython()} {
		if err := printable(v); err != nil {
			return err
		}
	}
	for _, d := range site.LoadModule(in, module) {
		if _, err := fmt.Fprintln(w, d.Line()); err != nil {
			return err
		}
	}
	return nil
}

// printable reports a path that another server's httpd.conf cannot contain. In our own
// httpd.conf, a variable stands for ${.
func printable(path string) error {
	reason := conf.Check(path)
	if reason == "" && strings.Contains(path, "${") {
		reason = "contains ${, which httpd takes for a variable"
	}
	if reason == "" {
		return nil
	}
	return fault.New(fault.Environment, "move it to a path without such characters", "the path %q %s", path, reason)
}
