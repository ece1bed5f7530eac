package apxs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Package is the path of the tree below site-packages, with slashes.
const Package = "mod_wsgi_packages/httpd"

const maxLinks = 40

// Find returns the tree of the bundled httpd that belongs to a program in an
// environment's bin directory (an absolute path). It follows symbolic links one step at a
// time, so a link to the program from elsewhere, a link to the environment, and a program
// whose target is outside the environment all work. The error wraps fs.ErrNotExist if no
// step has a tree beside it.
func Find(program string) (string, error) {
	for _, step := range steps(program) {
		if root := below(filepath.Dir(filepath.Dir(step))); root != "" {
			return root, nil
		}
	}
	return "", fmt.Errorf("find %s beside %s: %w", Package, program, fs.ErrNotExist)
}

// steps lists the program, and the target of each symbolic link on the way.
func steps(program string) []string {
	list := []string{program}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(program)); err == nil {
		list = append(list, filepath.Join(dir, filepath.Base(program)))
	}
	for range maxLinks {
		last := list[len(list)-1]
		target, err := os.Readlink(last)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(last), target)
		}
		list = append(list, target)
		if dir, err := filepath.EvalSymlinks(filepath.Dir(target)); err == nil {
			list = append(list, filepath.Join(dir, filepath.Base(target)))
		}
	}
	return list
}

// below returns the tree in a Python prefix, or "" if not found. If several Python
// versions share the prefix (/usr/local), the newest one with a tree is used.
func below(prefix string) string {
	var found []string
	for _, pattern := range []string{"lib/python3.*", "lib64/python3.*", "Lib"} {
		libs, err := globIn(prefix, pattern)
		if err != nil {
			continue
		}
		for _, lib := range libs {
			for _, site := range []string{"site-packages", "dist-packages"} {
				root := filepath.Join(lib, site, filepath.FromSlash(Package))
				if isFile(filepath.Join(root, "build", "config_vars.mk")) {
					found = append(found, root)
				}
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	sort.SliceStable(found, func(i, j int) bool { return minorOf(prefix, found[i]) > minorOf(prefix, found[j]) })
	return found[0]
}

// globIn lists dir/pattern, where only the last element of the pattern may end in "*".
// The name of dir may contain any character.
func globIn(dir, pattern string) ([]string, error) {
	parent := filepath.Join(dir, filepath.Dir(filepath.FromSlash(pattern)))
	want, wild := strings.CutSuffix(filepath.Base(pattern), "*")
	if !wild {
		return []string{filepath.Join(parent, want)}, nil
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), want) {
			out = append(out, filepath.Join(parent, e.Name()))
		}
	}
	return out, nil
}

// minorOf returns 11 for prefix/lib/python3.11/…, and 0 for a path without a version.
func minorOf(prefix, path string) int {
	_, after, _ := strings.Cut(strings.TrimPrefix(path, prefix), "python3.")
	digits := after[:len(after)-len(strings.TrimLeft(after, "0123456789"))]
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
