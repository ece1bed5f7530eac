// Package toolrelease makes what accompanies a release of our own programs: the
// licences of the Go modules inside, the wheels, the bootstrap script with its hashes,
// and the inspection of finished binaries. It reads the output of the release tool
// (.goreleaser.yaml); it builds nothing and publishes nothing. packaging/release
// decides how a release is described and signed: see [Finish].
package toolrelease

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"modwsgi/internal/atomicfile"
	"modwsgi/internal/fault"
	"modwsgi/internal/platform"
	"modwsgi/internal/run"
)

// Programs are the programs of a release, in display order.
var Programs = platform.System("linux").Programs()

// Platform is an operating system and an architecture, as Go names them.
type Platform struct{ OS, Arch string }

func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Programs are those of the release that are of use on the platform, in display order.
func (p Platform) Programs() []string { return platform.System(p.OS).Programs() }

// Platforms are the platforms of our releases.
var Platforms = []Platform{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "arm64"},
}

// Module is a Go module that is linked into a program, or Go itself.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	License string `json:"license"` // SPDX expression; "" if its text is unknown
}

const (
	// NoticesName is the file with the licences' texts.
	NoticesName = "THIRD-PARTY-LICENSES.txt"
	// ModulesName is the list of modules for Sbom.
	ModulesName = "modules.json"
	// CopyrightName is the file of the same licences for a package of Debian.
	CopyrightName = "copyright"
)

// Notices finds every Go module that the programs are linked from, on any platform,
// and writes the texts of their licences and a list for Sbom into dir. It runs the go
// command in root, the module's directory. A module without a licence is an error, as
// it must not be redistributed.
func Notices(ctx context.Context, root, dir string, env []string) error {
	dirs := map[Module]string{}
	for _, system := range []string{"linux", "darwin", "windows"} {
		if err := linked(ctx, root, append(slices.Clone(env), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0"), dirs); err != nil {
			return err
		}
	}
	all := make([]Module, 0, len(dirs))
	for m := range dirs {
		all = append(all, m)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Path < all[j].Path })
	var text, debian bytes.Buffer
	const linkedFrom = "The programs modwsgi, mod_wsgi-express and mod_wsgi-apxs are linked from these Go modules.\n"
	text.WriteString(linkedFrom)
	debian.WriteString("modwsgi is licensed under the Apache License, Version 2.0. " + onDebian + "\n\n" + linkedFrom)
	for i, m := range all {
		texts, err := licences(dirs[m])
		if err != nil {
			return fmt.Errorf("read the licence of %s: %w", m.Path, err)
		}
		if len(texts) == 0 {
			return fault.New(fault.Build, "replace that module", "%s %s has no licence", m.Path, m.Version)
		}
		all[i].License = classify(texts)
		for _, b := range []*bytes.Buffer{&text, &debian} {
			fmt.Fprintf(b, "\n%s\n%s %s\n%[1]s\n", strings.Repeat("=", 78), m.Path, m.Version)
		}
		for _, t := range texts {
			t = strings.TrimSpace(strings.ReplaceAll(t, "\r\n", "\n"))
			text.WriteString("\n" + t + "\n")
			debian.WriteString("\n" + withoutApache(t) + "\n")
		}
	}
	list, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, NoticesName), text.Bytes(), 0o644); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, CopyrightName), debian.Bytes(), 0o644); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, ModulesName), append(list, '\n'), 0o644)
}

// onDebian is what a copyright file has instead of the Apache License (Debian policy,
// 12.5).
const onDebian = "Debian has its text in /usr/share/common-licenses/Apache-2.0."

// apacheText is the licence itself, without the notes around it. Some copies lack the
// last line.
var apacheText = regexp.MustCompile(`(?s)[ \t]*Apache License\s+Version 2\.0, January 2004.*?accepting any such warranty or additional liability\.(\s+END OF TERMS AND CONDITIONS)?`)

// withoutApache replaces the Apache License within a text by a reference to it.
func withoutApache(text string) string {
	return apacheText.ReplaceAllLiteralString(text, "Apache License, Version 2.0. "+onDebian)
}

// linked adds the modules of the programs on one system, with their directories.
func linked(ctx context.Context, root string, env []string, into map[Module]string) error {
	argv := []string{"go", "list", "-deps", "-json=Module,Standard"}
	for _, p := range Programs {
		argv = append(argv, "./cmd/"+p)
	}
	var runner run.Runner
	out, err := runner.Output(ctx, run.Cmd{Argv: argv, Dir: root, Env: env})
	if err != nil {
		return fmt.Errorf("list modules: %w", err)
	}
	goEnv, err := runner.Output(ctx, run.Cmd{Argv: []string{"go", "env", "GOROOT", "GOVERSION"}, Dir: root, Env: env})
	if err != nil {
		return fmt.Errorf("find Go's directory: %w", err)
	}
	goroot, goversion, _ := strings.Cut(strings.TrimSpace(string(goEnv)), "\n")
	into[Module{Path: "stdlib", Version: strings.TrimPrefix(goversion, "go")}] = goroot
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Module *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *struct{ Path, Version, Dir string }
			}
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("list modules: %w", err)
		}
		if p.Module == nil || p.Module.Main {
			continue
		}
		m, dir := Module{Path: p.Module.Path, Version: p.Module.Version}, p.Module.Dir
		if r := p.Module.Replace; r != nil {
			dir = r.Dir
		}
		into[m] = dir
	}
}

var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|unlicense)([-.].*)?$`)

// licences returns the texts of the licences in a directory.
func licences(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, e := range entries {
		if !e.Type().IsRegular() || !licenceName.MatchString(e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(data))
	}
	return texts, nil
}

// phrases identify licences. Their order matters, as one licence may contain another's
// phrase.
var phrases = []struct{ spdx, phrase string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License"},
	{"BSD-3-Clause", "Neither the name"},
	{"BSD-3-Clause", "may be used to endorse or promote"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
	{"ISC", "Permission to use, copy, modify, and/or distribute"},
	{"ISC", "Permission to use, copy, modify, and distribute"},
	{"MIT", "Permission is hereby granted, free of charge"},
	{"Unlicense", "This is free and unencumbered software"},
	{"CC0-1.0", "CC0 1.0 Universal"},
}

// classify identifies licences by their texts: "MIT AND BSD-3-Clause".
func classify(texts []string) string {
	var found []string
	for _, text := range texts {
		flat := strings.Join(strings.Fields(text), " ")
		flat = strings.ReplaceAll(flat, "Apache License, Version", "Apache License Version")
		seen := map[string]bool{}
		for _, p := range phrases {
			if p.spdx == "BSD-2-Clause" && seen["BSD-3-Clause"] || !strings.Contains(flat, p.phrase) || slices.Contains(found, p.spdx) {
				continue
			}
			seen[p.spdx] = true
			found = append(found, p.spdx)
		}
		if len(found) == 0 && strings.Contains(flat, "public domain") {
			found = append(found, "LicenseRef-public-domain")
		}
	}
	slices.Sort(found)
	return strings.Join(found, " AND ")
}
