package httpdbuild

import (
	"io"

	"modwsgi/internal/filetree"
	"modwsgi/internal/relocate"
)

// checkHardening compares every binary of the tree with what the compiler's trial program
// has. A makefile or a configure script may have dropped a flag.
func (b *builder) checkHardening(log io.Writer) error {
	var files []string
	for _, name := range filetree.Glob(b.stage, "*/*") {
		if relocate.IsELF(name) {
			files = append(files, name)
		}
	}
	return b.Flags.Check(log, b.stage, files)
}
