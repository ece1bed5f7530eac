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

	"modwsgi/detect"
	"modwsgi/internal/archive"
	"modwsgi/internal/digest"
	"modwsgi/internal/elf"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/target"
)

// findPythons reads the facts about the Pythons of a sysroot.
func (s *Sysroot) findPythons(ctx context.Context, q Request, m Means, top string) ([]Python, error) {
	var out []Python
	for _, version := range q.Pythons {
		var p *Python
		var err error
		switch sdk := q.SDKs[version]; {
		case sdk != "":
			p, err = fromSDK(ctx, q.Target, SDK{version, s.sdks[version]}, sdk, top)
		case q.Dir != "":
			p, err = readPython(q.Target, version, s.Dir, s.Dir)
		default:
			p, err = readPython(q.Target, version, filepath.Join(top, rootName(version)), "Debian")
		}
		if err != nil {
			return nil, err
		}
		p.Wanted = version
		if err := p.addArchHeaders(top); err != nil {
			return nil, err
		}
		out = append(out, *p)
	}
	return out, nil
}

// fromSDK reads a Python that the user provided, and unpacks an archive first.
func fromSDK(ctx context.Context, t target.Target, s SDK, sdk, top string) (*Python, error) {
	version := s.Python
	info, err := os.Stat(sdk)
	if err != nil {
		return nil, fault.New(fault.Usage, sdkHint, "use the SDK of Python %s: %w", version, err)
	}
	if info.IsDir() {
		dir, err := filepath.Abs(sdk)
		if err != nil {
			return nil, err
		}
		return readPython(t, version, dir, sdk)
	}
	dir := filepath.Join(top, rootName(version))
	if _, err := archive.Extract(ctx, sdk, dir, archive.Options{SHA256: s.SHA256, Limits: archive.Limits{MaxBytes: 4 << 30, MaxFileBytes: 1 << 30}}); err != nil {
		return nil, fmt.Errorf("use the SDK of Python %s: %w", version, err)
	}
	return readPython(t, version, dir, sdk)
}

// interpreters are the directories of an SDK or of a system that may have the interpreter.
// The last ones are those of python-build-standalone's archives.
var interpreters = []string{"bin", "usr/bin", "usr/local/bin", "install/bin", "python/bin", "python/install/bin"}

// readPython finds the Python of a version in a directory that is "/" on the target, or
// the prefix of a Python, and checks that it is one of the target. Nothing is run.
func readPython(t target.Target, version, dir, source string) (*Python, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.Usage, sdkHint, "use Python %s of %s: %w", version, source, err)
	}
	defer func() { _ = root.Close() }()
	exe := interpreterIn(root, version)
	if exe == "" {
		return nil, fault.New(fault.Usage, sdkHint, "%s has no Python %s: %s was not found in %s%s", source, version, "python"+version, strings.Join(interpreters, ", "), otherPythons(root))
	}
	facts, err := detect.FromFiles(detect.NewDisk(root.FS(), "linux"), exe)
	if err != nil {
		return nil, fault.New(fault.Environment, fault.HintOr(err, sdkHint), "read Python %s of %s: %w", version, source, err)
	}
	if err := fits(t, version, facts, source); err != nil {
		return nil, err
	}
	if err := sameLibc(t, filepath.Join(dir, exe), source); err != nil {
		return nil, err
	}
	return located(facts, dir, source), nil
}

func interpreterIn(root *os.Root, version string) string {
	for _, bin := range interpreters {
		for _, name := range []string{"python" + version, "python3", "python"} {
			path := bin + "/" + name
			if name != "python"+version && bin != "python/bin" && bin != "python/install/bin" && bin != "bin" && bin != "install/bin" {
				continue // a system's python3 may be another version
			}
			if info, err := root.Stat(path); err == nil && info.Mode().IsRegular() {
				return "/" + path
			}
		}
	}
	return ""
}

// otherPythons lists the versions that a directory has instead.
func otherPythons(root *os.Root) string {
	var names []string
	for _, bin := range interpreters {
		dir, err := root.Open(bin)
		if err != nil {
			continue
		}
		entries, _ := dir.Readdirnames(10_000)
		_ = dir.Close()
		for _, name := range entries {
			if v := strings.TrimPrefix(name, "python"); v != name && pythonForm.MatchString(v) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return ""
	}
	return ", but it has " + strings.Join(slices.Compact(names), ", ")
}

// fits refuses a Python of another version, processor or kind, and one without headers.
func fits(t target.Target, version string, p *detect.Python, source string) error {
	is := fmt.Sprintf("%d.%d", p.Major, p.Minor)
	if strings.Contains(p.ABIFlags, "t") {
		is += "t"
	}
	switch {
	case is != version:
		return fault.New(fault.Usage, "name the SDK of that version", "%s is an SDK of Python %s, not of %s", source, is, version)
	case p.Machine != t.Machine():
		return fault.New(fault.Usage, "name the SDK of that processor", "Python %s of %s is for %s, not for %s", version, source, p.Machine, t.Machine())
	case p.Include == "":
		return fault.New(fault.Usage, "use an SDK with headers: Debian's are in libpython"+version+"-dev", "Python %s of %s has no headers (Python.h and pyconfig.h)", version, source)
	case p.SOABI == "" || p.ExtSuffix == "":
		return fault.New(fault.Usage, sdkHint, "Python %s of %s has no _sysconfigdata, which names its SOABI", version, source)
	}
	return nil
}

// sameLibc refuses an interpreter for another libc.
func sameLibc(t target.Target, exe, source string) error {
	facts, err := elf.Read(exe)
	if err == nil && facts.Interp != "" && facts.Interp != t.Loader() {
		return fault.New(fault.Usage, "name the SDK for "+t.Libc, "the Python of %s needs the loader %s, and %s has %s", source, facts.Interp, t, t.Loader())
	}
	return nil
}

// located makes the paths of a Python those on this machine.
func located(p *detect.Python, dir, source string) *Python {
	out := &Python{Source: source, Root: dir}
	local := *p
	for _, path := range []*string{
		&local.Executable, &local.Prefix, &local.BasePrefix, &local.ExecPrefix, &local.Purelib, &local.Platlib, &local.Scripts, &local.Include, &local.PlatInclude,
		&local.LibPython, &local.Externally,
	} {
		if *path != "" {
			*path = filepath.Join(dir, *path)
		}
	}
	out.Facts = &local
	out.IncludeDirs = []string{local.Include}
	if local.PlatInclude != "" {
		out.IncludeDirs = append(out.IncludeDirs, local.PlatInclude)
	}
	return out
}

// addArchHeaders copies the pyconfig.h for the processor, which Debian's pyconfig.h includes
// by its path below the directory of all headers, to a directory of its own below top: with
// that one, compilers would read the headers of the C library that this Python was built
// with, not those of the target.
func (p *Python) addArchHeaders(top string) error {
	root, err := os.OpenRoot(p.Root)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	include, err := filepath.Rel(p.Root, p.Facts.Include)
	if err != nil {
		return err
	}
	above, name := path.Split(filepath.ToSlash(include))
	found, err := fs.Glob(root.FS(), above+"*-linux-*/"+name+"/pyconfig.h")
	if err != nil || len(found) == 0 {
		return err
	}
	into := filepath.Join(top, "include-"+p.Wanted)
	for _, file := range found {
		text, err := root.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read pyconfig.h of Python %s: %w", p.Wanted, err)
		}
		to := filepath.Join(into, strings.TrimPrefix(file, above))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	p.IncludeDirs = append(p.IncludeDirs, into)
	return nil
}

// hashSDKs returns the SDKs with their hashes, and remembers those.
func (s *Sysroot) hashSDKs(q Request) ([]SDK, error) {
	s.sdks = map[string]string{}
	var out []SDK
	for _, version := range q.Pythons {
		path := q.SDKs[version]
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fault.New(fault.Usage, sdkHint, "use the SDK of Python %s: %w", version, err)
		}
		var sum string
		if info.IsDir() {
			if err := trusted(path, placeOfPython); err != nil {
				return nil, err
			}
			sum, err = digest.Tree(path, partOfSDK)
		} else {
			sum, err = digest.File(path)
		}
		if err != nil {
			return nil, fault.New(fault.Usage, sdkHint, "read the SDK of Python %s: %w", version, err)
		}
		s.sdks[version] = sum
		out = append(out, SDK{Python: version, SHA256: sum})
	}
	return out, nil
}

// trusted refuses a directory of the user's in which another user could change a file that
// becomes part of a build. Links are skipped: what they lead to inside counts by itself, and
// nothing outside is used.
func trusted(dir string, part func(name string) bool) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	err = owned.CheckTree(real, func(path string, info fs.FileInfo) bool {
		rel, err := filepath.Rel(real, path)
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return false
		}
		rel = filepath.ToSlash(rel)
		if info.IsDir() {
			rel += "/"
		}
		return part(rel)
	})
	var u *owned.Untrusted
	if errors.As(err, &u) {
		return fault.New(fault.Environment, u.Hint(), "use %s: %w", dir, err)
	}
	return err
}

// placeOfPython reports whether a file of an SDK may belong to its Python, or a directory
// have such files. An SDK may be a whole system, in which others may write to some
// directories, such as tmp.
func placeOfPython(name string) bool {
	first, rest, below := strings.Cut(name, "/")
	switch {
	case slices.Contains([]string{"usr", "local", "install", "python"}, first):
		return below && (rest == "" || placeOfPython(rest))
	default:
		return below && (first == "bin" || first == "include" || strings.HasPrefix(first, "lib"))
	}
}

// partOfSDK reports whether a file of an SDK decides about builds: headers, libraries and
// the description of the build.
func partOfSDK(name string) bool {
	if !placeOfPython(name) {
		return false
	}
	base := filepath.Base(name)
	return strings.HasSuffix(name, "/") || strings.HasSuffix(base, ".h") || strings.HasPrefix(base, "libpython") || strings.HasPrefix(base, "_sysconfigdata")
}
