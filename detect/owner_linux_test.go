package detect

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"modwsgi/internal/filetree"
	"modwsgi/internal/otheruser"
	"modwsgi/internal/run"
)

// machinePython is the binary of the machine's Python, and its minor version.
func machinePython(t *testing.T) (binary, minor string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	exe, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	out, err := exec.Command(exe, "-c", "import os,sys;print(os.path.realpath(sys.executable));print('%d.%d' % sys.version_info[:2])").Output()
	if err != nil {
		t.Skip(err)
	}
	lines := strings.Fields(string(out))
	return lines[0], lines[1]
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := filetree.Copy(from, to, 0o755); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func give(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			otheruser.Give(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRootDoesNotRunWhatOthersCanChange: the standard library, which the interpreter
// imports first, records the user that runs it.
func TestRootDoesNotRunWhatOthersCanChange(t *testing.T) {
	otheruser.Need(t)
	binary, minor := machinePython(t)
	for _, who := range []string{"the interpreter", "the Python that a virtual environment was made from", "a library that everybody can write to"} {
		t.Run(who, func(t *testing.T) {
			top := otheruser.Dir(t)
			proof := top + "/open/proof"
			if err := os.Mkdir(top+"/open", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(top+"/open", 0o777); err != nil {
				t.Fatal(err)
			}
			base := top + "/base"
			copyFile(t, binary, base+"/bin/python"+minor)
			lib := base + "/lib/python" + minor
			put(t, lib+"/os.py", "")
			put(t, lib+"/encodings/__init__.py", fmt.Sprintf(
				"import posix\nf = posix.open(%q, posix.O_CREAT | posix.O_WRONLY)\nposix.write(f, b'%%d' %% posix.getuid())\nposix.close(f)\n", proof))
			exe, want := base+"/bin/python"+minor, fmt.Sprint(otheruser.UID)
			switch {
			case strings.HasPrefix(who, "a library"):
				want = "65534"
				if err := os.Chmod(lib, 0o777); err != nil {
					t.Fatal(err)
				}
			default:
				give(t, base)
			}
			if strings.HasPrefix(who, "the Python") {
				exe = top + "/env/bin/python"
				copyFile(t, binary, exe)
				put(t, top+"/env/pyvenv.cfg", "home = "+base+"/bin\nversion = "+minor+".0\n")
			}
			_, err := FindPython(t.Context(), &run.Runner{}, Request{Python: exe, Env: []string{"PATH=/usr/bin:/bin"}, Dir: top})
			if err == nil || !strings.Contains(err.Error(), "root does not run what another user can change") {
				t.Errorf("got %v", err)
			}
			if got, _ := os.ReadFile(proof); string(got) != want {
				t.Errorf("it ran as user %q, want %s (%v)", got, want, err)
			}
		})
	}
}

// TestEnvironmentOfAnotherUserIsFound: an honest environment gives the same facts.
func TestEnvironmentOfAnotherUserIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no Python")
	}
	otheruser.Need(t)
	top := otheruser.Dir(t)
	env := top + "/env"
	if out, err := exec.Command("/usr/bin/python3", "-m", "venv", "--without-pip", env).CombinedOutput(); err != nil {
		t.Skipf("%v\n%s", err, out)
	}
	req := Request{Python: env, Env: []string{"PATH=/usr/bin:/bin"}, Dir: top}
	before, err := FindPython(t.Context(), &run.Runner{}, req)
	if err != nil {
		t.Fatal(err)
	}
	give(t, env)
	after, err := FindPython(t.Context(), &run.Runner{}, req)
	if err != nil || after.Prefix != before.Prefix || after.Platlib != before.Platlib || after.Version != before.Version {
		t.Errorf("%+v, %v; want %+v", after, err, before)
	}
	// Behind a directory that nobody else can enter it is as safe as root's.
	if err := os.Chmod(top, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := FindPython(t.Context(), &run.Runner{}, req); err != nil {
		t.Error(err)
	}
}

// TestApxsOfAnotherUser also runs as that user.
func TestApxsOfAnotherUser(t *testing.T) {
	otheruser.Need(t)
	top := otheruser.Dir(t)
	put(t, top+"/theirs/apxs", "#!/bin/sh\nid -u\n")
	give(t, top+"/theirs")
	f := &finder{ctx: t.Context(), run: &run.Runner{}, disk: ThisDisk(), req: Request{Env: []string{"PATH=/usr/bin:/bin"}}}
	out, err := f.queryAPXS(top + "/theirs/apxs")
	if err != nil || strings.TrimSpace(out) != fmt.Sprint(otheruser.UID) {
		t.Errorf("as %q, %v", out, err)
	}
}

// TestConfined: root writes to the directories that an interpreter names.
func TestConfined(t *testing.T) {
	top := t.TempDir()
	put(t, top+"/env/bin/python", "")
	if err := os.Symlink("/usr", top+"/env/out"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		prefix, site, scripts string
		good                  bool
	}{
		{"/env", "/env/lib/site", "/env/bin", true},
		{"/env", "/other/site", "/env/bin", false},
		{"/env", "/env/../other", "/env/bin", false},
		{"/env", "/env/out", "/env/bin", false},
		{"/env", "/env/lib/site", "/bin", false},
		{"/other", "/other/site", "/other/bin", false},
	} {
		a := &answer{Prefix: top + c.prefix, Paths: map[string]string{"purelib": top + c.site, "platlib": top + c.site, "scripts": top + c.scripts}}
		if err := a.confined(ThisDisk(), top+"/env/bin/python"); (err == nil) != c.good {
			t.Errorf("%+v: %v", c, err)
		}
	}
	a := &answer{Prefix: "/", Paths: map[string]string{"purelib": "/lib", "platlib": "/lib", "scripts": "/bin"}}
	if a.confined(ThisDisk(), top+"/env/bin/python") == nil {
		t.Error("the top of the file system is an environment")
	}
}
