package matrix_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"modwsgi/internal/fault"
	"modwsgi/packaging/matrix"
)

var formats = []matrix.Format{
	{Name: "wheel", Platforms: []string{"linux/amd64"}, Options: map[string]matrix.Kind{"bundle": matrix.Text, "build_number": matrix.Number}, Check: map[string]func(any) error{
		"bundle": func(v any) error {
			if v != "auto" {
				return errors.New("give auto")
			}
			return nil
		},
	}},
	{Name: "far", Platforms: []string{"linux/amd64"}, Other: func(platform string) error {
		if !strings.HasPrefix(platform, "linux/arm64/") {
			return errors.New("unknown processor in " + platform)
		}
		return nil
	}},
	{Name: "deb", Platforms: []string{"linux/amd64"}},
	{Name: "zip", Platforms: []string{"windows/amd64"}},
}

func TestCells(t *testing.T) {
	m, err := matrix.Parse("release.toml", []byte(`
schema = 1
pythons = ["3.11", "3.12"]
formats = ["wheel", "deb", "zip"]
platforms = ["linux/amd64", "windows/amd64"]
[[httpd]]
name = "plain"
[[httpd]]
name = "h2"
with = ["http2"]
[[exclude]]
python = "3.12"
format = "deb"
[[exclude]]
httpd = "h2"
platform = "windows/amd64"
[options.wheel]
build_number = 2
`), formats)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := m.Cells("linux/amd64", formats)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cells {
		got = append(got, c.HTTPD.Name+" "+c.Python+" "+c.Platform+" "+c.Format)
	}
	want := []string{
		"plain 3.11 linux/amd64 wheel", "plain 3.11 linux/amd64 deb", "plain 3.11 windows/amd64 zip",
		"plain 3.12 linux/amd64 wheel", "plain 3.12 windows/amd64 zip",
		"h2 3.11 linux/amd64 wheel", "h2 3.11 linux/amd64 deb", "h2 3.12 linux/amd64 wheel",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestLeavesNothing(t *testing.T) {
	m, err := matrix.Parse("r", []byte("schema = 1\npythons = ['3.11']\nformats = ['zip']\n"), formats)
	if err != nil {
		t.Fatal(err)
	}
	if cells, err := m.Cells("linux/amd64", formats); err == nil || fault.ClassOf(err) != fault.Usage {
		t.Errorf("got %v, %v", cells, err)
	}
	// A format must not be skipped silently either.
	m, err = matrix.Parse("r", []byte("schema = 1\npythons = ['3.11']\nformats = ['wheel', 'zip']\n"), formats)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := m.Cells("linux/amd64", formats)
	if err == nil || !strings.Contains(err.Error(), "r:3: zip is made only for windows/amd64") || !strings.Contains(fault.HintOf(err), `platforms = ["linux/amd64", "windows/amd64"]`) {
		t.Errorf("got %v, %v", cells, err)
	}
}

func TestMistakesHaveLines(t *testing.T) {
	const good = "schema = 1\npythons = [\"3.11\"]\nformats = [\"wheel\"]\n"
	for name, c := range map[string]struct{ text, want string }{
		"no toml":          {good + "x = = 1\n", "r.toml:4:"},
		"unknown key":      {good + "pyhtons = []\n", "r.toml:4: unknown key pyhtons"},
		"unknown nested":   {good + "[[httpd]]\nname = \"a\"\n[[httpd]]\nname = \"b\"\nversoin = \"1\"\n", "r.toml:8: unknown key httpd.versoin"},
		"unknown table":    {good + "\n[nothing]\na = 1\n", "unknown key nothing"},
		"wrong kind":       {"schema = 1\npythons = \"3.11\"\nformats = [\"wheel\"]\n", "r.toml:2: pythons must be a list of strings"},
		"wrong element":    {"schema = 1\npythons = [\"3.11\", 3.12]\nformats = [\"wheel\"]\n", "r.toml:2: pythons must be a list of strings"},
		"wrong number":     {"schema = \"1\"\npythons = []\nformats = []\n", "r.toml:1: schema must be a number"},
		"wrong case, kind": {"schema = 1\nPythons = \"3.11\"\nformats = [\"wheel\"]\n", "r.toml:2: Pythons must be a list of strings"},
		"wrong table":      {good + "mod_wsgi = \"5.0\"\n", "r.toml:4: mod_wsgi must be a table"},
		"wrong tables":     {good + "httpd = \"2.4\"\n", "r.toml:4: httpd must be a list of tables"},
		"wrong in a table": {good + "[[httpd]]\nname = \"a\"\n[[httpd]]\nname = \"b\"\nversion = 2.4\n", "r.toml:8: httpd.version must be a string"},
		"wrong in a map":   {good + "[windows.python_sdk]\n\"3.11\" = 1\n", "r.toml:5: windows.python_sdk.3.11 must be a string"},
		"two wrong kinds":  {"schema = 1\npythons = 1\nformats = 2\n", "r.toml:2: pythons must be a list of strings\n  r.toml:3: formats"},
		"wrong schema":     {"schema = 2\npythons = [\"3.11\"]\nformats = [\"wheel\"]\n", "r.toml:1: schema must be 1"},
		"no schema":        {"pythons = [\"3.11\"]\nformats = [\"wheel\"]\n", "schema must be 1"},
		"no pythons":       {"schema = 1\nformats = [\"wheel\"]\n", "pythons is missing or empty"},
		"empty name":       {"schema = 1\npythons = [\"\"]\nformats = [\"wheel\"]\n", "r.toml:2: pythons: \"\" is not a value"},
		"twice":            {"schema = 1\npythons = [\"3.11\", \"3.11\"]\nformats = [\"wheel\"]\n", "r.toml:2: pythons: duplicate \"3.11\""},
		"unknown format":   {"schema = 1\npythons = [\"3.11\"]\nformats = [\"whele\"]\n", `r.toml:3: unknown format "whele", use one of wheel, far, deb, zip`},
		"unknown platform": {good + "platforms = [\"plan9/mips\"]\n", `r.toml:4: this machine cannot make artifacts for "plan9/mips"`},
		"unused platform":  {good + "platforms = [\"linux/amd64\", \"windows/amd64\"]\n", "r.toml:4: none of the formats is made for windows/amd64"},
		"unused format":    {"schema = 1\npythons = [\"3.11\"]\nformats = [\"wheel\", \"zip\"]\nplatforms = [\"linux/amd64\"]\n", "r.toml:3: zip is made only for windows/amd64"},
		"windows unused":   {good + "[windows]\nlauncher = \"x.exe\"\n", "r.toml:4: windows: nothing is made for Windows"},
		"windows key":      {good + "[windows]\nlauncer = \"x.exe\"\n", "r.toml:5: unknown key windows.launcer"},
		"windows SDK":      {"schema = 1\npythons = [\"3.11\"]\nformats = [\"zip\"]\nplatforms = [\"windows/amd64\"]\n[windows.python_sdk]\n\"3.12\" = \"x\"\n", "r.toml:5: windows.python_sdk: \"3.12\" is not among the pythons"},
		"nameless httpd":   {good + "[[httpd]]\nname = \"a\"\n[[httpd]]\nversion = \"2.4.68\"\n", "r.toml:6: each of several httpds needs a name"},
		"name twice":       {good + "[[httpd]]\nname = \"a\"\n[[httpd]]\nname = \"a\"\n", `r.toml:7: httpd: duplicate name "a"`},
		"bad name":         {good + "[[httpd]]\nname = \"A b\"\n", "r.toml:5: httpd: name"},
		"with and without": {good + "[[httpd]]\nwith = [\"tls\"]\nwithout = [\"tls\"]\n", `r.toml:6: httpd: "tls" is both in with and in without`},
		"libraries":        {good + "[[httpd]]\nlibraries = \"mine\"\n", `r.toml:5: httpd: libraries is "mine", not auto, host or bundled`},
		"empty exclude":    {good + "[[exclude]]\n", "r.toml:4: exclude names nothing"},
		"foreign exclude":  {good + "[[exclude]]\npython = \"3.8\"\n", `r.toml:5: exclude: this file has no python "3.8"`},
		"options of none":  {good + "[options.whele]\na = 1\n", `r.toml:4: unknown format "whele"`},
		"unknown option":   {good + "[options.wheel]\nbunlde = \"auto\"\n", "r.toml:5: options.wheel: unknown key bunlde, use one of build_number, bundle"},
		"kind of option":   {good + "[options.wheel]\nbundle = 1\n", "r.toml:5: options.wheel: bundle must be a string"},
		"value of option":  {good + "[options.wheel]\nbundle = \"some\"\n", "r.toml:5: options.wheel: bundle: give auto"},
		"key twice":        {good + "schema = 1\n", "r.toml:4:"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := matrix.Parse("r.toml", []byte(c.text), formats)
			if err == nil {
				t.Fatalf("was taken: %+v", m)
			}
			if !strings.Contains(err.Error(), c.want) || fault.ClassOf(err) != fault.Usage || fault.HintOf(err) == "" {
				t.Errorf("got %q (hint %q), want %q", err, fault.HintOf(err), c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("schema = 1\npythons = ['3.11']\nformats = ['wheel']\n[[httpd]]\nname = 'a'\n")
	f.Add("[options.wheel]\nbundle = []\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := matrix.Parse("r.toml", []byte(text), formats)
		if err != nil {
			if fault.ClassOf(err) != fault.Usage || !strings.HasPrefix(err.Error(), "r.toml") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if cells, err := m.Cells("linux/amd64", formats); err == nil && len(cells) == 0 {
			t.Errorf("%q: no cells and no error", text)
		}
	})
}
