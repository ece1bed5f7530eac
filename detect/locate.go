package detect

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

const (
	maxLinks      = 40
	hintMakeEnv   = "create an environment with: python3 -m venv .venv"
	hintGivePath  = "pass --python an interpreter, an environment directory, or a program in its bin directory"
	binUnix       = "bin"
	binWindows    = "Scripts"
	cfgName       = "pyvenv.cfg"
	condaMetaName = "conda-meta"
)

// interpreterPattern matches names that only interpreters have: python,
// python3, python3.11, python3.13td, python3-intel64, pypy3, python.exe.
var interpreterPattern = regexp.MustCompile(`^(python|pypy|graalpy|pythonw)[0-9.]*[a-z]{0,2}(-[a-z0-9]+)?(\.exe)?$`)

func isInterpreterName(name string) bool {
	return interpreterPattern.MatchString(name) && !strings.HasSuffix(name, "-config")
}

// locate finds the requested interpreter without running anything. The result is its
// path inside the environment.
func locate(req Request) (string, []Evidence, error) {
	if req.Python != "" {
		exe, err := locateGiven(req)
		return exe, []Evidence{{"executable", "--python", req.Python}}, err
	}
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		dir := req.env(name)
		// conda activates its base environment in every shell, which nobody chose for
		// an application.
		if dir == "" || (name == "CONDA_PREFIX" && req.env("CONDA_DEFAULT_ENV") == "base") {
			continue
		}
		exe, err := locateDir(req.abs(dir))
		if err != nil {
			err = fault.New(fault.Environment, "deactivate that environment, or pass another one with --python",
				"use the activated environment (%s=%s): %w", name, dir, err)
		}
		return exe, []Evidence{{"executable", name, dir}}, err
	}
	dir := filepath.Join(req.Dir, ".venv")
	if _, err := os.Lstat(dir); err == nil {
		exe, err := locateDir(dir)
		return exe, []Evidence{{"executable", "directory", dir}}, err
	}
	return "", nil, fault.New(fault.Environment, hintMakeEnv+" (or pass one with --python)",
		"no Python environment: none is activated, and %s contains no .venv", req.Dir)
}

// locateGiven finds the Python that --python names. A bare name that is not in the
// directory is a program on PATH, as in a shell: python3.12.
func locateGiven(req Request) (string, error) {
	path := req.abs(req.Python)
	if strings.ContainsAny(req.Python, `/\`) || exists(path) {
		return locatePath(req, path)
	}
	var first error
	for _, name := range programNames(req.Python) {
		for _, dir := range filepath.SplitList(req.env("PATH")) {
			if dir == "" {
				continue
			}
			found := filepath.Join(req.abs(dir), name)
			if info, err := os.Stat(found); err != nil || !info.Mode().IsRegular() {
				continue
			}
			exe, err := locatePath(req, found)
			if err == nil {
				return exe, nil
			}
			if first == nil { // a shim without a selected version may precede the real one
				first = err
			}
		}
	}
	if first != nil {
		return "", first
	}
	return "", fault.New(fault.Environment, hintGivePath, "%s is neither in %s nor on PATH: %w", req.Python, req.Dir, fs.ErrNotExist)
}

// programNames are the file names that the bare name of a program may stand for.
func programNames(name string) []string {
	if os.PathSeparator == '\\' && !strings.HasSuffix(strings.ToLower(name), ".exe") {
		return []string{name, name + ".exe"}
	}
	return []string{name}
}

func locatePath(req Request, path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", missing(path)
	case err != nil:
		return "", fault.New(fault.Environment, hintGivePath, "inspect %s: %w", path, err)
	case info.IsDir():
		return locateDir(path)
	case filepath.Base(path) == cfgName:
		return locateDir(filepath.Dir(path))
	case !info.Mode().IsRegular():
		return "", fault.New(fault.Environment, hintGivePath, "%s is neither a program nor a directory", path)
	}
	if exe, found, err := pyenvShim(req, path); found {
		return exe, err
	}
	return locateProgram(path)
}

// missing explains why a path cannot be followed: it does not exist, it is a symbolic
// link whose target no longer exists, which is what a removed base Python leaves
// behind, or the target is in a directory that this account cannot enter.
func missing(path string) error {
	if _, err := os.Lstat(path); err == nil {
		all := steps(path)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrPermission) {
			return fault.New(fault.Environment,
				"grant this account search permission on the directories on the way there, or create the environment from a Python elsewhere",
				"%s is a symbolic link to %s, which this account cannot reach: %w", path, all[len(all)-1], fs.ErrPermission)
		}
		hint := hintGivePath
		if env := filepath.Dir(filepath.Dir(path)); isFile(filepath.Join(env, cfgName)) {
			hint = recreate(env, "") + " (the Python that it was made from no longer exists)"
		}
		return fault.New(fault.Environment, hint,
			"%s is a symbolic link to %s: %w", path, all[len(all)-1], fs.ErrNotExist)
	}
	return fault.New(fault.Environment, hintGivePath, "%s: %w", path, fs.ErrNotExist)
}

// locateProgram finds the interpreter for a program. It searches the path that the
// program was called by and each target of its symbolic links, first for an
// environment, then for any bin directory with an interpreter.
func locateProgram(path string) (string, error) {
	all := steps(path)
	for _, belongs := range []func(bin string) bool{isEnvironment, isInstallation} {
		for _, step := range all {
			if !belongs(filepath.Dir(step)) {
				continue
			}
			if exe := interpreterFor(step); exe != "" {
				return exe, nil
			}
			return "", noInterpreter(filepath.Dir(step))
		}
	}
	if isInterpreterName(filepath.Base(path)) {
		if why := notBinary(path); why != "" {
			return "", fault.New(fault.Environment, hintGivePath+"; pass the real interpreter if this is a wrapper for one",
				"%s is not a Python interpreter: %s", path, why)
		}
		return path, nil
	}
	if ThisDisk().isZip(path) {
		return "", fault.New(fault.Environment, hintGivePath,
			"%s is a zip application, which belongs to no environment, and no interpreter is next to it", path)
	}
	// A script outside any environment (~/.local/bin/pip, /usr/local/bin/pip) names
	// its interpreter in the first line, which is read, not run.
	if exe := shebang(path); exe != "" {
		return exe, nil
	}
	for _, step := range all {
		if exe := interpreterFor(step); exe != "" {
			return exe, nil
		}
	}
	return "", fault.New(fault.Environment, hintGivePath, "%s is not a Python interpreter, and no interpreter is next to it", path)
}

// locateDir finds the interpreter of an environment directory, or of the bin directory
// itself.
func locateDir(dir string) (string, error) {
	for _, bin := range []string{filepath.Join(dir, binUnix), filepath.Join(dir, binWindows), dir} {
		if exe := interpreterIn(bin, ""); exe != "" {
			return exe, nil
		}
	}
	if err := brokenInterpreter(filepath.Join(dir, binUnix)); err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", missing(dir)
	case err != nil:
		return "", fault.New(fault.Environment, hintGivePath, "inspect %s: %w", dir, err)
	case !info.IsDir():
		return "", fault.New(fault.Environment, hintGivePath, "%s is not a directory", dir)
	}
	hint := hintMakeEnv
	if exists(filepath.Join(dir, ".venv")) {
		hint = "did you mean " + filepath.Join(dir, ".venv") + "?"
	}
	return "", fault.New(fault.Environment, hint, "%s is not a Python environment: it has no bin/python", dir)
}

// recreate is the command that creates an environment again, with a given version of
// Python ("3.11") or with any.
func recreate(dir, version string) string {
	python := "python3"
	if _, minor, ok := strings.Cut(version, "."); ok {
		minor, _, _ = strings.Cut(minor, ".")
		python += "." + minor
	}
	return "create the environment again, without its installed packages, with: " + run.Quote(python) + " -m venv --clear " + run.Quote(dir)
}

// noInterpreter explains why the bin directory of an environment has no interpreter.
func noInterpreter(bin string) error {
	if err := brokenInterpreter(bin); err != nil {
		return err
	}
	return fault.New(fault.Environment, recreate(filepath.Dir(bin), ""), "the environment %s has no interpreter", filepath.Dir(bin))
}

// brokenInterpreter explains an interpreter that exists in name only, nil if not even
// the name exists.
func brokenInterpreter(bin string) error {
	for _, name := range []string{"python3", "python"} {
		exe := filepath.Join(bin, name)
		if _, err := os.Lstat(exe); err != nil {
			continue
		}
		if !exists(exe) {
			return missing(exe)
		}
		if why := notBinary(exe); why != "" {
			return fault.New(fault.Environment, hintGivePath+"; pass the real interpreter if this is a wrapper for one",
				"%s is not a Python interpreter: %s", exe, why)
		}
	}
	return nil
}

// steps lists a path, the same path with its directory resolved, and all further
// targets of its symbolic links, in order.
func steps(path string) []string {
	var list []string
	add := func(p string) {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	for range maxLinks {
		add(path)
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			path = filepath.Join(dir, filepath.Base(path))
			add(path)
		}
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			// path's directory is resolved by now, so ".." is lexical.
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return list
}

// isEnvironment reports whether a bin directory belongs to an environment with its own
// identity.
func isEnvironment(bin string) bool {
	parent := filepath.Dir(bin)
	return exists(filepath.Join(bin, cfgName)) || exists(filepath.Join(parent, cfgName)) ||
		exists(filepath.Join(parent, condaMetaName)) || ThisDisk().isPyenvVersion(parent)
}

// isInstallation reports whether a bin directory belongs to an installed Python, whose
// standard library is next to it.
func isInstallation(bin string) bool {
	for _, lib := range []string{"lib", "lib64"} {
		dir := filepath.Join(filepath.Dir(bin), lib)
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "python3.") && isFile(filepath.Join(dir, e.Name(), "os.py")) {
				return true
			}
		}
	}
	return false
}

// interpreterFor returns the interpreter for a program by its path: itself if it is
// one, else the one next to it with the version at the end of its name, else the
// default one next to it.
func interpreterFor(path string) string {
	if isInterpreterName(filepath.Base(path)) && notBinary(path) == "" {
		return path
	}
	return interpreterIn(filepath.Dir(path), versionSuffix(filepath.Base(path)))
}

var trailingVersion = regexp.MustCompile(`[0-9]+\.[0-9]+$`)

func versionSuffix(name string) string { return trailingVersion.FindString(name) }

// interpreterIn returns the interpreter in a bin directory, "" if it has none: the one
// of a requested version ("3.11") if it exists, else python3, python, and the highest
// python3.N.
func interpreterIn(bin, version string) string {
	names := []string{"python3", "python", "python.exe"}
	if version != "" {
		names = append([]string{"python" + version}, names...)
	}
	entries, _ := os.ReadDir(bin)
	best, bestName := -1, ""
	for _, e := range entries {
		minor, err := strconv.Atoi(strings.TrimPrefix(e.Name(), "python3."))
		if err == nil && strings.HasPrefix(e.Name(), "python3.") && minor > best {
			best, bestName = minor, e.Name()
		}
	}
	if bestName != "" {
		names = append(names, bestName)
	}
	names = append(names, "pypy3", "pypy")
	for _, name := range names {
		if exe := filepath.Join(bin, name); notBinary(exe) == "" {
			return exe
		}
	}
	return ""
}

// shebang returns the interpreter in a script's first line, "" if that line names none
// that exists ("/usr/bin/env python3" could be any).
func shebang(path string) string {
	line, rest, ok := strings.Cut(string(head(path, 512)), "\n")
	if !ok || !strings.HasPrefix(line, "#!") {
		return ""
	}
	// pip writes "#!/bin/sh
	// '''exec' '/path with/python' …" for a path with a space or one that is too long
	// for the kernel.
	if second, _, _ := strings.Cut(rest, "\n"); line == "#!/bin/sh" && strings.HasPrefix(second, "'''exec' ") {
		line = "#!" + strings.Trim(strings.TrimSuffix(strings.TrimPrefix(second, "'''exec' "), ` "$0" "$@"`), `"'`)
	}
	exe := strings.TrimSpace(line[2:])
	if !exists(exe) {
		exe, _, _ = strings.Cut(exe, " ")
	}
	if filepath.IsAbs(exe) && isInterpreterName(filepath.Base(exe)) && notBinary(exe) == "" {
		return exe
	}
	return ""
}

// notBinary returns the reason why a path is not a binary program, "" if it is one.
func notBinary(path string) string { return ThisDisk().notBinary(path) }

// isMachO reports whether a file has a magic number of thin or universal Mach-O files
// (mach-o/loader.h, mach-o/fat.h).
func isMachO(b []byte) bool {
	switch string(b) {
	case "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xca\xfe\xba\xbe", "\xca\xfe\xba\xbf":
		return true
	}
	return false
}

// head returns at most n bytes from the start of a regular file.
func head(path string, n int) []byte {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	data, _ := io.ReadAll(io.LimitReader(f, int64(n)))
	return data
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
