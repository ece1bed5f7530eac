package packaging

import (
	"debug/buildinfo"
	"strings"

	"modwsgi/internal/fault"
)

// ProgramComponents returns what one of our programs is made of: this project,
// Go's standard library and the modules that are linked in, as the linker
// recorded them. The error is for a file that is no Go program.
func ProgramComponents(name string) ([]Component, error) {
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return nil, fault.New(fault.Environment, "take the programs of one release of modwsgi", "read what %s is made of: %w", name, err)
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

// SourceComponent is one that was built from an archive.
func SourceComponent(name, version, license, sha256 string) Component {
	c := Component{Kind: FromSource, Name: name, Version: version, License: license, SHA256: sha256, PURL: "pkg:generic/" + name + "@" + version}
	if sha256 != "" {
		c.PURL += "?checksum=sha256:" + sha256
	}
	return c
}
