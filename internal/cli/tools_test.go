package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// place creates files below dir, executable ones.
func place(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestToolsDir(t *testing.T) {
	for what, c := range map[string]struct {
		files []string
		want  string
	}{
		"make build":                {[]string{"bin/modwsgi", "bin/mod_wsgi-express"}, "bin"},
		"a release":                 {[]string{"bin/modwsgi", "libexec/modwsgi/mod_wsgi-express"}, "libexec/modwsgi"},
		"a release, and an install": {[]string{"bin/modwsgi", "bin/mod_wsgi-express", "libexec/modwsgi/mod_wsgi-express"}, "libexec/modwsgi"},
	} {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		place(t, dir, c.files...)
		a := &app{Process: Process{Executable: filepath.Join(dir, "bin", "modwsgi")}}
		if got, want := a.toolsDir(), filepath.Join(dir, filepath.FromSlash(c.want)); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		link := filepath.Join(t.TempDir(), "modwsgi")
		if err := os.Symlink(a.Executable, link); err != nil {
			t.Skip(err)
		}
		a.Executable = link
		if got, want := a.toolsDir(), filepath.Join(dir, filepath.FromSlash(c.want)); got != want {
			t.Errorf("%s, through a link: %s, want %s", what, got, want)
		}
	}
}

// TestOwnPython: a program that pip put into an environment works on that environment,
// but only if nothing else selects one.
func TestOwnPython(t *testing.T) {
	const record = "lib/python3.12/site-packages/modwsgi-1.2.3.dist-info/RECORD"
	wheel := []string{"bin/modwsgi", "bin/python3", "libexec/modwsgi/mod_wsgi-express", record}
	for what, c := range map[string]struct {
		files []string
		env   string
		given string
		venv  bool
		own   bool
	}{
		"in an environment":           {files: wheel, own: true},
		"--python":                    {files: wheel, given: "x"},
		"an activated one":            {files: wheel, env: "VIRTUAL_ENV=/srv/env"},
		"an activated conda":          {files: wheel, env: "CONDA_PREFIX=/srv/conda"},
		"a .venv":                     {files: wheel, venv: true},
		"an archive next to a Python": {files: []string{"bin/modwsgi", "bin/python3", "bin/mod_wsgi-express"}},
		"pipx":                        {files: append([]string{"pipx_metadata.json"}, wheel...)},
		"uv":                          {files: append([]string{"uv-receipt.toml"}, wheel...)},
		"a deb next to a Python":      {files: wheel[:3]},
		"an environment without one":  {files: []string{"bin/modwsgi", "libexec/modwsgi/mod_wsgi-express", record}},
		"Windows, outside an env":     {files: []string{"bin/modwsgi", "python.exe", "libexec/modwsgi/mod_wsgi-express", "Lib/site-packages/modwsgi-1.2.3.dist-info/RECORD"}, own: true},
		"conda's base, always active": {files: wheel, env: "CONDA_PREFIX=/srv/conda\x00CONDA_DEFAULT_ENV=base", own: true},
	} {
		prefix, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		place(t, prefix, c.files...)
		if c.venv {
			place(t, dir, ".venv/pyvenv.cfg")
		}
		a := &app{Process: Process{Executable: filepath.Join(prefix, "bin", "modwsgi"), Dir: dir, Env: strings.Split(c.env, "\x00")}}
		got := a.python(c.given)
		if c.own != strings.HasPrefix(got, prefix) || !c.own && got != c.given {
			t.Errorf("%s: %q", what, got)
		}
	}
}

func TestManualPage(t *testing.T) {
	a := &app{}
	page := manualPage(a.root())
	for _, want := range []string{
		".TH MODWSGI 1 ", "\n.SH NAME\nmodwsgi \\- put Python", "\n.SS install\n", "\n.SS package sdist\n", `\fB\-\-httpd\-version\fR \fISTRING\fR`,
		"\n.SH OPTIONS\n", `\fB\-v\fR, \fB\-\-verbose\fR`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"local\\-wheel", "\n'", "\n.venv", "\t"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	for text, want := range map[string]string{".start": `\&.start`, `a\b`: `a\eb`, "it's": `it\(aqs`, "x\n.y -z": "x\n\\&.y \\-z"} {
		if got := roff(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
