package place

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"modwsgi/internal/owned"
)

// do carries out one operation.
func (t *Transaction) do(o op) error {
	target, staged, saved := t.path(o.Target), t.path(o.Staged), t.path(o.Saved)
	switch o.Kind {
	case put:
		return t.scope.both(staged, target, renameNew)
	case take:
		return t.moveTree(target, saved)
	}
	if err := t.scope.both(staged, target, swapSpots); err == nil {
		failpoint("exchanged " + o.Target)
		return t.scope.both(staged, saved, rename)
	}
	// Not every file system can exchange, and overlayfs does not move directories of a
	// lower layer (EXDEV). The target is then missing for a moment.
	if err := t.moveTree(target, saved); err != nil {
		return err
	}
	failpoint("away " + o.Target)
	return t.scope.both(staged, target, renameNew)
}

// takeBack reverts one operation, whether it was done, partly done, not done, or reverted
// before.
func (t *Transaction) takeBack(o op) error {
	target, staged, saved := t.path(o.Target), t.path(o.Staged), t.path(o.Saved)
	if t.foreign(target, o) {
		return nil
	}
	switch o.Kind {
	case put:
		if t.scope.exists(staged) || !t.scope.exists(target) {
			return nil
		}
		if err := t.scope.dropCaches(target); err != nil {
			return err
		}
		return t.moveTree(target, staged)
	case take:
		if !t.scope.exists(saved) {
			return nil
		}
		return t.moveTree(saved, target)
	}
	return t.takeBackSwap(target, staged, saved, o.New)
}

func (t *Transaction) takeBackSwap(target, staged, saved string, m *mark) error {
	if m == nil {
		return errors.New("the journal does not describe what is staged")
	}
	s := t.scope
	fresh := m.find(s, staged, saved, target)
	old, spare := saved, staged
	if !s.exists(saved) || fresh == saved {
		old, spare = staged, saved
	}
	if fresh == target && s.exists(old) {
		if err := s.dropCaches(target); err != nil {
			return err
		}
		if s.both(old, target, swapSpots) == nil {
			return nil
		}
		if err := s.both(target, spare, rename); err != nil {
			return err
		}
		failpoint("taken back " + target)
		fresh = spare
	}
	for _, path := range []string{saved, staged} {
		if path != fresh && s.exists(path) {
			return t.moveTree(path, target)
		}
	}
	return nil
}

// foreign reports whether the file at a target is neither the placed nor the replaced
// one. Another program put it there in the meantime, and it stays.
func (t *Transaction) foreign(target string, o op) bool {
	if !t.inodesValid() {
		return false
	}
	info, err := t.scope.lstat(target)
	if err != nil {
		return false
	}
	for _, m := range []*mark{o.New, o.Old} {
		if m != nil && m.Inode == inode(info) {
			return false
		}
	}
	return o.New != nil || o.Old != nil
}

// superseded reports whether another installer has since installed one of the
// distributions in a journal. Metadata of it then exists that the change neither placed
// nor replaced, and the state before must not be restored.
func (t *Transaction) superseded() bool {
	if !t.inodesValid() {
		return false
	}
	names, known := map[string]bool{}, map[uint64]bool{}
	for _, o := range t.j.Ops {
		if target := t.path(o.Target); isInfo(t.locked.anchor, target) {
			names[distOf(target)] = true
		}
		for _, m := range []*mark{o.New, o.Old} {
			if m != nil {
				known[m.Inode] = true
			}
		}
	}
	entries, err := t.locked.dir.Entries()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		path := filepath.Join(t.locked.anchor, e.Name())
		if !isInfo(t.locked.anchor, path) || !names[distOf(path)] {
			return false
		}
		info, err := t.locked.dir.Lstat(e.Name())
		return err == nil && !known[inode(info)]
	})
}

// distOf returns the name in the path of metadata, NAME-VERSION.dist-info.
func distOf(info string) string {
	name, _, _ := strings.Cut(filepath.Base(info), "-")
	return strings.ToLower(name)
}

// inodesValid reports whether the inodes in the journal identify files: the environment
// was not copied since, and nothing was moved file by file.
func (t *Transaction) inodesValid() bool {
	return t.j.Home != 0 && t.j.Home == t.homeInode() && !t.j.Merging
}

func (t *Transaction) homeInode() uint64 {
	home := t.scope.homes[t.dir]
	if home == nil {
		return 0
	}
	info, err := home.Info()
	if err != nil {
		return 0
	}
	return inode(info)
}

// mark records what each operation stages and replaces, once the staged tree is complete.
func (t *Transaction) mark() error {
	note := func(path string) (*mark, error) {
		info, err := t.scope.lstat(path)
		if err != nil {
			return nil, changeError("read", path, err)
		}
		m := markOf(info)
		return &m, nil
	}
	t.j.Home = t.homeInode()
	for i, o := range t.j.Ops {
		var err error
		if o.Staged != "" {
			if t.j.Ops[i].New, err = note(t.path(o.Staged)); err != nil {
				return err
			}
		}
		if o.Saved != "" {
			if t.j.Ops[i].Old, err = note(t.path(o.Target)); err != nil {
				return err
			}
		}
	}
	return nil
}

func markOf(info fs.FileInfo) mark {
	return mark{Inode: inode(info), Mtime: info.ModTime().UnixNano(), Size: info.Size(), Mode: uint32(info.Mode())}
}

// is reports whether info describes the marked file, or a copy of it.
func (m *mark) is(info fs.FileInfo) bool {
	got := markOf(info)
	if m.Inode != 0 && got.Inode == m.Inode {
		return true
	}
	got.Inode = m.Inode
	return got == *m
}

// find returns which of the paths holds the marked file. Inode numbers are conclusive. In
// an environment that was copied in the meantime they differ, and the other attributes
// decide.
func (m *mark) find(s *scope, paths ...string) string {
	likely := ""
	for _, path := range paths {
		info, err := s.lstat(path)
		if err != nil {
			continue
		}
		if m.Inode != 0 && inode(info) == m.Inode {
			return path
		}
		if m.is(info) && likely == "" {
			likely = path
		}
	}
	return likely
}

// moveTree renames a file or a directory. A directory that cannot be renamed as a whole,
// or whose other half is at its new path already, is moved file by file. That can be
// repeated and reverted at any point.
func (t *Transaction) moveTree(from, to string) error {
	return t.scope.both(from, to, func(a, b spot) error {
		err := rename(a, b)
		if err == nil || !apart(a, err) {
			return err
		}
		if !t.j.Merging {
			t.j.Merging = true
			err := t.prepare()
			if err == nil {
				err = t.save()
			}
			if err != nil { // nothing has been moved file by file yet
				t.j.Merging = false
				return err
			}
		}
		return merge(a, b)
	})
}

// apart reports whether a directory has to be moved file by file.
func apart(from spot, err error) bool {
	info, lerr := from.dir.Lstat(from.name)
	return lerr == nil && info.IsDir() && (errors.Is(err, syscall.EXDEV) || errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY))
}

func merge(from, to spot) error {
	info, err := from.dir.Lstat(from.name)
	if err != nil {
		return err
	}
	if err := to.dir.Root().Mkdir(to.name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	a, err := from.dir.Enter(from.name)
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	b, err := to.dir.Enter(to.name)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	entries, err := a.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		one, other := spot{dir: a, name: e.Name()}, spot{dir: b, name: e.Name()}
		err := rename(one, other)
		if err != nil && apart(one, err) {
			err = merge(one, other)
		}
		if err != nil {
			return err
		}
		failpoint("moved " + e.Name())
	}
	if err := likeness(b, info); err != nil {
		return err
	}
	return from.dir.Remove(from.name)
}

// likeness gives a directory the mode and time of another one, unless it belongs to a
// third user, who may have put it there for modwsgi to open up.
func likeness(dir *owned.Dir, info fs.FileInfo) error {
	now, err := dir.Info()
	if err != nil {
		return err
	}
	made := now.Mode().Perm() == 0o700 && owned.UID(now) == self()
	if !made && owned.UID(now) != owned.UID(info) {
		return nil
	}
	if err := dir.Root().Chmod(".", info.Mode().Perm()); err != nil {
		return err
	}
	return dir.Root().Chtimes(".", info.ModTime(), info.ModTime())
}

// dropCaches removes the byte-compiled files of a removed source file.
func (s *scope) dropCaches(source string) error {
	stem, ok := strings.CutSuffix(filepath.Base(source), ".py")
	if !ok {
		return nil
	}
	at, err := s.at(source)
	if err != nil {
		return err
	}
	defer at.close()
	dir, err := at.dir.Enter(cacheDir)
	if err != nil {
		return nil // none exist, or they are behind a link
	}
	defer func() { _ = dir.Close() }()
	entries, err := dir.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isCache(e.Name(), stem) {
			continue
		}
		if err := dir.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if rest, err := dir.Entries(); err == nil && len(rest) == 0 && dir.Is(at.dir, cacheDir) {
		_ = at.dir.Remove(cacheDir)
	}
	return nil
}

// syncTargets makes the renames durable.
func (t *Transaction) syncTargets() {
	done := map[string]bool{}
	for _, o := range t.j.Ops {
		for _, rel := range []string{o.Target, o.Staged, o.Saved} {
			path := t.path(rel)
			if rel == "" || done[filepath.Dir(path)] {
				continue
			}
			done[filepath.Dir(path)] = true
			if at, err := t.scope.at(path); err == nil {
				syncDir(at)
				at.close()
			}
		}
	}
}
