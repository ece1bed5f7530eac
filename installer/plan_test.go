package installer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modwsgi/detect"
	"modwsgi/internal/fault"
	"modwsgi/internal/receipt"
	"modwsgi/internal/recipe"
)

func TestChoices(t *testing.T) {
	var known []string
	for _, a := range recipe.Catalogue().Of("httpd") {
		known = append(known, a.Version)
	}
	newestFirst := strings.Join(known, " ")
	oldest := known[len(known)-1]
	if len(known) < 2 {
		t.Fatal("the catalogue has one httpd only")
	}
	for _, tt := range []struct {
		name, constraint string
		lock             *recipe.Lock
		locked           bool
		want             string
	}{
		{"the newest first", "", &recipe.Lock{}, false, newestFirst},
		{"the locked one first", "", locked(t, "httpd", oldest), false, oldest + " " + strings.Join(known[:len(known)-1], " ")},
		{"locked and nothing else", "", locked(t, "httpd", oldest), true, oldest},
		{"a constraint", "< " + known[0], &recipe.Lock{}, false, strings.Join(known[1:], " ")},
		{"the lock is against the constraint", known[0], locked(t, "httpd", oldest), false, known[0]},
		{"exactly one of the catalogue", "= " + known[0], &recipe.Lock{}, false, known[0]},
		{"exactly one that it does not have", "2.4.9999", &recipe.Lock{}, false, "2.4.9999"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := choices("httpd", tt.constraint, tt.lock, tt.locked)
			if err != nil || versions(got) != tt.want {
				t.Errorf("%q, %v, want %q", versions(got), err, tt.want)
			}
			for _, c := range got {
				if c.Unpinned != (c.Version == "2.4.9999") {
					t.Errorf("%s: unpinned %v", c.Version, c.Unpinned)
				}
			}
		})
	}
	for _, tt := range []struct {
		constraint string
		lock       *recipe.Lock
		locked     bool
		word       string
	}{
		{"not a version", &recipe.Lock{}, false, "not a version"},
		{"not a version", locked(t, "httpd", oldest), false, "not a version"},
		{"> 99", &recipe.Lock{}, false, known[0]},
		{"", &recipe.Lock{}, true, "no entry for httpd"},
		{known[0], locked(t, "httpd", oldest), true, "is locked"},
	} {
		_, err := choices("httpd", tt.constraint, tt.lock, tt.locked)
		wantFault(t, err, fault.Usage, tt.word)
	}
}

func TestUpgradeDoesNotPreferTheLocked(t *testing.T) {
	known := recipe.Catalogue().Of("httpd")
	lock := locked(t, "httpd", known[len(known)-1].Version)
	p := &Plan{request: Request{Upgrade: true}}
	got, err := p.choices("httpd", "", lock)
	if err != nil || got[0].Version != known[0].Version {
		t.Errorf("%v, %v", versions(got), err)
	}
}

func TestJudge(t *testing.T) {
	all := []Choice{{Version: "2.4.71"}, {Version: "2.4.68"}}
	features := []string{"http2", "tls"}

	byDefault := judge(all, features, Request{})
	if c := byDefault[1]; c.Refused != "" || slices.Contains(c.Features, "http2") || !slices.Contains(c.Features, "tls") || len(c.Advisories) == 0 || !strings.Contains(c.Advisories[0], "built without http2") {
		t.Errorf("a feature that nobody asked for is not taken away: %+v", c)
	}
	if c := byDefault[0]; c.Refused != "" || len(c.Advisories) > 0 || !slices.Contains(c.Features, "http2") {
		t.Errorf("a version without advisory: %+v", c)
	}
	asked := judge(all, features, Request{With: []string{"http2"}})
	if c := asked[1]; !strings.Contains(c.Refused, "CVE-") || asked[0].Refused != "" {
		t.Errorf("a feature that was asked for is not refused: %+v", asked)
	}
	allowed := judge(all, features, Request{With: []string{"http2"}, AllowVulnerable: true})
	if c := allowed[1]; c.Refused != "" || len(c.Advisories) == 0 || !slices.Contains(c.Features, "http2") {
		t.Errorf("--allow-vulnerable: %+v", c)
	}
	if len(all[1].Features)+len(features) != 2 {
		t.Error("judge changes what it was given")
	}
	wantFault(t, refusal(asked[1:]), fault.Source, "2.4.68", "CVE-", "--allow-vulnerable")
}

func TestModuleChoicesAdmitThePython(t *testing.T) {
	p := &Plan{Python: &detect.Python{Version: "2.7.18"}, request: Request{ModWSGIVersion: ">= 5"}}
	_, err := p.moduleChoices(&recipe.Lock{})
	wantFault(t, err, fault.Environment, "2.7.18", "needs Python")
	p.Python.Version = "3.11.2"
	got, err := p.moduleChoices(&recipe.Lock{})
	if err != nil || len(got) == 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// A Python that no module can be built for is refused before anything is tried.
func TestAPythonThatCannotBeBuiltFor(t *testing.T) {
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
			p := &Plan{Python: &py, request: request(t)}
			p.request.Env = []string{"PATH=/nowhere"}
			wantFault(t, p.probe(t.Context()), fault.Environment, tt.words...)
			if p.tools != nil {
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

// TestPlanIsStable holds the names of the JSON that --dry-run --json prints.
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
			write(t, site, dist)
			write(t, site, map[string]string{"mod_wsgi/server/build.json": text, "mod_wsgi_packages/httpd/build.json": text})
			s, err := readState(site)
			if err != nil || s.module == nil || s.httpd == nil || s.receipt != nil {
				t.Fatalf("%+v, %v", s, err)
			}
			if _, err := listSite(site); err != nil {
				t.Error(err)
			}
			p := &Plan{Python: &detect.Python{}, state: s}
			if why, err := p.whyModule(&recipe.Lock{}); why == "" || err != nil {
				t.Errorf("it would be kept: %v", err)
			}
			_, err = installedSubject(site, &detect.Python{Prefix: "/a b"})
			wantFault(t, err, fault.Environment, "damaged", "modwsgi install --python '/a b'")
		})
	}
}

func TestLeftovers(t *testing.T) {
	site := filepath.Join(t.TempDir(), "odd [*?] dir")
	write(t, site, map[string]string{"package/": ""})
	if leftovers(site) {
		t.Error("there are none")
	}
	write(t, site, map[string]string{".modwsgi-x/journal": ""})
	if !leftovers(site) {
		t.Error("there is one")
	}
}

// TestThePresentReceiptNamesTheHTTPD: a plain install keeps an httpd that was
// named by its path before.
func TestThePresentReceiptNamesTheHTTPD(t *testing.T) {
	site := t.TempDir()
	gone := filepath.Join(t.TempDir(), "httpd")
	r := receipt.Receipt{HTTPD: receipt.HTTPD{Provenance: "explicit", Executable: gone}}
	write(t, site, map[string]string{
		"mod_wsgi-5.0.2.dist-info/METADATA":  "Name: mod_wsgi\nVersion: 5.0.2\n",
		"mod_wsgi-5.0.2.dist-info/INSTALLER": "modwsgi\n",
		"mod_wsgi/server/build.json":         string(r.Encode()),
	})
	s, err := readState(site)
	if err != nil || s.receipt == nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		request Request
		named   []detect.HTTPD
		asked   bool
	}{
		{"plain", Request{HTTPD: "auto"}, nil, true},
		{"another choice", Request{HTTPD: "bundled"}, nil, false},
		{"a version", Request{HTTPD: "auto", HTTPDVersion: "2.4.71"}, nil, false},
		{"a feature", Request{HTTPD: "auto", With: []string{"tls"}}, nil, false},
		{"named in the environment", Request{HTTPD: "auto"}, []detect.HTTPD{{Provenance: detect.Explicit}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Plan{Python: &detect.Python{Platlib: site, Purelib: site}, state: s, request: tt.request}
			h, err := p.keepsChosen(t.Context(), detect.Request{HTTPD: "auto", Dir: "/"}, tt.named)
			if h != nil || err != nil {
				t.Fatalf("%+v, %v", h, err)
			}
			if said := len(p.Reasons) > 0 && strings.Contains(p.Reasons[0], gone); said != tt.asked {
				t.Errorf("reasons %q", p.Reasons)
			}
		})
	}
	if _, err := os.Stat(gone); err == nil {
		t.Error("the test is not about a missing httpd")
	}
}
