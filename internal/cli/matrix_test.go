package cli

import (
	"os"
	"strings"
	"testing"

	"modwsgi/packaging/matrix"
)

// TestMatrixExample reads the example of the guide with what this program knows.
func TestMatrixExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/matrix.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```toml\n")
	example, _, found := strings.Cut(rest, "```")
	if !ok || !found {
		t.Fatal("there is no example")
	}
	var a app
	var formats []matrix.Format
	for _, f := range a.matrixFormats() {
		formats = append(formats, f.Format)
		for key := range f.Options {
			if !strings.Contains(string(text), "`"+key+"`") {
				t.Errorf("the guide lacks the option %s of %s", key, f.Name)
			}
		}
		if !strings.Contains(string(text), "`"+f.Name+"`") {
			t.Errorf("the guide lacks the format %s", f.Name)
		}
		for key := range f.Check {
			if _, ok := f.Options[key]; !ok {
				t.Errorf("%s: %s is checked and not known", f.Name, key)
			}
		}
	}
	m, err := matrix.Parse("release.toml", []byte(example), formats)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := m.Cells(formats[0].Platforms[0], formats)
	if err != nil || len(cells) != 2*5+2*2 { // for Linux, and for Windows
		t.Errorf("%d cells, %v", len(cells), err)
	}
}
