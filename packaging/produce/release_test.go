package produce

import (
	"errors"
	"os"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/packaging/matrix"
)

// TestMatrixExample reads the example of the guide with this program's formats.
func TestMatrixExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/matrix.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```toml\n")
	example, _, found := strings.Cut(rest, "```")
	if !ok || !found {
		t.Fatal("there is no example")
	}
	formats := Known("")
	for _, f := range formats {
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

// TestRepeatedCells: for Windows, httpds of the same version are one; on this machine
// they are not.
func TestRepeatedCells(t *testing.T) {
	plain, h2, old := &matrix.HTTPD{Name: "plain"}, &matrix.HTTPD{Name: "h2", With: []string{"http2"}}, &matrix.HTTPD{Name: "old", Version: "2.4.66"}
	r := &Release{}
	for _, h := range []*matrix.HTTPD{plain, h2, old} {
		for _, platform := range []string{"linux/amd64", "windows/amd64"} {
			r.cells = append(r.cells, matrix.Cell{Python: "3.11", HTTPD: h, Platform: platform, Format: "wheel"})
		}
	}
	r.dropRepeated()
	var got []string
	for _, c := range r.cells {
		got = append(got, c.HTTPD.Name+" "+c.Platform)
	}
	if want := "plain linux/amd64, plain windows/amd64, h2 linux/amd64, old linux/amd64, old windows/amd64"; strings.Join(got, ", ") != want {
		t.Errorf("%q", got)
	}
}

// TestFailureKeepsWhatWasBuilt: after the checks, a hint tells that nothing has to be
// built again, and how to publish the rest.
func TestFailureKeepsWhatWasBuilt(t *testing.T) {
	o := &Release{cells: make([]matrix.Cell, 2)}
	const rest = "what was built is in the cache, and --keep-going publishes what could be made"
	cause := fault.New(fault.Build, "install gcc", "compile failed")
	for _, c := range []struct {
		building bool
		err      error
		want     string
	}{
		{false, cause, "install gcc"},
		{true, cause, "install gcc; " + rest},
		{true, errors.New("compile failed"), rest},
	} {
		o.building = c.building
		if err := o.fail(t.Context(), "wheel for Python 3.11", c.err); fault.HintOf(err) != c.want || !strings.Contains(err.Error(), "wheel for Python 3.11: compile failed") {
			t.Errorf("%v (%s), want %s", err, fault.HintOf(err), c.want)
		}
	}
	o.cells = o.cells[:1]
	if err := o.fail(t.Context(), "wheel", cause); fault.HintOf(err) != "install gcc" {
		t.Errorf("one cell: %s", fault.HintOf(err))
	}
}
