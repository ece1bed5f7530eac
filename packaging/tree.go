package packaging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
)

// Tree is a directory that was scanned and found fit to be packaged.
type Tree struct {
	Root  string
	Files []File // sorted by Path
}

// File is one regular file or symbolic link of a tree.
type File struct {
	Path       string // below the root, with slashes
	Size       int64  // bytes
	SHA256     string // "" for a link
	Executable bool
	Link       string // target of a symbolic link, relative; "" for a regular file
}

// Mode is 0755 or 0644.
func (f File) Mode() fs.FileMode {
	if f.Executable {
		return 0o755
	}
	return 0o644
}

// Source is the absolute path of a file of the tree.
func (t *Tree) Source(f File) string { return filepath.Join(t.Root, filepath.FromSlash(f.Path)) }

// byteCompiled reports whether a file is one that Python generates by itself.
func byteCompiled(path string) bool {
	return strings.HasSuffix(path, ".pyc") || strings.Contains("/"+path, "/__pycache__/")
}

const treeHint = "build it again (modwsgi package does so without --from-env)"

// Scan lists the files of the tree below root with their hashes. It refuses, with all
// reasons together, what would not arrive intact or must not be distributed:
// unreadable files, set-id bits, devices, links that are broken or leave the tree,
// names that are not UTF-8 or contain control characters, names that differ only by
// case, and an empty tree. It skips byte-compiled Python, which is generated again on
// installation. Its errors are of class Environment.
func Scan(root string) (*Tree, error) {
	t := &Tree{Root: root}
	var problems []string
	bad := func(path, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%q "+format, append([]any{path}, args...)...))
	}
	folded := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(root, path)
		if rerr != nil {
			return rerr
		}
		rel = filepath.ToSlash(rel)
		if err != nil {
			if rel == "." {
				return err
			}
			bad(rel, "cannot be read: %v", cause(err))
			return nil
		}
		if rel == "." {
			return nil
		}
		if what := badName(rel); what != "" {
			bad(rel, "%s", what)
		}
		fold := strings.Map(unicode.ToLower, rel)
		if other, there := folded[fold]; there {
			bad(rel, "differs from %q only by case", other)
		}
		folded[fold] = rel
		if d.IsDir() || byteCompiled(rel) {
			return nil
		}
		f, what := look(root, path, rel, d)
		if what != "" {
			bad(rel, "%s", what)
			return nil
		}
		t.Files = append(t.Files, f)
		return nil
	})
	if err != nil {
		return nil, fault.New(fault.Environment, treeHint, "inspect the tree: %w", err)
	}
	if len(problems) == 0 && len(t.Files) == 0 {
		problems = append(problems, "it contains no file")
	}
	if len(problems) > 0 {
		return nil, refused(root, problems)
	}
	sort.SliceStable(t.Files, func(i, j int) bool { return t.Files[i].Path < t.Files[j].Path })
	return t, nil
}

// refused is the error for a tree, with the first reasons.
func refused(root string, problems []string) error {
	const most = 10
	text := strings.Join(problems[:min(most, len(problems))], "; ")
	if n := len(problems) - most; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return fault.New(fault.Environment, treeHint, "%s cannot be packaged: %s", root, text)
}

func badName(rel string) string {
	switch {
	case !utf8.ValidString(rel):
		return "has a name that is not UTF-8"
	case strings.ContainsFunc(rel, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return "has a name with a control character or a backslash"
	}
	return ""
}

// look describes one file, or the problem with it.
func look(root, path, rel string, d fs.DirEntry) (File, string) {
	info, err := d.Info()
	if err != nil {
		return File{}, "cannot be read: " + cause(err).Error()
	}
	f := File{Path: rel, Size: info.Size(), Executable: info.Mode()&0o100 != 0}
	switch mode := info.Mode(); {
	case mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		return f, "has a set-user-id or set-group-id bit"
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return f, "cannot be read: " + cause(err).Error()
		}
		f.Link, f.Size, f.Executable = target, 0, false
		return f, badLink(root, path, target)
	case !mode.IsRegular():
		return f, "is neither a file nor a directory nor a link"
	}
	if f.SHA256, err = digest.File(path); err != nil {
		return f, "cannot be read: " + cause(err).Error()
	}
	return f, ""
}

// badLink returns the reason why a symbolic link cannot be packaged.
func badLink(root, path, target string) string {
	if filepath.IsAbs(target) {
		return "is a link to an absolute path, " + target
	}
	rel, err := filepath.Rel(root, filepath.Join(filepath.Dir(path), target))
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "is a link to outside the tree, to " + target
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "is a broken link, to " + target
	}
	top, err := filepath.EvalSymlinks(root)
	if err != nil || real != top && !strings.HasPrefix(real, top+string(filepath.Separator)) {
		return "is a link to outside the tree, to " + real
	}
	return ""
}

// cause is the reason of a file system error without the path, which the message
// already contains.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// CopyTree copies a scanned tree to the new directory dest, with modes 0755 and
// 0644, so that a format may change its copy.
func CopyTree(t *Tree, dest string) error {
	if err := os.Mkdir(dest, 0o755); err != nil {
		return err
	}
	for _, f := range t.Files {
		to := filepath.Join(dest, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if f.Link != "" {
			if err := os.Symlink(f.Link, to); err != nil {
				return err
			}
			continue
		}
		if err := CopyFile(t.Source(f), to, f.Mode()); err != nil {
			return err
		}
	}
	return nil
}
