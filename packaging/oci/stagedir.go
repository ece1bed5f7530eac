package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/libpython"
	"modwsgi/internal/receipt"
	"modwsgi/packaging"
	"modwsgi/packaging/licence"
)

// treeRecord is the part of the record in an httpd tree that is needed here.
type treeRecord struct {
	Version    string   `json:"version"`
	Features   []string `json:"features"`
	Key        string   `json:"key"`
	Compiler   string   `json:"compiler"`
	Libc       string   `json:"libc"`
	Components []struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		SHA256  string `json:"sha256"`
		Trust   string `json:"trust"`
	} `json:"components"`
}

// ReadStage reads the copy of an environment that modwsgi installed into, for any CPU.
// It runs nothing of it; the records in it describe it.
func ReadStage(dir string, at time.Time) (*Input, error) {
	hint := "name a copy of the whole environment (rsync -a .venv/ there/) that modwsgi install --httpd bundled installed into"
	bad := func(err error) error { return fault.New(fault.Usage, hint, "--stage %s: %w", dir, err) }
	found, err := fs.Glob(os.DirFS(dir), "lib/python3*/site-packages/"+receipt.Path)
	if err != nil {
		return nil, bad(err)
	}
	if len(found) != 1 {
		return nil, fault.New(fault.Usage, hint, "--stage %s has %d modules of mod_wsgi instead of one", dir, len(found))
	}
	site := filepath.Join(dir, filepath.FromSlash(strings.TrimSuffix(found[0], receipt.Path)))
	r, err := receipt.Read(site)
	if err != nil {
		return nil, bad(err)
	}
	if r.HTTPD.Provenance != "bundled" {
		return nil, fault.New(fault.Usage, hint, "--stage %s: its module is for the system httpd of its build machine", dir)
	}
	const tree = "mod_wsgi_packages/httpd"
	data, err := os.ReadFile(filepath.Join(site, filepath.FromSlash(tree), "build.json"))
	if err != nil {
		return nil, bad(err)
	}
	var t treeRecord
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, bad(err)
	}
	h := &packaging.HTTPD{Dir: tree, Package: path.Dir(tree), Version: t.Version, Features: t.Features, Key: t.Key, Compiler: t.Compiler, Libc: t.Libc}
	for _, c := range t.Components {
		one := packaging.SourceComponent(c.Name, c.Version, licence.OfSource(c.Name), c.SHA256)
		one.Trust = c.Trust
		h.Components = append(h.Components, one)
	}
	h.Components = packaging.WithFeatures(h.Components, h.Features)
	s := &packaging.Stage{Site: site, Bin: filepath.Join(dir, "bin"), HTTPD: h, Time: at, Tool: r.Tool, Module: moduleOf(r)}
	in := &Input{Stage: s, Env: &Environment{Prefix: dir, Site: []string{site}, Bin: s.Bin}}
	if in.Python, err = pythonHere(r, filepath.Join(site, filepath.FromSlash(s.Module.File))); err != nil {
		in.noPython = err.Error()
	}
	return in, nil
}

// pythonHere finds the Python that an environment was made with, if it is on this machine
// too: at the recorded path, with the recorded version, and for the CPU of the module. It
// is not run. An image without a base contains it.
func pythonHere(r *receipt.Receipt, module string) (*Interpreter, error) {
	parts := strings.SplitN(r.Python.Version, ".", 3)
	if r.Python.BasePrefix == "" || len(parts) < 3 {
		return nil, errors.New("the environment does not record where its Python was")
	}
	name := "python" + parts[0] + "." + parts[1]
	if r.Python.FreeThreaded {
		name += "t"
	}
	program, err := filepath.EvalSymlinks(filepath.Join(r.Python.BasePrefix, "bin", name))
	if err != nil {
		return nil, fmt.Errorf("%s is not on this machine", filepath.Join(r.Python.BasePrefix, "bin", name))
	}
	facts, err := elf.Read(program)
	if err != nil {
		return nil, err
	}
	wanted, err := elf.Read(module)
	if err != nil {
		return nil, err
	}
	if facts.Machine != wanted.Machine {
		return nil, fmt.Errorf("%s is for %s, but the environment is for %s", program, facts.Machine, wanted.Machine)
	}
	for _, file := range []string{program, r.Python.LibPython} {
		if has := libpython.VersionOf(file, r.Python.Version); has != "" {
			if !libpython.Same(has, r.Python.Version) {
				return nil, fmt.Errorf("%s is Python %s, but the environment is for %s", program, has, r.Python.Version)
			}
			return &Interpreter{Prefix: r.Python.BasePrefix, Executable: program, Version: r.Python.Version}, nil
		}
	}
	return nil, fmt.Errorf("the version of %s is unknown", program)
}

// moduleOf describes a module from its record.
func moduleOf(r *receipt.Receipt) *packaging.Module {
	parts := strings.SplitN(r.Python.Version+"..", ".", 3)
	tag := "cp" + parts[0] + parts[1]
	abi := tag
	if r.Python.FreeThreaded {
		abi += "t"
	}
	version := r.Module.Version
	return &packaging.Module{
		Package: "mod_wsgi", File: "mod_wsgi/server/" + filepath.Base(r.Module.File), Receipt: receipt.Path, Version: version, Key: r.Key,
		HTTPD: r.HTTPD.Version, Bundled: true,
		Components: []packaging.Component{packaging.SourceComponent("mod_wsgi", version, licence.OfSource("mod_wsgi"), "")},
		Python: packaging.Python{
			Version: r.Python.Version, Tag: tag, ABI: abi, SOABI: r.Python.SOABI, LibPython: r.Python.LibPython, FreeThreaded: r.Python.FreeThreaded,
		},
	}
}
