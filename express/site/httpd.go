package site

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modwsgi/express/host"
	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// LookUpHTTPD finds an httpd by its path, or by its name on the PATH and in /usr/sbin.
// A relative path is relative to dir.
func LookUpHTTPD(env []string, dir, name string) (string, error) {
	path := run.Getenv(env, "PATH") + string(os.PathListSeparator) + "/usr/sbin"
	found, err := run.LookPath(name, append(slices.Clone(env), "PATH="+path))
	if err != nil {
		return "", fault.Wrap(fault.Usage, "", err)
	}
	if !filepath.IsAbs(found) {
		found = filepath.Join(dir, found)
	}
	if !isProgram(found) {
		return "", fault.New(fault.Usage, "", "the program %s does not exist", found)
	}
	return found, nil
}

// CheckHTTPD refuses an httpd that does not exist; prefix is the environment, for the
// hint.
func CheckHTTPD(httpd, prefix string) error {
	if isProgram(httpd) {
		return nil
	}
	if host.Builds {
		return fault.New(fault.Environment, InstallHint(prefix)+", or name one with --httpd-executable", "the httpd %s, which the module was built for, does not exist", httpd)
	}
	return fault.New(fault.Environment, `name one with --httpd-executable, or set MOD_WSGI_APACHE_ROOTDIR to its directory (as C:\Apache24); Apache for Windows: https://www.apachelounge.com/download/`,
		"no httpd found: %s does not exist", httpd)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// MIMETypes returns the file of media types that belongs to an httpd with a modules
// directory, or to the system; "" if none exists.
func MIMETypes(modules string) string {
	return firstTable("/etc/mime.types", "/etc/apache2/mime.types", "/etc/httpd/conf/mime.types",
		filepath.Join(filepath.Dir(modules), "conf", "mime.types"), "/usr/local/etc/mime.types")
}

// firstTable returns the first absolute path that is a regular file, or "".
func firstTable(names ...string) string {
	for _, name := range names {
		if isRegular(name) && filepath.IsAbs(name) { // on Windows the Unix paths are relative to a drive
			return name
		}
	}
	return ""
}

// ModuleFile returns the file of a module in a modules directory.
func ModuleFile(modules, name string) string {
	return filepath.Join(modules, "mod_"+name+".so")
}

// MPM is a multi-processing module.
type MPM struct {
	Name    string
	BuiltIn bool
}

// FindMPM returns the first of the wanted MPMs that can be loaded from a modules
// directory, or else the one that httpd has built in. An empty list of allowed ones
// allows all.
func FindMPM(modules string, wanted, allowed []string, builtIn func() (map[string]bool, error)) (MPM, error) {
	if host.OnlyMPM != "" {
		return MPM{host.OnlyMPM, true}, nil
	}
	isAllowed := func(mpm string) bool { return len(allowed) == 0 || slices.Contains(allowed, mpm) }
	for _, mpm := range wanted {
		if !isAllowed(mpm) {
			continue
		}
		if _, err := os.Stat(ModuleFile(modules, "mpm_"+mpm)); err == nil {
			return MPM{mpm, false}, nil
		}
	}
	inside, err := builtIn()
	if err != nil {
		return MPM{}, err
	}
	for _, mpm := range []string{"event", "worker", "prefork"} {
		switch {
		case !inside["mpm_"+mpm] && !inside[mpm]:
		case !isAllowed(mpm):
			return MPM{}, fault.New(fault.Environment, "", "this httpd has %s built in and no other", mpm)
		default:
			return MPM{mpm, true}, nil
		}
	}
	return MPM{}, fault.New(fault.Environment, "see --server-mpm and --modules-directory", "none of the multi-processing modules %s is in %s", strings.Join(wanted, ", "), modules)
}
