package oci

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
)

// entry is one file, directory or symbolic link of a layer.
type entry struct {
	name     string // in the image, without a leading slash; "opt/mod_wsgi/bin"
	mode     fs.FileMode
	link     string // target of a symbolic link
	source   string // file with the content; "" takes data
	data     []byte
	uid, gid int
}

func dirEntry(name string, mode fs.FileMode) entry {
	return entry{name: strings.TrimPrefix(name, "/"), mode: fs.ModeDir | mode}
}

func fileEntry(name, source string, mode fs.FileMode) entry {
	return entry{name: strings.TrimPrefix(name, "/"), mode: mode, source: source}
}

func dataEntry(name string, data []byte, mode fs.FileMode) entry {
	return entry{name: strings.TrimPrefix(name, "/"), mode: mode, data: data}
}

func linkEntry(name, target string) entry {
	return entry{name: strings.TrimPrefix(name, "/"), mode: fs.ModeSymlink | 0o777, link: target}
}

// shared are directories that a base has, whose owner, mode or even link a layer would
// change by naming them.
var shared = []string{"opt", "usr", "usr/share", "usr/share/doc", "usr/share/licenses", "usr/lib", "lib", "lib64", "etc", "tmp", "home"}

// complete sorts the entries and adds their parent directories. With onBase,
// directories that belong to a base are left out: unpacking creates them if they are
// missing.
func complete(all []entry, onBase bool) ([]entry, error) {
	seen := map[string]entry{}
	for _, e := range all {
		if old, there := seen[e.name]; there && !(old.mode.IsDir() && e.mode.IsDir()) {
			return nil, fmt.Errorf("duplicate %s in the image", e.name)
		}
		seen[e.name] = e
	}
	for _, e := range all {
		for dir := path.Dir(e.name); dir != "."; dir = path.Dir(dir) {
			if parent, there := seen[dir]; !there {
				seen[dir] = dirEntry(dir, 0o755)
			} else if !parent.mode.IsDir() {
				return nil, fmt.Errorf("%s is below %s, which is not a directory in the image", e.name, dir)
			}
		}
	}
	var out []entry
	for _, e := range seen {
		if !onBase || !e.mode.IsDir() || !slices.Contains(shared, e.name) {
			out = append(out, e)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out, nil
}

// collector gathers a tree of the build host for a layer, and all reasons why that is
// not possible.
type collector struct {
	root string // on the host
	host string // directory that is "/" to absolute links; "" for "/"
	to   string // in the image
	// skip reports whether to leave out a path below root.
	skip func(rel string, d fs.DirEntry) bool
	// follow copies the target of a link that leaves the tree if it is a file, and
	// leaves the link out otherwise, instead of refusing it.
	follow   bool
	problems []string
	entries  []entry
}

func (c *collector) bad(rel, format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf("%q "+format, append([]any{rel}, args...)...))
}

// collect walks the tree. Its error is of class Environment and names the files.
func (c *collector) collect(cure string) ([]entry, error) {
	err := filepath.WalkDir(c.root, func(name string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(c.root, name)
		if rerr != nil {
			return rerr
		}
		rel = filepath.ToSlash(rel)
		if rel == "." {
			return err
		}
		if err != nil {
			c.bad(rel, "cannot be read: %v", reason(err))
			return nil
		}
		if d.IsDir() && (d.Name() == "__pycache__" || c.skip != nil && c.skip(rel, d)) {
			return fs.SkipDir
		}
		if compiled(name) || c.skip != nil && c.skip(rel, d) {
			return nil
		}
		if strings.HasPrefix(d.Name(), ".wh.") {
			c.bad(rel, "has a name that deletes another file of an image")
			return nil
		}
		if !utf8.ValidString(rel) || strings.ContainsFunc(rel, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			c.bad(rel, "has a name that is not UTF-8 or contains a control character")
			return nil
		}
		c.one(name, rel, d)
		return nil
	})
	if err != nil {
		return nil, fault.New(fault.Environment, cure, "inspect %s: %w", c.root, err)
	}
	if len(c.problems) > 0 {
		const most = 10
		text := strings.Join(c.problems[:min(most, len(c.problems))], "; ")
		if n := len(c.problems) - most; n > 0 {
			text += fmt.Sprintf("; and %d more", n)
		}
		return nil, fault.New(fault.Environment, cure, "cannot put %s into an image: %s", c.root, text)
	}
	return c.entries, nil
}

func (c *collector) one(name, rel string, d fs.DirEntry) {
	to := strings.TrimPrefix(path.Join(c.to, rel), "/")
	info, err := d.Info()
	if err != nil {
		c.bad(rel, "cannot be read: %v", reason(err))
		return
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		c.entries = append(c.entries, dirEntry(to, 0o755))
	case mode&fs.ModeSymlink != 0:
		c.symlink(name, rel, to)
	case !mode.IsRegular():
		if !c.follow {
			c.bad(rel, "is neither a file nor a directory nor a link")
		}
	case mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		c.bad(rel, "has a set-user-id or set-group-id bit")
	default:
		f, err := os.Open(name)
		if err != nil {
			c.bad(rel, "cannot be read: %v", reason(err))
			return
		}
		_ = f.Close()
		c.entries = append(c.entries, fileEntry(to, name, plainMode(mode)))
	}
}

func plainMode(mode fs.FileMode) fs.FileMode {
	if mode&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

func (c *collector) symlink(name, rel, to string) {
	target, err := os.Readlink(name)
	if err != nil {
		c.bad(rel, "cannot be read: %v", reason(err))
		return
	}
	inside := false
	if !filepath.IsAbs(target) {
		r, err := filepath.Rel(c.root, filepath.Join(filepath.Dir(name), target))
		inside = err == nil && filepath.IsLocal(r)
	}
	real, serr := c.resolve(name)
	var info fs.FileInfo
	if serr == nil {
		info, serr = os.Stat(real)
	}
	switch {
	case inside && serr == nil:
		c.entries = append(c.entries, linkEntry(to, filepath.ToSlash(target)))
	case c.follow:
		if serr == nil && info.Mode().IsRegular() {
			c.entries = append(c.entries, fileEntry(to, real, plainMode(info.Mode())))
		}
	case serr != nil:
		c.bad(rel, "is a broken link, to %s", target)
	default:
		c.bad(rel, "is a link to outside the tree, to %s", target)
	}
}

// resolve follows the links of a path, as on the system that the tree is from.
func (c *collector) resolve(name string) (string, error) {
	rel, err := filepath.Rel(cmp.Or(c.host, "/"), name)
	if err != nil || !filepath.IsLocal(rel) {
		return filepath.EvalSymlinks(name)
	}
	return filetree.Resolve(c.host, rel)
}

// reason is the cause of a file system error, without the path.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// compiled reports whether Python compiled a file from another one next to it, and can
// do so again. A compiled file without its source is itself a module.
func compiled(name string) bool {
	source, ok := strings.CutSuffix(name, ".pyc")
	if !ok {
		return false
	}
	_, err := os.Lstat(source + ".py")
	return err == nil
}
