package installer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/detect"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/recipe"
	"modwsgi/internal/testkit"
)

// A Python that no module can be built for is refused before anything is tried.
func TestUnbuildablePython(t *testing.T) {
	good := detect.Python{Version: "3.11.2", Major: 3, Minor: 11, Include: "/i", LibPython: "/l/libpython3.11.so", LibShared: true, LibPIC: true}
	for _, tt := range []struct {
		name   string
		change func(*detect.Python)
		words  []string
	}{
		{"no headers", func(p *detect.Python) { p.Include = "" }, []string{"Python.h", "headers"}},
		{"no library", func(p *detect.Python) { p.LibPython = "" }, []string{"libpython", "--enable-shared"}},
		{"static", func(p *detect.Python) { p.LibShared, p.LibPIC, p.LibPython = false, false, "/l/libpython3.11.a" }, []string{"static", "--enable-shared", "3.11.2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			py := good
			tt.change(&py)
			p, q := &Plan{Python: &py}, request(t)
			q.Env = []string{"PATH=/nowhere"}
			testkit.WantFault(t, planBuild(t.Context(), p, q.Means, &recipe.Lock{}), fault.Environment, tt.words...)
			if p.Host != nil {
				t.Error("a compiler was looked for")
			}
		})
	}
}

func TestRunPath(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "conda", "lib", "libpython3.11.so")
	for _, tt := range []struct{ library, want string }{
		{"/usr/lib/x86_64-linux-gnu/libpython3.11.so", ""},
		{"/usr/lib/libpython3.11.so", ""},
		{"/opt/python/lib/libpython3.11.so", "/opt/python/lib"},
		{inside, "$ORIGIN/../../../.."},
		{filepath.Join(dir, "conda2", "lib", "libpython3.11.so"), filepath.Join(dir, "conda2", "lib")}, // only begins like the prefix
	} {
		py := &detect.Python{Prefix: filepath.Join(dir, "conda"), LibPython: tt.library}
		if got := runPath(py, filepath.Join(dir, "conda", "lib", "python3.11", "site-packages", "mod_wsgi", "server")); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.library, got, tt.want)
		}
	}
	for path, want := range map[string]bool{
		"/lib": true, "/usr/lib64": true, "/usr/lib/aarch64-linux-gnu": true,
		"/usr/lib/python3": false, "/usr/lib/x86_64-linux-gnu/sub": false, "/usr/local/lib": false, "/usr/libx": false, "/": false,
	} {
		if systemLibDir(path) != want {
			t.Errorf("systemLibDir(%s) = %v", path, !want)
		}
	}
}

// TestPlanIsStable pins the names in the JSON of --dry-run --json.
func TestPlanIsStable(t *testing.T) {
	p := &Plan{Python: &detect.Python{}, HTTPD: HTTPDPlan{Action: BuildHTTPD, Versions: []Choice{{Version: "1", Unpinned: true, Features: []string{"tls"}, Advisories: []string{"a"}, Refused: "r"}}, Features: []string{"tls"}}, Module: ModulePlan{Action: "build"}, Reasons: []string{"why"}}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "python")
	got, _ := json.Marshal(m)
	want := `{"httpd":{"action":"build","features":["tls"],"versions":[{"advisories":["a"],"features":["tls"],"refused":"r","unpinned":true,"version":"1"}]},"module":{"action":"build"},"nothing_to_do":false,"reasons":["why"],"site_packages":""}`
	if string(got) != want {
		t.Errorf("%s", got)
	}
}

func TestStateOfDamagedRecords(t *testing.T) {
	dist := map[string]string{
		"mod_wsgi-5.0.2.dist-info/METADATA":        "Metadata-Version: 2.1\nName: mod_wsgi\nVersion: 5.0.2\n",
		"mod_wsgi-5.0.2.dist-info/INSTALLER":       "modwsgi\n",
		"mod_wsgi-5.0.2.dist-info/RECORD":          "mod_wsgi/server/build.json,,\n",
		"mod_wsgi_httpd-2.4.68.dist-info/METADATA": "Metadata-Version: 2.1\nName: mod_wsgi-httpd\nVersion: 2.4.68\n",
		"mod_wsgi_httpd-2.4.68.dist-info/RECORD":   "mod_wsgi_packages/httpd/build.json,,\n",
	}
	for name, text := range map[string]string{
		"empty": "", "half": `{"schema": 1, "mod`, "another type": `[1, 2]`, "null": `null`, "wrong kinds": `{"schema": "1", "httpd": 3}`, "newer": `{"schema": 99}`, "binary": "\x00\xff\x00",
	} {
		t.Run(name, func(t *testing.T) {
			site := t.TempDir()
			testkit.Write(t, site, dist)
			testkit.Write(t, site, map[string]string{"mod_wsgi/server/build.json": text, "mod_wsgi_packages/httpd/build.json": text})
			s, err := readState(site)
			if err != nil || s.module == nil || s.httpd == nil || s.receipt != nil {
				t.Fatalf("%+v, %v", s, err)
			}
			if _, err := listSite(site); err != nil {
				t.Error(err)
			}
			p := &Plan{Python: &detect.Python{Version: "3.11.2"}}
			if err := planModule(p, s, "", &recipe.Lock{}); p.Module.Action != buildModule || err != nil {
				t.Errorf("it would be kept: %v", err)
			}
			_, err = installedSubject(site, &detect.Python{Prefix: "/a b"})
			testkit.WantFault(t, err, fault.Environment, "damaged", "modwsgi install --python '/a b'")
		})
	}
}

func TestLeftovers(t *testing.T) {
	site := filepath.Join(t.TempDir(), "odd [*?] dir")
	testkit.Write(t, site, map[string]string{"package/": ""})
	if leftovers(site) {
		t.Error("no leftovers expected")
	}
	testkit.Write(t, site, map[string]string{".modwsgi-x/journal": ""})
	if !leftovers(site) {
		t.Error("a leftover was missed")
	}
}

// TestThePresentReceiptNamesTheHTTPD: a plain install keeps an httpd that was named by
// its path before.
func TestThePresentReceiptNamesTheHTTPD(t *testing.T) {
	site := t.TempDir()
	gone := filepath.Join(t.TempDir(), "httpd")
	r := receipt.Receipt{HTTPD: receipt.HTTPD{Provenance: "explicit", Executable: gone}}
	testkit.Write(t, site, map[string]string{
		"mod_wsgi-5.0.2.dist-info/METADATA":  "Name: mod_wsgi\nVersion: 5.0.2\n",
		"mod_wsgi-5.0.2.dist-info/INSTALLER": "modwsgi\n",
		"mod_wsgi/server/build.json":         string(r.Encode()),
	})
	s, err := readState(site)
	if err != nil || s.receipt == nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		wish  Wish
		named []detect.HTTPD
		asked bool
	}{
		{"plain", Wish{HTTPD: "auto"}, nil, true},
		{"another choice", Wish{HTTPD: "bundled"}, nil, false},
		{"a version", Wish{HTTPD: "auto", HTTPDVersion: "2.4.71"}, nil, false},
		{"a feature", Wish{HTTPD: "auto", With: []string{"tls"}}, nil, false},
		{"named in the environment", Wish{HTTPD: "auto"}, []detect.HTTPD{{Provenance: detect.Explicit}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := namedBefore(tt.wish, s, tt.named)
			if (before != "") != tt.asked {
				t.Fatalf("%q", before)
			}
			if before == "" {
				return
			}
			py := &detect.Python{Platlib: site, Purelib: site}
			h, why, err := findNamed(t.Context(), nil, py, detect.Request{HTTPD: "auto", Dir: "/"}, before)
			if h != nil || err != nil {
				t.Fatalf("%+v, %v", h, err)
			}
			if !strings.Contains(why, gone) {
				t.Errorf("reason %q", why)
			}
		})
	}
	if _, err := os.Stat(gone); err == nil {
		t.Error("the test is not about a missing httpd")
	}
}
