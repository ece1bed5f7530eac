package settingsfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/owned"
	"modwsgi/internal/tomlfile"
)

// finder finds files in a new directory.
func finder(t *testing.T, own string, files map[string]string) (*Finder, *[]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	warnings := &[]string{}
	return &Finder{
		Dir: dir, Tool: "x-tool", Own: own, Trusted: func(string) error { return nil },
		Warn: func(text string) { *warnings = append(*warnings, text) },
	}, warnings
}

func TestFind(t *testing.T) {
	const project = "[tool.x-tool]\na = 1\n"
	for _, tt := range []struct {
		name, own string
		files     map[string]string
		named     string
		found     string // name of the file, "" for none
		line      int    // of the first key
		warnings  int
	}{
		{"nothing", "x.toml", nil, "", "", 0, 0},
		{"own", "x.toml", map[string]string{"x.toml": "\na = 1\n"}, "", "x.toml", 2, 0},
		{"empty own", "x.toml", map[string]string{"x.toml": ""}, "", "x.toml", 0, 0},
		{"project", "x.toml", map[string]string{ProjectFile: project}, "", ProjectFile, 2, 0},
		{"project without own", "", map[string]string{ProjectFile: project, "x.toml": "b = 1"}, "", ProjectFile, 2, 0},
		{"both", "x.toml", map[string]string{ProjectFile: project, "x.toml": "\n\na = 1"}, "", "x.toml", 3, 1},
		{"own and another's project", "x.toml", map[string]string{ProjectFile: "= x", "x.toml": "a = 1"}, "", "x.toml", 1, 0},
		{"project without the table", "", map[string]string{ProjectFile: "[tool.y]\na = 'x-tool'\n"}, "", "", 0, 0},
		{"only a mention", "x.toml", map[string]string{ProjectFile: "[project]\ndependencies = [\"x-tool\"]\n# [tool.x-tool]\n= "}, "", "", 0, 0},
		{"own and a mention", "x.toml", map[string]string{ProjectFile: "[project]\ndependencies = [\"x-tool\"]\n", "x.toml": "a = 1"}, "", "x.toml", 1, 0},
		{"quoted", "", map[string]string{ProjectFile: "[ \"tool\" . 'x-tool' ]\na = 1\n"}, "", ProjectFile, 2, 0},
		{"below tool", "", map[string]string{ProjectFile: "[tool]\nx-tool.a = 1\n"}, "", ProjectFile, 2, 0},
		{"inline", "", map[string]string{ProjectFile: "[tool]\nx-tool = { a = 1 }\n"}, "", ProjectFile, 2, 0},
		{"subtable", "", map[string]string{ProjectFile: "[tool.x-tool.sub]\na = 1\n"}, "", ProjectFile, 1, 0},
		{"not TOML", "", map[string]string{ProjectFile: "= x"}, "", "", 0, 0},
		{"named", "x.toml", map[string]string{ProjectFile: project, "y.toml": "\n\n\na = 1"}, "y.toml", "y.toml", 4, 0},
		{"none", "x.toml", map[string]string{ProjectFile: project, "x.toml": "a = 1"}, None, "", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, warnings := finder(t, tt.own, tt.files)
			found, err := f.Find(tt.named, "--config")
			if err != nil {
				t.Fatal(err)
			}
			if len(*warnings) != tt.warnings {
				t.Errorf("%q", *warnings)
			}
			if tt.found == "" {
				if found != nil {
					t.Errorf("found %+v", found)
				}
				return
			}
			if found == nil || found.Name != tt.found || found.Path != filepath.Join(f.Dir, tt.found) || found.Dir() != f.Dir {
				t.Fatalf("found %+v", found)
			}
			if tt.line > 0 && found.Table.Entries[0].Line != tt.line {
				t.Errorf("line %d", found.Table.Entries[0].Line)
			}
		})
	}
}

// TestFindWithoutRights: a file of others is refused, unless it has nothing for the
// program.
func TestFindWithoutRights(t *testing.T) {
	untrusted := func(file string) error {
		return &owned.Untrusted{Path: file, At: file, Why: "everybody may write to it"}
	}
	for text, refused := range map[string]bool{"[tool.x-tool]\n": true, "x-tool = ": true, "x-tool = 1": true, "[tool.y]": false, "= y": false} {
		f, _ := finder(t, "", map[string]string{ProjectFile: text})
		f.Trusted = untrusted
		found, err := f.Find("", "--config")
		if found != nil || owned.IsUntrusted(err) != refused || !refused && err != nil || refused && !strings.Contains(fault.HintOf(err), "--config none") {
			t.Errorf("%q: %+v, %v", text, found, err)
		}
	}
	f, _ := finder(t, "x.toml", map[string]string{"x.toml": "a = 1"})
	f.Trusted = untrusted
	for _, named := range []string{"", "x.toml", filepath.Join(f.Dir, "x.toml")} {
		if found, err := f.Find(named, "--config"); found != nil || !owned.IsUntrusted(err) {
			t.Errorf("%q: %+v, %v", named, found, err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	f, _ := finder(t, "x.toml", map[string]string{"big.toml": strings.Repeat("#\n", Limit)})
	for named, says := range map[string]string{"missing.toml": "does not exist", ".": "a directory", "big.toml": "big.toml"} {
		if _, err := f.Find(named, "--config"); err == nil || !strings.HasPrefix(err.Error(), "--config: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", named, err)
		}
	}
	f, _ = finder(t, "x.toml", map[string]string{ProjectFile: "[tool.y]\n"})
	if _, err := f.Find(ProjectFile, "--config"); err == nil || !strings.Contains(err.Error(), "pyproject.toml does not have the table [tool.x-tool]") {
		t.Error(err)
	}
	f.Dir = ""
	if _, err := f.Find("x.toml", "--config"); err == nil || !strings.Contains(err.Error(), "working directory is unknown") {
		t.Error(err)
	}
	if found, err := f.Find("", "--config"); found != nil || err != nil {
		t.Error(found, err)
	}
}

func TestUnknown(t *testing.T) {
	f := &File{tool: "x-tool"}
	known := func(name string) bool { return name == "lock-file" || name == "jobs" }
	for key, want := range map[string]string{
		"lock_file": "unknown key lock_file: write lock-file",
		"--jobs":    "unknown key --jobs: write jobs",
		"Jobs":      "unknown key Jobs: write jobs",
		"job":       "unknown key job: did you mean jobs?",
		"tool":      "unknown key tool: only pyproject.toml has [tool.x-tool]; here options stand at the top",
		"x-tool":    "unknown key x-tool: only pyproject.toml has [tool.x-tool]; here options stand at the top",
		"different": "unknown key different",
		"\x1b[31m":  `unknown key "\x1b[31m"`,
	} {
		if got := f.Unknown(key, known, []string{"lock-file", "jobs"}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWords(t *testing.T) {
	day := time.Date(2026, 11, 28, 0, 0, 0, 0, time.Local)
	for _, tt := range []struct {
		shape            Shape
		value            any
		wants, has, cure string
	}{
		{Number, "3", "a whole number", "a string", ": write 3 without quotes"},
		{Number, "three", "a whole number", "a string", ""},
		{Fraction, "0.5", "a number", "a string", ": write 0.5 without quotes"},
		{Toggle, "On", "true or false", "a string", ": write true"},
		{Toggle, "no", "true or false", "a string", ": write false"},
		{Toggle, int64(1), "true or false", "a whole number", ": write true"},
		{Toggle, int64(2), "true or false", "a whole number", ""},
		{Text, int64(2), "a string", "a whole number", `: write "2"`},
		{Text, 2.5, "a string", "a number", `: write "2.5"`},
		{Text, []any{"a"}, "a string", "a list", ": write the value without brackets"},
		{Text, []any{"a", "b"}, "a string", "a list", ""},
		{Text, day, "a string", "a date or time", `: write "2026-11-28"`},
		{Text, day.Add(time.Hour), "a string", "a date or time", ""},
		{Texts, true, "a string or a list of strings", "true or false", ""},
		{Texts, &tomlfile.Table{}, "a string or a list of strings", "a table", ""},
		{Texts, []map[string]any{}, "a string or a list of strings", "a list", ""},
	} {
		if got := tt.shape.Wanted(); got != tt.wants {
			t.Errorf("%d wants %s", tt.shape, got)
		}
		if got := Kind(tt.value); got != tt.has {
			t.Errorf("%v is %s", tt.value, got)
		}
		if got := Cure(tt.shape, tt.value); got != tt.cure {
			t.Errorf("%v as %d: %q", tt.value, tt.shape, got)
		}
	}
}

func TestProblems(t *testing.T) {
	var p Problems
	if err := p.Err("read the manual"); err != nil {
		t.Error(err)
	}
	for line := 12; line > 0; line-- {
		p.Add(line, "line %d", line)
	}
	err := p.Err("read the manual")
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != fault.Usage || f.Hint() != "read the manual" || !strings.HasPrefix(err.Error(), "line 1\nline 2\n") || !strings.HasSuffix(err.Error(), "line 10\nand 2 more") {
		t.Errorf("%v", err)
	}
}

// TestUnreadableProject: settings that cannot be read are not left out silently.
func TestUnreadableProject(t *testing.T) {
	f, warnings := finder(t, "x.toml", nil)
	if err := os.Mkdir(filepath.Join(f.Dir, ProjectFile), 0o700); err != nil {
		t.Fatal(err)
	}
	found, err := f.Find("", "--config")
	if found != nil || err != nil || len(*warnings) != 1 || !strings.Contains((*warnings)[0], "pyproject.toml") || !strings.Contains((*warnings)[0], "[tool.x-tool]") {
		t.Errorf("%+v, %v, %q", found, err, *warnings)
	}
}
