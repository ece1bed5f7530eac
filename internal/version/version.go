// Package version knows which release of this project a binary is.
package version

import "runtime/debug"

// Release is set by the linker (-X modwsgi/internal/version.Release=1.2.3);
// a build without it is a development build.
var Release = "0.1.0-dev"

// String returns the release, with the commit where the binary knows it.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return Release + " (" + s.Value[:12] + ")"
		}
	}
	return Release
}
