package place

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
)

// scope is what a change may reach: the anchor and the other roots, each through an open
// directory. The owner of a part of the environment may replace any name in it at any
// moment, also with a link to somewhere else, and modwsgi may run as root. So every step
// walks from an open directory name by name, never through a link, and acts on the last
// name in the directory that it reached. At worst it changes something else in that
// user's own directories.
//
// Paths are absolute and canonical everywhere in this package; scope turns them into a
// directory and a name.
type scope struct {
	anchor string
	roots  []root
	// homes are hidden directories that were checked and belong to this user or root.
	// Their contents are reached through these handles, whatever happens to their names.
	homes map[string]*owned.Dir
}

// root is a directory that may contain targets. It need not exist yet.
type root struct {
	path  string
	given string     // as the caller named it
	dir   *owned.Dir // its directory or, if it does not exist yet, the nearest existing parent; the anchor's is the anchor itself
}

// open opens a directory of an environment, whoever owns it.
func open(path string) (*owned.Dir, error) {
	dir, err := owned.OpenTheirs(path)
	if owned.IsUntrusted(err) {
		return nil, fault.Wrap(fault.Place, "name the environment by its real path, without links of other users on the way", err)
	}
	if err != nil {
		return nil, changeError("open", path, err)
	}
	return dir, nil
}

// close closes the handles, except the anchor's.
func (s *scope) close() {
	for _, r := range s.roots[1:] {
		_ = r.dir.Close()
	}
	for _, home := range s.homes {
		_ = home.Close()
	}
	s.roots, s.homes = s.roots[:1], nil
}

// within reports whether path is below dir; dir itself is not.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

// resolve makes a path of a request or of a journal canonical: it follows links in its
// directory but not the path itself. The path must be in a root.
func (s *scope) resolve(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fault.New(fault.Internal, "", "place: %q is not an absolute path", path)
	}
	dir, err := canonical(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	full := filepath.Join(dir, filepath.Base(path))
	var names []string
	for _, r := range s.roots {
		if within(r.path, full) {
			return full, nil
		}
		names = append(names, r.path)
	}
	return "", fault.New(fault.Place,
		"a symbolic link in the environment, or a damaged RECORD, leads out of it: fix that and run the command again",
		"%s is outside the environment (it is %s; the environment is %s)", path, full, strings.Join(names, ", "))
}

// straight is resolve for paths listed in a RECORD, which another user may have written.
// From its root on, the path must be free of links: a link to another part of the
// environment could make modwsgi remove files of others.
func (s *scope) straight(path string) (string, error) {
	full, err := s.resolve(path)
	if err != nil {
		return "", err
	}
	path = filepath.Clean(path)
	direct := ""
	best := -1
	for _, r := range s.roots {
		for _, name := range []string{r.given, r.path} {
			if rel, err := filepath.Rel(name, path); err == nil && within(name, path) && len(name) > best {
				best, direct = len(name), filepath.Join(r.path, rel)
			}
		}
	}
	if direct != full {
		return "", fault.New(fault.Place,
			"a symbolic link in the environment leads away from where the files were placed: fix that and run the command again",
			"%s is behind a link (it is %s)", path, full)
	}
	return full, nil
}

// beside reports whether a directory is a root, below one, or on the way to one that may
// have been missing. Hidden directories and new directories may be made there.
func (s *scope) beside(dir string) bool {
	for _, r := range s.roots {
		at := r.dir.Path()
		if dir == r.path || within(r.path, dir) || within(dir, r.path) && (dir == at || within(at, dir)) {
			return true
		}
	}
	return false
}

// canonical follows the links of a directory whose inner part need not exist yet.
func canonical(dir string) (string, error) {
	dir = filepath.Clean(dir)
	outer := existing(dir)
	rest, err := filepath.Rel(outer, dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(outer)
	if err != nil {
		return "", changeError("find", dir, err)
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return "", fault.New(fault.Place, "move "+outer+" away and run the command again",
			"%s cannot be used: %s is not a directory", dir, outer)
	}
	return filepath.Join(real, rest), nil
}

// existing returns the innermost directory on the way to path that exists.
func existing(path string) string {
	for {
		if _, err := os.Lstat(path); err == nil || filepath.Dir(path) == path {
			return path
		}
		path = filepath.Dir(path)
	}
}

// from returns the open directory that leads to a path by the shortest way.
func (s *scope) from(path string) (*owned.Dir, string, error) {
	var best *owned.Dir
	consider := func(at string, dir *owned.Dir) {
		if within(at, path) && (best == nil || len(at) > len(best.Path())) {
			best = dir
		}
	}
	for at, home := range s.homes {
		consider(at, home)
	}
	for _, r := range s.roots {
		consider(r.dir.Path(), r.dir)
	}
	if best == nil {
		return nil, "", &fs.PathError{Op: "open", Path: path, Err: errors.New("it is outside the environment")}
	}
	rel, err := filepath.Rel(best.Path(), path)
	return best, rel, err
}

// spot is a name in an open directory.
type spot struct {
	dir  *owned.Dir
	name string
	open bool // close must close it
}

func (s spot) close() {
	if s.open {
		_ = s.dir.Close()
	}
}

// at opens the directory of a path.
func (s *scope) at(path string) (spot, error) {
	dir, rel, err := s.from(path)
	if err != nil {
		return spot{}, err
	}
	at := spot{dir: dir, name: filepath.Base(rel)}
	for _, name := range parts(filepath.Dir(rel)) {
		next, err := at.dir.Enter(name)
		at.close()
		if err != nil {
			return spot{}, err
		}
		at.dir, at.open = next, true
	}
	return at, nil
}

// parts returns the names in a relative path.
func parts(rel string) []string {
	if rel == "." {
		return nil
	}
	return strings.Split(rel, string(filepath.Separator))
}

// both opens the directories of two paths.
func (s *scope) both(a, b string, do func(from, to spot) error) error {
	from, err := s.at(a)
	if err != nil {
		return err
	}
	defer from.close()
	to, err := s.at(b)
	if err != nil {
		return err
	}
	defer to.close()
	return do(from, to)
}

// lstat describes the entry at a path; it does not follow links on the way.
func (s *scope) lstat(path string) (fs.FileInfo, error) {
	at, err := s.at(path)
	if err != nil {
		return nil, err
	}
	defer at.close()
	return at.dir.Lstat(at.name)
}

func (s *scope) exists(path string) bool {
	_, err := s.lstat(path)
	return err == nil
}

// look is lstat for a plan, which checks thousands of paths: it follows links that stay
// in the root. The actual change goes through at.
func (s *scope) look(path string) (fs.FileInfo, error) {
	dir, rel, err := s.from(path)
	if err != nil {
		return nil, err
	}
	return dir.Root().Lstat(rel)
}

func (s *scope) seen(path string) bool {
	_, err := s.look(path)
	return err == nil
}

// missing reports whether a path in the scope does not exist.
func (s *scope) missing(path string) bool {
	_, err := s.look(path)
	return errors.Is(err, fs.ErrNotExist)
}

// list returns the entries of a directory, for a plan.
func (s *scope) list(path string) ([]fs.DirEntry, error) {
	dir, rel, err := s.from(path)
	if path == s.anchor {
		dir, rel, err = s.roots[0].dir, ".", nil
	}
	if err != nil {
		return nil, err
	}
	info, err := dir.Root().Lstat(rel)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is not a directory")}
	}
	f, err := dir.Root().Open(rel)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return f.ReadDir(-1)
}

// innermost is existing for a path in a root.
func (s *scope) innermost(path string) string {
	for s.missing(path) {
		path = filepath.Dir(path)
	}
	return path
}

// mkdir makes a directory.
func (s *scope) mkdir(path string, perm fs.FileMode) error {
	at, err := s.at(path)
	if err != nil {
		return err
	}
	defer at.close()
	return at.dir.Root().Mkdir(at.name, perm)
}

// rmdir removes an empty directory.
func (s *scope) rmdir(path string) error {
	at, err := s.at(path)
	if err != nil {
		return err
	}
	defer at.close()
	return at.dir.Remove(at.name)
}

// make creates a hidden directory, which must be a new one: another user could have put
// an older one of root there, or a link.
func (s *scope) make(path string) error {
	at, err := s.at(path)
	if err != nil {
		return err
	}
	defer at.close()
	if err := at.dir.Root().Mkdir(at.name, 0o700); err != nil {
		return err
	}
	hook("made " + path)
	home, err := at.dir.Sub(at.name)
	if err != nil {
		return err
	}
	entries, err := home.Entries()
	if err == nil && len(entries) > 0 {
		err = errors.New("another directory already has its name")
	}
	if err != nil {
		_ = home.Close()
		return err
	}
	s.homes[path] = home
	return nil
}

// enter opens an existing hidden directory if it belongs to this user or root and nobody
// else may write to it. A missing one is fs.ErrNotExist.
func (s *scope) enter(path string) (*owned.Dir, error) {
	at, err := s.at(path)
	if err != nil {
		return nil, err
	}
	defer at.close()
	home, err := at.dir.Sub(at.name)
	if err != nil {
		return nil, err
	}
	if old := s.homes[path]; old != nil {
		_ = old.Close()
	}
	s.homes[path] = home
	return home, nil
}

// leave removes an empty hidden directory, unless its name now belongs to another one.
func (s *scope) leave(path string) error {
	home := s.homes[path]
	if home == nil {
		return nil
	}
	at, err := s.at(path)
	if err == nil && home.Is(at.dir, at.name) {
		err = at.dir.Remove(at.name)
	}
	at.close()
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		delete(s.homes, path)
		_ = home.Close()
		return nil
	}
	return err
}

// hook is called at moments when another user could exchange something. Tests set it.
var hook = func(string) {}
