package express

import (
	"errors"
	"io/fs"

	"modwsgi/internal/owned"
)

// includedPaths are the files of --include-file, as httpd reads them.
func (l *launch) includedPaths() (paths []string) {
	for _, name := range l.Includes {
		paths = append(paths, included(name)...)
	}
	return paths
}

// writeHosts writes the file of the virtual hosts, and returns what puts the one back
// that was there.
func writeHosts(dir *owned.Dir, root string, paths []string) (undo func(), err error) {
	text, _ := hostLines(root, paths)
	before, err := dir.ReadFile(hostsFile, 1<<24)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	undo = func() {
		if before == nil {
			_ = dir.Remove(hostsFile)
		} else {
			_ = dir.WriteFile(hostsFile, before, 0o600)
		}
	}
	return undo, dir.WriteFile(hostsFile, []byte("# Copied from the files of --include-file; changes are lost at the next start.\n"+text), 0o600)
}
