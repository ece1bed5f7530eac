package detect

import (
	"os"
	"path/filepath"
	"testing"
)

func TestEarlierSites(t *testing.T) {
	for name, tt := range map[string]struct {
		base  string   // of the prefix; "" is an environment's
		files []string // directories end in a slash
		want  int
	}{
		"an environment":                   {"/usr", []string{"lib/python3.11/site-packages/", "bin/python3.11"}, 1},
		"free-threaded beside the other":   {"/usr", []string{"lib/python3.12t/site-packages/"}, 1},
		"no directory of packages":         {"/usr", []string{"lib/python3.11/", "lib/python3/site-packages/", "lib/python3.10x/site-packages/"}, 0},
		"two Pythons in /usr/local":        {"", []string{"lib/python3.11/site-packages/"}, 0},
		"conda after an upgrade":           {"", []string{"conda-meta/", "lib/python3.11/site-packages/"}, 1},
		"conda with the other interpreter": {"", []string{"conda-meta/", "lib/python3.11/site-packages/", "bin/python3.11"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range append(tt.files, "lib/python3.12/site-packages/") {
				path := filepath.Join(dir, f)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if f[len(f)-1] == '/' {
					if err := os.MkdirAll(path, 0o755); err != nil {
						t.Fatal(err)
					}
				} else if err := os.WriteFile(path, nil, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			p := &Python{Prefix: dir, BasePrefix: tt.base, Platlib: filepath.Join(dir, "lib/python3.12/site-packages"), Scripts: filepath.Join(dir, "bin")}
			if tt.base == "" {
				p.BasePrefix = dir
			}
			if sites := p.EarlierSites(); len(sites) != tt.want {
				t.Errorf("%v, want %d", sites, tt.want)
			}
		})
	}
	if got := VersionOfSite("/e/lib/python3.13t/site-packages"); got != "3.13t" {
		t.Errorf("version %q", got)
	}
}
