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

// Source is the source of a release.
type Source struct {
	Commit     string // Git's identifier of the commit, 40 or 64 hexadecimal digits
	Repository string // URL of its repository; "" if unknown
	Builder    string // URI of the builder; "" for release.DefaultBuilder
	Modules    string // the list of Notices
	Tools      string // module file that pins the release tool
}

// artifacts matches the files of a release that users download.
var artifact = regexp.MustCompile(`\.(tar\.gz|zip|deb|rpm|whl)$|^bootstrap\.sh$`)

var commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Finish describes the contents of a release's directory like those of every other
// release (release.Finish): next to each artifact its bill of materials and its
// provenance, then SHA256SUMS and its signatures. Signatures of earlier runs are
// removed. It returns the names of the signatures. The digests that the release tool
// recorded in SHA256SUMS must still match.
func Finish(ctx context.Context, dist string, from Source, k sign.Keys, now func() time.Time) ([]string, error) {
	if !commitID.MatchString(from.Commit) {
		return nil, fault.New(fault.Environment, "run make dist in a clone of the repository", "%q is not a commit", from.Commit)
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

// origin describes the inputs of an artifact and its version of Go; binaries are our
// programs in it.
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
		return a, nil, fault.New(fault.Environment, "", "it contains none of our programs")
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
			c := packaging.GoModule(m.Path, m.Version, m.Sum)
			c.License = licences[Module{Path: m.Path, Version: m.Version}]
			a.Components = append(a.Components, c)
		}
	}
	return a, binaries, nil
}

var toolLine = regexp.MustCompile(`(?m)^\s*(?:require\s+)?(github\.com/goreleaser/goreleaser/v2 v\S+)`)

// releaseTool reads the pinned version of the release tool.
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

// Sweep removes from dist what does not belong to the release: the release tool's
// notes, and the programs that it packed. Files in SHA256SUMS stay, and so do its
// signatures.
func Sweep(dist string) error {
	dir, err := owned.OutputDir(dist)
	if err != nil {
		return fault.New(fault.Environment, fault.HintOr(err, "run make dist"), "sweep the release: %w", err)
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
