package cli

import (
	"os"
	"path/filepath"

	"modwsgi/internal/filetree"
	"modwsgi/internal/run"
)

// helpers is where releases have the programs that install adds, relative to modwsgi's
// directory. It is not that directory itself, which may be on PATH, where upstream's
// setup.py takes any mod_wsgi-apxs for the httpd to build for. And an environment's bin
// directory is where install puts them, which never overwrites files that belong to
// another distribution.
const helpers = "../libexec/modwsgi"

// realExecutable is the path of the running program with symbolic links resolved, such
// as those that pipx creates.
func (a *app) realExecutable() string {
	if real, err := filepath.EvalSymlinks(a.Executable); err == nil {
		return real
	}
	return a.Executable
}

// toolsDir is the directory of the programs that install adds: where a release has them,
// else next to modwsgi, as after make build. The order matters, because after an install
// older ones may be next to modwsgi.
func (a *app) toolsDir() string {
	dir := filepath.Dir(a.realExecutable())
	if libexec := filepath.Join(dir, filepath.FromSlash(helpers)); isDir(libexec) {
		return libexec
	}
	return dir
}

// python is the Python that a command works on: the value of --python, if given.
// Without it, without an activated environment and without a .venv, it is that of the
// environment into which pip installed modwsgi, unless pipx or uv made that
// environment for modwsgi alone. "" leaves the choice to detection.
func (a *app) python(given string) string {
	if given != "" || run.Getenv(a.Env, "VIRTUAL_ENV") != "" {
		return given
	}
	if run.Getenv(a.Env, "CONDA_PREFIX") != "" && run.Getenv(a.Env, "CONDA_DEFAULT_ENV") != "base" {
		return given
	}
	if _, err := os.Lstat(filepath.Join(a.Dir, ".venv")); err == nil {
		return given
	}
	exe := a.realExecutable()
	dir := filepath.Dir(exe)
	prefix := filepath.Dir(dir)
	if !fromWheel(prefix) || isFile(filepath.Join(prefix, "pipx_metadata.json")) || isFile(filepath.Join(prefix, "uv-receipt.toml")) {
		return given
	}
	for _, name := range []string{"python3", "python", "python.exe", "../python.exe"} {
		if path := filepath.Join(dir, filepath.FromSlash(name)); isFile(path) {
			return path
		}
	}
	return given
}

// fromWheel reports whether pip put modwsgi into this prefix: its distribution is there.
// A package or bootstrap.sh may have put it beside a Python, too, which then is not the
// one to work on.
func fromWheel(prefix string) bool {
	for _, site := range []string{"lib*/python3*/site-packages", "lib*/python3*/dist-packages", "Lib/site-packages"} {
		if len(filetree.Glob(prefix, site+"/modwsgi-*.dist-info/RECORD")) > 0 {
			return true
		}
	}
	return false
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
