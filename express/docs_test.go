package express

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the option table in docs/express.md anew")

const (
	docsPath  = "../docs/express.md"
	docsBegin = "<!-- options: written by go test ./express -update -->\n"
	docsEnd   = "<!-- end of options -->\n"
)

// TestDocsHaveTheOptionTable keeps the page and the table of options together.
func TestDocsHaveTheOptionTable(t *testing.T) {
	data, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), docsBegin)
	_, after, ok2 := strings.Cut(rest, docsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", docsPath)
	}
	want := before + docsBegin + optionTable() + docsEnd + after
	if string(data) == want {
		return
	}
	if !*update {
		t.Fatalf("the options in %s are not those of the table: go test ./express -update", docsPath)
	}
	if err := os.WriteFile(docsPath, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// optionTable is one Markdown table for each group of help.
func optionTable() string {
	var b strings.Builder
	group := ""
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, o := range Options() {
		if o.Hidden && o.Gone == "" {
			continue
		}
		if o.Group != group {
			group = o.Group
			fmt.Fprintf(&b, "\n### %s\n\n| option | default | mod_wsgi | meaning |\n| --- | --- | --- | --- |\n", group)
		}
		name := "`--" + o.Name
		if o.Meta != "" && o.Values > 0 {
			name += " " + o.Meta
		}
		name += "`"
		for _, alias := range o.Aliases {
			name += ", `--" + alias + "`"
		}
		def := o.Default
		if o.Shown != "" {
			def = o.Shown
		}
		if o.Repeatable {
			name += " (repeatable)"
		}
		help := o.Help
		switch {
		case o.Gone != "":
			help = "*Gone:* " + o.Gone
		case !o.Available():
			help += " *Not in this release: refused.*"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell.Replace(name), cell.Replace(def), o.Since, cell.Replace(help))
	}
	return b.String() + "\n"
}
