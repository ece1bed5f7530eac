package modwsgi_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/pages"
)

func readPages(t *testing.T) []pages.Page {
	t.Helper()
	all, err := pages.Read(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

// TestLinksOfThePages follows every link inside the repository, including the heading.
func TestLinksOfThePages(t *testing.T) {
	anchors := map[string][]string{}
	all := readPages(t)
	for _, p := range all {
		anchors[p.Name] = p.Anchors()
	}
	linked := map[string]bool{}
	for _, p := range all {
		for _, l := range p.Links() {
			if strings.Contains(l.Target, "://") || strings.HasPrefix(l.Target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(l.Target, "#")
			target := p.Name
			if file != "" {
				target = path.Join(path.Dir(p.Name), file)
			}
			if _, err := os.Stat(filepath.FromSlash(target)); err != nil {
				t.Errorf("%s:%d: link to %s, which does not exist", p.Name, l.Line, target)
				continue
			}
			if target != p.Name {
				linked[target] = true
			}
			if anchor != "" && !slices.Contains(anchors[target], anchor) {
				t.Errorf("%s:%d: %s has no heading #%s; it has %s", p.Name, l.Line, target, anchor, strings.Join(anchors[target], " "))
			}
		}
	}
	for _, p := range all {
		inIndex := strings.HasPrefix(p.Name, "docs/") && p.Name != "docs/README.md" && !strings.HasPrefix(p.Name, "docs/decisions/")
		if inIndex && !linked[p.Name] {
			t.Errorf("no page links to %s", p.Name)
		}
	}
}

var pagePath = regexp.MustCompile(`(?:^|[^\w./-])(docs/[\w./-]+\.(?:md|png|1))\b`)

// TestNamedPagesExist: the pages of docs that comments, messages, scripts and the
// release configuration name exist.
func TestNamedPagesExist(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "ls-files").Output()
	if err != nil {
		t.Skipf("list the files: %v", err)
	}
	named := 0
	for _, file := range strings.Fields(string(out)) {
		if strings.HasSuffix(file, ".png") || file == "links_test.go" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			continue // removed but not committed yet
		}
		for _, m := range pagePath.FindAllStringSubmatch(string(data), -1) {
			named++
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s names %s, which does not exist", file, m[1])
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d names were found", named)
	}
}
