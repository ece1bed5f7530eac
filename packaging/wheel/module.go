package wheel

import (
	"encoding/json"
	"os"
	"path/filepath"

	"modwsgi/internal/digest"
	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
)

// soname returns the name of the libpython that the module requires, "" if the
// interpreter is linked into the module.
func (w *work) soname() (string, error) {
	name := w.path("tree", filepath.FromSlash(w.stage.Module.File))
	if !elf.Is(name) {
		return "", nil
	}
	facts, err := elf.Read(name)
	if err != nil {
		return "", fault.New(fault.Environment, "build it again", "inspect the module: %w", err)
	}
	return facts.Needs("libpython"), nil
}

// receipt rewrites the record next to the module. On the target, another Python of
// that kind is at another path, and the launcher looks for it.
func (w *work) receipt(soname string) error {
	m := w.stage.Module
	name := w.path("tree", filepath.FromSlash(m.Receipt))
	data, err := os.ReadFile(name)
	if err != nil {
		return fault.New(fault.Environment, "package what modwsgi built", "read the record of the module: %w", err)
	}
	var r receipt.Receipt
	if err := json.Unmarshal(data, &r); err != nil {
		return fault.New(fault.Environment, "build it again", "read the record of the module: %w", err)
	}
	if r.Module.SHA256, err = digest.File(w.path("tree", filepath.FromSlash(m.File))); err != nil {
		return err
	}
	r.Key = "" // it is made from paths of the build machine
	r.Python.Prefix, r.Python.BasePrefix, r.Python.LibPython = "", "", ""
	r.Python.Soname = soname
	return os.WriteFile(name, r.Encode(), 0o644)
}
