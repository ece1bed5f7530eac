package debian

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"modwsgi/internal/digest"
	"modwsgi/internal/fault"
	"modwsgi/internal/recipe"
)

// maxIndex is the maximum size of a Packages file in bytes, unpacked. That of Debian's
// unstable has sixty million.
const maxIndex = 512 << 20

// readPackages reads a Packages file, whose hash is checked again on the way.
func readPackages(name, sha256 string) (map[string]*Package, error) {
	f, err := digest.OpenHere(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	sum := digest.NewReader(f)
	z, err := gzip.NewReader(bufio.NewReaderSize(sum, 256<<10))
	if err != nil {
		return nil, err
	}
	packages, err := parsePackages(io.LimitReader(z, maxIndex))
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, sum); err != nil {
		return nil, err
	}
	if got := sum.Sum(); got != sha256 {
		return nil, &digest.Changed{File: name, Want: sha256, Got: got}
	}
	return packages, nil
}

// parsePackages reads a Packages file. It has a million lines, most of which are skipped.
func parsePackages(r io.Reader) (map[string]*Package, error) {
	out := map[string]*Package{}
	p := &Package{}
	add := func() {
		if p.Name != "" && fs.ValidPath(p.File) && recipe.FileName(path.Base(p.File)) && recipe.Digest(p.SHA256) && p.Size > 0 {
			out[p.Name] = p
		}
		p = &Package{}
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 256<<10), 4<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			add()
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Package":
			p.Name = string(value)
		case "Version":
			p.Version = string(value)
		case "Architecture":
			p.Arch = string(value)
		case "Filename":
			p.File = strings.TrimPrefix(string(value), "./")
		case "SHA256":
			p.SHA256 = string(value)
		case "Size":
			p.Size, _ = strconv.ParseInt(string(value), 10, 64)
		case "Depends", "Pre-Depends":
			p.depends += string(value) + ", "
		}
	}
	add()
	return out, lines.Err()
}

// Has reports whether the suite has a package.
func (s *Suite) Has(name string) bool { return s.packages[name] != nil }

// Find returns the packages with these names. The error names all that are missing.
func (s *Suite) Find(names ...string) ([]Package, error) {
	var out []Package
	var missing []string
	for _, name := range names {
		if p := s.packages[name]; p != nil {
			out = append(out, *p)
		} else {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fault.New(fault.Source, "name another suite of Debian", "Debian's suite %s has no %s for %s", s.Name, strings.Join(missing, ", "), s.Arch)
	}
	return out, nil
}

// Closure returns the packages with these names and everything that they depend on. Of
// alternatives, it takes the first one that the suite has; it does not compare versions,
// because one suite's packages fit together.
func (s *Suite) Closure(names ...string) ([]Package, error) {
	out, err := s.Find(names...)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(out); i++ {
		for group := range strings.SplitSeq(out[i].depends, ",") {
			for choice := range strings.SplitSeq(group, "|") {
				name, _, _ := strings.Cut(strings.TrimSpace(choice), " ")
				name, _, _ = strings.Cut(name, ":")
				p := s.packages[name]
				if p == nil {
					continue
				}
				if !slices.ContainsFunc(out, func(o Package) bool { return o.Name == name }) {
					out = append(out, *p)
				}
				break
			}
		}
	}
	return out, nil
}

// Fetch returns the path of a package's file, verified.
func (a *Archive) Fetch(ctx context.Context, p Package) (string, error) {
	var urls []string
	for _, m := range a.mirrors {
		urls = append(urls, strings.TrimSuffix(m.Base, "/")+"/"+p.File)
	}
	file, err := a.fetcher.FetchIndexed(ctx, recipe.Archive{
		Component: "Debian's " + p.Name, Version: p.Version, File: path.Base(p.File), Size: p.Size, SHA256: p.SHA256, URLs: urls, Trust: recipe.Signed,
	})
	if err != nil {
		return "", fmt.Errorf("fetch package %s: %w", p.Name, err)
	}
	return file.Path, nil
}

// Depends returns what a package depends on, as the index has it; "" for an unknown
// package.
func (s *Suite) Depends(name string) string {
	if p := s.packages[name]; p != nil {
		return p.depends
	}
	return ""
}
