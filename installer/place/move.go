package place

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// do carries one operation out.
func (t *Transaction) do(o op) error {
	target, staged, saved := t.path(o.Target), t.path(o.Staged), t.path(o.Saved)
	switch o.Kind {
	case put:
		return renameNew(staged, target)
	case take:
		return moveTree(target, saved)
	}
	if err := swapPaths(staged, target); err == nil {
		failpoint("exchanged " + o.Target)
		return os.Rename(staged, saved)
	}
	// Not every file system exchanges, and overlayfs does not move directories
	// of a lower layer (EXDEV). Then the target is away for a moment.
	if err := moveTree(target, saved); err != nil {
		return err
	}
	failpoint("away " + o.Target)
	return renameNew(staged, target)
}

// takeBack reverts one operation, whether it was done, done in part, not done,
// or taken back before.
func (t *Transaction) takeBack(o op) error {
	target, staged, saved := t.path(o.Target), t.path(o.Staged), t.path(o.Saved)
	switch o.Kind {
	case put:
		if exists(staged) || !exists(target) {
			return nil
		}
		if err := dropCaches(target); err != nil {
			return err
		}
		return moveTree(target, staged)
	case take:
		if !exists(saved) {
			return nil
		}
		return moveTree(saved, target)
	}
	return takeBackSwap(target, staged, saved, o.New)
}

func takeBackSwap(target, staged, saved string, m *mark) error {
	if m == nil {
		return errors.New("the journal does not describe what is staged")
	}
	fresh := m.find(staged, saved, target)
	old, spare := saved, staged
	if !exists(saved) || fresh == saved {
		old, spare = staged, saved
	}
	if fresh == target && exists(old) {
		if err := dropCaches(target); err != nil {
			return err
		}
		if swapPaths(old, target) == nil {
			return nil
		}
		if err := os.Rename(target, spare); err != nil {
			return err
		}
		failpoint("taken back " + target)
		fresh = spare
	}
	for _, path := range []string{saved, staged} {
		if path != fresh && exists(path) {
			return moveTree(path, target)
		}
	}
	return nil
}

// mark notes what each swap stages, when the staged tree is complete.
func (t *Transaction) mark() error {
	for i, o := range t.j.Ops {
		if o.Kind != swap {
			continue
		}
		info, err := os.Lstat(t.path(o.Staged))
		if err != nil {
			return changeError("read", t.path(o.Staged), err)
		}
		m := markOf(info)
		t.j.Ops[i].New = &m
	}
	return nil
}

func markOf(info fs.FileInfo) mark {
	return mark{Inode: inode(info), Mtime: info.ModTime().UnixNano(), Size: info.Size(), Mode: uint32(info.Mode())}
}

// find returns which of the paths holds the marked thing. Inode numbers say it
// for sure; an environment that was copied meanwhile has others, then the rest
// decides.
func (m *mark) find(paths ...string) string {
	likely := ""
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		got := markOf(info)
		if m.Inode != 0 && got.Inode == m.Inode {
			return path
		}
		got.Inode = m.Inode
		if got == *m && likely == "" {
			likely = path
		}
	}
	return likely
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// moveTree renames a file or a directory. A directory that cannot be renamed
// as a whole, or whose other half is at its new place already, is moved file by
// file; that can be repeated and taken back at any point.
func moveTree(from, to string) error {
	err := os.Rename(from, to)
	if err == nil {
		return nil
	}
	info, lerr := os.Lstat(from)
	if lerr != nil {
		return lerr
	}
	if !info.IsDir() || !(errors.Is(err, syscall.EXDEV) || errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY)) {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := moveTree(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
		failpoint("moved " + e.Name())
	}
	if err := os.Chmod(to, info.Mode().Perm()); err != nil {
		return err
	}
	if err := os.Chtimes(to, info.ModTime(), info.ModTime()); err != nil {
		return err
	}
	return os.Remove(from)
}

// caches returns the byte-compiled files of a Python source file (PEP 3147).
func caches(source string) []string {
	stem, ok := strings.CutSuffix(filepath.Base(source), ".py")
	if !ok {
		return nil
	}
	dir := filepath.Join(filepath.Dir(source), "__pycache__")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stem+".") && strings.HasSuffix(e.Name(), ".pyc") {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found
}

// dropCaches removes what Python made of a source file that goes away.
func dropCaches(source string) error {
	for _, c := range caches(source) {
		if err := os.Remove(c); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = os.Remove(filepath.Dir(c)) // only where it is empty now
	}
	return nil
}

// removeTree is os.RemoveAll for trees with directories that even their owner
// may not write to. Such bits are found where a distribution was installed
// that way.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// syncTargets makes the renames durable.
func (t *Transaction) syncTargets() {
	done := map[string]bool{}
	for _, o := range t.j.Ops {
		for _, path := range []string{o.Target, o.Staged, o.Saved} {
			dir := filepath.Dir(t.path(path))
			if path != "" && !done[dir] {
				done[dir] = true
				syncDir(dir)
			}
		}
	}
}
