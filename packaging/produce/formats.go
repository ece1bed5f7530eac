package produce

import (
	"slices"

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

// Known lists the formats that a release.toml may name on this machine.
func Known() []matrix.Format {
	var all []matrix.Format
	for _, f := range Formats() {
		if len(f.Targets) > 0 {
			all = append(all, f.describe())
		}
	}
	return all
}
