package pages

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSimple(t *testing.T) {
	for text, want := range map[string]string{
		`modwsgi install --python .venv   # a comment`:                  `[[modwsgi install --python .venv]]`,
		`CC="ccache gcc" modwsgi install --jobs 3 2>log >/dev/null`:     `[[modwsgi install --jobs 3]]`,
		`sudo -u shop .venv/bin/mod_wsgi-express stop && echo done`:     `[[.venv/bin/mod_wsgi-express stop] [echo done]]`,
		`echo "key=$(modwsgi cache key --locked)" >> "$GITHUB_OUTPUT"`:  `[[modwsgi cache key --locked] [echo key=$(modwsgi cache key --locked)]]`,
		`modwsgi list | head -3; true &`:                                `[[modwsgi list] [head -3] [true]]`,
		"modwsgi package deb \\\n  --maintainer \"Jane Doe <j@x.org>\"": `[[modwsgi package deb --maintainer Jane Doe <j@x.org>]]`,
		"cat >hello.wsgi <<'EOF'\ndef application(e, s): pass\nEOF":     `[[cat]]`,
		`modwsgi install --mod-wsgi-version '~> 5.0' --setenv 'A' ''`:   `[[modwsgi install --mod-wsgi-version ~> 5.0 --setenv A ]]`,
	} {
		if got := fmt.Sprint(Command{Text: text}.Simple()); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestPage(t *testing.T) {
	p := Page{Name: "page.md", Lines: strings.Split("# A `b`, c!\n\n[x](y.md#z) and `[q](no)` [`t`](u.md)\n\n```console\n$ one \\\n  two\noutput\n$ three\n```\n\n```python app.py\npass\n```\n## A b c", "\n")}
	if got := fmt.Sprint(p.Links()); got != "[{3 y.md#z} {3 u.md}]" {
		t.Error(got)
	}
	if got := p.Anchors(); !slices.Equal(got, []string{"a-b-c", "a-b-c-1"}) {
		t.Error(got)
	}
	b := p.Blocks()
	if len(b) != 2 || b[1].File != "app.py" || b[1].Text != "pass\n" {
		t.Fatal(b)
	}
	if got := b[0].Commands(); len(got) != 2 || got[0].Text != "one \\\n  two" || got[1].Line != 9 {
		t.Error(got)
	}
	if args, ok := Program([]string{".venv/bin/modwsgi", "list"}, "modwsgi"); !ok || len(args) != 1 {
		t.Error(args, ok)
	}
}
