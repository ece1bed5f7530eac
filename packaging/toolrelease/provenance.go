package toolrelease

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/packaging"
	"modwsgi/packaging/release"
	"modwsgi/packaging/sign"
)

// Source is what a release was made from.
type Source struct {
	Commit     string // Git's identifier of it, 40 or 64 hexadecimal digits
	Repository string // where it is published; "" where that is not known
	Builder    string // URI that names who built; "" for release.DefaultBuilder
	Modules    string // the list of Notices
	Tools      string // module file that pins the release tool
}

// artifacts of a release: what somebody downloads to use.
var artifact = regexp.MustCompile(`\.(tar\.gz|zip|deb|rpm|whl)$|^bootstrap\.sh$`)

var commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Finish describes what is in the directory of a release as every other release
// is described (release.Finish): beside each artifact its bill of materials and the
// statement of where it is from, then SHA256SUMS and its signatures, of which those
// of earlier runs are removed. It returns the names of the signatures. The digests
// that the release tool has recorded in SHA256SUMS must still be true.
func Finish(ctx context.Context, dist string, from Source, k sign.Keys, now func() time.Time) ([]string, error) {
	if !commitID.MatchString(from.Commit) {
		return nil, fault.New(fault.Environment, "run make dist in a clone of the repository", "%q is no commit", from.Commit)
	}
	pinned, err := releaseTool(from.Tools)
	if err != nil {
		return nil, err
	}
	signers, err := k.Signers(now)
	if err != nil {
		return nil, err
	}
	d, err := openDir(dist)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if err := d.read(from); err != nil {
		return nil, err
	}
	err = release.Finish(ctx, d, release.Options{
		Time: now(), Tool: d.version, Builder: from.Builder, Parameters: map[string]string{"goreleaser": pinned}, Signers: signers,
		SBOM: func(a packaging.Artifact) ([]byte, error) { return d.bills[a.Name], nil }, NoIndex: true,
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range signers {
		names = append(names, SumsName+s.Suffix())
	}
	return names, nil
}

// origin describes what an artifact was made from, and with which Go; binaries are
// our programs in it.
func origin(path string, licences map[Module]string, from Source) (a packaging.Artifact, binaries []Binary, err error) {
	a = packaging.Artifact{Name: filepath.Base(path), Kind: "tool", Project: "modwsgi"}
	if a.SHA256, err = digest.File(path); err != nil {
		return a, nil, err
	}
	uri := from.Repository
	if uri != "" && !strings.HasPrefix(uri, "git+") {
		uri = "git+" + uri
	}
	a.Components = []packaging.Component{{Kind: packaging.FromSource, Name: "modwsgi", License: "Apache-2.0", Commit: from.Commit, URL: uri}}
	if strings.HasSuffix(path, ".sh") {
		return a, nil, nil // a text of this project
	}
	if binaries, err = programsOf(path); err != nil {
		return a, nil, err
	}
	if len(binaries) == 0 {
		return a, nil, fault.New(fault.Environment, "", "none of our programs is in it")
	}
	for _, b := range binaries {
		info, err := b.build()
		if err != nil {
			return a, nil, err
		}
		a.Environment = map[string]string{"go": info.GoVersion}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			a.Components = append(a.Components, packaging.Component{
				Kind: packaging.FromModules, Name: m.Path, Version: m.Version, Sum: m.Sum, PURL: "pkg:golang/" + m.Path + "@" + m.Version,
				License: licences[Module{Path: m.Path, Version: m.Version}],
			})
		}
	}
	return a, binaries, nil
}

var toolLine = regexp.MustCompile(`(?m)^\s*(?:require\s+)?(github\.com/goreleaser/goreleaser/v2 v\S+)`)

// releaseTool reads which version of the release tool is pinned.
func releaseTool(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	m := toolLine.FindSubmatch(data)
	if m == nil {
		return "", fault.New(fault.Environment, "", "%s does not pin the release tool", file)
	}
	return string(m[1]), nil
}

// Sweep removes from dist what is not part of the release: the release tool's
// notes, and the programs that it packed. What SHA256SUMS names stays, and so do
// its signatures.
func Sweep(dist string) error {
	dir, err := owned.OutputDir(dist)
	if err != nil {
		return fault.New(fault.Environment, fault.HintOr(err, "make dist makes it"), "sweep the release: %w", err)
	}
	defer func() { _ = dir.Close() }()
	sums, err := readSums(dir)
	if err != nil {
		return err
	}
	entries, err := dir.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if _, listed := sums[name]; listed || name == SumsName || strings.HasPrefix(name, SumsName+".") {
			continue
		}
		if err := dir.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}
