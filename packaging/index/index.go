// Package index writes a simple package index, in HTML and in JSON (PEP 503, 629, 658,
// 691, 700), as static files that any web server can serve; pip uses it through
// --index-url. It knows only the artifacts' records.
package index

import (
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"slices"
	"sort"
	"strings"

	"modwsgi/internal/pydist"
	"modwsgi/packaging"
)

// Dir is the directory of the index below that of the artifacts.
const Dir = packaging.PagesDir

// ContentType is the media type of the JSON files, for a server that honours the
// request's Accept header (PEP 691).
const ContentType = "application/vnd.pypi.simple.v1+json"

// File is one file of a project.
type File struct {
	Filename       string            `json:"filename"`
	URL            string            `json:"url"` // relative to the page
	Hashes         map[string]string `json:"hashes"`
	RequiresPython string            `json:"requires-python,omitempty"`
	Size           int64             `json:"size"`
	CoreMetadata   any               `json:"core-metadata,omitempty"` // hashes of FILENAME.metadata, next to the file
	DistInfo       any               `json:"dist-info-metadata,omitempty"`
	Yanked         bool              `json:"yanked"`
}

type meta struct {
	APIVersion string `json:"api-version"`
}

type page struct {
	Meta     meta     `json:"meta"`
	Name     string   `json:"name"`
	Versions []string `json:"versions"`
	Files    []File   `json:"files"`
}

type projects struct {
	Meta     meta      `json:"meta"`
	Projects []project `json:"projects"`
}

type project struct {
	Name string `json:"name"`
}

const apiVersion = "1.1"

// Write writes the pages for the wheels and source distributions among all artifacts;
// metadata returns the digest of FILENAME.metadata, "" if it does not exist. Files are
// the pages by their names below Dir.
func Write(artifacts []packaging.Artifact, metadata func(name string) string) (map[string][]byte, error) {
	pages := map[string]*page{}
	for _, a := range artifacts {
		if a.Kind != "wheel" && a.Kind != "sdist" {
			continue
		}
		name := pydist.NormalName(a.Project)
		p := pages[name]
		if p == nil {
			p = &page{Meta: meta{apiVersion}, Name: name}
			pages[name] = p
		}
		f := File{Filename: a.Name, URL: "../../" + escape(a.Name), Hashes: map[string]string{"sha256": a.SHA256}, RequiresPython: a.Requires, Size: a.Size}
		if sum := metadata(a.Name); sum != "" {
			f.CoreMetadata = map[string]string{"sha256": sum}
			f.DistInfo = f.CoreMetadata // the original name in PEP 658
		}
		p.Files = append(p.Files, f)
		if !slices.Contains(p.Versions, a.Version) {
			p.Versions = append(p.Versions, a.Version)
		}
	}
	out := map[string][]byte{}
	all := projects{Meta: meta{apiVersion}}
	var links strings.Builder
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		p := pages[name]
		slices.Sort(p.Versions)
		sort.SliceStable(p.Files, func(i, j int) bool { return p.Files[i].Filename < p.Files[j].Filename })
		all.Projects = append(all.Projects, project{name})
		fmt.Fprintf(&links, "<a href=\"%s/\">%s</a><br>\n", html.EscapeString(name), html.EscapeString(name))
		if err := p.add(out); err != nil {
			return nil, err
		}
	}
	if len(pages) == 0 {
		return out, nil
	}
	out["index.html"] = document("Simple index", links.String())
	data, err := marshal(all)
	out["index.json"] = data
	return out, err
}

// escape escapes a name as part of a URL. "+" would be allowed in a path, but stores
// with an S3-like interface treat it as a blank.
func escape(name string) string { return strings.ReplaceAll(url.PathEscape(name), "+", "%2B") }

// add writes the two formats of a project's page.
func (p *page) add(out map[string][]byte) error {
	var links strings.Builder
	for _, f := range p.Files {
		fmt.Fprintf(&links, "<a href=\"%s#sha256=%s\"", html.EscapeString(f.URL), f.Hashes["sha256"])
		if f.RequiresPython != "" {
			fmt.Fprintf(&links, " data-requires-python=\"%s\"", html.EscapeString(f.RequiresPython))
		}
		if sums, ok := f.CoreMetadata.(map[string]string); ok {
			for _, attribute := range []string{"data-core-metadata", "data-dist-info-metadata"} {
				fmt.Fprintf(&links, " %s=\"sha256=%s\"", attribute, sums["sha256"])
			}
		}
		fmt.Fprintf(&links, ">%s</a><br>\n", html.EscapeString(f.Filename))
	}
	out[p.Name+"/index.html"] = document("Links for "+p.Name, links.String())
	data, err := marshal(p)
	out[p.Name+"/index.json"] = data
	return err
}

func document(title, body string) []byte {
	return []byte("<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"pypi:repository-version\" content=\"" + apiVersion +
		"\">\n<title>" + html.EscapeString(title) + "</title>\n</head>\n<body>\n<h1>" + html.EscapeString(title) + "</h1>\n" + body + "</body>\n</html>\n")
}

func marshal(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return append(data, '\n'), err
}
