package cli

import (
	"os"
	"path/filepath"

	"modwsgi/internal/run"
)

// ourPrograms is where the wheel of this program puts the programs that install
// places, relative to its own directory. They do not lie beside it there: an
// environment's bin directory is where install places them, and files that
// belong to another distribution are never overwritten.
const ourPrograms = "../libexec/modwsgi"

// realExecutable is our own path behind symbolic links, as pipx makes them.
func (a *app) realExecutable() string {
	if real, err := filepath.EvalSymlinks(a.Executable); err == nil {
		return real
	}
	return a.Executable
}

// toolsDir is where the programs lie that install places: where pip put them,
// else beside us. In this order, because after an install older ones may lie
// beside us.
func (a *app) toolsDir() string {
	dir := filepath.Dir(a.realExecutable())
	if libexec := filepath.Join(dir, filepath.FromSlash(ourPrograms)); isDir(libexec) {
		return libexec
	}
	return dir
}

// python is the Python that a command works on, as --python says it. Where it
// says nothing, no environment is activated and there is no .venv either, it is
// that of the environment which this program was installed into with pip; not
// where pipx or uv made an environment for this program alone. "" leaves it to
// detection.
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
	if !isDir(filepath.Join(dir, filepath.FromSlash(ourPrograms))) || isFile(filepath.Join(prefix, "pipx_metadata.json")) || isFile(filepath.Join(prefix, "uv-receipt.toml")) {
		return given
	}
	for _, name := range []string{"python3", "python", "python.exe", "../python.exe"} {
		if path := filepath.Join(dir, filepath.FromSlash(name)); isFile(path) {
			return path
		}
	}
	return given
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
