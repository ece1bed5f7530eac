package toolrelease

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/filetree"
	"modwsgi/packaging/toolwheel"
)

// Archives returns the archives of the tools, by platform, in a directory that the
// release tool wrote. A missing one is an error.
func Archives(dist string) (map[Platform]string, error) {
	out := map[Platform]string{}
	for _, p := range Platforms {
		suffix := ".tar.gz"
		if p.OS == "windows" {
			suffix = ".zip"
		}
		found := filetree.Glob(dist, fmt.Sprintf("modwsgi_*_%s_%s%s", p.OS, p.Arch, suffix))
		if len(found) != 1 {
			return nil, fault.New(fault.Environment, "run make dist", "%s has %d archives for %s, not one", dist, len(found), p)
		}
		out[p] = found[0]
	}
	return out, nil
}

// Version is the version in the names of archives.
func Version(archives map[Platform]string) string {
	name := filepath.Base(archives[Platforms[0]])
	return strings.TrimSuffix(strings.TrimPrefix(name, "modwsgi_"), "_linux_amd64.tar.gz")
}

// Wheels writes the tool's wheel for each platform into dist, from the archives there,
// and returns the paths. root is the directory of README.md and LICENSE, extras that
// of Notices; at is the timestamp of every file inside.
func Wheels(dist, root, extras, repository string, at time.Time) ([]string, error) {
	archives, err := Archives(dist)
	if err != nil {
		return nil, err
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		return nil, err
	}
	licences := map[string][]byte{}
	for name, path := range map[string]string{"LICENSE": filepath.Join(root, "LICENSE"), NoticesName: filepath.Join(extras, NoticesName)} {
		if licences[name], err = os.ReadFile(path); err != nil {
			return nil, fault.New(fault.Environment, "run make dist", "read licences: %w", err)
		}
	}
	var paths []string
	for _, p := range Platforms {
		binaries, err := Binaries(archives[p])
		if err != nil {
			return nil, err
		}
		programs := map[string][]byte{}
		for _, b := range binaries {
			programs[b.Name] = b.Data
		}
		sbom, err := os.ReadFile(archives[p] + ".cdx.json")
		if err != nil {
			return nil, fault.New(fault.Environment, "run make dist", "read the bill of materials: %w", err)
		}
		path, err := toolwheel.Write(dist, toolwheel.Options{
			Platform: p.String(), Version: Version(archives), Programs: programs, Readme: string(readme), Licences: licences, Sbom: sbom, Time: at, Repository: repository,
		})
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}
