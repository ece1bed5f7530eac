// Package pages reads the project's Markdown pages for tests: headings, links, code
// blocks, and the command lines in these blocks. It supports the subset of Markdown that
// the pages use. It splits words as a POSIX shell does, but expands nothing and runs
// nothing.
package pages

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Page is one Markdown file.
type Page struct {
	Name  string // path below the root, with slashes
	Lines []string
}

// Block is a fenced block of code.
type Block struct {
	Page string
	Line int    // line of its first line of code, from 1
	Lang string // first word after the fence, such as "console"
	File string // second word: the name of the file that the block contains; "" if none
	Text string
}

// Link is a link to another page, or to a heading.
type Link struct {
	Line   int
	Target string
}

// Top lists the pages in the root directory that are read besides docs/.
var Top = []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"}

// Read returns every page below docs/ and those of [Top], sorted by name.
func Read(root string) ([]Page, error) {
	names := slices.Clone(Top)
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(name, ".md") {
			rel, err := filepath.Rel(root, name)
			names = append(names, filepath.ToSlash(rel))
			return err
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []Page
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		all = append(all, Page{Name: name, Lines: strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")})
	}
	return all, nil
}

// Blocks returns the fenced code blocks.
func (p Page) Blocks() []Block {
	var all []Block
	var b *Block
	for i, line := range p.Lines {
		text := strings.TrimSpace(line)
		switch {
		case b == nil && strings.HasPrefix(text, "```"):
			words := strings.Fields(text[3:])
			b = &Block{Page: p.Name, Line: i + 2}
			if len(words) > 0 {
				b.Lang = words[0]
			}
			if len(words) > 1 {
				b.File = words[1]
			}
		case b != nil && text == "```":
			all = append(all, *b)
			b = nil
		case b != nil:
			b.Text += line + "\n"
		}
	}
	return all
}

// Prose returns the lines outside fenced blocks. Lines inside are empty, so that line
// numbers stay the same.
func (p Page) Prose() []string {
	out, inside := make([]string, len(p.Lines)), false
	for i, line := range p.Lines {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inside = !inside
			continue
		}
		if !inside {
			out[i] = line
		}
	}
	return out
}

var (
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inlineCode = regexp.MustCompile("`([^`\n]+)`")
	notAnchor  = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
)

// Links returns the links of the running text.
func (p Page) Links() []Link {
	var all []Link
	for i, line := range p.Prose() {
		line = inlineCode.ReplaceAllStringFunc(line, func(code string) string {
			if strings.Contains(code, "](") { // code that looks like a link
				return ""
			}
			return code
		})
		for _, m := range linkTarget.FindAllStringSubmatch(line, -1) {
			all = append(all, Link{i + 1, m[1]})
		}
	}
	return all
}

// Anchors returns the anchors that GitHub generates for the headings.
func (p Page) Anchors() []string {
	var all []string
	for _, line := range p.Prose() {
		marks := len(line) - len(strings.TrimLeft(line, "#"))
		if marks == 0 || marks > 6 || !strings.HasPrefix(line[marks:], " ") {
			continue
		}
		name := strings.ToLower(strings.TrimSpace(line[marks:]))
		name = strings.ReplaceAll(notAnchor.ReplaceAllString(name, ""), " ", "-")
		base, n := name, 0
		for slices.Contains(all, name) {
			n++
			name = base + "-" + string(rune('0'+n))
		}
		all = append(all, name)
	}
	return all
}

// Code returns the code spans of the running text, by line.
func (p Page) Code() []Link {
	var all []Link
	for i, line := range p.Prose() {
		for _, m := range inlineCode.FindAllStringSubmatch(line, -1) {
			all = append(all, Link{i + 1, m[1]})
		}
	}
	return all
}
