package run

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"modwsgi/internal/fault"
)

// Executable returns the path of the running program. On Linux the system knows it only
// if /proc is mounted; without it, the path is found from the name that the program was
// called by, as a shell finds it. It is "" if neither is known.
func Executable(called string, env []string) string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return calledPath(called, env)
}

// calledPath returns the absolute path of a program that was called by a name or a path.
func calledPath(called string, env []string) string {
	if called == "" {
		return ""
	}
	path, err := LookPath(called, env)
	if err != nil {
		return ""
	}
	if path, err = filepath.Abs(path); err != nil {
		return ""
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return path
}

// usualPath is where programs are searched for if the caller has no PATH at all, as in a
// shell then.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// WithPath returns an environment with a PATH: the usual one, if it has none. An empty one
// stays empty.
func WithPath(env []string) []string {
	if runtime.GOOS == "windows" || slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		return env
	}
	return append(slices.Clone(env), "PATH="+usualPath)
}

// CheckProc refuses a Linux without /proc: the loader finds the libraries of a program
// relative to the program ($ORIGIN) through /proc/self/exe (ld.so(8)), so that no httpd
// that modwsgi builds can start.
func CheckProc() error {
	if runtime.GOOS != "linux" {
		return nil
	}
	return checkProc("/proc")
}

func checkProc(proc string) error {
	if _, err := os.Readlink(filepath.Join(proc, "self", "exe")); err == nil {
		return nil
	}
	return fault.New(fault.Environment, "mount it: mount -t proc proc /proc",
		"the file system /proc is not mounted: programs cannot find the libraries that are installed beside them")
}
