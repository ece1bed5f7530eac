package detect

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
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

// locateRequested finds the requested interpreter without running anything. The result is its
// path inside the environment.
func (d *Disk) locateRequested(req Request) (string, []Evidence, error) {
	if req.Python != "" {
		exe, err := d.locateGiven(req)
		return exe, []Evidence{{"executable", "--python", req.Python}}, err
	}
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		dir := req.env(name)
		// conda activates its base environment in every shell, which nobody chose for
		// an application.
		if dir == "" || (name == "CONDA_PREFIX" && req.env("CONDA_DEFAULT_ENV") == "base") {
			continue
		}
		exe, err := d.locateDir(req.abs(d, dir))
		if err != nil {
			err = fault.New(fault.Environment, "deactivate that environment, or pass another one with --python",
				"use the activated environment (%s=%s): %w", name, dir, err)
		}
		return exe, []Evidence{{"executable", name, dir}}, err
	}
	dir := filepath.Join(req.Dir, ".venv")
	if d.isName(dir) {
		exe, err := d.locateDir(dir)
		return exe, []Evidence{{"executable", "directory", dir}}, err
	}
	return "", nil, fault.New(fault.Environment, hintMakeEnv+" (or pass one with --python)",
		"no Python environment: none is activated, and %s contains no .venv", req.Dir)
}

// locateGiven finds the Python that --python names. A bare name that is not in the
// directory is a program on PATH, as in a shell: python3.12.
func (d *Disk) locateGiven(req Request) (string, error) {
	path := req.abs(d, req.Python)
	if strings.ContainsAny(req.Python, `/\`) || d.exists(path) {
		return d.locatePath(req, path)
	}
	var first error
	for _, name := range d.programNames(req.Python) {
		for _, dir := range filepath.SplitList(req.env("PATH")) {
			if dir == "" {
				continue
			}
			found := filepath.Join(req.abs(d, dir), name)
			if !d.isFile(found) {
				continue
			}
			exe, err := d.locatePath(req, found)
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
func (d *Disk) programNames(name string) []string {
	if d.windows() && !strings.HasSuffix(strings.ToLower(name), ".exe") {
		return []string{name, name + ".exe"}
	}
	return []string{name}
}

func (d *Disk) locatePath(req Request, path string) (string, error) {
	info, err := d.stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", d.missing(path)
	case err != nil:
		return "", fault.New(fault.Environment, hintGivePath, "inspect %s: %w", path, err)
	case info.IsDir():
		return d.locateDir(path)
	case filepath.Base(path) == cfgName:
		return d.locateDir(filepath.Dir(path))
	case !info.Mode().IsRegular():
		return "", fault.New(fault.Environment, hintGivePath, "%s is neither a program nor a directory", path)
	}
	if exe, found, err := d.pyenvShim(req, path); found {
		return exe, err
	}
	return d.locateProgram(path)
}

// missing explains why a path cannot be followed: it does not exist, it is a symbolic
// link whose target no longer exists, which is what a removed base Python leaves
// behind, or the target is in a directory that this account cannot enter.
func (d *Disk) missing(path string) error {
	if d.isName(path) {
		all := d.links(path)
		if _, err := d.stat(path); errors.Is(err, fs.ErrPermission) {
			return fault.New(fault.Environment,
				"grant this account search permission on the directories on the way there, or create the environment from a Python elsewhere",
				"%s is a symbolic link to %s, which this account cannot reach: %w", path, all[len(all)-1], fs.ErrPermission)
		}
		hint := hintGivePath
		if env := filepath.Dir(filepath.Dir(path)); d.isFile(filepath.Join(env, cfgName)) {
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
func (d *Disk) locateProgram(path string) (string, error) {
	all := d.links(path)
	for _, belongs := range []func(bin string) bool{d.isEnvironment, d.isInstallation} {
		for _, step := range all {
			if !belongs(filepath.Dir(step)) {
				continue
			}
			if exe := d.interpreterFor(step); exe != "" {
				return exe, nil
			}
			return "", d.noInterpreter(filepath.Dir(step))
		}
	}
	if isInterpreterName(filepath.Base(path)) {
		if why := d.notBinary(path); why != "" {
			return "", fault.New(fault.Environment, hintGivePath+"; pass the real interpreter if this is a wrapper for one",
				"%s is not a Python interpreter: %s", path, why)
		}
		return path, nil
	}
	if d.isZip(path) {
		return "", fault.New(fault.Environment, hintGivePath,
			"%s is a zip application, which belongs to no environment, and no interpreter is next to it", path)
	}
	// A script outside any environment (~/.local/bin/pip, /usr/local/bin/pip) names
	// its interpreter in the first line, which is read, not run.
	if exe := d.shebang(path); exe != "" {
		return exe, nil
	}
	for _, step := range all {
		if exe := d.interpreterFor(step); exe != "" {
			return exe, nil
		}
	}
	return "", fault.New(fault.Environment, hintGivePath, "%s is not a Python interpreter, and no interpreter is next to it", path)
}

// locateDir finds the interpreter of an environment directory, or of the bin directory
// itself.
func (d *Disk) locateDir(dir string) (string, error) {
	for _, bin := range []string{filepath.Join(dir, binUnix), filepath.Join(dir, binWindows), dir} {
		if exe := d.interpreterIn(bin, ""); exe != "" {
			return exe, nil
		}
	}
	if err := d.brokenInterpreter(filepath.Join(dir, binUnix)); err != nil {
		return "", err
	}
	info, err := d.stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", d.missing(dir)
	case err != nil:
		return "", fault.New(fault.Environment, hintGivePath, "inspect %s: %w", dir, err)
	case !info.IsDir():
		return "", fault.New(fault.Environment, hintGivePath, "%s is not a directory", dir)
	}
	hint := hintMakeEnv
	if d.exists(filepath.Join(dir, ".venv")) {
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
func (d *Disk) noInterpreter(bin string) error {
	if err := d.brokenInterpreter(bin); err != nil {
		return err
	}
	return fault.New(fault.Environment, recreate(filepath.Dir(bin), ""), "the environment %s has no interpreter", filepath.Dir(bin))
}

// brokenInterpreter explains an interpreter that exists in name only, nil if not even
// the name exists.
func (d *Disk) brokenInterpreter(bin string) error {
	for _, name := range []string{"python3", "python"} {
		exe := filepath.Join(bin, name)
		if !d.isName(exe) {
			continue
		}
		if !d.exists(exe) {
			return d.missing(exe)
		}
		if why := d.notBinary(exe); why != "" {
			return fault.New(fault.Environment, hintGivePath+"; pass the real interpreter if this is a wrapper for one",
				"%s is not a Python interpreter: %s", exe, why)
		}
	}
	return nil
}

// isEnvironment reports whether a bin directory belongs to an environment with its own
// identity.
func (d *Disk) isEnvironment(bin string) bool {
	parent := filepath.Dir(bin)
	return d.exists(filepath.Join(bin, cfgName)) || d.exists(filepath.Join(parent, cfgName)) ||
		d.exists(filepath.Join(parent, condaMetaName)) || d.isPyenvVersion(parent)
}

// isInstallation reports whether a bin directory belongs to an installed Python, whose
// standard library is next to it.
func (d *Disk) isInstallation(bin string) bool {
	for _, lib := range []string{"lib", "lib64"} {
		dir := filepath.Join(filepath.Dir(bin), lib)
		for _, name := range d.readDir(dir) {
			if strings.HasPrefix(name, "python3.") && d.isFile(filepath.Join(dir, name, "os.py")) {
				return true
			}
		}
	}
	return false
}

// interpreterFor returns the interpreter for a program by its path: itself if it is
// one, else the one next to it with the version at the end of its name, else the
// default one next to it.
func (d *Disk) interpreterFor(path string) string {
	if isInterpreterName(filepath.Base(path)) && d.notBinary(path) == "" {
		return path
	}
	return d.interpreterIn(filepath.Dir(path), versionSuffix(filepath.Base(path)))
}

var trailingVersion = regexp.MustCompile(`[0-9]+\.[0-9]+$`)

func versionSuffix(name string) string { return trailingVersion.FindString(name) }

// interpreterIn returns the interpreter in a bin directory, "" if it has none: the one
// of a requested version ("3.11") if it exists, else python3, python, and the highest
// python3.N.
func (d *Disk) interpreterIn(bin, version string) string {
	names := []string{"python3", "python", "python.exe"}
	if version != "" {
		names = append([]string{"python" + version}, names...)
	}
	best, bestName := -1, ""
	for _, name := range d.readDir(bin) {
		minor, err := strconv.Atoi(strings.TrimPrefix(name, "python3."))
		if err == nil && strings.HasPrefix(name, "python3.") && minor > best {
			best, bestName = minor, name
		}
	}
	if bestName != "" {
		names = append(names, bestName)
	}
	names = append(names, "pypy3", "pypy")
	for _, name := range names {
		if exe := filepath.Join(bin, name); d.notBinary(exe) == "" {
			return exe
		}
	}
	return ""
}

// shebang returns the interpreter in a script's first line, "" if that line names none
// that exists ("/usr/bin/env python3" could be any).
func (d *Disk) shebang(path string) string {
	line, rest, ok := strings.Cut(string(d.head(path, 512)), "\n")
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
	if !d.exists(exe) {
		exe, _, _ = strings.Cut(exe, " ")
	}
	if filepath.IsAbs(exe) && isInterpreterName(filepath.Base(exe)) && d.notBinary(exe) == "" {
		return exe
	}
	return ""
}

// isMachO reports whether a file has a magic number of thin or universal Mach-O files
// (mach-o/loader.h, mach-o/fat.h).
func isMachO(b []byte) bool {
	switch string(b) {
	case "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xca\xfe\xba\xbe", "\xca\xfe\xba\xbf":
		return true
	}
	return false
}

// isPyenvVersion reports whether a prefix is a version that pyenv installed.
func (d *Disk) isPyenvVersion(prefix string) bool {
	versions := filepath.Dir(prefix)
	return filepath.Base(versions) == "versions" && d.isDir(filepath.Join(filepath.Dir(versions), "shims"))
}
