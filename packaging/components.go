package packaging

import (
	"debug/buildinfo"
	"strings"

	"modwsgi/internal/fault"
)

// ProgramComponents returns the components of one of our programs: this project, Go's
// standard library and the linked modules, as the linker recorded them. It returns an
// error for a file that is not a Go program.
func ProgramComponents(name string) ([]Component, error) {
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return nil, fault.New(fault.Environment, "use the programs of a single release of modwsgi", "read the components of %s: %w", name, err)
	}
	goVersion := strings.TrimPrefix(strings.Fields(info.GoVersion + " ")[0], "go")
	all := []Component{{Kind: FromModules, Name: "std", Version: goVersion, PURL: "pkg:golang/std@" + goVersion}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, Component{Kind: FromModules, Name: m.Path, Version: m.Version, Sum: m.Sum, PURL: "pkg:golang/" + m.Path + "@" + m.Version})
	}
	return all, nil
}

// SourceComponent describes a component that was built from an archive.
func SourceComponent(name, version, license, sha256 string) Component {
	c := Component{Kind: FromSource, Name: name, Version: version, License: license, SHA256: sha256, PURL: "pkg:generic/" + name + "@" + version}
	if sha256 != "" {
		c.PURL += "?checksum=sha256:" + sha256
	}
	return c
}
