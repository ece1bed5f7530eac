package installer

import (
	"strings"
	"testing"

	"modwsgi/detect"
	"modwsgi/internal/pydist"
	"modwsgi/internal/receipt"
	"modwsgi/internal/recipe"
)

// TestWhereTheHTTPDComesFrom covers what can be installed and what can be requested.
func TestWhereTheHTTPDComesFrom(t *testing.T) {
	newest := recipe.Catalogue().Of("httpd")[0].Version
	system := &detect.HTTPD{Provenance: detect.System, Version: "2.4.57"}
	named := &detect.HTTPD{Provenance: detect.Explicit, Version: "2.4.57"}
	bundled := func(version string) *detect.HTTPD {
		return &detect.HTTPD{Provenance: detect.Bundled, Version: version}
	}
	tls := presentHTTPD{record: &httpdReceipt{Features: []string{"tls"}}}
	own := presentHTTPD{record: &httpdReceipt{Features: []string{"tls"}, Components: []componentRecord{{Name: "openssl"}}}}
	none := &recipe.Lock{}
	for name, c := range map[string]struct {
		wish    Wish
		chosen  *detect.HTTPD
		present presentHTTPD
		lock    *recipe.Lock
		action  string
		why     string // in the last reason
		older   string
	}{
		"none":                          {Wish{HTTPD: "auto"}, nil, presentHTTPD{}, none, BuildHTTPD, "neither the environment", ""},
		"none, and a bundled one asked": {Wish{HTTPD: "bundled"}, nil, presentHTTPD{}, none, BuildHTTPD, "has no httpd", ""},
		"the system's":                  {Wish{HTTPD: "auto"}, system, presentHTTPD{}, none, UseHTTPD, "", ""},
		"the system's does not do":      {Wish{HTTPD: "auto", With: []string{"tls"}}, system, presentHTTPD{}, none, BuildHTTPD, "neither the environment", ""},
		"the system's, asked for":       {Wish{HTTPD: "system", With: []string{"tls"}}, system, presentHTTPD{}, none, UseHTTPD, "", ""},
		"named":                         {Wish{HTTPD: "/x"}, named, presentHTTPD{}, none, UseHTTPD, "", ""},
		"its own":                       {Wish{HTTPD: "auto"}, bundled(newest), tls, none, KeepHTTPD, "", ""},
		"its own, with what is asked":   {Wish{With: []string{"tls"}}, bundled(newest), tls, none, KeepHTTPD, "", ""},
		"its own, without":              {Wish{With: []string{"http2"}}, bundled(newest), tls, none, BuildHTTPD, "lacks http2", ""},
		"its own, with too much":        {Wish{Without: []string{"tls"}}, bundled(newest), tls, none, BuildHTTPD, "has tls", ""},
		"its own, of another version":   {Wish{HTTPDVersion: "2.4.71"}, bundled("2.4.68"), tls, none, BuildHTTPD, "2.4.68 is installed", ""},
		"its own, not as locked":        {Wish{Locked: true}, bundled("2.4.1"), tls, locked(t, "httpd", newest), BuildHTTPD, "is locked", ""},
		"its own, damaged":              {Wish{}, bundled(newest), presentHTTPD{tls.record, "bin/httpd"}, none, BuildHTTPD, "bin/httpd", ""},
		"its own, not recorded":         {Wish{With: []string{"tls"}}, bundled(newest), presentHTTPD{}, none, BuildHTTPD, "not recorded", ""},
		"its own, made again":           {Wish{Reinstall: true}, bundled(newest), tls, none, BuildHTTPD, "--reinstall", ""},
		"the system's, from source":     {Wish{HTTPD: "auto", Libraries: "bundled"}, system, presentHTTPD{}, none, BuildHTTPD, "neither the environment", ""},
		"the system's, host libraries":  {Wish{HTTPD: "auto", Libraries: "host"}, system, presentHTTPD{}, none, UseHTTPD, "", ""},
		"its own, with host libraries":  {Wish{Libraries: "bundled"}, bundled(newest), tls, none, BuildHTTPD, "uses openssl of the host", ""},
		"its own, from source":          {Wish{Libraries: "bundled"}, bundled(newest), own, none, KeepHTTPD, "", ""},
		"its own, not from the host":    {Wish{Libraries: "host"}, bundled(newest), own, none, BuildHTTPD, "contains its own openssl", ""},
		"its own, from the host":        {Wish{Libraries: "host"}, bundled(newest), tls, none, KeepHTTPD, "", ""},
		"its own, from anywhere":        {Wish{Libraries: "auto"}, bundled(newest), own, none, KeepHTTPD, "", ""},
		"its own, libraries unknown":    {Wish{Libraries: "bundled"}, bundled(newest), presentHTTPD{}, none, BuildHTTPD, "not recorded", ""},
		"its own, the newest":           {Wish{Upgrade: true}, bundled(newest), tls, none, KeepHTTPD, "", ""},
		"its own, an older one":         {Wish{Upgrade: true}, bundled("2.4.1"), tls, none, BuildHTTPD, "newest known", "2.4.1"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := decideHTTPD(c.wish, c.chosen, nil, c.present, c.lock)
			if err != nil || d.action != c.action || d.older != c.older || (d.use != nil) != (c.action != BuildHTTPD) {
				t.Fatalf("%+v, %v", d, err)
			}
			if last := strings.Join(d.reasons, "\n"); !strings.Contains(last, c.why) || (last == "") != (c.why == "") {
				t.Errorf("reasons %q, want %q", last, c.why)
			}
		})
	}
	if _, err := decideHTTPD(Wish{HTTPD: "system", HTTPDVersion: "2.4.71"}, system, nil, presentHTTPD{}, none); err == nil {
		t.Error("a system's httpd of another version is used")
	}
}

// TestWhyTheModuleIsBuilt covers the reasons, in their order.
func TestWhyTheModuleIsBuilt(t *testing.T) {
	r := &receipt.Receipt{Module: receipt.Module{Version: "5.0.2"}, Python: receipt.Python{Version: "3.11.7", Soname: "x"}}
	good := presentModule{there: true, ours: true, receipt: r, today: receipt.Today{Python: receipt.Python{Version: "3.11.7"}}}
	stale, damaged, theirs := good, good, good
	stale.today.Python.Version = "3.12.1"
	damaged.damaged = "mod_wsgi/x.py"
	theirs.ours = false
	newer := []Choice{{Version: "6.0.5"}}
	for name, c := range map[string]struct {
		wish     Wish
		module   presentModule
		newHTTPD bool
		launcher bool
		why      string // "" for a module that is kept
		older    string
	}{
		"none":                 {Wish{}, presentModule{}, false, false, "not installed", ""},
		"another tool's":       {Wish{}, theirs, false, false, "not built by modwsgi", ""},
		"as it should be":      {Wish{}, good, false, false, "", ""},
		"made again":           {Wish{Reinstall: true}, good, false, false, "--reinstall", ""},
		"damaged":              {Wish{}, damaged, false, false, "mod_wsgi/x.py", ""},
		"for a new httpd":      {Wish{}, good, true, false, "the new httpd", "5.0.2"},
		"stale":                {Wish{}, stale, false, false, "built for Python 3.11.7", ""},
		"another version":      {Wish{ModWSGIVersion: "~> 6.0"}, good, false, false, "is wanted", ""},
		"not as locked":        {Wish{Locked: true}, good, false, false, "is locked", ""},
		"with a new launcher":  {Wish{}, good, false, true, "launcher", ""},
		"newer ones are known": {Wish{Upgrade: true}, good, false, false, "newest known", "5.0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			lock := locked(t, "mod_wsgi", "6.0.5")
			why, older, err := whyModule(c.wish, c.module, c.newHTTPD, newer, lock, func() (bool, error) { return c.launcher, nil })
			if err != nil || !strings.Contains(why, c.why) || (why == "") != (c.why == "") || older != c.older {
				t.Errorf("%q, %q, %v", why, older, err)
			}
		})
	}
}

// TestUpgradeThatFoundNothing: a plan ends early only if a newer version was its only
// reason.
func TestUpgradeThatFoundNothing(t *testing.T) {
	plan := func(change func(*Plan)) *Plan {
		p := &Plan{Wish: Wish{Upgrade: true}, Reasons: []string{"build httpd", "build mod_wsgi"}, Older: map[string]string{"httpd": "2.4.68", "mod_wsgi": "5.0.2"}}
		change(p)
		return p
	}
	same := map[string]string{"httpd": "2.4.68", "mod_wsgi": "5.0.2", "apr": "1"}
	for name, c := range map[string]struct {
		p        *Plan
		versions map[string]string
		want     bool
	}{
		"the same":         {plan(func(*Plan) {}), same, true},
		"a newer module":   {plan(func(*Plan) {}), map[string]string{"httpd": "2.4.68", "mod_wsgi": "6.0.5"}, false},
		"another reason":   {plan(func(p *Plan) { p.Reasons = append(p.Reasons, "remove mod_wsgi") }), same, false},
		"made again":       {plan(func(p *Plan) { p.Wish.Reinstall = true }), same, false},
		"no upgrade asked": {plan(func(p *Plan) { p.Wish.Upgrade = false }), same, false},
	} {
		if got := nothingNewer(c.p, c.versions); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestNamedBefore: only a module that modwsgi installed repeats its httpd.
func TestNamedBefore(t *testing.T) {
	r := &receipt.Receipt{HTTPD: receipt.HTTPD{Provenance: "explicit", Executable: "/opt/httpd"}}
	for installer, want := range map[string]string{installerName: "/opt/httpd", "pip": ""} {
		s := &state{module: &pydist.Installed{Installer: installer}, receipt: r}
		if got := namedBefore(Wish{HTTPD: "auto"}, s, nil); got != want {
			t.Errorf("%s: %q", installer, got)
		}
	}
}
