package detect

import (
	"io/fs"
	"os"
	"path/filepath"
)

// thisMachine is the file system that the process sees.
type thisMachine struct{}

func (thisMachine) isAbs(p string) bool                   { return filepath.IsAbs(p) }
func (thisMachine) stat(p string) (fs.FileInfo, error)    { return os.Stat(p) }
func (thisMachine) lstat(p string) (fs.FileInfo, error)   { return os.Lstat(p) }
func (thisMachine) openAny(p string) (fs.File, error)     { return os.Open(p) }
func (thisMachine) readLink(p string) (string, error)     { return os.Readlink(p) }
func (thisMachine) evalLinks(p string) (string, error)    { return filepath.EvalSymlinks(p) }
func (thisMachine) entries(p string) (list []fs.DirEntry) { list, _ = os.ReadDir(p); return list }

func (thisMachine) sameFile(a, b string) bool {
	ia, erra := os.Stat(a)
	ib, errb := os.Stat(b)
	return erra == nil && errb == nil && os.SameFile(ia, ib)
}
