// Package host knows how systems differ: which accounts, rights, addresses,
// locales and processes there are, and how each is asked about. Other packages
// ask it for a fact, such as [DaemonMode], never for the name of the system.
//
// It refuses to know options, httpd's configuration and server roots.
package host

import (
	"path/filepath"
	"runtime"
	"strings"
)

// What the launcher can do on this system.
const (
	// Unix reports whether options work that need Unix.
	Unix = runtime.GOOS != "windows"

	// DaemonMode reports whether mod_wsgi can run the application in processes of
	// its own, with sockets between them and httpd.
	DaemonMode = runtime.GOOS != "windows"

	// Accounts reports whether httpd can run as another user than root.
	Accounts = runtime.GOOS != "windows"

	// Builds reports whether modwsgi install builds an httpd on this system.
	Builds = runtime.GOOS != "windows"

	// BoundPython reports whether a module belongs to the Python that its record
	// names, with its standard library in lib/pythonX.Y. On Windows Python's DLL
	// is looked for at each start, in the Python that is there today.
	BoundPython = runtime.GOOS != "windows"

	// OneLayout reports whether all distributions of httpd have the same layout,
	// with the directories bin, conf and modules.
	OneLayout = runtime.GOOS == "windows"

	// FoldsNames reports whether environment variables have the same name in
	// upper and lower case.
	FoldsNames = runtime.GOOS == "windows"

	// Systemd reports whether systemd can run the launcher.
	Systemd = runtime.GOOS == "linux"
)

// OnlyMPM is the multi-processing module that httpd always has built in, "" where
// one is chosen.
var OnlyMPM = map[bool]string{true: "winnt"}[runtime.GOOS == "windows"]

// SitePackages are the places of site-packages below a Python's prefix, as patterns.
func SitePackages() []string {
	if runtime.GOOS == "windows" {
		return []string{`Lib\site-packages`}
	}
	return []string{
		"lib/python3*/site-packages", "lib64/python3*/site-packages",
		"lib/python3*/dist-packages", "local/lib/python3*/dist-packages", // Debian
	}
}

// Slashed writes a path as httpd wants it in its configuration.
func Slashed(s string) string {
	if filepath.VolumeName(s) != "" && !strings.ContainsAny(s, "\r\n") {
		return filepath.ToSlash(s)
	}
	return s
}
