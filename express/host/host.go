// Package host hides the differences between operating systems: accounts, permissions,
// addresses, locales and processes. Other packages test for facts such as [DaemonMode],
// never for the name of the system.
//
// It does not depend on options, httpd's configuration or server roots.
package host

import (
	"path/filepath"
	"runtime"
	"strings"
)

// Capabilities of the launcher on this system.
const (
	// Unix reports whether options that need Unix work.
	Unix = runtime.GOOS != "windows"

	// DaemonMode reports whether mod_wsgi can run the application in separate daemon
	// processes, which httpd reaches through sockets.
	DaemonMode = runtime.GOOS != "windows"

	// Accounts reports whether httpd, started as root, can run as another user.
	Accounts = runtime.GOOS != "windows"

	// Builds reports whether modwsgi install can build httpd on this system.
	Builds = runtime.GOOS != "windows"

	// BoundPython reports whether a module belongs to the Python named in its record,
	// with the standard library in lib/pythonX.Y. On Windows, the launcher looks for
	// Python's DLL at each start, in the Python that is installed then.
	BoundPython = runtime.GOOS != "windows"

	// OneLayout reports whether all distributions of httpd have the same layout, with
	// the directories bin, conf and modules.
	OneLayout = runtime.GOOS == "windows"

	// FoldsNames reports whether the names of environment variables are
	// case-insensitive.
	FoldsNames = runtime.GOOS == "windows"

	// Systemd reports whether systemd can run the launcher.
	Systemd = runtime.GOOS == "linux"
)

// OnlyMPM is the only multi-processing module on this system, which is built into
// httpd. It is "" if there is a choice.
var OnlyMPM = map[bool]string{true: "winnt"}[runtime.GOOS == "windows"]

// SitePackages returns patterns for site-packages directories below a Python's prefix.
func SitePackages() []string {
	if runtime.GOOS == "windows" {
		return []string{`Lib\site-packages`}
	}
	return []string{
		"lib/python3*/site-packages", "lib64/python3*/site-packages",
		"lib/python3*/dist-packages", "local/lib/python3*/dist-packages", // Debian
	}
}

// Slashed returns a path in the form that httpd's configuration needs.
func Slashed(s string) string {
	if filepath.VolumeName(s) != "" && !strings.ContainsAny(s, "\r\n") {
		return filepath.ToSlash(s)
	}
	return s
}
