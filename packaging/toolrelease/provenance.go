package toolrelease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"modwsgi/internal/atomicfile"
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

// Provenance writes beside each artifact of a release the statement of where it
// is from (NAME.intoto.json): the commit, the Go modules that its programs say
// they were linked from, with their sums, and the tools. A wheel gets its bill of
// materials too, which the release tool makes for the others.
func Provenance(dist string, from Source) error {
	if !commitID.MatchString(from.Commit) {
		return fault.New(fault.Environment, "run make dist in a clone of the repository", "%q is no commit", from.Commit)
	}
	archives, err := Archives(dist)
	if err != nil {
		return err
	}
	licences, err := readModules(from.Modules)
	if err != nil {
		return err
	}
	pinned, err := releaseTool(from.Tools)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dist)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !artifact.MatchString(e.Name()) {
			continue
		}
		path := filepath.Join(dist, e.Name())
		if strings.HasSuffix(path, ".whl") {
			if err := Sbom(path, path+".cdx.json", from.Modules); err != nil {
				return err
			}
		}
		a, goVersion, err := origin(path, licences, from)
		if err != nil {
			return fmt.Errorf("describe %s: %w", e.Name(), err)
		}
		a.Version = Version(archives)
		options := release.Options{Tool: a.Version, Builder: from.Builder, Parameters: map[string]string{"goreleaser": pinned}}
		if goVersion != "" {
			options.Parameters["go"] = goVersion
		}
		text, err := release.Provenance(a, options)
		if err == nil {
			err = atomicfile.Write(path+".intoto.json", text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// origin says what an artifact was made from, and with which Go.
func origin(path string, licences map[Module]string, from Source) (packaging.Artifact, string, error) {
	a := packaging.Artifact{Name: filepath.Base(path), Kind: "tool", Project: "modwsgi"}
	var err error
	if a.SHA256, err = digest.File(path); err != nil {
		return a, "", err
	}
	uri := from.Repository
	if uri != "" && !strings.HasPrefix(uri, "git+") {
		uri = "git+" + uri
	}
	a.Components = []packaging.Component{{Kind: packaging.FromSource, Name: "modwsgi", License: "Apache-2.0", Commit: from.Commit, URL: uri}}
	if strings.HasSuffix(path, ".sh") {
		return a, "", nil // a text of ours
	}
	binaries, err := programsOf(path)
	if err != nil {
		return a, "", err
	}
	if len(binaries) == 0 {
		return a, "", fault.New(fault.Environment, "", "none of our programs is in it")
	}
	goVersion := ""
	for _, b := range binaries {
		info, err := b.build()
		if err != nil {
			return a, "", err
		}
		goVersion = info.GoVersion
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
	return a, goVersion, nil
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

// Sign writes a signature of SHA256SUMS with each key, and removes those of
// earlier runs. It returns the names of what it wrote.
func Sign(dist string, k sign.Keys, now func() time.Time) ([]string, error) {
	// What is signed is vouched for: nobody else may have written it.
	dir, err := owned.OpenDir(dist)
	if err != nil {
		return nil, fault.New(fault.Environment, fault.HintOr(err, "make dist makes it"), "sign the release: %w", err)
	}
	defer func() { _ = dir.Close() }()
	data, err := dir.ReadFile(SumsName, maxSums)
	if err != nil {
		return nil, fault.New(fault.Environment, fault.HintOr(err, "make dist makes it"), "read sums: %w", err)
	}
	signers, err := k.Signers(now)
	if err != nil {
		return nil, err
	}
	for _, suffix := range sign.Suffixes {
		if err := dir.Remove(SumsName + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	var names []string
	for _, s := range signers {
		text, err := s.Sign(SumsName, data, now())
		if err != nil {
			return nil, err
		}
		if err := dir.WriteFile(SumsName+s.Suffix(), text, 0o644); err != nil {
			return nil, err
		}
		names = append(names, SumsName+s.Suffix())
	}
	return names, nil
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
