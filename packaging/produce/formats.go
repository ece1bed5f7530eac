package produce

import (
	"slices"

	"modwsgi/internal/platform"
	"modwsgi/packaging/matrix"
)

// Formats lists everything that can be packaged, in the order of a release.
func Formats() []Format {
	all := []Format{wheelFormat(), zipFormat()}
	all = append(all, linuxFormats()...)
	return append(all, imageFormat(), sdistFormat())
}

// Find returns the format of that name; it must exist.
func Find(name string) Format {
	all := Formats()
	return all[slices.IndexFunc(all, func(f Format) bool { return f.Name == name })]
}

// Known lists the formats that a release.toml may name, with the platforms that they
// can be made for on a machine with this system.
func Known(on platform.System) []matrix.Format {
	var all []matrix.Format
	for _, f := range Formats() {
		if len(f.Targets) > 0 {
			all = append(all, f.describe(on))
		}
	}
	return all
}
