//go:build acceptance

package httpdbuild

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"modwsgi/internal/configcache"
	"modwsgi/internal/relocate"
	"modwsgi/internal/timeline"
)

// sameTrees compares two trees file by file and reports the first difference. With
// alike, two binaries may differ in the space that the linker left for a run path, but
// not in what they export, need, or do.
func sameTrees(t *testing.T, a, b string, alike bool) {
	t.Helper()
	in, other := listing(t, a), listing(t, b)
	if !slices.Equal(slices.Sorted(maps.Keys(in)), slices.Sorted(maps.Keys(other))) {
		t.Fatalf("files of %s: %v\nfiles of %s: %v", a, slices.Sorted(maps.Keys(in)), b, slices.Sorted(maps.Keys(other)))
	}
	if len(in) < 250 {
		t.Errorf("only %d files", len(in))
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if in[name] != other[name] {
			t.Fatalf("%s has mode %v and mode %v", name, in[name], other[name])
		}
		one, two := read(t, filepath.Join(a, name)), read(t, filepath.Join(b, name))
		if bytes.Equal(one, two) {
			continue
		}
		if alike && relocate.IsELF(filepath.Join(a, name)) {
			if x, y := facts(t, filepath.Join(a, name)), facts(t, filepath.Join(b, name)); x == y {
				t.Logf("%s is alike, but not the same to the byte", name)
				continue
			} else {
				t.Fatalf("%s: %s\nand %s", name, x, y)
			}
		}
		at := 0
		for at < min(len(one), len(two)) && one[at] == two[at] {
			at++
		}
		t.Fatalf("%s differs at byte %d of %d and %d: %q and %q", name, at, len(one), len(two), around(one, at), around(two, at))
	}
}

func around(data []byte, at int) []byte { return data[max(0, at-40):min(len(data), at+40)] }

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// listing is every file with its mode.
func listing(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	out := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		out[rel] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// facts are a binary's exports, imports, dependencies and run path, and its code and
// data.
func facts(t *testing.T, name string) string {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var b strings.Builder
	for _, tag := range []elf.DynTag{elf.DT_NEEDED, elf.DT_SONAME, elf.DT_RUNPATH, elf.DT_RPATH} {
		values, err := f.DynString(tag)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%v %v\n", tag, values)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range symbols {
		names = append(names, fmt.Sprintf("%s %d %v %s", s.Name, s.Info, s.Section == elf.SHN_UNDEF, s.Version))
	}
	slices.Sort(names)
	fmt.Fprintf(&b, "%v\n", names)
	for _, section := range []string{".text", ".rodata", ".data"} {
		if s := f.Section(section); s != nil {
			data, err := s.Data()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s %x\n", section, data)
		}
	}
	return b.String()
}

// sameConfiguration compares the output of the configure scripts: shared results
// change nothing.
func sameConfiguration(t *testing.T, seeded, plain string) {
	t.Helper()
	// The shell for make's recipes differs, and a host without make has none to name.
	shell := regexp.MustCompile(`(?m)^(SHELL|MAKE) *=.*$`)
	count := 0
	for _, pattern := range []string{
		"apr/include/*.h", "apr/include/arch/unix/apr_private.h", "apr/build/apr_rules.mk", "apr-util/include/*.h", "apr-util/include/private/*.h",
		"apr-util/build/rules.mk", "pcre2/src/*.h", "pcre2/src/config.h", "httpd/include/*.h", "httpd/modules.c", "httpd/build/*.mk",
		"httpd/modules/*/modules.mk", "httpd/modules/*/*/modules.mk", "httpd/server/mpm/*/modules.mk", "httpd/support/Makefile", "httpd/server/Makefile",
	} {
		names, err := filepath.Glob(filepath.Join(plain, pattern))
		if err != nil || len(names) == 0 {
			t.Errorf("%s: %v, %v", pattern, names, err)
		}
		for _, name := range names {
			rel, err := filepath.Rel(plain, name)
			if err != nil {
				t.Fatal(err)
			}
			one := strings.ReplaceAll(string(read(t, filepath.Join(seeded, rel))), seeded, "@")
			two := strings.ReplaceAll(string(read(t, name)), plain, "@")
			if shell.ReplaceAllString(one, "") != shell.ReplaceAllString(two, "") {
				for i, line := range strings.Split(one, "\n") {
					if others := strings.Split(two, "\n"); i >= len(others) || others[i] != line {
						t.Errorf("%s: line %d is %q", rel, i+1, line)
					}
				}
			}
			count++
		}
	}
	if count < 150 {
		t.Errorf("only %d files were compared", count)
	}
}

// sameAnswers compares the results of all tests: the compiler answered each question as
// the script itself would have done. A script lists them at the end of its log.
func sameAnswers(t *testing.T, seeded, plain string) {
	t.Helper()
	for _, name := range configured {
		mine, alone := answersOf(t, seeded, name), answersOf(t, plain, name)
		given, _ := configcache.Read(filepath.Join(seeded, name, "config.cache"))
		same := 0
		for variable, answer := range alone {
			if mine[variable] == answer {
				same++
			} else if !apart.MatchString(variable) {
				t.Errorf("%s: %s is %q, but the script finds %q", name, variable, mine[variable], answer)
			}
		}
		t.Logf("%s: %d answers are the same, of %d in the cache", name, same, len(given))
		if same < 40 {
			t.Errorf("%s: only %d answers were compared", name, same)
		}
	}
}

// apart matches results about the caller of a script and about make, which one of the
// two hosts lacks.
var apart = regexp.MustCompile(`^ac_cv_env_|^a[cm]_cv_(prog_)?make_`)

var answered = regexp.MustCompile(`(?m)^(\w+_cv_\w+)=(.*)$`)

func answersOf(t *testing.T, work, name string) map[string]string {
	t.Helper()
	found := map[string]string{}
	log := strings.ReplaceAll(string(read(t, filepath.Join(work, name, "config.log"))), work, "@")
	// Shells have two ways to quote an apostrophe.
	quotes := strings.NewReplacer(`'"'"'`, "'", `'"'"`, "'", `'\''`, "'")
	for _, m := range answered.FindAllStringSubmatch(log, -1) {
		found[m[1]] = strings.Trim(quotes.Replace(m[2]), "'")
	}
	return found
}

// checkSpans checks that the timeline has each object once, with its processor time,
// and that the progress has a total.
func checkSpans(t *testing.T, b built) {
	t.Helper()
	objects := map[string]int{}
	kinds := map[timeline.Kind]int{}
	used := map[timeline.Kind]time.Duration{}
	for _, s := range b.spans {
		kinds[s.Kind]++
		used[s.Kind] += s.CPU
		if s.Kind == timeline.Compile && strings.HasSuffix(s.Name, ".c") {
			objects[s.Name]++
			if s.CPU <= 0 || s.MaxRSS < 1<<20 || s.End <= s.Start || s.Failed || s.Lane < 0 {
				t.Errorf("%+v", s)
			}
		}
	}
	t.Logf("processor time by kind: %v", used)
	for name, n := range objects {
		if n > 1 {
			t.Errorf("%s was compiled %d times", name, n)
		}
	}
	if len(objects) < 300 || kinds[timeline.Link] < 110 || kinds[timeline.Configure] < 4 || kinds[timeline.Step] < 15 || kinds[timeline.Unpack] != 5 {
		t.Errorf("%d objects, %v", len(objects), kinds)
	}
	if !slices.ContainsFunc(b.texts, func(s string) bool { return regexp.MustCompile(`^core\.c \(\d+ of [12]\d\d\)$`).MatchString(s) }) {
		t.Error("the progress does not tell of core.c")
	}
}
