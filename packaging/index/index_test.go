package index

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"modwsgi/packaging"
)

func TestWrite(t *testing.T) {
	artifacts := []packaging.Artifact{
		{Name: "mod_wsgi-5.0.2+a-cp311-cp311-linux_x86_64.whl", Kind: "wheel", Project: "mod_wsgi", Version: "5.0.2+a", SHA256: "aa", Size: 7, Requires: "==3.11.*"},
		{Name: "mod_wsgi-5.0.2-cp310-cp310-linux_x86_64.whl", Kind: "wheel", Project: "Mod.WSGI", Version: "5.0.2", SHA256: "bb", Requires: ">=3.8,<\"4\""},
		{Name: "x.deb", Kind: "deb", Project: "x"},
	}
	pages, err := Write(artifacts, func(name string) string {
		if strings.Contains(name, "cp310") {
			return "cc"
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) != 4 {
		t.Errorf("%d pages", len(pages))
	}
	html := string(pages["mod-wsgi/index.html"])
	for _, want := range []string{
		`<a href="../../mod_wsgi-5.0.2%2Ba-cp311-cp311-linux_x86_64.whl#sha256=aa" data-requires-python="==3.11.*">`,
		`#sha256=bb" data-requires-python="&gt;=3.8,&lt;&#34;4&#34;" data-core-metadata="sha256=cc" data-dist-info-metadata="sha256=cc">`,
		`<meta name="pypi:repository-version" content="1.1">`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("lacks %s:\n%s", want, html)
		}
	}
	var p page
	if err := json.Unmarshal(pages["mod-wsgi/index.json"], &p); err != nil {
		t.Fatal(err)
	}
	if p.Name != "mod-wsgi" || !slices.Equal(p.Versions, []string{"5.0.2", "5.0.2+a"}) || len(p.Files) != 2 || p.Files[0].Size != 7 || p.Files[1].CoreMetadata == nil {
		t.Errorf("page %+v", p)
	}
	if !strings.Contains(string(pages["index.html"]), `<a href="mod-wsgi/">mod-wsgi</a>`) || strings.Contains(string(pages["index.html"]), "deb") {
		t.Errorf("root %s", pages["index.html"])
	}
	if none, err := Write(artifacts[2:], func(string) string { return "" }); err != nil || len(none) != 0 {
		t.Errorf("without wheels: %v, %v", none, err)
	}
}
