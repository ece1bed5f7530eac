// Package version knows which release of this project a binary is.
package version

import "runtime/debug"

// Release is set by the linker (-X modwsgi/internal/version.Release=1.2.3);
// a build without it is a development build.
var Release = "0.1.0-dev"

// Commit is set by the linker in a release (all digits of the hash): what the
// go command would stamp says also whether the tree had other files beside,
// which must not change a release's bytes.
var Commit string

// String returns the release, with the commit where the binary knows it.
func String() string {
	if commit := commit(); len(commit) >= 12 {
		return Release + " (" + commit[:12] + ")"
	}
	return Release
}

func commit() string {
	if Commit != "" {
		return Commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}
