package place

import (
	"path/filepath"
)

// check looks, before anything is changed, for obstacles to making, reverting or tidying
// up a change: directories in which names cannot be made or removed, and, among what is
// to be removed, files that cannot be.
func (p *plan) check() error {
	dirs := map[string]bool{}
	look := func(dir string) error {
		dir = p.scope.innermost(dir)
		if dirs[dir] {
			return nil
		}
		dirs[dir] = true
		return p.scope.checkDir(dir)
	}
	for _, dir := range append([]string{p.anchor}, sorted(p.sides)...) {
		if err := look(dir); err != nil {
			return err
		}
	}
	for _, o := range p.ops {
		if err := look(filepath.Dir(o.Target)); err != nil {
			return err
		}
		if o.Saved == "" {
			continue
		}
		if err := p.scope.checkTree(o.Target); err != nil {
			return err
		}
	}
	return nil
}

// checkDir checks whether names can be made in a directory and removed again.
func (s *scope) checkDir(path string) error {
	dir, rel, err := s.from(filepath.Join(path, "name"))
	if err != nil {
		return err
	}
	at := spot{dir: dir}
	for _, name := range parts(filepath.Dir(rel)) {
		next, err := at.dir.Enter(name)
		at.close()
		if err != nil {
			return changeError("open", path, err)
		}
		at.dir, at.open = next, true
	}
	defer at.close()
	if o := closedDir(at.dir); o != nil {
		return o.error(path)
	}
	if err := writable(at.dir); err != nil {
		return changeError("write into", path, err)
	}
	return nil
}

// checkTree looks for entries that cannot be removed, at a path and below it.
func (s *scope) checkTree(path string) error {
	at, err := s.at(path)
	if err != nil {
		return err
	}
	defer at.close()
	return checkSpot(at, path)
}

func checkSpot(at spot, path string) error {
	if o := fixed(at); o != nil {
		return o.error(path)
	}
	info, err := at.dir.Lstat(at.name)
	if err != nil || !info.IsDir() {
		return nil // removed meanwhile: not an obstacle
	}
	dir, err := at.dir.Enter(at.name)
	if err != nil {
		return nil // the rename decides
	}
	defer func() { _ = dir.Close() }()
	entries, err := dir.Entries()
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if err := checkSpot(spot{dir: dir, name: e.Name()}, filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
