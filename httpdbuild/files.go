package httpdbuild

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/filetree"
	"modwsgi/internal/owned"
)

// copyFile copies content and sets the given mode, whatever the umask.
func copyFile(from, to string, mode os.FileMode) error {
	if err := makeDir(filepath.Dir(to)); err != nil {
		return err
	}
	return filetree.Replace(from, to, mode)
}

// makeDir creates a directory and its parents, readable for the user as whom httpd
// will serve, whatever the umask. An existing directory stays as it is.
func makeDir(name string) error {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	if err := makeDir(filepath.Dir(name)); err != nil {
		return err
	}
	if err := os.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // another step created it first
		return err
	}
	return owned.Chmod(name, 0o755)
}

func writeFile(name string, data []byte, mode os.FileMode) error {
	if err := makeDir(filepath.Dir(name)); err != nil {
		return err
	}
	if err := os.WriteFile(name, data, mode); err != nil {
		return err
	}
	return owned.Chmod(name, mode)
}

// copySharedLibrary copies lib.so.MAJOR as a plain file. Wheels contain no symbolic
// links, and the loader requires its soname as the file name. With dev it adds the
// name that linkers look for as a link.
func copySharedLibrary(from, name, to string, dev bool) error {
	for _, m := range filetree.Glob(from, name+".so.*") {
		suffix := strings.TrimPrefix(filepath.Base(m), name+".so.")
		if strings.Contains(suffix, ".") || strings.HasSuffix(suffix, "T") {
			continue
		}
		soname := filepath.Base(m)
		if err := copyFile(m, filepath.Join(to, soname), 0o755); err != nil {
			return err
		}
		if dev {
			return os.Symlink(soname, filepath.Join(to, name+".so"))
		}
		return nil
	}
	return fmt.Errorf("find %s.so in %s: %w", name, from, fs.ErrNotExist)
}
