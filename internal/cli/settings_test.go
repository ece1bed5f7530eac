package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"modwsgi/internal/fault"
	"modwsgi/internal/settingsfile"
)

// project makes a directory with files, and an app that works in it.
func project(t *testing.T, files map[string]string, env ...string) *app {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &app{Process: Process{Dir: dir, Env: env}}
}

// configured parses a command line and adds the settings of the project.
func configured(t *testing.T, a *app, c *cobra.Command, args ...string) (*projectSettings, error) {
	t.Helper()
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return a.project(c)
}

func table(text string) map[string]string {
	return map[string]string{settingsfile.ProjectFile: "[project]\nname = \"x\"\n[tool.modwsgi]\n" + text}
}

func expectFlags(t *testing.T, c *cobra.Command, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := c.Flags().Lookup(name).Value.String(); got != value {
			t.Errorf("--%s is %q, want %q", name, got, value)
		}
	}
}

func TestProjectSettings(t *testing.T) {
	a := project(t, table(`with = ["tls", "http2"]
httpd = "build/httpd"
httpd-version = "~> 2.4.68"
mod-wsgi-version = "5.0.2"
without = "brotli, xml"
libraries = "bundled"
hardening = "none"
source-dir = ["sources", "/srv/sources"]
mirror = "https://mirror.example.org"
locked = true
lock-file = "locks/modwsgi.lock"
allow-vulnerable = false
jobs = 3
build-driver = "make"
cache = "oci-layout:shared"
cache-max-age = "7d"
cache-not-before = "2026-11-28"
cache-trust = "keys/one.pem"
cache-http = true
`))
	c := a.install()
	s, err := configured(t, a, c)
	if err != nil {
		t.Fatal(err)
	}
	in := func(path string) string { return filepath.Join(a.Dir, path) }
	expectFlags(t, c, map[string]string{
		"with": "[tls,http2]", "httpd": in("build/httpd"), "httpd-version": "~> 2.4.68", "mod-wsgi-version": "5.0.2",
		"without": "[brotli,xml]", "libraries": "bundled", "hardening": "none", "source-dir": "[" + in("sources") + ",/srv/sources]",
		"mirror": "[https://mirror.example.org]", "locked": "true", "lock-file": in("locks/modwsgi.lock"), "allow-vulnerable": "false",
		"jobs": "3", "build-driver": "make", "cache": "oci-layout:" + in("shared"), "cache-max-age": "7d",
		"cache-not-before": "2026-11-28", "cache-trust": "[" + in("keys/one.pem") + "]", "cache-http": "true",
		"upgrade": "false", "python": "",
	})
	if text := s.String(); !strings.HasPrefix(text, "settings from pyproject.toml: with (line 4), httpd (line 5), ") || !strings.HasSuffix(text, ", cache-http (line 22)") {
		t.Error(text)
	}
	if s.Path != in(settingsfile.ProjectFile) {
		t.Error(s.Path)
	}
	if c.Flags().Changed("with") {
		t.Error("the flag counts as given on the command line")
	}
}

// TestEveryFlagIsASettingOrNot: a new flag of install is either for a project or for one
// run, and somebody has decided which.
func TestEveryFlagIsASettingOrNot(t *testing.T) {
	var keys []string
	known := map[string]bool{"help": true, "version": true}
	a := project(t, nil)
	a.install().Flags().VisitAll(func(f *pflag.Flag) {
		known[f.Name] = true
		if oneRun[f.Name] == "" {
			keys = append(keys, f.Name)
		}
	})
	a.root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		known[f.Name] = true
		if oneRun[f.Name] == "" {
			t.Errorf("--%s is for every command, and a file that sets it gets no reason", f.Name)
		}
	})
	want := "httpd httpd-version mod-wsgi-version with without libraries hardening source-dir mirror offline locked lock-file allow-vulnerable jobs build-driver" +
		" cache cache-max-age cache-not-before cache-trust cache-http"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("keys: %s\nwant: %s", got, want)
	}
	page, err := os.ReadFile("../../docs/guides/project-settings.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if !strings.Contains(string(page), "`"+key+"`") {
			t.Errorf("docs/guides/project-settings.md does not name %s", key)
		}
	}
	for name := range oneRun {
		if !known[name] {
			t.Errorf("--%s does not exist", name)
		}
		_, err := configured(t, project(t, table(name+" = true\n")), a.install())
		if err == nil || !strings.HasPrefix(err.Error(), "pyproject.toml:4: "+name+" ") || fault.ClassOf(err) != fault.Usage {
			t.Errorf("%s in a file: %v", name, err)
		}
	}
}

func TestPrecedenceOfSettings(t *testing.T) {
	text := `with = ["tls", "http2"]
without = ["xml"]
httpd = "system"
locked = true
offline = true
cache = "oci://file.example.org/x"
cache-trust = "file.pem"
cache-http = true
cache-max-age = "1d"
jobs = "auto"
`
	for _, tt := range []struct {
		name string
		env  []string
		args []string
		want map[string]string
	}{
		{"file", nil, nil, map[string]string{"with": "[tls,http2]", "httpd": "system", "locked": "true", "offline": "true", "jobs": "auto"}},
		{
			"command line", nil,
			[]string{"--with=brotli", "--httpd=auto", "--locked=false", "--offline=false", "--jobs=5"},
			map[string]string{"with": "[brotli]", "without": "[xml]", "httpd": "auto", "locked": "false", "offline": "false", "jobs": "5"},
		},
		{
			"opposite flags", nil,
			[]string{"--upgrade", "--mirror=https://x.example.org", "--without=http2"},
			map[string]string{"locked": "false", "offline": "false", "with": "[tls]", "without": "[http2]"},
		},
		{"opposite flags that are off", nil, []string{"--upgrade=false"}, map[string]string{"locked": "true"}},
		{
			"environment",
			[]string{"APXS=apxs", "MODWSGI_CACHE_MAX_AGE=2d", "MODWSGI_CACHE_TRUST=env.pem"},
			nil,
			map[string]string{"httpd": "auto", "cache": "oci://file.example.org/x", "cache-max-age": "", "cache-trust": "[]", "cache-http": "true"},
		},
		{"empty variables", []string{"HTTPD=", "MODWSGI_CACHE="}, nil, map[string]string{"httpd": "system", "cache": "oci://file.example.org/x"}},
		{
			"another cache",
			[]string{"MODWSGI_CACHE=oci://env.example.org/x"},
			nil,
			map[string]string{"cache": "", "cache-trust": "[]", "cache-http": "false", "cache-max-age": "1d"},
		},
		{
			"another cache as a flag", nil,
			[]string{"--cache=oci://flag.example.org/x", "--cache-trust=flag.pem"},
			map[string]string{"cache": "oci://flag.example.org/x", "cache-trust": "[flag.pem]", "cache-http": "false"},
		},
		{"none", nil, []string{"--config=none"}, map[string]string{"with": "[]", "httpd": "auto", "locked": "false"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := project(t, table(text), tt.env...)
			c := a.install()
			s, err := configured(t, a, c, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			expectFlags(t, c, tt.want)
			for _, name := range []string{"httpd", "cache"} {
				decided := s != nil && slices.ContainsFunc(s.Keys, func(k settingKey) bool { return k.Key == name })
				if value := c.Flags().Lookup(name).Value.String(); decided != (value == "system" || value == "oci://file.example.org/x") {
					t.Errorf("%s is %q, and the report has it: %v", name, value, decided)
				}
			}
		})
	}
}

func TestNamedSettings(t *testing.T) {
	a := project(t, map[string]string{
		settingsfile.ProjectFile:    "[tool.modwsgi]\njobs = 1\n",
		"conf/install.toml":         "jobs = 2\nlock-file = \"x.lock\"\n",
		"other/pyproject.toml":      "[tool.modwsgi]\njobs = 3\n",
		"another/pyproject.toml":    "[tool.other]\njobs = 4\n",
		"conf/[tool.modwsgi].toml":  "[tool.modwsgi]\njobs = 5\n",
		"conf/with-own-table.toml":  "[modwsgi]\njobs = 5\n",
		"conf/pyproject.toml.saved": "jobs = 6\n",
	})
	for name, want := range map[string]string{
		"conf/install.toml": "2", filepath.Join(a.Dir, "conf/install.toml"): "2", "other/pyproject.toml": "3",
		"conf/pyproject.toml.saved": "6", "none": "auto",
	} {
		c := a.install()
		if _, err := configured(t, a, c, "--config", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		expectFlags(t, c, map[string]string{"jobs": want})
		if name == "conf/install.toml" {
			expectFlags(t, c, map[string]string{"lock-file": filepath.Join(a.Dir, "conf", "x.lock")})
		}
	}
	for name, says := range map[string]string{
		"conf/[tool.modwsgi].toml": "[tool.modwsgi].toml:1: unknown key tool: only pyproject.toml has [tool.modwsgi]; here options stand at the top",
		"conf/with-own-table.toml": "unknown key modwsgi: only pyproject.toml has [tool.modwsgi]",
		"another/pyproject.toml":   "another/pyproject.toml does not have the table [tool.modwsgi]",
		"missing.toml":             "--config: " + filepath.Join(a.Dir, "missing.toml") + " does not exist",
		"conf":                     "it is a directory",
		"":                         "--config is empty",
	} {
		if _, err := configured(t, a, a.install(), "--config", name); err == nil || !strings.Contains(err.Error(), says) || fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%s: %v (%s)", name, err, fault.HintOf(err))
		}
	}
}

// TestMistakesInSettings: each has its line, and what to write instead.
func TestMistakesInSettings(t *testing.T) {
	for text, says := range map[string]string{
		`wiht = ["tls"]`:                "pyproject.toml:4: unknown key wiht: did you mean with?",
		`lock_file = "x"`:               "pyproject.toml:4: unknown key lock_file: write lock-file",
		`--offline = true`:              "pyproject.toml:4: unknown key --offline: write offline",
		`completely-different = 1`:      "pyproject.toml:4: unknown key completely-different",
		`jobs = "4"`:                    `pyproject.toml:4: jobs: must be a whole number or "auto", not a string: write 4 without quotes`,
		`jobs = 2.5`:                    `jobs: must be a whole number or "auto", not a number`,
		`jobs = true`:                   `jobs: must be a whole number or "auto", not true or false`,
		`jobs = [4]`:                    `jobs: must be a whole number or "auto", not a list`,
		`jobs = 0`:                      `pyproject.toml:4: jobs: "0" is neither a positive number nor auto`,
		`jobs = -1`:                     `pyproject.toml:4: jobs: "-1" is neither`,
		`offline = "yes"`:               "offline: must be true or false, not a string: write true",
		`offline = 0`:                   "offline: must be true or false, not a whole number: write false",
		`offline = True`:                "pyproject.toml:4: ",
		`httpd = 2`:                     `httpd: must be a string, not a whole number: write "2"`,
		`httpd = ["system"]`:            "httpd: must be a string, not a list: write the value without brackets",
		`httpd = ""`:                    "pyproject.toml:4: httpd: the value is empty",
		"httpd = \"a\\u0000b\"":         "httpd: the value contains a NUL character",
		`httpd-version = 2.4`:           `httpd-version: must be a string, not a number: write "2.4"`,
		`httpd-version = "2.4"`:         `pyproject.toml:4: httpd-version: 2.4 is only part of a version: write httpd-version = "~> 2.4"`,
		`mod-wsgi-version = "5"`:        `mod-wsgi-version: 5 is only part of a version: write mod-wsgi-version = "~> 5.0"`,
		`libraries = "mine"`:            `libraries: unknown value "mine" of libraries: use auto, host or bundled`,
		`hardening = "some"`:            `pyproject.toml:4: hardening: `,
		`build-driver = "ninja"`:        `pyproject.toml:4: build-driver: `,
		`with = ["tls", "nosuch"]`:      `with: unknown feature "nosuch": use one of: tls, `,
		`with = "tls,nosuch"`:           `with: unknown feature "nosuch"`,
		`with = ["tls", 3]`:             `with: element 2 must be a string, not a whole number: write "3"`,
		`with = [["tls"]]`:              "with: element 1 must be a string, not a list: write the value without brackets",
		`with = true`:                   "with: must be a string or a list of strings, not true or false",
		`with = ["tls", ""]`:            "with: the value is empty",
		`with = "tls,"`:                 "with: the value is empty",
		`cache-max-age = "soon"`:        "pyproject.toml:4: cache-max-age: ",
		`cache-max-age = 30`:            `cache-max-age: must be a string, not a whole number: write "30"`,
		`cache-not-before = 2026-11-28`: `cache-not-before: must be a string, not a date or time: write "2026-11-28"`,
		`cache-not-before = 07:32:00`:   `cache-not-before: must be a string, not a date or time`,
		"[tool.modwsgi.source-dir]":     "pyproject.toml:4: source-dir: must be a string or a list of strings, not a table",
		"[[tool.modwsgi.mirror]]\na=1":  "pyproject.toml:4: mirror: element 1 must be a string, not a table",
		`upgrade = true`:                "pyproject.toml:4: upgrade is for one run: pass --upgrade",
		`jsno = 1`:                      "pyproject.toml:4: unknown key jsno",
		`jobs = `:                       "pyproject.toml:4: ",
		`jobs: 4`:                       "pyproject.toml:4: ",
		"jobs = 1\njobs = 2":            "pyproject.toml:5: ",
		"httpd = 'x":                    "pyproject.toml:4: ",
	} {
		a := project(t, table(text+"\n"))
		s, err := configured(t, a, a.install())
		if err == nil || !strings.HasPrefix(err.Error(), "pyproject.toml:") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, says)
			continue
		}
		if s != nil || fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, class %d, hint %q", text, s, fault.ClassOf(err), fault.HintOf(err))
		}
	}
	for text, says := range map[string]string{
		"[tool]\nmodwsgi = 3\n":             "pyproject.toml:2: tool.modwsgi is not a table",
		"tool = 3\ntool.modwsgi.jobs = 1\n": "pyproject.toml:2: ",
	} {
		a := project(t, map[string]string{settingsfile.ProjectFile: text})
		if _, err := configured(t, a, a.install()); err == nil || !strings.Contains(err.Error(), says) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestAllMistakesInSettings: one run tells all, in the order of the file, also what the
// command line replaces.
func TestAllMistakesInSettings(t *testing.T) {
	a := project(t, table("wiht = 1\njobs = \"4\"\noffline = 1\n"))
	_, err := configured(t, a, a.install(), "--jobs=3", "--offline")
	if want := "pyproject.toml:4: unknown key wiht: did you mean with?\n" +
		"pyproject.toml:5: jobs: must be a whole number or \"auto\", not a string: write 4 without quotes\n" +
		"pyproject.toml:6: offline: must be true or false, not a whole number: write true"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	var many strings.Builder
	for _, key := range "abcdefghijkl" {
		many.WriteString(string(key) + " = 1\n")
	}
	a = project(t, table(many.String()))
	if _, err := configured(t, a, a.install()); err == nil || strings.Count(err.Error(), "\n") != 10 || !strings.HasSuffix(err.Error(), "\nand 2 more") {
		t.Error(err)
	}
	r := modwsgi(t, t.Context(), nil, "install", "--config", filepath.Join(a.Dir, settingsfile.ProjectFile), "--json")
	if r.code != 2 || !strings.Contains(r.out, `"exit_code":2`) {
		t.Errorf("%+v", r)
	}
}

// TestFilesWithoutSettings change nothing, whatever they contain and whoever may write to
// them.
func TestFilesWithoutSettings(t *testing.T) {
	for _, text := range []string{"", "[project]\nname = \"x\"\n", "this is = not TOML [", "[tool.modwsgi]\n", "[tool.mod_wsgi-express]\nport = 1\n", "[tool]\n", "\xff\x00", "[build-system]\nrequires = [\"modwsgi\"]\n"} {
		a := project(t, map[string]string{settingsfile.ProjectFile: text})
		if runtime.GOOS != "windows" && !strings.Contains(text, "[tool.modwsgi]") {
			if err := os.Chmod(a.Dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := configured(t, a, a.install()); err != nil || s != nil {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
	a := project(t, map[string]string{"pyproject.toml/x": ""}) // a directory
	if s, err := configured(t, a, a.install()); err != nil || s != nil {
		t.Errorf("%v, %v", s, err)
	}
	a = &app{Process: Process{}}
	if s, err := configured(t, a, a.install()); err != nil || s != nil {
		t.Errorf("no working directory: %v, %v", s, err)
	}
}

// TestSettingsOfOthers: what another user can write is not obeyed.
func TestSettingsOfOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("rights are not checked there")
	}
	refused := func(a *app, args ...string) {
		t.Helper()
		c := a.install()
		s, err := configured(t, a, c, args...)
		if err == nil || s != nil || fault.ClassOf(err) != fault.Environment || !strings.Contains(err.Error(), "everybody may write to it") ||
			!strings.Contains(fault.HintOf(err), "--config none") || !strings.Contains(fault.HintOf(err), "MODWSGI_TRUSTED_DIRECTORIES") {
			t.Errorf("%v: %v (%s)", args, err, fault.HintOf(err))
		}
		expectFlags(t, c, map[string]string{"jobs": "auto"})
	}
	a := project(t, table("jobs = 3\n"))
	file := filepath.Join(a.Dir, settingsfile.ProjectFile)
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	refused(a)
	refused(a, "--config", settingsfile.ProjectFile)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(a.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	refused(a)
	if s, err := configured(t, a, a.install(), "--config=none"); err != nil || s != nil {
		t.Errorf("%v, %v", s, err)
	}
}

// TestSettingsOfOtherCommands: doctor and cache key use those that they have flags for.
func TestSettingsOfOtherCommands(t *testing.T) {
	a := project(t, table("httpd = \"bundled\"\nwith = \"http2\"\njobs = 2\n"))
	dir := ""
	for c, want := range map[*cobra.Command]string{
		a.doctor():       "settings from pyproject.toml: httpd (line 4)",
		a.cacheKey(&dir): "settings from pyproject.toml: httpd (line 4), with (line 5), jobs (line 6)",
	} {
		s, err := configured(t, a, c)
		if err != nil || s.String() != want {
			t.Errorf("%s: %v, %v", c.Name(), s, err)
		}
		expectFlags(t, c, map[string]string{"httpd": "bundled"})
	}
}

// TestSettingsInResults: plans, reports and hints name the settings.
func TestSettingsInResults(t *testing.T) {
	s := &projectSettings{Path: "/srv/pyproject.toml", name: "pyproject.toml", Keys: []settingKey{{"httpd", 6}}}
	data, err := json.Marshal(s)
	if err != nil || string(data) != `{"file":"/srv/pyproject.toml","keys":[{"key":"httpd","line":6}]}` {
		t.Errorf("%s, %v", data, err)
	}
	const note = "settings from pyproject.toml: httpd (line 6); --config none leaves them out"
	for class, want := range map[fault.Class]string{fault.Usage: "fix it (" + note + ")", fault.Environment: "fix it (" + note + ")", fault.Build: "fix it"} {
		if err := s.explain(fault.New(class, "fix it", "wrong")); err.Error() != "wrong" || fault.ClassOf(err) != class || fault.HintOf(err) != want {
			t.Errorf("%v (%s)", err, fault.HintOf(err))
		}
	}
	if err := s.explain(fault.New(fault.Usage, "", "wrong")); fault.HintOf(err) != note {
		t.Error(fault.HintOf(err))
	}
	if err := s.explain(nil); err != nil {
		t.Error(err)
	}
	var nothing *projectSettings
	if err := nothing.explain(fault.New(fault.Usage, "fix it", "wrong")); fault.HintOf(err) != "fix it" {
		t.Error(fault.HintOf(err))
	}
}
