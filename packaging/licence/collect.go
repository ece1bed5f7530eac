package licence

import (
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
)

// OfPrograms sets the SPDX expression of each Go module among the parts of a
// component, and puts its text into texts as "go/MODULE/LICENSE". A module that is
// unknown here is an error of class Internal.
func OfPrograms(what string, parts []packaging.Component, texts map[string][]byte) error {
	for i, c := range parts {
		if c.Kind != packaging.FromModules {
			continue
		}
		spdx, text, err := OfModule(c.Name)
		if err != nil {
			return fault.New(fault.Internal, "add it to packaging/licence", "package %s: %w", what, err)
		}
		parts[i].License = spdx
		texts["go/"+c.Name+"/LICENSE"] = text
	}
	return nil
}

// OfTree puts the licence texts in a tree into texts, by their paths below root, with
// slashes. If root does not exist, the error is fs.ErrNotExist.
func OfTree(root string, texts map[string][]byte) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		texts[filepath.ToSlash(rel)], err = os.ReadFile(name)
		return err
	})
}
