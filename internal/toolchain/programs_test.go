//go:build unix

package toolchain

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/digest"
)

// same changes the content of a file, but neither its length nor its time.
func same(t *testing.T, path, from, to string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(data), from, to, 1)
	if changed == string(data) || len(from) != len(to) {
		t.Fatalf("%s: nothing to change", path)
	}
	if err := os.WriteFile(path, []byte(changed), info.Mode()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// Everything that runs during a compilation counts by its content, through links, scripts
// and words of CC, and not by its path.
func TestProgramsCountByTheirContent(t *testing.T) {
	for name, c := range map[string]struct {
		cc     string // %s stands for the directory
		change string // file below it whose content changes
	}{
		"the compiler":                 {"%s/bin/mycc", "bin/mycc"},
		"a compiler by name":           {"mycc", "bin/mycc"},
		"behind links":                 {"%s/link", "bin/mycc"},
		"a wrapper":                    {"%s/wrapper", "wrapper"},
		"what a wrapper calls":         {"%s/wrapper", "bin/mycc"},
		"a program after ccache":       {"ccache mycc", "bin/mycc"},
		"ccache itself":                {"ccache mycc", "bin/ccache"},
		"the next one in PATH":         {"mycc", "later/mycc"},
		"what a wrapper calls by name": {"%s/byname", "bin/x86_64-test-gcc"},
		"what a wrapper reads":         {"%s/reads", "settings"},
		"a file that a flag names":     {"mycc -specs=%s/specs", "specs"},
		"a response file":              {"mycc @%s/specs", "specs"},
		"a plug-in":                    {"mycc -fplugin=%s/specs", "specs"},
		"the compiler proper":          {"mycc", "libexec/cc1"},
		"the linker":                   {"mycc", "bin/ld"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, d := range []string{"bin", "later", "libexec"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			knows := `case "$*" in *-print-prog-name=cc1) echo ` + dir + `/libexec/cc1; exit ;; *-print-prog-name=*) a=$*; echo ${a##*=}; exit ;; esac` + "\n"
			program(t, dir+"/bin", "mycc", knows+good+"# flags A\n")
			program(t, dir+"/bin", "x86_64-test-gcc", good+"# flags A\n")
			program(t, dir+"/later", "mycc", "# flags A\n")
			program(t, dir+"/libexec", "cc1", "# flags A\n")
			program(t, dir+"/bin", "ld", "# flags A\n")
			program(t, dir+"/bin", "ccache", `# flags A`+"\n"+`exec "$@"`+"\n")
			program(t, dir, "wrapper", "# flags A\nexec '"+dir+"/bin/mycc' \"$@\"\n")
			program(t, dir, "byname", "exec x86_64-test-gcc \"$@\"\n")
			program(t, dir, "reads", ". "+dir+"/settings\nexec mycc \"$@\" 2>>"+dir+"/log\n")
			for _, f := range []string{"settings", "specs", "log"} {
				if err := os.WriteFile(filepath.Join(dir, f), []byte("# flags A\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, link := range [][2]string{{"bin/mycc", "link1"}, {"link1", "link"}} {
				if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
					t.Fatal(err)
				}
			}
			env := []string{path(t, dir+"/bin", dir+"/later"), "CC=" + strings.ReplaceAll(c.cc, "%s", dir)}
			before, err := find(t, env...)
			if err != nil {
				t.Fatal(err)
			}
			again, err := find(t, env...)
			if err != nil || !slices.Equal(before.Programs, again.Programs) {
				t.Fatalf("twice the same gives\n%v\n%v (%v)", before.Programs, again.Programs, err)
			}
			for _, line := range before.Programs {
				if strings.Contains(line, dir) {
					t.Errorf("%q contains a path", line)
				}
			}
			same(t, filepath.Join(dir, c.change), "flags A", "flags B")
			after, err := find(t, env...)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Equal(before.Programs, after.Programs) {
				t.Errorf("the change was not noticed: %v", after.Programs)
			}
			sum, err := digest.File(filepath.Join(dir, c.change))
			if err != nil || !slices.ContainsFunc(after.Programs, func(l string) bool { return strings.HasSuffix(l, " "+sum) }) {
				t.Errorf("%s is not among %v (%v)", sum, after.Programs, err)
			}
			if !slices.Contains(after.Files, filepath.Join(dir, c.change)) && c.cc != "%s/link" {
				t.Errorf("%v does not name the changed file", after.Files)
			}
		})
	}
}

// A log that a wrapper writes does not change the identity of builds.
func TestLogOfAWrapperDoesNotCount(t *testing.T) {
	dir := t.TempDir()
	program(t, dir, "mycc", good)
	program(t, dir, "wrapper", "echo \"$@\" >>"+dir+"/log\nexec "+dir+"/mycc \"$@\"\n")
	env := []string{path(t), "CC=" + dir + "/wrapper"}
	before, err := find(t, env...)
	if err != nil {
		t.Fatal(err)
	}
	after, err := find(t, env...)
	if err != nil || !slices.Equal(before.Programs, after.Programs) {
		t.Errorf("%v\n%v, %v", before.Programs, after.Programs, err)
	}
}
