package licence

import (
	"io/fs"
	"os"
	"path/filepath"

	"modwsgi/internal/fault"
	"modwsgi/packaging"
)

// OfPrograms enters the SPDX expression of each Go module among the parts of
// what, and puts its text at "go/MODULE/LICENSE" into texts. A module that is not
// known here is an error of class Internal.
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

// OfTree puts the texts that a tree brings along into texts, by their paths below
// root, with slashes. A root that is not there is fs.ErrNotExist.
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
