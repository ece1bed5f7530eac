package sysroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"modwsgi/internal/archive"
	"modwsgi/internal/debian"
	"modwsgi/internal/owned"
	"modwsgi/internal/target"
)

// How packages become one tree.
//
// Each package is unpacked on its own (internal/archive), so that no link of one can
// redirect a file of another. Then its files are moved to their place in the root. There,
// /lib, /lib64 and /bin are links into /usr, as on every current Debian, whatever the
// package assumes. Links are written again, relative to their new place, because an
// absolute one would lead out of the sysroot, to this machine's libraries. A link whose
// target is above the root is refused by the unpacking already.

// unpack fetches the packages of the lock and makes the trees: top/root, and
// top/python-VERSION for each Python from Debian.
func (s *Sysroot) unpack(ctx context.Context, a *debian.Archive, m Means, top string) error {
	files, err := fetchAll(ctx, a, s.Lock.Packages)
	if err != nil {
		return err
	}
	for i, p := range s.Lock.Packages {
		into := filepath.Join(top, rootName(p.Python))
		if err := unpackOne(ctx, files[i], p, s.Target, top, into); err != nil {
			return fmt.Errorf("unpack package %s: %w", p.Name, err)
		}
	}
	for i, p := range s.Lock.Packages {
		if slices.IndexFunc(s.Lock.Packages, func(o Package) bool { return o.Python == p.Python }) == i {
			if err := removeDangling(filepath.Join(top, rootName(p.Python))); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeDangling removes links to files that no package here has: those that installation
// scripts would make, and those that were left out. Whoever checks who may change what runs
// from the tree refuses them, because anybody might make their targets.
func removeDangling(root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) { // all links are relative and stay inside
			return os.Remove(name)
		}
		return nil
	})
}

func rootName(python string) string {
	if python == "" {
		return "root"
	}
	return "python-" + python
}

// fetchAll fetches packages, a few at a time.
func fetchAll(ctx context.Context, a *debian.Archive, packages []Package) ([]string, error) {
	files := make([]string, len(packages))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, p := range packages {
		group.Go(func() (err error) {
			files[i], err = a.Fetch(ctx, debian.Package{
				Name: p.Name, Version: p.Version, Arch: p.Arch, File: p.File, Size: p.Size, SHA256: p.SHA256, Suite: p.Suite,
			})
			return err
		})
	}
	return files, group.Wait()
}

func unpackOne(ctx context.Context, file string, p Package, t target.Target, top, into string) error {
	keep := wantedFile
	if p.Python != "" {
		keep = wantedOfPython
	}
	temp := filepath.Join(top, "unpack")
	r := records{of: p, control: map[string][]byte{}}
	stats, err := archive.Extract(ctx, file, temp, archive.Options{
		Deb: true, SHA256: p.SHA256, Limits: archive.Limits{MaxBytes: 2 << 30}, Control: r.control,
		Keep: func(name string) bool {
			r.files = append(r.files, place(name, t))
			return keep(name)
		},
	})
	if err != nil {
		return err
	}
	if err := makeRoot(into); err != nil {
		return err
	}
	if stats.Files+stats.Links > 0 {
		if err := merge(temp, into, t); err != nil {
			return err
		}
	}
	if err := owned.RemoveAll(temp); err != nil {
		return err
	}
	return r.write(into)
}

// wantedFile leaves out what compilers do not read, except for licences. The kernel's
// headers of netfilter have names that differ only in case.
func wantedFile(name string) bool {
	name = merged(name)
	switch {
	case isLicence(name):
		return true
	case strings.HasPrefix(name, "usr/include/"):
		return !strings.HasPrefix(name, "usr/include/linux/netfilter")
	case strings.HasPrefix(name, "usr/lib"):
		return !strings.Contains(name, "/gconv/") && !strings.Contains(name, "/audit/") && !strings.Contains(name, "san.") && !strings.Contains(name, "/plugin/")
	}
	return false
}

// wantedOfPython leaves out documentation and the static libraries, which are large and
// not needed beside the shared one.
func wantedOfPython(name string) bool {
	name = merged(name)
	return isLicence(name) || !strings.HasPrefix(name, "usr/share/doc/") && !strings.HasPrefix(name, "usr/share/man/") && !strings.HasPrefix(name, "usr/share/locale/") &&
		!strings.HasPrefix(name, "usr/src/") && !strings.HasPrefix(path.Base(name), "libpython") || strings.Contains(path.Base(name), ".so")
}

// isLicence reports whether a path is that of the licence of a package, or may be a link to
// the directory with it (Debian Policy 12.5).
func isLicence(name string) bool {
	rest, ok := strings.CutPrefix(name, "usr/share/doc/")
	_, file, deeper := strings.Cut(rest, "/")
	return ok && (!deeper || file == "copyright")
}

// topLinks are the directories that are links into /usr.
var topLinks = []string{"bin", "sbin", "lib", "lib64", "lib32", "libx32", "libo32"}

// merged returns a path below the root as it is with /usr merged.
func merged(name string) string {
	if first, _, _ := strings.Cut(name, "/"); slices.Contains(topLinks, first) {
		return "usr/" + name
	}
	return name
}

// inMusl moves musl's own directories to where they are on a system with musl only.
func inMusl(name, triple string) string {
	for _, dir := range []string{"usr/include/" + triple, "usr/lib/" + triple} {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			return path.Dir(dir) + "/" + rest
		}
	}
	return name
}

// place returns where a file of a package belongs.
func place(name string, t target.Target) string {
	name = merged(name)
	if t.Libc == target.Musl {
		name = inMusl(name, t.Triple())
		if rest, ok := strings.CutPrefix(name, "usr/include/"+t.Multiarch()+"/"); ok {
			name = "usr/include/" + rest // the kernel's asm
		}
	}
	return name
}

// merge moves the files of an unpacked package to their places.
func merge(from, into string, t target.Target) error {
	to, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	return filepath.WalkDir(from, func(full string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, full)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		target := place(name, t)
		if err := to.MkdirAll(filepath.FromSlash(path.Dir(target)), 0o755); err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			return moveLink(to, full, name, target, t)
		}
		if info, err := to.Lstat(filepath.FromSlash(target)); err == nil && info.IsDir() {
			return fmt.Errorf("%s is a directory in another package", target)
		}
		return os.Rename(full, filepath.Join(into, filepath.FromSlash(target)))
	})
}

// makeRoot makes a root directory with its links into usr.
func makeRoot(dir string) error {
	if err := os.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, name := range topLinks[:4] {
		if err := os.MkdirAll(filepath.Join(dir, "usr", name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// moveLink makes a link of a package again at its place, relative to that.
func moveLink(to *os.Root, full, name, at string, t target.Target) error {
	link, err := os.Readlink(full)
	if err != nil {
		return err
	}
	// The unpacking has checked that this does not lead above the root.
	goal := place(path.Join(path.Dir(name), filepath.ToSlash(link)), t)
	relative, err := filepath.Rel(filepath.FromSlash(path.Dir(at)), filepath.FromSlash(goal))
	if err != nil {
		return err
	}
	at = filepath.FromSlash(at)
	if _, err := to.Lstat(at); err == nil {
		if err := to.Remove(at); err != nil {
			return err
		}
	}
	return to.Symlink(relative, at)
}
