// Package version provides the version of the binary.
package version

import "runtime/debug"

// Release is set by the linker (-X modwsgi/internal/version.Release=1.2.3). Without it,
// the binary is a development build.
var Release = "0.1.0-dev"

// Commit is set by the linker in a release (the full hash). The go command's own stamp
// also records untracked files, which must not change a release's bytes.
var Commit string

// String returns the release, with the commit if known.
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
