package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Tree returns a SHA-256 over the names and contents of the files below a directory that
// keep accepts. keep gets paths relative to dir, with slashes. The path of a directory
// ends in a slash, and nothing below a rejected directory counts. Links to files count as
// their targets. Modes and times do not count, so a copy has the same digest.
func Tree(dir string, keep func(name string) bool) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	err = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == real {
			return err
		}
		rel, err := filepath.Rel(real, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if !keep(rel + "/") {
				return fs.SkipDir
			}
			return nil
		}
		if !keep(rel) {
			return nil
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return err
		}
		sum, err := File(path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "%q %s\n", rel, sum)
		return err
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
