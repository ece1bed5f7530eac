package toolrelease

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
)

// Bootstrap writes dist/bootstrap.sh: scripts/bootstrap.sh of root with the version,
// the URL of the archives ("" if it is unknown) and the hash of each archive in dist.
func Bootstrap(dist, root, address string) error {
	template, err := os.ReadFile(filepath.Join(root, "scripts", "bootstrap.sh"))
	if err != nil {
		return err
	}
	archives, err := Archives(dist)
	if err != nil {
		return err
	}
	var pins strings.Builder
	for _, p := range Platforms {
		sum, err := digest.File(archives[p])
		if err != nil {
			return err
		}
		fmt.Fprintf(&pins, "%s %s %s %s\n", p.OS, p.Arch, sum, filepath.Base(archives[p]))
	}
	if strings.ContainsAny(address, "'\n") {
		return fault.New(fault.Usage, "", "the URL %q cannot be written into a script", address)
	}
	text := string(template)
	for _, r := range [][2]string{
		{"\tversion=''\n", "\tversion='" + Version(archives) + "'\n"},
		{"\tbase_url=''\n", "\tbase_url='" + address + "'\n"},
		{"<<'PINS'\nPINS\n", "<<'PINS'\n" + pins.String() + "PINS\n"},
		{templateNote, "# This script installs modwsgi " + Version(archives) + ".\n#\n"},
	} {
		if strings.Count(text, r[0]) != 1 {
			return fault.New(fault.Internal, "", "scripts/bootstrap.sh does not contain %q exactly once", r[0])
		}
		text = strings.Replace(text, r[0], r[1], 1)
	}
	return atomicfile.Write(filepath.Join(dist, "bootstrap.sh"), []byte(text), 0o755)
}

// templateNote is the part of the template that describes only the template.
const templateNote = `# The file in scripts/ is a template without hashes and refuses to run. "make
# dist" writes dist/bootstrap.sh, which has the version and the hashes of the
# archives in dist/.
#
`
