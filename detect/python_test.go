//go:build unix

package detect

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"modwsgi/internal/fault"
	"modwsgi/internal/run"
)

// TestMain lets the test binary act as an interpreter: started with the arguments that
// query an interpreter for its facts, it behaves as the file "behaviour" next to it
// describes. There is no other way to get an interpreter that lies, hangs or crashes.
func TestMain(m *testing.M) {
	if len(os.Args) > 4 && os.Args[1] == "-I" && os.Args[4] == "-c" {
		// os.Exit would sleep for a second under the race detector.
		syscall.Exit(playInterpreter())
	}
	os.Exit(m.Run())
}

func playInterpreter() int {
	self, err := os.Executable()
	if err != nil {
		return 99
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(self), "behaviour"))
	if err != nil {
		return 98
	}
	switch kind, rest, _ := strings.Cut(string(text), "\n"); kind {
	case "hang":
		time.Sleep(time.Hour) // select {} would be detected as a deadlock
	case "crash":
		_, _ = os.Stderr.WriteString("Fatal Python error: init_fs_encoding\n")
		return 1
	case "library path": // output without a library path, and with one
		without, with, _ := strings.Cut(rest, "\n---\n")
		if os.Getenv("LD_LIBRARY_PATH") != "" {
			without = with
		}
		if without == "" {
			return 127
		}
		_, _ = os.Stdout.WriteString(without)
	case "environment":
		_, _ = os.Stdout.WriteString(strings.Join(os.Environ(), "\n"))
		return 3
	default:
		_, _ = os.Stdout.WriteString(rest)
	}
	return 0
}

func reply(json string) string { return "say\n\n<<<modwsgi " + json + " modwsgi>>>\n" }

// fakeInterpreter puts the test binary at path.
func fakeInterpreter(t *testing.T, path, behaviour string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(filepath.Dir(path), "behaviour"), behaviour, 0o644)
	if os.Link(self, path) == nil {
		return
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(data), 0o755)
}

func write(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// systemPython is a real interpreter. Without one the test is skipped.
func systemPython(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	for _, path := range []string{"/usr/bin/python3", "/usr/local/bin/python3"} {
		if ThisDisk().notBinary(path) == "" {
			return path
		}
	}
	t.Skip("no python3 in /usr/bin or /usr/local/bin")
	return ""
}

// venv creates a real virtual environment.
func venv(t *testing.T, base, dir string, flags ...string) string {
	t.Helper()
	var r run.Runner
	argv := append(append([]string{base, "-m", "venv", "--without-pip"}, flags...), dir)
	if err := r.Run(t.Context(), run.Cmd{Argv: argv, Env: []string{"PATH=/usr/bin:/bin"}}); err != nil {
		t.Skipf("%s makes no environments: %v", base, err)
	}
	return dir
}

func find(t *testing.T, req Request) (*Python, error) {
	t.Helper()
	if req.Dir == "" {
		req.Dir = t.TempDir()
	}
	return FindPython(t.Context(), &run.Runner{}, req)
}

func TestFindPythonInEnvironment(t *testing.T) {
	base := systemPython(t)
	tmp, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := venv(t, base, filepath.Join(tmp, "it's an \"env\""))
	write(t, filepath.Join(dir, "bin", "pip"), "#!/nonexistent/python\n", 0o755)
	write(t, filepath.Join(dir, "bin", "mod_wsgi-express"), "\x7fELF", 0o755)
	home := filepath.Join(tmp, "home")
	linked := symlink(t, dir, filepath.Join(home, "linked"))
	pip := symlink(t, filepath.Join(dir, "bin", "pip"), filepath.Join(home, "bin", "pip"))
	symlink(t, base, filepath.Join(home, "bin", "python3")) // a decoy next to the link
	rel, err := filepath.Rel(home, dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		given, prefix string
		env           []string
	}{
		"interpreter":        {given: dir + "/bin/python", prefix: dir},
		"directory":          {given: dir, prefix: dir},
		"trailing slash":     {given: dir + "//", prefix: dir},
		"bin directory":      {given: dir + "/bin", prefix: dir},
		"configuration":      {given: dir + "/pyvenv.cfg", prefix: dir},
		"script":             {given: dir + "/bin/pip", prefix: dir},
		"binary":             {given: dir + "/bin/mod_wsgi-express", prefix: dir},
		"relative":           {given: rel, prefix: dir},
		"home":               {given: "~/linked/bin/pip", prefix: linked, env: []string{"HOME=" + home}},
		"link to directory":  {given: linked, prefix: linked},
		"a name on PATH":     {given: "python3", prefix: dir, env: []string{"PATH=/nonexistent::" + dir + "/bin"}},
		"a script on PATH":   {given: "pip", prefix: dir, env: []string{"PATH=" + dir + "/bin"}},
		"here before PATH":   {given: "linked", prefix: linked, env: []string{"PATH=" + dir + "/bin"}},
		"link to script":     {given: pip, prefix: dir},
		"link to link":       {given: symlink(t, pip, filepath.Join(tmp, "other", "p")), prefix: dir},
		"link to python":     {given: symlink(t, dir+"/bin/python", filepath.Join(tmp, "py", "python")), prefix: dir},
		"link of other name": {given: symlink(t, dir+"/bin/python", filepath.Join(tmp, "py", "mine")), prefix: dir},
		"link to bin":        {given: symlink(t, dir+"/bin", filepath.Join(tmp, "tools", "b")) + "/python", prefix: dir},
		"parent of a link":   {given: linked + "/../" + filepath.Base(dir) + "/bin/python3", prefix: dir},
		"activated":          {env: []string{"VIRTUAL_ENV=" + dir}, prefix: dir},
		"another activated":  {given: dir, env: []string{"VIRTUAL_ENV=/nonexistent", "CONDA_PREFIX=/nonexistent"}, prefix: dir},
		"hostile variables": {given: dir, prefix: dir, env: []string{
			"PYTHONHOME=/nonexistent", "PYTHONPATH=" + home, "PYTHONSTARTUP=/x", "__PYVENV_LAUNCHER__=/nonexistent",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := find(t, Request{Python: tt.given, Env: tt.env, Dir: home})
			if err != nil {
				t.Fatal(err)
			}
			if p.Prefix != tt.prefix || p.Kind != "venv" || p.BasePrefix == p.Prefix {
				t.Errorf("prefix %q of kind %s (base %s), want %q", p.Prefix, p.Kind, p.BasePrefix, tt.prefix)
			}
			if filepath.Dir(p.Executable) != filepath.Join(tt.prefix, "bin") || p.Scripts != filepath.Join(tt.prefix, "bin") {
				t.Errorf("executable %q, scripts %q", p.Executable, p.Scripts)
			}
			if !strings.HasPrefix(p.Purelib, tt.prefix+"/lib/python3.") || filepath.Base(p.Purelib) != "site-packages" || p.Platlib == "" {
				t.Errorf("purelib %q, platlib %q", p.Purelib, p.Platlib)
			}
			if p.Externally != "" {
				t.Errorf("a virtual environment is not externally managed: %q", p.Externally)
			}
		})
	}
	entries, err := os.ReadDir(sitePackages(dir))
	if err != nil || len(entries) != 0 {
		t.Errorf("detection left %v in site-packages (%v)", entries, err)
	}
}

func sitePackages(dir string) string {
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(dir)), "*", "*", "lib", "python3.*", "site-packages"))
	if len(found) == 0 {
		found, _ = filepath.Glob(filepath.Join(filepath.Dir(dir), "*", "lib", "python3.*", "site-packages"))
	}
	return strings.Join(found, "")
}

func TestDotVenvAndMovedCopies(t *testing.T) {
	base := systemPython(t)
	tmp := t.TempDir()
	project := filepath.Join(tmp, "project")
	venv(t, base, filepath.Join(project, ".venv"), "--copies")
	moved := filepath.Join(tmp, "moved project")
	if err := os.Rename(project, moved); err != nil {
		t.Fatal(err)
	}
	p, err := find(t, Request{Dir: moved})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(moved, ".venv"); p.Prefix != want || !strings.HasPrefix(p.Platlib, want) {
		t.Errorf("prefix %q, platlib %q, want %q", p.Prefix, p.Platlib, want)
	}
	if _, err := find(t, Request{Python: moved}); err == nil || !strings.Contains(fault.HintOf(err), ".venv") {
		t.Errorf("project directory: %v, hint %q", err, fault.HintOf(err))
	}
}

func TestNoEnvironmentScriptRuns(t *testing.T) {
	dir := venv(t, systemPython(t), filepath.Join(t.TempDir(), "env"))
	mark := filepath.Join(t.TempDir(), "mark")
	sites, err := filepath.Glob(filepath.Join(dir, "lib", "python3.*", "site-packages"))
	if err != nil || len(sites) != 1 {
		t.Fatal(sites, err)
	}
	code := "import os; open(" + "'" + mark + "', 'w')\n"
	for _, name := range []string{"x.pth", "sitecustomize.py", "usercustomize.py", "json.py", "sysconfig.py"} {
		write(t, filepath.Join(sites[0], name), code, 0o644)
	}
	for _, name := range []string{"json.py", "sysconfig.py"} {
		write(t, filepath.Join(dir, "bin", name), code, 0o644)
	}
	write(t, filepath.Join(dir, "bin", "pip"), "#!/bin/sh\ntouch "+mark+"\n", 0o755)
	if _, err := find(t, Request{Python: dir + "/bin/pip", Env: []string{"PYTHONPATH=" + sites[0]}}); err != nil {
		t.Fatal(err)
	}
	if ThisDisk().exists(mark) {
		t.Error("code from the environment was run")
	}
}

func TestRefusedPythons(t *testing.T) {
	tmp := t.TempDir()
	path := func(elem ...string) string { return filepath.Join(append([]string{tmp}, elem...)...) }
	write(t, path("text"), "hello\n", 0o755)
	write(t, path("wrapper", "python3"), "#!/bin/sh\nexec /usr/bin/python3 \"$@\"\n", 0o755)
	write(t, path("noexec", "bin", "python3"), "\x7fELF", 0o644)
	write(t, path("empty", "bin", "python3"), "", 0o755)
	write(t, path("damaged", "bin", "python3"), "\x7fELF damaged", 0o755)
	write(t, path("zipapp", "app.pyz"), "#!/usr/bin/env python3\nPK\x03\x04", 0o755)
	write(t, path("zipapp", "bound.pyz"), "#!/usr/bin/python3\nPK\x05\x06"+strings.Repeat("\x00", 18), 0o755)
	other, err := os.ReadFile(someProgram)
	if err != nil {
		t.Skip("no " + someProgram + " here")
	}
	write(t, path("other", "bin", "python3"), string(other), 0o755)
	write(t, path("dir", "bin", "x"), "", 0o755)
	symlink(t, path("gone", "python3.11"), path("dangling", "bin", "python3"))
	symlink(t, "python3", path("dangling", "bin", "python"))
	write(t, path("dangling", "bin", "pip"), "#!/bin/sh\n", 0o755)
	write(t, path("dangling", "pyvenv.cfg"), "home = /gone\n", 0o644)
	symlink(t, "loop", path("loop"))
	fakeInterpreter(t, path("crash", "bin", "python3"), "crash")
	fakeInterpreter(t, path("garbage", "bin", "python3"), "say\nhello\n")
	fakeInterpreter(t, path("silent", "bin", "python3"), "say\n")
	fakeInterpreter(t, path("badjson", "bin", "python3"), reply("{"))
	fakeInterpreter(t, path("relative", "bin", "python3"), reply(`{"implementation": "cpython", "prefix": "x", "base_prefix": "/usr", "paths": {}}`))
	fakeInterpreter(t, path("pypy", "bin", "python3"), reply(`{"implementation": "pypy", "version": "3.10.14", "prefix": "/x", "base_prefix": "/x", "paths": {"purelib": "/x", "platlib": "/x", "scripts": "/x"}}`))
	fakeInterpreter(t, path("nowhere", "bin", "python3"), reply(`{"implementation": "cpython", "version": "3.12.1", "major": 3, "minor": 12,
		"prefix": "/nonexistent", "base_prefix": "/usr", "paths": {"purelib": "/x", "platlib": "/x", "scripts": "/x"}}`))
	fakeInterpreter(t, path("stale", "bin", "python3"), reply(`{"implementation": "cpython", "version": "3.12.1", "major": 3, "minor": 12, "cfg": "`+path("stale", "pyvenv.cfg")+`",
		"prefix": "/x", "base_prefix": "/y", "paths": {"purelib": "/x", "platlib": "/x", "scripts": "/x"}}`))
	write(t, path("stale", "pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.7\n", 0o644)
	for name, tt := range map[string]struct{ given, want, hint string }{
		"missing":            {path("nothing"), "file does not exist", "pass --python"},
		"not on PATH":        {"python3.99", "python3.99 is neither in ", "pass --python"},
		"text file":          {path("text"), "not a Python interpreter", "pass --python"},
		"wrapper":            {path("wrapper", "python3"), "it is a script", "the real interpreter"},
		"directory without":  {path("dir"), "is not a Python environment", "python3 -m venv"},
		"no interpreter":     {path("dir", "bin", "x"), "no interpreter is next to it", "pass --python"},
		"not executable":     {path("noexec"), "it is not executable", "pass --python"},
		"empty file":         {path("empty"), "it is empty", "pass --python"},
		"damaged":            {path("damaged"), "does not work as a Python interpreter", "check that it works"},
		"zipapp":             {path("zipapp", "app.pyz"), "no interpreter is next to it", "pass --python"},
		"zipapp with Python": {path("zipapp", "bound.pyz"), "is a zip application", "pass --python"},
		"another program":    {path("other"), "neither contains one nor is linked with a libpython", "pass --python"},
		"dangling":           {path("dangling"), "is a symbolic link to " + path("gone", "python3.11"), "--clear"},
		"dangling by script": {path("dangling", "bin", "pip"), "is a symbolic link to " + path("gone", "python3.11"), "--clear"},
		"dangling itself":    {path("dangling", "bin", "python"), "is a symbolic link to " + path("gone", "python3.11"), "--clear"},
		"link loop":          {path("loop"), "too many", "pass --python"},
		"device":             {"/dev/null", "neither a program nor a directory", "pass --python"},
		"crash":              {path("crash"), "Fatal Python error", "check that it works"},
		"garbage":            {path("garbage"), "did not answer as a Python interpreter", "pass --python"},
		"silent":             {path("silent"), "did not answer as a Python interpreter", "pass --python"},
		"bad json":           {path("badjson"), "read the answer", "pass --python"},
		"relative prefix":    {path("relative"), "not an absolute path", "pass --python"},
		"pypy":               {path("pypy"), "is pypy 3.10.14, not CPython", "use CPython"},
		"prefix is gone":     {path("nowhere"), "which does not exist", "--clear"},
		"base was replaced":  {path("stale"), "was made for Python 3.11, but its interpreter is now 3.12.1", "python3.11 -m venv --clear /x"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := find(t, Request{Python: tt.given})
			if err == nil {
				t.Fatalf("accepted as %+v", p)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(fault.HintOf(err), tt.hint) || fault.ClassOf(err) != fault.Environment {
				t.Errorf("error %q, hint %q, class %d", err, fault.HintOf(err), fault.ClassOf(err))
			}
		})
	}
}

func TestHangingInterpreter(t *testing.T) {
	defer func(d time.Duration) { askTimeout = d }(askTimeout)
	askTimeout = 300 * time.Millisecond
	exe := filepath.Join(t.TempDir(), "bin", "python3")
	fakeInterpreter(t, exe, "hang")
	if _, err := find(t, Request{Python: exe}); err == nil || !strings.Contains(err.Error(), "did not answer within") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutAnyEnvironment(t *testing.T) {
	_, err := find(t, Request{Env: []string{"CONDA_PREFIX=/opt/conda", "CONDA_DEFAULT_ENV=base"}})
	if err == nil || !strings.Contains(err.Error(), "no Python environment") || !strings.Contains(fault.HintOf(err), "python3 -m venv .venv") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	_, err = find(t, Request{Env: []string{"VIRTUAL_ENV=/nonexistent/env"}})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(fault.HintOf(err), "deactivate") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

func TestShebangOfAProgramOutsideAnyEnvironment(t *testing.T) {
	tmp := t.TempDir()
	exe := filepath.Join(tmp, "a dir", "bin", "python3.12")
	write(t, exe, "\x7fELF", 0o755)
	for name, tt := range map[string]struct{ content, want string }{
		"plain":       {"#!" + exe + "\n", exe},
		"with flag":   {"#!/bin/sh -e\n", ""},
		"pip's trick": {"#!/bin/sh\n'''exec' '" + exe + "' \"$0\" \"$@\"\n' '''\n", exe},
		"env":         {"#!/usr/bin/env python3\n", ""},
		"gone":        {"#!/nonexistent/python3\n", ""},
		"not python":  {"#!/bin/cat\n", ""},
		"no line end": {"#!" + exe, ""},
	} {
		path := filepath.Join(tmp, "local", name)
		write(t, path, tt.content, 0o755)
		if got := ThisDisk().shebang(path); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestPyenvShims(t *testing.T) {
	root := filepath.Join(t.TempDir(), ".pyenv")
	shim := filepath.Join(root, "shims", "pip")
	write(t, shim, "#!/usr/bin/env bash\nexec pyenv exec pip\n", 0o755)
	for _, v := range []string{"3.9.18", "3.11.2", "3.11.10"} {
		write(t, filepath.Join(root, "versions", v, "bin", "python3"), "\x7fELF", 0o755)
		write(t, filepath.Join(root, "versions", v, "bin", "pip"), "#!/bin/false\n", 0o755)
	}
	write(t, filepath.Join(root, "version"), "# comment\n3.9.18\n", 0o644)
	local := filepath.Join(t.TempDir(), "a", "b")
	write(t, filepath.Join(filepath.Dir(local), ".python-version"), "3.11.2\n", 0o644)
	linked := symlink(t, shim, filepath.Join(t.TempDir(), "bin", "pip"))
	for name, tt := range map[string]struct {
		given, dir string
		env        []string
		want       string
	}{
		"global":        {given: shim, want: "3.9.18"},
		"by link":       {given: linked, want: "3.9.18"},
		"local":         {given: shim, dir: local, want: "3.11.2"},
		"variable":      {given: shim, dir: local, env: []string{"PYENV_VERSION=3.11.10"}, want: "3.11.10"},
		"newest":        {given: shim, env: []string{"PYENV_VERSION=3.11"}, want: "3.11.10"},
		"list":          {given: shim, env: []string{"PYENV_VERSION=2.7.0:3.9.18"}, want: "3.9.18"},
		"system":        {given: shim, env: []string{"PYENV_VERSION=system"}},
		"not installed": {given: shim, env: []string{"PYENV_VERSION=3.14.0"}},
		"hostile":       {given: shim, env: []string{"PYENV_VERSION=../shims"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.dir == "" {
				tt.dir = t.TempDir()
			}
			for disk, d := range map[string]*Disk{"this machine's": ThisDisk(), "another": thisDiskAsData(t)} {
				exe, _, err := d.locateRequested(Request{Python: tt.given, Env: tt.env, Dir: tt.dir})
				if tt.want == "" {
					if err == nil || !strings.Contains(fault.HintOf(err), filepath.Join(root, "versions", "3.11.10", "bin", "python3")) {
						t.Errorf("%s disk: %q, %v, hint %q", disk, exe, err, fault.HintOf(err))
					}
					continue
				}
				if want := filepath.Join(root, "versions", tt.want, "bin", "python3"); err != nil || exe != want {
					t.Errorf("%s disk: %q, %v, want %q", disk, exe, err, want)
				}
			}
		})
	}
}

func TestKinds(t *testing.T) {
	tmp := t.TempDir()
	cfg := func(name, content string) string {
		write(t, filepath.Join(tmp, name), content, 0o644)
		return filepath.Join(tmp, name)
	}
	conda := filepath.Join(tmp, "conda")
	write(t, filepath.Join(conda, "conda-meta", "history"), "", 0o644)
	version := filepath.Join(tmp, "pyenv", "versions", "3.12.1")
	write(t, filepath.Join(version, "bin", "python3"), "", 0o755)
	write(t, filepath.Join(tmp, "pyenv", "shims", "python3"), "", 0o755)
	for want, a := range map[string]answer{
		"venv":       {Cfg: cfg("venv", "home = /usr/bin\nuv = 0.5.1\n"), Prefix: conda},
		"virtualenv": {Cfg: cfg("virtualenv", "home = /usr/bin\nVirtualenv=20.1\n")},
		"conda":      {Prefix: conda},
		"pyenv":      {Prefix: version},
		"debian":     {Prefix: "/usr", Paths: map[string]string{"platlib": "/usr/local/lib/python3.11/dist-packages"}},
		"system":     {Prefix: "/usr", Paths: map[string]string{"platlib": "/usr/lib64/python3.11/site-packages"}},
		"plain":      {Prefix: "/opt/python"},
	} {
		if got := kindOf(ThisDisk(), &a); got != want {
			t.Errorf("%+v: %s, want %s", a, got, want)
		}
	}
}

func TestInterpreterNames(t *testing.T) {
	for name, want := range map[string]bool{
		"python": true, "python3": true, "python3.11": true, "python3.13t": true, "python3.13td": true, "python3.11-dbg": true,
		"python3-intel64": true, "python.exe": true, "pypy3": true, "pypy3.10": true,
		"python3-config": false, "python3.11-config": false, "pip": false, "pip3.11": false, "ipython": false, "pythonx-y-z": false,
	} {
		if got := isInterpreterName(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCondaEnvironmentByAnyProgram(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "env")
	write(t, filepath.Join(prefix, "conda-meta", "history"), "", 0o644)
	layout(t, prefix, nil)
	write(t, filepath.Join(prefix, "bin", "gunicorn"), "#!/elsewhere/python\n", 0o755)
	for name, req := range map[string]Request{
		"program":   {Python: filepath.Join(prefix, "bin", "gunicorn")},
		"activated": {Env: []string{"CONDA_PREFIX=" + prefix, "CONDA_DEFAULT_ENV=env"}},
	} {
		if p, err := find(t, req); err != nil || p.Kind != "conda" || p.Prefix != prefix {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
